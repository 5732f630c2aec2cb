"""What follows from what has ended so far. Pure functions of the plan and the journal, the same after a crash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from executor.context import SEPARATOR, steps_in
from executor.graph import ancestors
from executor.lifecycle import Next, after_step
from executor.model import ExecutionRecord, PlannedStep, StepRun, StepStatus
from executor.phases import GO_ON, STEP, beside, procedure_phase
from executor.triggers import next_after
from runbooks.model import OnSuccess

_SEVEREST = (Next.ASK_HUMAN, Next.RUN, Next.ROLL_BACK, Next.ABORT, Next.APPROVE)
"""Of several things that could follow at once, the first of these does."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows.

    Attributes:
        step: whose end it follows from; None when everything just goes on.
        run: how that step ended.
        procedure: which one takes back, when a trigger named one.
    """

    next: Next = Next.GO_ON
    step: PlannedStep | None = None
    run: StepRun | None = None
    procedure: str = ""


class Standing:
    """Where the steps of one phase stand.

    Args:
        record: the execution as the journal has it.
        phase: ``step``, or that of a procedure.
    """

    def __init__(self, record: ExecutionRecord, phase: str = STEP) -> None:
        self._record = record
        self._phase = phase
        self.steps = steps_in(record.plan, phase)
        self._runs: Mapping[tuple[str, int], StepRun] = {
            (run.phase, run.index): run for run in record.steps if run.item is None
        }
        self._by_id = {step.id: step for step in self.steps}

    def run_of(self, step: PlannedStep) -> StepRun | None:
        """What the journal says of a step."""
        return self._runs.get((self._phase, step.index))

    def ended(self, step: PlannedStep) -> bool:
        """Whether a step has an outcome."""
        run = self.run_of(step)
        return run is not None and run.status is not StepStatus.INTENDED

    def begun(self) -> list[PlannedStep]:
        """Steps with an intent and no outcome."""
        return [step for step in self.steps if (run := self.run_of(step)) and run.status is StepStatus.INTENDED]

    def decision(self) -> Decision:
        """The severest of what follows from the steps that have ended; of equals, from the first."""
        found = [self._after(step) for step in self.steps if self.ended(step)]
        for severest in _SEVEREST:
            if chosen := next((one for one in found if one.next is severest), None):
                return chosen
        return Decision()

    def ready(self) -> list[PlannedStep]:
        """Steps that may start now, in the order of the list: all that they wait for has ended.

        Also what those wait for in turn: a step that planning worked out has ended before anything began.
        """
        waits = ancestors(self.steps)
        done = {step.id for step in self.steps if self.ended(step)}
        return [step for step in self.steps if self.run_of(step) is None and done.issuperset(waits[step.id])]

    def needless(self) -> Iterator[tuple[PlannedStep, str]]:
        """Steps that will not run any more, each with the reason."""
        for step in self.steps:
            if self.run_of(step) is None and (why := self._why_not(step)):
                yield step, why

    def failed_inside(self, leave: PlannedStep) -> str:
        """Why a called runbook failed; empty when it did not."""
        for step in self.steps:
            if step.scope == leave.id and self.ended(step) and self._stops(step):
                run = self.run_of(step)
                return f"step {step.name!r}: {run.error if run else ''}"
        return ""

    def _why_not(self, step: PlannedStep) -> str:
        scope = step.scope
        while True:
            if complete := self._completed(scope):
                return f"not needed: {complete.name!r} completed the runbook"
            if not scope:
                return ""
            enter = self._by_id.get(f"{scope}{SEPARATOR}")
            if enter is None:
                return ""
            run = self.run_of(enter)
            if run is not None and run.status in (StepStatus.SKIPPED, StepStatus.FAILED):
                return f"{enter.name!r} was {run.status}"
            if self.failed_inside(self._by_id[scope]):
                return f"the runbook that {enter.name!r} called failed"
            scope = enter.scope

    def _completed(self, scope: str) -> PlannedStep | None:
        for step in self.steps:
            run = self.run_of(step)
            done = run is not None and run.status is StepStatus.SUCCEEDED
            if step.scope == scope and step.on_success is OnSuccess.COMPLETE and done:
                return step
        return None

    def _stops(self, step: PlannedStep) -> bool:
        """Whether the end of a step ends the runbook that it belongs to."""
        return self._raw(step).next in (Next.ABORT, Next.ROLL_BACK)

    def _after(self, step: PlannedStep) -> Decision:
        """What follows from the end of one step."""
        raw = self._raw(step)
        if step.scope and self._phase == STEP and raw.next in (Next.ABORT, Next.ROLL_BACK):
            return Decision()  # the step that leaves the called runbook fails with it, and decides
        return raw

    def _raw(self, step: PlannedStep) -> Decision:
        run = self.run_of(step)
        if run is None:
            return Decision()
        following = after_step(step, run.status)
        if run.status is not StepStatus.FAILED:
            return Decision(following, step, run)
        following, chosen = next_after(self._record.plan.terms, step, run.status, following)
        if step.run_on_failure and self._phase == STEP:
            inner = self._procedure(step)
            if inner.next is not Next.GO_ON:
                return inner
        if following is Next.APPROVE:
            following = self._answered(step)
        return Decision(following, step, run, chosen)

    def _procedure(self, step: PlannedStep) -> Decision:
        """What follows from the procedure of a failed step; to run it, as long as it is not done."""
        inner = Standing(self._record, procedure_phase(step.index))
        decision = inner.decision()
        if decision.next is Next.GO_ON and not all(inner.ended(one) or inner._why_not(one) for one in inner.steps):
            return Decision(Next.RUN, step, self.run_of(step))
        return decision

    def _answered(self, step: PlannedStep) -> Next:
        """What a human said about a failed step; to ask, as long as nobody did."""
        asked = self._runs.get((beside(GO_ON, self._phase), step.index))
        if asked is None or asked.status is StepStatus.INTENDED:
            return Next.APPROVE
        return Next.GO_ON if asked.status is StepStatus.SUCCEEDED else Next.ROLL_BACK


def writes_made(record: ExecutionRecord, steps: Sequence[PlannedStep]) -> bool:
    """Whether any of these steps may have changed something."""
    indexes = {step.index for step in steps}
    return any(run.phase == STEP and run.index in indexes and run.before is not None for run in record.steps)
