"""The recorded answers of one execution, as actions: reads give what they gave, writes are compared and never made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from executor.actions.base import Action, ActionTable, Found, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.naming import aim
from executor.context import facts_of as target_facts
from executor.errors import PlanError, StepFailed
from executor.model import Access, ExecutionRecord, Plan, PlannedStep, StepRun, StepStatus
from executor.phases import STEP, UNDO, beside, is_question
from services.testing.volatile import differing, steady
from services.testing.wrapping import Wrapped

_RESOLVED = "_step"


@dataclass(frozen=True, slots=True)
class Deviation:
    """One difference between what was recorded and the replay.

    Attributes:
        step: name of the step; empty for the execution as a whole.
        what: what differs, such as ``params.patch.spec.replicas``.
    """

    step: str
    what: str
    recorded: Any = None
    replayed: Any = None

    def __str__(self) -> str:
        where = f"step {self.step!r}: " if self.step else ""
        if self.recorded is None and self.replayed is None:
            return f"{where}{self.what}"
        return f"{where}{self.what}: recorded {_short(self.recorded)}, replayed {_short(self.replayed)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."  # noqa: PLR2004 - a line that people can read


def compared(step: str, what: str, recorded: Any, replayed: Any) -> list[Deviation]:
    """The differences of two values, volatile parts left out."""
    found = differing(steady(recorded), steady(replayed), what)
    return [Deviation(step, path, one, other) for path, one, other in found]


@dataclass(slots=True)
class Answers:
    """What was recorded of one execution, and what differed when it was asked for.

    Attributes:
        lost: steps that did something which nobody recorded an answer to.
    """

    record: ExecutionRecord
    deviations: list[Deviation] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def run_of(self, stamp: Stamp, *, undo: bool = False) -> StepRun | None:
        """The recorded run of what a stamp names."""
        for run in self.record.steps:
            if is_question(run.phase) or run.phase == UNDO or run.phase.startswith(f"{UNDO}."):
                continue
            name = run.step_id if run.item is None else f"{run.step_id}.{run.item}"
            if stamp.step == (name if run.phase == STEP else f"{run.phase}-{name}"):
                return self._undo_of(run) if undo else run
        return None

    def _undo_of(self, made: StepRun) -> StepRun | None:
        wanted = (beside(UNDO, made.phase), made.index, made.item)
        return next((run for run in self.record.steps if (run.phase, run.index, run.item) == wanted), None)

    def differs(self, step: PlannedStep, what: str, recorded: Any, replayed: Any) -> None:
        """Compare, and keep the differences."""
        self.deviations += compared(step.name, what, recorded, replayed)


class Replayed(Wrapped):
    """An action whose every answer is the recorded one."""

    def __init__(self, inner: Action[Any], answers: Answers) -> None:
        super().__init__(inner)
        self._answers = answers

    async def plan(self, params: Any, facts: TargetFacts, world: World) -> Planned:
        """The parameters as they came; what they find or change is looked up when the step is performed."""
        if self.access is Access.NONE and type(self._inner).perform is Action.perform:
            return await self._inner.plan(params, facts, world)  # a calculation is done again
        return Planned(params.model_dump(mode="json", exclude_none=True))

    async def prepare(self, step: PlannedStep, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """Compare what would be sent with what was sent."""
        run = self._answers.run_of(stamp)
        if run is None:
            return {}
        before = dict(run.before or {})
        late = before.pop(_RESOLVED, None)
        if late is not None:
            facts = target_facts(self._answers.record.plan.context)
            self._answers.differs(step, "params", _filled_in(late["params"], facts), _filled_in(step.params, facts))
        return before

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """The recorded output, or the recorded failure."""
        return self._given(step, self._answers.run_of(stamp))

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """What was found out then."""
        run = self._answers.run_of(stamp)
        if run is None or run.status is StepStatus.UNKNOWN:
            return Recovery(Found.UNKNOWN)
        return Recovery(Found.DONE if run.status is StepStatus.SUCCEEDED else Found.NOT_DONE, run.output)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """The recorded way back."""
        return str(self._given(step, self._answers.run_of(stamp, undo=True)))

    def _given(self, step: PlannedStep, run: StepRun | None) -> Any:
        if run is None or run.action != self.name:
            self._answers.lost.append(step.name)
            raise StepFailed("what came of it was not recorded, so the replay ends here")
        if run.status in (StepStatus.FAILED, StepStatus.UNKNOWN):
            raise StepFailed(run.error)
        return run.output


def _filled_in(params: Mapping[str, Any], facts: TargetFacts) -> Mapping[str, Any]:
    """Parameters with object, name and namespace written out, as planning does."""
    if not isinstance(params.get("resource"), str):
        return params
    try:
        found = aim(params["resource"], params.get("name"), params.get("namespace"), facts)
    except PlanError:
        return params
    return {**params, "resource": found.kind, "name": found.name, "namespace": found.namespace}


class ReplayedActions(Mapping[str, Action[Any]]):
    """An action table that gives the recorded answers."""

    def __init__(self, actions: ActionTable, answers: Answers) -> None:
        self._actions = actions
        self._answers = answers

    def __getitem__(self, name: str) -> Action[Any]:
        return Replayed(self._actions[name], self._answers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._actions)

    def __len__(self) -> int:
        return len(self._actions)


_TOLD = ("id", "action", "access", "params", "when", "deferred", "depends_on", "on_failure", "result")


def plan_deviations(recorded: Plan, replayed: Plan) -> list[Deviation]:
    """What two plans differ in, step by step."""
    found = _steps(recorded.steps, replayed.steps, "")
    found += _steps(recorded.rollback, replayed.rollback, "rollback: ")
    for what in ("target_key", "namespaces", "touched", "approval_reasons"):
        one, other = recorded.model_dump(mode="json")[what], replayed.model_dump(mode="json")[what]
        found += compared("", what, one, other)
    return found


def _steps(recorded: Sequence[PlannedStep], replayed: Sequence[PlannedStep], where: str) -> list[Deviation]:
    known = {step.id: step for step in recorded}
    new = {step.id: step for step in replayed}
    found = [Deviation(f"{where}{known[name].name}", "is gone") for name in known if name not in new]
    for name, step in new.items():
        if name not in known:
            found.append(Deviation(f"{where}{step.name}", "is new"))
            continue
        one, other = _told(known[name]), _told(step)
        found += [d for what in one for d in compared(f"{where}{step.name}", what, one[what], other[what])]
    order = [name for name in known if name in new]
    if order != [name for name in new if name in known]:
        found.append(Deviation("", "the order of the steps", order, [name for name in new if name in known]))
    return found


def _told(step: PlannedStep) -> dict[str, Any]:
    told = step.model_dump(mode="json", include=set(_TOLD))
    changes = [change.model_dump(mode="json", include={"verb", "summary"}) for change in step.changes]
    return {**told, "changes": changes}
