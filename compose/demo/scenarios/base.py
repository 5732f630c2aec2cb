"""What a scenario is: something breaks, somebody tells, the pipeline acts, and everything is checked."""

import asyncio
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from compose.demo.board import Row, row_of
from compose.demo.errors import DemoFailed
from compose.demo.record import Decision, Execution
from compose.demo.scene import Scene, hold
from compose.demo.workloads import service

_FOLLOW = 0.3


@dataclass(frozen=True, slots=True)
class Told:
    """How a scenario must come out.

    Attributes:
        kind: of the final decision.
        check: of the gate, when it says no.
        runbook: that is chosen.
        steps: that succeed, in order.
        verdict: of the verification.
        outcome: of the execution.
        approved: whether a human has to be asked first.
    """

    kind: str
    runbook: str
    check: str = ""
    steps: tuple[str, ...] = ()
    verdict: str = ""
    outcome: str = ""
    approved: bool = False

    @property
    def acts(self) -> bool:
        """Whether anything is executed."""
        return bool(self.outcome)


@dataclass(frozen=True, slots=True)
class Result:
    """How a scenario came out. `problem` is empty when all is as told."""

    key: str
    title: str
    problem: str = ""
    log: tuple[str, ...] = ()
    decision: str = ""
    steps: str = ""
    verdict: str = ""
    confidence: float | None = None
    rca_to_first_step: float | None = None
    to_verified: float | None = None
    incident_id: str = ""
    seconds: float = 0.0

    @property
    def as_told(self) -> bool:
        """Whether it came out as it must."""
        return not self.problem


