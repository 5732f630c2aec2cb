"""The life of an execution: where it may go from where it stands, and how it ends.

Everything here is a pure function over values, so that the rules can be read and tested as a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from executor.context import steps_in
from executor.errors import NotPermitted
from executor.model import Access, ExecutionRecord, Outcome, PlannedStep, Status, StepRun, StepStatus, Verdict
from executor.phases import STEP, is_backward, is_forward
from runbooks.model import OnFailure, OnNotFixed, OnSuccess


class Event(StrEnum):
    """What can happen to an execution."""

    APPROVED = "approved"
    REDEEMED = "redeemed"
    STEPS_DONE = "steps_done"
    STEP_FAILED = "step_failed"
    NOT_FIXED = "not_fixed"
    ENDED = "ended"


TRANSITIONS: dict[tuple[Status, Event], Status] = {
    (Status.WAITING_APPROVAL, Event.APPROVED): Status.PERMITTED,
    (Status.WAITING_APPROVAL, Event.ENDED): Status.DONE,
    (Status.PERMITTED, Event.REDEEMED): Status.RUNNING,
    (Status.PERMITTED, Event.ENDED): Status.DONE,
    (Status.RUNNING, Event.STEPS_DONE): Status.VERIFYING,
    (Status.RUNNING, Event.STEP_FAILED): Status.ROLLING_BACK,
    (Status.RUNNING, Event.ENDED): Status.DONE,
    (Status.VERIFYING, Event.NOT_FIXED): Status.ROLLING_BACK,
    (Status.VERIFYING, Event.ENDED): Status.DONE,
    (Status.ROLLING_BACK, Event.ENDED): Status.DONE,
}
"""Every allowed move; what is not here is refused."""


def advance(status: Status, event: Event) -> Status:
    """Where an execution goes next.

    Raises:
        NotPermitted: the event cannot happen in this status.
    """
    following = TRANSITIONS.get((status, event))
    if following is None:
        raise NotPermitted(f"an execution that is {status} cannot take {event}")
    return following


class Next(StrEnum):
    """What follows a step."""

    GO_ON = "go_on"
    ABORT = "abort"
    ROLL_BACK = "roll_back"
    ASK_HUMAN = "ask_human"
    """It ends as it is: nobody but a human can see what happened."""
    RUN = "run"
    """A procedure runs first; what follows is told after it."""
    APPROVE = "approve"
    """A human is asked whether to go on; a no, or silence, rolls back."""


def after_step(step: PlannedStep, status: StepStatus) -> Next:
    """What follows a step that ended with ``status``.

    An unknown write stops everything: repeating or undoing what nobody can see is a human's decision. An unknown
    message is not worth that: it is never sent twice, and the execution goes on.
    """
    if status is StepStatus.UNKNOWN and step.access is Access.WRITE:
        return Next.ASK_HUMAN
    if status is not StepStatus.FAILED:
        return Next.GO_ON
    return {
        OnFailure.ABORT: Next.ABORT,
        OnFailure.CONTINUE: Next.GO_ON,
        OnFailure.ROLLBACK: Next.ROLL_BACK,
        OnFailure.APPROVE: Next.APPROVE,
    }[step.on_failure]


def changed_something(record: ExecutionRecord) -> bool:
    """Whether any write may have reached the world: it has an intent, whatever became of it."""
    return any(run.before is not None for _, run in writes_of(record))


def writes_of(record: ExecutionRecord) -> Iterator[tuple[PlannedStep, StepRun]]:
    """The runs of steps that write, of the runbook and of its procedures, in the order of the journal."""
    steps = {
        (phase, step.index): step
        for phase in dict.fromkeys(run.phase for run in record.steps if is_forward(run.phase))
        for step in steps_in(record.plan, phase)
        if step.access is Access.WRITE
    }
    for run in record.steps:
        if (step := steps.get((run.phase, run.index))) is not None:
            yield step, run


def outcome_of_verdict(record: ExecutionRecord, verdict: Verdict, *, triggered: bool = False) -> Outcome | None:
    """How an execution ends whose steps are done; None when it has to be rolled back first.

    ================  =====================================================================================
    verified          ``success``; ``partial`` when a step failed that the runbook lets fail (messages do not count)
    inconclusive      rolled back first, when the runbook says so and something was changed; else ``partial``: the
                      steps are done and kept, but nothing proves that they helped
    not fixed         rolled back first, when the runbook or a trigger of it says so and something was changed; else
                      ``failure``
    ================  =====================================================================================

    Args:
        record: as it stands after the steps.
        verdict: what the world says.
        triggered: a rollback trigger led to the verdict.
    """
    if verdict is Verdict.VERIFIED:
        return Outcome.PARTIAL if _missed(record) else Outcome.SUCCESS
    unproven = verdict is Verdict.INCONCLUSIVE
    asked = record.on_inconclusive if unproven else record.on_not_fixed
    named = not unproven and (triggered or any(trigger.not_fixed for trigger in record.plan.terms.triggers))
    wants = asked == OnNotFixed.ROLLBACK or named
    if wants and changed_something(record):
        return None
    return Outcome.PARTIAL if unproven else Outcome.FAILURE


def _missed(record: ExecutionRecord) -> bool:
    may_fail = {step.index for step in record.plan.steps if step.access is Access.NOTIFY or _is_checkpoint(step)}
    bad = (StepStatus.FAILED, StepStatus.UNKNOWN)
    return any(run.status in bad and run.index not in may_fail for run in record.steps if run.phase == STEP)


def _is_checkpoint(step: PlannedStep) -> bool:
    """Whether its failure only says that the next, stronger step is needed."""
    return step.on_success is OnSuccess.COMPLETE and step.on_failure is OnFailure.CONTINUE


def outcome_of_stop(record: ExecutionRecord, following: Next) -> Outcome:
    """How an execution ends that stopped in its steps and is not rolled back.

    ``aborted`` when nothing was changed, or when a step's effect is unknown and a human has to look;
    ``failure`` when earlier changes stay.
    """
    if following is Next.ASK_HUMAN or not changed_something(record):
        return Outcome.ABORTED
    return Outcome.FAILURE


def outcome_of_rollback(runs: Iterable[StepRun]) -> Outcome:
    """``rollback`` when everything was undone, ``failure`` when any part of it was not."""
    undone = [run for run in runs if is_backward(run.phase)]
    fine = (StepStatus.SUCCEEDED, StepStatus.SKIPPED)
    return Outcome.ROLLBACK if undone and all(run.status in fine for run in undone) else Outcome.FAILURE
