"""From a recorded incident to what changed runbooks would ask the gate: matching and planning, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

import orjson
from pydantic import TypeAdapter

from executor.actions.base import ActionTable
from executor.errors import RemediationError
from executor.model import Access, Plan, PlannedStep
from executor.planner import Planner
from matcher.fingerprint import execution_id
from matcher.model import Incident, Match, NoMatch
from matcher.select import RunbookIndex
from runbooks.findings import RunbookError
from runbooks.loader import load_text
from runbooks.model import LoadedRunbook
from safety.autonomy import Climber, Rung, Standing
from safety.model import BlastRadius, GateRequest, GrantedApproval, Refusal
from safety.policies import LABELS_UNREADABLE, PolicySet
from safety.policy import PolicySettings, in_force
from safety.surroundings import CLEAR
from services.pipeline.asking import by_the_runbook, question
from services.pipeline.permit import EARLY
from services.pipeline.proposals import AROUND_CHECKS, NOT_COUNTED
from services.pipeline.ruling import TOP, Ruling, Rulings
from services.testing.recorded import Facts, FromRecords, NotRecorded, facts_of, leaves, recorded_world

_INCIDENT = TypeAdapter(Incident)
Json = Mapping[str, Any]


class Kind(StrEnum):
    """What came, or would come, of an incident."""

    PERMIT = "permit"
    APPROVAL = "approval"
    REFUSAL = "refusal"
    PLAN_FAILED = "plan_failed"
    NO_MATCH = "no_match"
    UNKNOWN = "unknown"
    """It cannot be said: what it depends on was not recorded."""
    ASK = "ask"
    """Only the gate has a say left."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came, or would come, of an incident.

    Attributes:
        check: the check that said no.
        effects: one line for each change and message of the plan; None when the plan is not known.
    """

    kind: Kind
    runbook: str = ""
    version: str = ""
    check: str = ""
    message: str = ""
    effects: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Proposed:
    """A recorded incident with what the changed runbooks make of it. Small: it travels between processes.

    Attributes:
        recorded: what came of it.
        answer: what would come of it; of kind ``ASK`` with ``request`` when the gate decides.
        finished_at: when the recorded execution ended; None when nothing ran.
        ended: its outcome and verdict; empty for none.
        longest_seconds: how long the chosen runbook may take.
    """

    incident: str
    decision: str
    target: str
    at: datetime
    paused: bool
    recorded: Answer
    answer: Answer
    request: GateRequest | None = None
    finished_at: datetime | None = None
    ended: tuple[str, str] = ("", "")
    longest_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Knobs:
    """Settings that count for matching and planning.

    Attributes:
        policies: in force; None for none.
    """

    policy: PolicySettings
    least_cooldown: timedelta
    parameters: Mapping[str, Any]
    policies: PolicySet | None = None


class Proposer:
    """Matches and plans recorded incidents with a set of runbooks.

    Args:
        runbooks: the changed ones.
        versions: texts of the versions that were used, by id and sha; without the text of a version its plans are
            made again instead of taken over.
    """

    def __init__(
        self,
        runbooks: Sequence[LoadedRunbook],
        versions: Mapping[tuple[str, str], str],
        actions: ActionTable,
        knobs: Knobs,
    ) -> None:
        self._index = RunbookIndex(runbooks)
        self._knobs = knobs
        self._actions = actions
        self._stands = _same_plans(runbooks, versions)
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        """End the loop that plans run in."""
        self._loop.close()

    def propose(self, lines: Sequence[bytes]) -> list[Proposed]:
        """Exported incidents, in order."""
        return self._loop.run_until_complete(self._all(lines))

    async def _all(self, lines: Sequence[bytes]) -> list[Proposed]:
        # One task for all: planning from records hardly ever waits, and a task for each plan would only cost time.
        return [await self._propose(line) for line in lines]

    async def _propose(self, line: bytes) -> Proposed:
        """One exported incident."""
        raw = orjson.loads(line)
        incident = _INCIDENT.validate_python(raw["incident"])
        execution = _latest(raw)
        known = _recorded(raw, execution)
        proposed = partial(
            Proposed,
            incident=raw["id"],
            decision=raw["decision"],
            target=incident.target.key,
            at=datetime.fromisoformat(raw["decided_at"]),
            paused=raw["check"] == "pause",
            recorded=known,
            finished_at=_finished(execution),
            ended=_ended(execution),
        )
        if incident.signal.run and incident.signal.run.dry_run:
            return proposed(answer=known)  # only what would be done was asked for: no runbook changes that
        found = self._index.select(incident)
        if isinstance(found, NoMatch):
            return proposed(answer=Answer(Kind.NO_MATCH, check="select", message=found.reason))
        answer, request = await self._asked(found, raw, execution)
        longest = found.runbook.runbook.verification.timeout.total_seconds()
        return proposed(answer=answer, request=request, longest_seconds=longest)

    async def _asked(self, match: Match, raw: Json, execution: Json | None) -> tuple[Answer, GateRequest | None]:
        """What is known before the gate has its say, and what it is asked."""
        if raw["check"] in AROUND_CHECKS:
            # What stood around the target then, and what would around another plan, no record holds.
            told = f"the gate refused then by {raw['check']}, and what it saw was not recorded"
            return Answer(Kind.UNKNOWN, check="recorded", message=told), None
        named = Answer(Kind.ASK, match.runbook.runbook.id, match.runbook.runbook.version)
        try:
            effects, request = await self._question(named, match, raw, execution)
        except _Settled as settled:
            return settled.answer, None
        except NotRecorded as error:
            return replace(named, kind=Kind.UNKNOWN, check="recorded", message=str(error)), None
        except RemediationError as error:
            return replace(named, kind=Kind.PLAN_FAILED, check="plan", message=str(error)), None
        return replace(named, effects=effects), request

    async def _question(
        self, named: Answer, match: Match, raw: Json, execution: Json | None
    ) -> tuple[tuple[str, ...] | None, GateRequest]:
        """What the plan does, and what the gate is asked about it.

        Raises:
            _Settled: the gate need not be asked.
        """
        knobs, now = self._knobs, datetime.fromisoformat(raw["decided_at"])
        number = execution["id"] if execution else execution_id(match.incident.id, match.runbook.sha, raw["attempt"])
        rulings = Rulings(lambda: knobs.policies or PolicySet((), knobs.policy), RecordedRung(raw))
        ruling = _unless_refused(named, await rulings.before_plan(match, labels_unknown, now))
        request = ruling.on(replace(question(match, number, knobs.least_cooldown), around=CLEAR))
        for check in EARLY:
            if refusal := check(request, in_force(request, knobs.policy)):
                raise _Settled(_ruled_out(named, refusal))
        sketch = await self._sketch(match, raw, execution, number)
        request = _with_plan(self._limits(request, match, raw), sketch, raw, execution)
        if sketch.plan is not None:
            request = by_the_runbook(request, match.runbook.runbook, sketch.plan)
            ruling = _unless_refused(named, rulings.after_plan(ruling, match, sketch.plan, None, now))
        if held := ruling.holds(sketch.plan, None):
            raise _Settled(_ruled_out(named, held))
        asks = (*request.approval_reasons, *ruling.asks(sketch.plan))
        return sketch.effects, replace(ruling.on(request), approval_reasons=asks)

    @staticmethod
    def _limits(request: GateRequest, match: Match, raw: Json) -> GateRequest:
        """The question without the limits whose figures no record holds.

        What the very same version was measured by then, it passed; of any other nobody can say.
        """
        limits = request.limits
        counted = limits.blast_percent is None or "namespace_pods" in raw["numbers"]
        if counted and not limits.protected_labels:
            return request
        used, held = raw["runbook"] or {}, raw["kind"] in ("permit", "approval")
        if not (held and used.get("sha") == match.runbook.sha):
            raise NotRecorded("the pods of the namespace and the labels of the objects were not recorded")
        return replace(request, limits=replace(limits, blast_percent=None, protected_labels={}))

    async def _sketch(self, match: Match, raw: Json, execution: Json | None, number: str) -> Sketch:
        used = raw["runbook"]
        if used and self._stands.get((used["id"], used["sha"])) == match.runbook.sha:
            # Nothing that planning reads has changed: the recorded plan is the plan.
            if execution:
                return _sketch_of_json(execution["plan"])
            if raw["kind"] == "plan_failed":
                raise _PlanFailed(raw["message"])
            if hash_then := raw["numbers"].get("plan"):
                asks = tuple(filter(None, str(raw["numbers"].get("asks", "")).split("; ")))
                return Sketch(str(hash_then), (match.incident.target.namespace,), None, asks, None)
        facts = facts_of(execution)
        planner = self._planner(facts, datetime.fromisoformat(raw["decided_at"]))
        return _sketch_of_plan(await planner.plan(match, number))

    def _planner(self, facts: Facts, moment: datetime) -> Planner:
        return Planner(FromRecords(self._actions, facts), recorded_world(facts, moment), self._knobs.parameters)


class RecordedRung:
    """``services.pipeline.ruling.Rungs`` as it was when a decision was made: its record says where the runbook stood.

    Args:
        raw: the recorded incident.
    """

    def __init__(self, raw: Json) -> None:
        self._rung = (raw.get("numbers") or {}).get("autonomy")

    def standing(self, _: Climber) -> Standing | None:
        """Where it stood; nothing had to be earned where the record says nothing."""
        return Standing(Rung(self._rung)) if self._rung else TOP


async def labels_unknown() -> Mapping[str, str] | None:
    """Labels of targets are not on record."""
    return None


class _Settled(Exception):
    """What came of an incident before the gate had its say."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.message)
        self.answer = answer


