"""One recorded execution again: planned from what was read then, run by the executor, every difference told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from executor.actions.base import ActionTable
from executor.errors import HandedOver, RemediationError
from executor.health import Reading
from executor.judge import Observation, judge
from executor.model import Evidence, ExecutionRecord, ObjectRef, Plan, Status, StepRun, Verdict
from executor.phases import is_question
from executor.planner import Planner
from executor.runner import Executor
from executor.settings import ExecutorSettings
from matcher.model import Incident, Match
from runbooks.findings import RunbookError
from runbooks.loader import load_text
from runbooks.model import LoadedRunbook
from safety.model import BlastRadius, GateRequest, GrantedApproval, Limits, Permit
from safety.surroundings import CLEAR
from services.testing.journal import MemoryJournal
from services.testing.permits import REPLAYED, permitted
from services.testing.recorded import FromRecords, HiddenSecrets, NotRecorded, facts_of, recorded_world, silent_world
from services.testing.replaying import Answers, Deviation, ReplayedActions, compared, plan_deviations

_INCIDENT = TypeAdapter(Incident)
_EVIDENCE = TypeAdapter(tuple[Evidence, ...])
_AFTER = "after the rollback: "
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of a replay.

    Attributes:
        steps: every step of the replay with the texts of its deviations.
        notes: what could not be replayed, and why; no deviation by itself.
    """

    execution: str
    runbook: str
    version: str
    steps: tuple[StepRun, ...]
    deviations: tuple[Deviation, ...]
    notes: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether everything came out as recorded."""
        return not self.deviations


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded of one execution.

    Attributes:
        incident: as exported.
        execution: one of its executions.
        text: the runbook version; empty when it is not known.
    """

    incident: Json
    execution: Json
    text: str = ""


class ReplayError(RemediationError):
    """What was recorded cannot be replayed."""


