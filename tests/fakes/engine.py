"""Runbooks over the tiny world, planned and run process after process: for tests of the step engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fakes.actions import Bench, Tiny, match_for, record_of
from fakes.journal import Crash, Crashes

from executor.actions.base import Action, Found, Params, Planned, Recovery, Stamp, TargetFacts, World
from executor.errors import Conflict, StepFailed, Unavailable
from executor.model import Access, Change, ExecutionRecord, ObjectRef, PlannedStep
from executor.planner import Planner
from runbooks.model import LoadedRunbook, Runbook
from safety.approvals import ApprovalStatus, Verb

SAFE = {"require_approval": False}
LOOK = {"name": "Look", "action": "look", "params": {"name": "memory"}, "output_var": "current"}
_ERRORS: Mapping[str, Exception] = {
    "temporary": Unavailable("try again"),
    "conflict": Conflict("somebody else was faster"),
    "failed": StepFailed("the answer was wrong"),
    "timeout": TimeoutError(),
    "lost": Unavailable("the answer got lost"),
}


class FlakyParams(Params):
    name: str
    value: Any = 1
    errors: tuple[str, ...] = ()


class Flaky(Action[FlakyParams]):
    """Sets a value, after the errors that it was told; with ``lost`` the effect happens and no answer comes."""

    name = "flaky"
    access = Access.WRITE
    idempotent = False
    params_model = FlakyParams

    def __init__(self, tiny: Tiny) -> None:
        self.tiny = tiny
        self.tried: dict[str, int] = {}

    async def plan(self, params: FlakyParams, facts: TargetFacts, world: World) -> Planned:
        ref = ObjectRef(kind="Value", name=params.name, namespace="shop")
        change = Change(ref=ref, verb="patch", summary=f"{params.name} -> {params.value}", undo="set it back")
        return Planned(params.model_dump(mode="json"), (change,))

    async def prepare(self, step: PlannedStep, stamp: Stamp, world: World) -> Mapping[str, Any]:
        return {"value": self.tiny.values.get(step.params["name"])}

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        name, value, errors = step.params["name"], step.params["value"], step.params["errors"]
        tried = self.tried.get(name, 0)
        self.tried[name] = tried + 1
        error = errors[tried] if tried < len(errors) else ""
        if error not in ("", "lost"):
            raise _ERRORS[error]
        self.tiny.effect(f"set {name}={value}")
        self.tiny.values[name] = value
        self.tiny.stamps[name] = (stamp.execution, stamp.step)
        self.tiny.effected(f"set {name}={value}")
        if error:
            raise _ERRORS[error]
        return {"value": value, "tries": tried + 1}

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        done = self.tiny.stamps.get(step.params["name"]) == (stamp.execution, stamp.step)
        return Recovery(Found.DONE if done else Found.NOT_DONE, {"value": step.params["value"]} if done else None)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        name = step.params["name"]
        if self.tiny.stamps.get(name) != (stamp.execution, stamp.step):
            return "nothing to undo"
        self.tiny.effect(f"undo {name}={saved['value']}")
        self.tiny.values[name] = saved["value"]
        del self.tiny.stamps[name]
        self.tiny.effected(f"undo {name}={saved['value']}")
        return "it is back"


def bench() -> Bench:
    """A bench that also knows the flaky action."""
    made = Bench()
    made.actions["flaky"] = Flaky(made.tiny)
    return made


def write(name: str = "memory", value: Any = "512Mi", title: str = "", **more: Any) -> dict[str, Any]:
    """A step that sets a value; its id is the name."""
    params = {"name": name, "value": value, **{key: more.pop(key) for key in ("fail", "irreversible") if key in more}}
    return {"id": title or name, "name": title or f"Set {name}", "action": "set", "params": params, **more}


def flaky(name: str, errors: Sequence[str] = (), value: Any = 1, **more: Any) -> dict[str, Any]:
    """A step that fails with each of the errors before it works."""
    params = {"name": name, "value": value, "errors": list(errors)}
    return {"id": name, "name": f"Try {name}", "action": "flaky", "params": params, **more}


def loaded(runbook: Mapping[str, Any]) -> LoadedRunbook:
    """A runbook that others can call."""
    given = {"trigger": {"root_cause_reason": "None"}, "safety": SAFE, **runbook}
    return LoadedRunbook(runbook=Runbook.model_validate(given), sha=f"sha-{runbook['id']}")


async def record(
    bench: Bench, runbook: Mapping[str, Any], *others: Mapping[str, Any], max_depth: int = 3, **facts: Any
) -> ExecutionRecord:
    """An execution of a runbook, which may call the others."""
    known = {other["id"]: loaded(other) for other in others}
    planner = Planner(bench.actions, bench.world, {}, runbooks=lambda: known, max_depth=max_depth)
    plan = await planner.plan(match_for({"safety": SAFE, **runbook}), "x1")
    return record_of(plan, **facts)


async def run(bench: Bench, runbook: Mapping[str, Any], *others: Mapping[str, Any], **facts: Any) -> ExecutionRecord:
    """Plan and run a runbook; a human has approved the plan."""
    return await bench.start(await record(bench, runbook, *others, **facts), "a1")


async def play(
    runbook: Mapping[str, Any], *others: Mapping[str, Any], crashes_at: Sequence[int] = (), on_new: Any = None
) -> tuple[Bench, ExecutionRecord, Crashes]:
    """Run a runbook; the nth process dies at the nth given moment, the one after the last goes to the end."""
    made = bench()
    if on_new is not None:
        on_new(made)
    planned = await record(made, runbook, *others)
    made.journal.open(planned, 1)
    alive, first = list(crashes_at), True
    while True:
        crashes = Crashes(alive.pop(0) if alive else None)
        made.tiny.crashes = made.journal.crashes = crashes
        try:
            ended = await (made.start(planned, "a1") if first else made.take_over("x1", "a1"))
        except Crash:
            first = False
            stored = await made.journal.load("x1")
            assert stored is not None
            if stored.outcome is not None:
                return made, stored, crashes
            continue
        return made, ended, crashes


def statuses(ended: ExecutionRecord, phase: str = "step") -> dict[str, str]:
    """How each step of a phase ended, items as ``id/item``."""
    return {
        run.step_id if run.item is None else f"{run.step_id}/{run.item}": str(run.status)
        for run in ended.steps
        if run.phase == phase
    }


def answering(bench: Bench, verb: Verb, reason: str = "fine") -> None:
    """A human who answers every question at the next look."""

    def look() -> None:
        store = bench.approvals
        if store is None:
            return
        for number, one in list(store.approvals.items()):
            if one.status is ApprovalStatus.PENDING:
                from safety import approvals  # noqa: PLC0415 - the module's name is that of the attribute

                said = approvals.answer(
                    one, verb, by="ann", reason=reason, now=bench.clock.now(), plan_hash=one.plan_hash
                )
                if isinstance(said, approvals.Approval):
                    store.approvals[number] = said

    bench.clock.on_sleep.append(look)