def _unless_refused(named: Answer, ruling: Ruling) -> Ruling:
    if ruling.no:
        raise _Settled(_ruled_out(named, ruling.no))
    return ruling


def _ruled_out(named: Answer, refusal: Refusal) -> Answer:
    """The answer of policies and ladder; what depends on labels is not known."""
    kind = Kind.UNKNOWN if refusal.check == LABELS_UNREADABLE else Kind.REFUSAL
    return replace(named, kind=kind, check=refusal.check, message=refusal.message)


class _PlanFailed(RemediationError):
    """It could not be planned then, and nothing that planning reads has changed."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """What the gate and the comparison need of a plan.

    Attributes:
        touched, effects: None where only the hash of the plan was recorded.
    """

    hash: str
    namespaces: tuple[str, ...]
    touched: tuple[str, ...] | None
    approval_reasons: tuple[str, ...]
    effects: tuple[str, ...] | None
    plan: Plan | None = None


def _sketch_of_json(plan: Json) -> Sketch:
    return Sketch(
        plan["hash"],
        tuple(plan["namespaces"]),
        tuple(plan["touched"]),
        tuple(plan["approval_reasons"]),
        effects_of(plan),
        Plan.model_validate(plan),
    )


_TOLD: Any = {"access": True, "when": True, "action": True, "params": True, "changes": {"__all__": {"ref", "summary"}}}
"""What effects are told from; the objects as they were before make up most of a plan."""


def _sketch_of_plan(plan: Plan) -> Sketch:
    effects = effects_of({"steps": _acting(plan.steps), "rollback": _acting(plan.rollback)})
    return Sketch(plan.hash, plan.namespaces, plan.touched, plan.approval_reasons, effects, plan)


def effects_of(plan: Json) -> tuple[str, ...]:
    """What a plan does to the world: one line for each change and message, the way back included.

    Reads, names and texts for people are no effects: a plan that only looks at other things is the same plan.
    """
    ways = (("", plan["steps"]), ("rollback: ", plan.get("rollback") or ()))
    return tuple(f"{way}{line}" for way, steps in ways for step in leaves(steps) for line in _effects(step))


_ACTS = (Access.WRITE, Access.NOTIFY)


def _acting(steps: Sequence[PlannedStep]) -> list[Json]:
    found = (leaf for step in steps for leaf in step.each or (step,))
    return [leaf.model_dump(mode="json", include=_TOLD) for leaf in found if leaf.access in _ACTS]


def _effects(step: Json) -> list[str]:
    if step["access"] not in _ACTS or step.get("when") is False:
        return []
    only_when = "" if step.get("when", True) is True else f" when {step['when']}"
    changes = step.get("changes") or ()
    lines = [f"{step['action']} {_place(change.get('ref'))}: {change['summary']}{only_when}" for change in changes]
    params = orjson.dumps(step["params"], option=orjson.OPT_SORT_KEYS, default=str).decode()
    return lines or [f"{step['action']} {params}{only_when}"]


def _place(ref: Json | None) -> str:
    if not ref:
        return ""
    namespace = ref.get("namespace")
    return f"{ref['kind']}/{namespace + '/' if namespace else ''}{ref['name']}"


def _with_plan(request: GateRequest, sketch: Sketch, raw: Json, execution: Json | None) -> GateRequest:
    """The question with the plan's part. The blast radius that was measured holds for what it was measured of."""
    numbers = raw["numbers"]
    graph, live = numbers.get("blast_graph"), numbers.get("blast_live")
    measured = tuple(execution["plan"]["touched"]) if execution else None
    touched = sketch.touched if sketch.touched is not None else (request.target_key,)
    if graph is None or live is None or (sketch.touched is not None and measured != sketch.touched):
        raise NotRecorded(f"the blast radius of {', '.join(touched)} was not recorded")
    approvals = execution["approvals"] if execution else ()
    asked = tuple(r for one in approvals for r in one["reasons"] if r == NOT_COUNTED)
    return replace(
        request,
        namespaces=sketch.namespaces,
        plan_hash=sketch.hash,
        blast=BlastRadius(
            int(graph),
            int(live),
            touched or (request.target_key,),
            pods=numbers.get("namespace_pods"),
            cluster_pods=numbers.get("cluster_pods"),
            graph_age_seconds=0.0,  # what was too old then was refused then
        ),
        approval_reasons=(*sketch.approval_reasons, *asked[:1]),
        approval=_granted(sketch, approvals, execution),
    )