class _Clock:
    """Time of the replay: it stands at the recorded start, and sleeping only moves it."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment
        self._elapsed = 0.0

    def now(self) -> datetime:
        return self._moment

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        self._moment += timedelta(seconds=max(seconds, 0))
        self._elapsed += max(seconds, 0)


class _Ears:
    """Stops the executor when it begins to verify: that world is gone, and its evidence is judged instead."""

    def __init__(self) -> None:
        self.executor: Executor | None = None

    def event(self, name: str, **_: Any) -> None:
        if name == "execution.verifying" and self.executor is not None:
            self.executor.stop()


class _Always:
    """Nobody pauses a replay."""

    async def check(self, execution_id: str, target_key: str, epoch: int) -> None:
        """Every step may start."""


class _NoSignals:
    """Nothing new is heard of in a replay."""

    async def since(
        self, tenant: str, target_key: str, subjects: Sequence[ObjectRef], moment: datetime
    ) -> Sequence[str]:
        """No signals."""
        return ()


def execution_in(incidents: Sequence[Json], text: str) -> tuple[Json, Json]:
    """The incident and execution that a text names: an id, or the beginning of one.

    Raises:
        ReplayError: none, or several.
    """
    found = [
        (incident, execution)
        for incident in incidents
        for execution in incident["executions"]
        if any(name.startswith(text) for name in (execution["id"], incident["id"], incident["decision"]))
    ]
    exact = [pair for pair in found if pair[1]["id"] == text]
    if len(exact or found) != 1:
        ids = "".join(f"\n  {execution['id']}" for _, execution in found)
        raise ReplayError(f"{'several executions begin' if found else 'no execution begins'} with '{text}'{ids}")
    return (exact or found)[0]


async def replay(
    recording: Recording,
    actions: ActionTable,
    parameters: Mapping[str, Any],
    against: LoadedRunbook | None = None,
) -> Replay:
    """Replay one execution.

    Args:
        recording: what was recorded of it.
        actions: the table.
        parameters: configured values by runbook id; the recorded ones count where they are known.
        against: run this runbook instead of the recorded plan.

    Raises:
        ReplayError: the record cannot be read, or the execution has not ended.
    """
    execution = recording.execution
    record = _record(execution)
    if record.status is not Status.DONE:
        raise ReplayError(f"execution {record.id} has not ended: it is {record.status.value}")
    changed = "its record was changed after it was written"
    deviations = [Deviation(_name_of(record, number), changed) for number in execution.get("altered") or ()]
    notes: list[str] = []
    loaded = against or _loaded(recording.text, notes)
    planned = await _planned(recording, loaded, actions, parameters, notes) if loaded else None
    plan = record.plan if against is None else planned
    if planned is not None:
        deviations += plan_deviations(record.plan, planned)
    deviations += _planned_results(record)
    ran = record.model_copy(update={"steps": ()})
    if plan is not None:
        answers = Answers(record)
        ran = await _run(record, plan, actions, answers, approved=bool(execution["approvals"]))
        deviations += answers.deviations
        deviations += [Deviation(name, "what came of it was not recorded") for name in answers.lost]
        deviations += _run_deviations(record, ran) + _verdict_deviations(record, execution)
    else:
        deviations.append(Deviation("", "the runbook cannot be planned for the recorded incident"))
    told = tuple(dict.fromkeys(map(_hashable, deviations)))
    return Replay(record.id, record.plan.runbook_id, record.plan.runbook_version, ran.steps, told, tuple(notes))


def _hashable(deviation: Deviation) -> Deviation:
    """Values as text, so that equal deviations are told once."""

    def told(value: Any) -> Any:
        return value if isinstance(value, str | int | float | bool | type(None)) else repr(value)

    return replace(deviation, recorded=told(deviation.recorded), replayed=told(deviation.replayed))


def _record(execution: Json) -> ExecutionRecord:
    try:
        return ExecutionRecord.model_validate(
            {**execution["record"], "plan": execution["plan"], "steps": execution["steps"]}
        )
    except (KeyError, ValidationError) as error:
        raise ReplayError(f"the record of execution {execution.get('id')} cannot be read: {error}") from error


def _name_of(record: ExecutionRecord, run_id: str) -> str:
    return next((run.name for run in record.steps if run.id == run_id), run_id)


def _loaded(text: str, notes: list[str]) -> LoadedRunbook | None:
    if not text:
        notes.append("the text of the runbook version was not recorded: its plan was not made again")
        return None
    try:
        return load_text(text)
    except RunbookError as error:
        notes.append(f"the recorded runbook version cannot be read any more: its plan was not made again: {error}")
        return None


async def _planned(
    recording: Recording,
    loaded: LoadedRunbook,
    actions: ActionTable,
    parameters: Mapping[str, Any],
    notes: list[str],
) -> Plan | None:
    """The plan made again from what was read then; None when something that it needs was not recorded."""
    execution = recording.execution
    facts = facts_of(execution)
    moment = datetime.fromisoformat(execution["requested_at"])
    given = {**parameters, loaded.runbook.id: _inputs(execution, loaded, parameters)}
    planner = Planner(FromRecords(actions, facts), recorded_world(facts, moment), given)
    match = Match(_INCIDENT.validate_python(recording.incident["incident"]), loaded, ())
    try:
        return await planner.plan(match, execution["id"])
    except NotRecorded as error:
        notes.append(f"the plan cannot be made again: {error}")
    except RemediationError as error:
        notes.append(f"the plan cannot be made any more: {error}")
    return None


def _inputs(execution: Json, loaded: LoadedRunbook, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recorded parameters, as far as the runbook still has them."""
    recorded = execution["plan"]["context"].get("params") or {}
    known = {parameter.name for parameter in loaded.runbook.parameters}
    return {**(parameters.get(loaded.runbook.id) or {}), **{k: v for k, v in recorded.items() if k in known}}


def _planned_results(record: ExecutionRecord) -> list[Deviation]:
    """What planning found stands in the plan and in the journal: both must say the same."""
    runs = {(run.phase, run.index): run for run in record.steps}
    found: list[Deviation] = []
    for step in record.plan.steps:
        run = runs.get(("step", step.index))
        if step.planned and run is not None and not _cut(run.output):
            found += compared(step.name, "output", step.result, run.output)
    return found


def _cut(output: Any) -> bool:
    """Whether the journal kept only the beginning."""
    return isinstance(output, Mapping) and output.get("truncated") is True