class Scenario(ABC):
    """One incident.

    Attributes:
        key: what `--only` knows it by.
        title: for people.
        app: the name of its workload, which is part of every other name.
        told: how it must come out.
        patience: seconds from the alert to the end.
        rca_at: when the root cause was known, set by `tell`.
        told_at: when the alert was on Kafka, set by `tell`.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    app: ClassVar[str]
    told: ClassVar[Told]
    patience: ClassVar[float] = 150.0

    rca_at: datetime
    told_at: datetime

    @abstractmethod
    async def break_it(self, scene: Scene) -> None:
        """Deploy the workload and wait until it is broken on the cluster."""

    @abstractmethod
    async def tell(self, scene: Scene) -> None:
        """Write the graph and send the messages."""

    @abstractmethod
    async def check(self, scene: Scene, decision: Decision) -> None:
        """Look at the cluster: is it as told? Raises DemoFailed."""

    def target_key(self, scene: Scene) -> str:
        """What the decision must be about."""
        return f"{scene.run.cluster}/{scene.run.namespace}/Deployment/{self.app}"

    async def deploy(self, scene: Scene, *manifests: dict[str, object]) -> None:
        """Apply manifests, and the Service in front."""
        for manifest in (*manifests, service(scene.run.namespace, self.app)):
            await scene.cluster.apply(manifest)

    async def play(self, scene: Scene) -> Result:
        """From the first manifest to the last check. Never raises: what went wrong is in the result."""
        began = time.monotonic()
        decision: Decision | None = None
        problem, log = "", tuple[str, ...]()
        try:
            scene.board.remark(self.key, "breaking it on the cluster")
            await self.break_it(scene)
            scene.board.remark(self.key, "broken; waiting for the pipeline to listen")
            await scene.started.wait()
            await scene.mirror()
            scene.board.remark(self.key, "telling Kafka")
            await self.tell(scene)
            decision = await self.follow(scene)
            await self.check_record(scene, decision)
            await self.check(scene, decision)
        except DemoFailed as error:
            problem, log = error.what, error.log
        except Exception as error:  # noqa: BLE001 - one scenario that stumbles must not hide the others
            problem = f"{type(error).__name__}: {error}"
        return self._result(decision or self.mine(scene), problem, log, time.monotonic() - began)

    async def follow(self, scene: Scene) -> Decision:
        """Follow the incident to its end; say yes on the way where a human is asked."""
        answered: set[str] = set()

        async def look() -> tuple[Decision | None, object]:
            decision = self.mine(scene)
            if decision is None:
                return None, "no decision about it"
            scene.board.put(self.key, self.row(scene, decision))
            for execution in decision.executions:
                await self.answer(scene, execution, answered)
            return (decision if self.over(decision) else None), decision

        return await scene.until(f"the end of {self.title!r}", look, seconds=self.patience, every=_FOLLOW)

    def over(self, decision: Decision) -> bool:
        """Whether nothing more will happen to an incident."""
        if decision.executions:
            return all(execution.ended for execution in decision.executions)
        return decision.kind not in ("waiting", "approval", "permit")

    def row(self, scene: Scene, decision: Decision) -> Row:
        """What the board shows of it."""
        return row_of(decision)

    async def answer(self, scene: Scene, execution: Execution, answered: set[str]) -> None:
        """Approve what waits, once it was asked for on Kafka, with the command that people use."""
        if execution.status != "waiting_approval":
            return
        asked = scene.wire.seen(
            "approvals", lambda body: body["execution_id"] == execution.id and body["status"] == "pending"
        )
        for approval_id in {body["approval_id"] for body in asked} - answered:
            answered.add(approval_id)
            code, said = await scene.pipeline.rb(
                *("approvals", "approve", approval_id, "--yes", "--by", "demo", "--reason", "seen in the demo")
            )
            hold(code == 0, f"rb approvals approve ended with {code}: {said.strip()}")

    def mine(self, scene: Scene) -> Decision | None:
        """The decision about this incident: the one that acted, else the newest answer, else one that waits."""
        found = [one for one in scene.recorder.known() if self._is_mine(scene, one)]
        ranked = sorted(found, key=lambda one: (bool(one.executions), one.kind not in ("waiting", "joined")))
        return ranked[-1] if ranked else None

    def _is_mine(self, scene: Scene, decision: Decision) -> bool:
        if decision.target_key:
            return decision.target_key == self.target_key(scene)
        kind, namespace, name = decision.subject
        return namespace == scene.run.namespace and (name == self.app or name.startswith(f"{self.app}-")) and kind != ""

    async def check_record(self, scene: Scene, decision: Decision) -> None:
        """Compare the record with what must be there, in the graph, on Kafka and in `rb explain`."""
        told = self.told
        hold((decision.kind, decision.check if told.check else "") == (told.kind, told.check), f"decided: {decision}")
        hold(decision.runbook_id == told.runbook, f"the runbook was {decision.runbook_id or 'none'}")
        hold(len(decision.executions) == int(told.acts), f"{len(decision.executions)} executions instead of one")
        for execution in decision.executions:
            self._check_execution(execution)
        await self._check_kafka(scene, decision)
        await self._check_explain(scene, decision)
        rows = await scene.graph.run("executions_of_target", tenant=scene.run.tenant, target_key=self.target_key(scene))
        hold(rows[0]["executions"] == int(told.acts), f"the target had {rows[0]['executions']} executions")

    def _check_execution(self, execution: Execution) -> None:
        done = tuple(step.id for step in execution.steps if step.phase == "step" and step.status == "succeeded")
        hold(done == self.told.steps, f"the steps were {done}: {execution}")
        end = (execution.verdict, execution.outcome)
        hold(end == (self.told.verdict, self.told.outcome), f"it ended as {end}: {execution.error}")
        statuses = tuple(status for _, status in execution.approvals)
        hold(statuses == (("approved",) if self.told.approved else ()), f"approvals: {statuses}")

    async def _check_kafka(self, scene: Scene, decision: Decision) -> None:
        """The same was said on Kafka."""

        async def look() -> tuple[bool | None, object]:
            kinds = [
                body["kind"] for body in scene.wire.seen("decisions", lambda body: body["decision_id"] == decision.id)
            ]
            mine = {execution.id for execution in decision.executions}
            ends = [
                body["outcome"]
                for body in scene.wire.seen("executions", lambda body: body["execution_id"] in mine)
                if body["event"] == "finished"
            ]
            wanted = [self.told.outcome] if self.told.acts else []
            return (True if self.told.kind in kinds and ends == wanted else None), (kinds, ends)

        await scene.until("the decision and its end on Kafka", look, seconds=15)

    async def _check_explain(self, scene: Scene, decision: Decision) -> None:
        code, said = await scene.pipeline.rb("explain", decision.incident_id or decision.id)
        words = {"permit": "permitted", "refusal": "refused"}[self.told.kind]
        verdict = self.told.verdict.replace("_", " ")
        wanted = [words, decision.cause_reason, self.told.runbook, self.told.check, verdict]
        missing = [word for word in wanted if word not in said]
        hold(code == 0 and not missing, f"rb explain ended with {code} and does not mention {missing}: {said[:400]}")

    def _result(self, decision: Decision | None, problem: str, log: tuple[str, ...], seconds: float) -> Result:
        result = Result(self.key, self.title, problem, log, seconds=seconds)
        if decision is None:
            return result
        execution = decision.executions[-1] if decision.executions else None
        first = execution.first_step_at() if execution else None
        verified = execution.finished_at if execution and execution.verdict == "verified" else None
        kind = decision.kind + (" (approved)" if execution and execution.approvals else "")
        return Result(
            key=self.key,
            title=self.title,
            problem=problem,
            log=log,
            decision=f"{kind}: {decision.message}" if decision.kind == "refusal" else kind,
            steps=_steps(execution),
            verdict=" / ".join(filter(None, (execution.verdict, execution.outcome))) if execution else "",
            confidence=decision.confidence,
            rca_to_first_step=_between(getattr(self, "rca_at", None), first),
            to_verified=_between(getattr(self, "told_at", None), verified),
            incident_id=decision.incident_id or decision.id,
            seconds=seconds,
        )


def _steps(execution: Execution | None) -> str:
    if execution is None:
        return "none"
    named = [(f"{'undo ' if step.phase != 'step' else ''}{step.id}", step.status) for step in execution.steps]
    return ", ".join(name if status == "succeeded" else f"{name} {status}" for name, status in named)


def _between(one: datetime | None, other: datetime | None) -> float | None:
    return (other - one).total_seconds() if one and other else None


async def play_all(scenarios: "list[Scenario]", scene: Scene) -> list[Result]:
    """Play scenarios side by side."""
    return list(await asyncio.gather(*(scenario.play(scene) for scenario in scenarios)))