def _granted(sketch: Sketch, approvals: Sequence[Json], execution: Json | None) -> GrantedApproval | None:
    """A recorded yes counts for a plan that does the same."""
    yes = next((one for one in approvals if one["status"] == "approved"), None)
    if yes is None or execution is None or sketch.effects != effects_of(execution["plan"]):
        return None
    return GrantedApproval(yes["id"], sketch.hash, yes["answered_by"] or "somebody")


def _latest(raw: Json) -> Json | None:
    """The execution of the recorded decision; earlier attempts are other stories."""
    same = [one for one in raw["executions"] if one["attempt"] in (None, raw["attempt"])]
    return same[-1] if same else None


def _finished(execution: Json | None) -> datetime | None:
    if execution is None or not execution["started_at"] or not execution["finished_at"]:
        return None
    return datetime.fromisoformat(execution["finished_at"])


def _ended(execution: Json | None) -> tuple[str, str]:
    """Outcome and verdict, which an export keeps in the record of the execution; empty where there are none."""
    record = {**(execution or {}), **((execution or {}).get("record") or {})}
    return record.get("outcome") or "", record.get("verdict") or ""


def _recorded(raw: Json, execution: Json | None) -> Answer:
    used = raw["runbook"] or {}
    return Answer(
        kind=Kind(raw["kind"]),
        runbook=used.get("id", ""),
        version=used.get("version", ""),
        check=raw["check"],
        message=raw["message"],
        effects=effects_of(execution["plan"]) if execution else None,
    )