async def _run(
    record: ExecutionRecord, plan: Plan, actions: ActionTable, answers: Answers, *, approved: bool
) -> ExecutionRecord:
    """Run the plan with the executor, on recorded answers."""
    clock = _Clock(record.started_at or record.requested_at or datetime.fromisoformat("2026-01-01T00:00:00+00:00"))
    # Preconditions looked at a world that is gone; that they held then is why the execution went on.
    plan = plan.model_copy(update={"terms": plan.terms.model_copy(update={"preconditions": ()})})
    answered = tuple(run for run in record.steps if is_question(run.phase))
    begun = record.model_copy(
        update={
            "plan": plan, "status": Status.RUNNING, "steps": answered, "verdict": None, "outcome": None, "error": "",
            "finished_at": None, "notification": {}, "resumed": False,
        }
    )  # fmt: skip
    permit = await _permit(begun, clock, approved=approved)
    journal = MemoryJournal()
    journal.open(begun, permit.token)
    await _execute(permit, begun, journal, clock, ReplayedActions(actions, answers))
    ended = await journal.load(record.id)
    if ended is not None and ended.status is Status.VERIFYING and _went_back(record):
        back = ended.model_copy(update={"status": Status.ROLLING_BACK, "rollback_with": record.rollback_with})
        journal.open(back, permit.token)
        await _execute(permit, back, journal, clock, ReplayedActions(actions, answers))
        ended = await journal.load(record.id)
    return ended or begun


def _went_back(record: ExecutionRecord) -> bool:
    return any(run.phase in ("rollback", "undo") or run.phase.startswith("undo.") for run in record.steps)


async def _execute(
    permit: Permit, record: ExecutionRecord, journal: MemoryJournal, clock: _Clock, actions: ActionTable
) -> None:
    ears = _Ears()
    world = silent_world(clock=clock, secrets=HiddenSecrets())
    executor = Executor(
        actions=actions,
        world=world,
        journal=journal,
        guard=_Always(),
        clock=clock,
        hooks=ears,
        fresh=_NoSignals(),
        settings=ExecutorSettings(revalidate=False),
    )
    ears.executor = executor
    try:
        await executor.run(permit, record)
    except HandedOver:
        return


async def _permit(record: ExecutionRecord, clock: _Clock, *, approved: bool) -> Permit:
    plan, incident = record.plan, record.incident
    request = GateRequest(
        execution_id=record.id,
        tenant=str(incident["tenant"]),
        cluster=str(incident["cluster"]),
        runbook_id=plan.runbook_id,
        target_key=plan.target_key,
        namespaces=plan.namespaces,
        confidence=1.0,
        plan_hash=plan.hash,
        blast=BlastRadius(1, 1, plan.touched or (plan.target_key,), graph_age_seconds=0),
        around=CLEAR,
        limits=Limits(0, 1, 1, 0),
        approval=GrantedApproval("recorded", plan.hash, "recorded") if approved or plan.approval_reasons else None,
    )
    answer = await permitted(request, REPLAYED, clock)
    if not isinstance(answer, Permit):
        raise ReplayError(f"the gate gives no permit for the recorded plan: {answer}")
    return answer


def _run_deviations(record: ExecutionRecord, ran: ExecutionRecord) -> list[Deviation]:
    """Which steps ran, how they ended, and what they gave."""
    known = {run.id: run for run in record.steps}
    again = {run.id: run for run in ran.steps}
    found = [Deviation(run.name, f"did not run again ({run.phase})") for key, run in known.items() if key not in again]
    for key, run in again.items():
        then = known.get(key)
        if then is None:
            found.append(Deviation(run.name, f"did not run then ({run.phase})"))
            continue
        found += compared(run.name, "status", then.status.value, run.status.value)
        found += compared(run.name, "error", then.error, run.error)
        if not _cut(then.output):
            found += compared(run.name, "output", then.output, run.output)
    if record.verdict is None and ran.outcome is not None:
        found += compared("", "outcome", record.outcome, ran.outcome)
    return found


def _verdict_deviations(record: ExecutionRecord, execution: Json) -> list[Deviation]:
    """Whether the recorded evidence carries the recorded verdict."""
    evidence = [one for one in _EVIDENCE.validate_python(execution["evidence"]) if not one.detail.startswith(_AFTER)]
    if record.verdict is None or not evidence:
        missing = record.verdict is Verdict.VERIFIED
        return [Deviation("", "verified without any evidence")] if missing else []
    seen = [Observation(one.at, Reading(one.healthy, one.detail)) for one in evidence]
    last, settle = seen[-1].at, timedelta(seconds=record.settle_seconds)
    judged = judge(seen, settle, last, last)
    if record.verdict is Verdict.VERIFIED and judged is not Verdict.VERIFIED:
        return [Deviation("", "verdict", record.verdict.value, judged.value if judged else "too early to tell")]
    if record.verdict is Verdict.NOT_FIXED and judged is Verdict.VERIFIED and not record.plan.terms.triggers:
        return [Deviation("", "verdict", record.verdict.value, judged.value)]
    return []


__all__ = ["Deviation", "Recording", "Replay", "ReplayError", "execution_in", "replay"]