_NOT_PLANNED_WITH = {
    "name", "version", "author", "description", "legal_basis", "updated", "tags", "trigger", "kpis", "notification",
    "verification",
}  # fmt: skip
_GATE_ONLY = {
    "max_executions_per_hour", "rates", "max_concurrent", "blast_radius_limit", "blast_radius_percent",
    "protected_namespaces", "protected_labels", "cooldown", "approval_timeout",
}  # fmt: skip


def _same_plans(
    runbooks: Sequence[LoadedRunbook], versions: Mapping[tuple[str, str], str]
) -> Mapping[tuple[str, str], str]:
    """For each used version whose plans still stand, the sha of the changed file."""
    changed = {one.runbook.id: one for one in runbooks}
    stands = {(one.runbook.id, one.sha): one.sha for one in runbooks}
    for (name, sha), text in versions.items():
        now = changed.get(name)
        if now is None or not text or (name, sha) in stands:
            continue
        try:
            then = load_text(text)
        except RunbookError:
            continue  # an older release read it; its plans are made again
        if planned_with(then) == planned_with(now):
            stands[name, sha] = now.sha
    return stands


def planned_with(loaded: LoadedRunbook) -> Mapping[str, Any]:
    """The parts of a runbook that planning reads. What is not known to be left out counts."""
    told = loaded.runbook.model_dump(mode="json", exclude=_NOT_PLANNED_WITH)
    told["safety"] = {key: value for key, value in told["safety"].items() if key not in _GATE_ONLY}
    return told
