"""Named places where a process can be made to die: each lies between something durable and what follows from it.

Nothing in the product arms them, and no setting does: ``reach`` then is one comparison. The tests' own composition root
(``tests/chaos/victim.py``) arms them, kills the process there, and looks from outside at what came of it.
``docs/reliability.md`` has the table below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

Armed = Callable[["Failpoint", str], None]
"""Called at each failpoint with what it is about: an execution, a decision, a place in Kafka. It may not return."""


class Failpoint(StrEnum):
    """The failpoints, in the order in which an incident meets them."""

    INPUT_READ = "input.read"
    GATE_RESERVED = "gate.reserved"
    DECISION_RECORDED = "decision.recorded"
    PERMIT_CONFIRMED = "permit.confirmed"
    REQUEST_HANDED_OVER = "request.handed_over"
    MESSAGE_SENT = "message.sent"
    DECISION_PUBLISHED = "decision.published"
    OFFSET_DUE = "offset.due"
    OFFSET_COMMITTED = "offset.committed"
    PERMIT_ABORTED = "permit.aborted"
    QUESTION_POSTED = "question.posted"
    ANSWER_RECORDED = "answer.recorded"
    ANSWER_FOUND = "answer.found"
    ANSWER_CARRIED_OUT = "answer.carried_out"
    ANSWER_PUBLISHED = "answer.published"
    ANSWER_FOLLOWED = "answer.followed"
    REQUEST_TAKEN = "request.taken"
    CLAIMED = "execution.claimed"
    ADOPTED = "execution.adopted"
    START_TOLD = "start.told"
    QUESTION_INTENDED = "question.intended"
    QUESTION_OPEN = "question.open"
    QUESTION_TOLD = "question.told"
    ANSWER_HEARD = "answer.heard"
    STEP_PREPARED = "step.prepared"
    STEP_INTENDED = "step.intended"
    STEP_PERFORMED = "step.performed"
    STEP_RECORDED = "step.recorded"
    VERIFYING = "verification.begun"
    VERIFIED = "verification.ended"
    ROLLING_BACK = "rollback.begun"
    UNDO_INTENDED = "undo.intended"
    UNDO_PERFORMED = "undo.performed"
    UNDO_RECORDED = "undo.recorded"
    END_DUE = "end.due"
    END_TOLD = "end.told"
    ENDED = "execution.ended"
    LOCK_RELEASED = "lock.released"
    END_PUBLISHED = "end.published"
    TRIGGER_PUBLISHED = "trigger.published"
    ANCHOR_DUE = "anchor.due"
    ANCHOR_WRITTEN = "anchor.written"


@dataclass(frozen=True, slots=True)
class Boundary:
    """What lies on both sides of a failpoint.

    Attributes:
        group: of the points that belong together.
        module: file that reaches it.
        behind: what is durable, or done, when a process dies there.
        ahead: what nobody has done yet.
    """

    group: str
    module: str
    behind: str
    ahead: str


_COMMIT = "services/pipeline/commit.py"
_DESK = "services/pipeline/desk.py"
_ACT = "services/pipeline/act.py"
_FLOW = "executor/flow.py"
_ASKING = "executor/asking.py"
_ATTEMPTS = "executor/attempts.py"
_ROLLBACK = "executor/rollback.py"

BOUNDARIES: Mapping[Failpoint, Boundary] = {
    Failpoint.INPUT_READ: Boundary(
        "decide", "services/pipeline/ingest.py", "a batch is read from Kafka", "anything is decided"
    ),
    Failpoint.GATE_RESERVED: Boundary("decide", _COMMIT, "the gate has reserved", "the decision is recorded"),
    Failpoint.DECISION_RECORDED: Boundary(
        "decide", _COMMIT, "the decision is recorded", "the reservation is confirmed"
    ),
    Failpoint.PERMIT_CONFIRMED: Boundary("decide", _COMMIT, "the permit is confirmed", "the request is handed over"),
    Failpoint.REQUEST_HANDED_OVER: Boundary(
        "decide", _COMMIT, "the worker of this process has the request", "decision and request are published"
    ),
    Failpoint.MESSAGE_SENT: Boundary(
        "decide", "services/kafka/bus.py", "Kafka has one of several messages", "Kafka has the others"
    ),
    Failpoint.DECISION_PUBLISHED: Boundary(
        "decide", _COMMIT, "decision and request are published", "people are asked, the offset is committed"
    ),
    Failpoint.OFFSET_DUE: Boundary(
        "decide", "services/kafka/settling.py", "everything of the batch is done", "its offset is committed"
    ),
    Failpoint.OFFSET_COMMITTED: Boundary(
        "decide", "services/kafka/settling.py", "the commit is on its way", "the next batch is settled"
    ),
    Failpoint.PERMIT_ABORTED: Boundary(
        "sweep", "services/pipeline/sweep.py", "an unclaimed permit is aborted", "the gate has its reservation back"
    ),
    Failpoint.QUESTION_POSTED: Boundary(
        "approval", "services/approvals/keeper.py", "Slack has the question", "where it stands is recorded"
    ),
    Failpoint.ANSWER_RECORDED: Boundary(
        "approval", "services/approvals/answering.py", "the answer is recorded", "the pipeline is woken"
    ),
    Failpoint.ANSWER_FOUND: Boundary("approval", _DESK, "the answer is recorded", "it is carried out"),
    Failpoint.ANSWER_CARRIED_OUT: Boundary("approval", _DESK, "the permit is recorded", "the answer is published"),
    Failpoint.ANSWER_PUBLISHED: Boundary("approval", _DESK, "the answer is published", "it is marked as followed"),
    Failpoint.ANSWER_FOLLOWED: Boundary("approval", _DESK, "it is marked as followed", "anything else"),
    Failpoint.REQUEST_TAKEN: Boundary("act", _ACT, "the request is at a worker", "the execution is claimed"),
    Failpoint.CLAIMED: Boundary("act", _ACT, "the execution is claimed", "its first step begins"),
    Failpoint.ADOPTED: Boundary("act", _ACT, "an orphan is adopted", "it goes on"),
    Failpoint.START_TOLD: Boundary("act", _FLOW, "people are told of the beginning", "the first step begins"),
    Failpoint.QUESTION_INTENDED: Boundary(
        "question", _ASKING, "the intent to ask about a step is recorded", "the question is open"
    ),
    Failpoint.QUESTION_OPEN: Boundary("question", _ASKING, "the question is open", "people are told of it"),
    Failpoint.QUESTION_TOLD: Boundary("question", _ASKING, "people are told of it", "its answer is heard"),
    Failpoint.ANSWER_HEARD: Boundary("question", _ASKING, "its answer is heard", "the outcome is recorded"),
    Failpoint.STEP_PREPARED: Boundary("step", _ATTEMPTS, "the target is read", "the intent is recorded"),
    Failpoint.STEP_INTENDED: Boundary("step", _ATTEMPTS, "the intent is recorded", "the side effect"),
    Failpoint.STEP_PERFORMED: Boundary("step", _ATTEMPTS, "the side effect", "the outcome is recorded"),
    Failpoint.STEP_RECORDED: Boundary("step", "executor/steps.py", "the outcome is recorded", "the next step"),
    Failpoint.VERIFYING: Boundary("end", _FLOW, "all steps are done", "the target is watched"),
    Failpoint.VERIFIED: Boundary("end", _FLOW, "there is a verdict", "it is recorded"),
    Failpoint.ROLLING_BACK: Boundary("rollback", _FLOW, "the way back is recorded", "its first step"),
    Failpoint.UNDO_INTENDED: Boundary("rollback", _ROLLBACK, "the intent to undo is recorded", "the undo"),
    Failpoint.UNDO_PERFORMED: Boundary("rollback", _ROLLBACK, "the undo", "its outcome is recorded"),
    Failpoint.UNDO_RECORDED: Boundary("rollback", _ROLLBACK, "its outcome is recorded", "the next undo, or the end"),
    Failpoint.END_DUE: Boundary("end", _FLOW, "how it ends is known", "people are told"),
    Failpoint.END_TOLD: Boundary("end", _FLOW, "people are told", "the end is recorded"),
    Failpoint.ENDED: Boundary("end", _FLOW, "the end is recorded", "Redis releases the lock"),
    Failpoint.LOCK_RELEASED: Boundary("end", _ACT, "Redis has released the lock", "the end is published"),
    Failpoint.END_PUBLISHED: Boundary("end", _ACT, "the end is published", "anything else"),
    Failpoint.TRIGGER_PUBLISHED: Boundary(
        "schedule", "services/schedule.py", "Kafka has the request of a schedule", "the time is marked as fired"
    ),
    Failpoint.ANCHOR_DUE: Boundary(
        "audit", "services/audit/sealing.py", "the graph has the entries", "the book has their anchor"
    ),
    Failpoint.ANCHOR_WRITTEN: Boundary("audit", "services/audit/sealing.py", "the book has the anchor", "Kafka has it"),
}


class _Switch:
    """Whether failpoints are armed in this process."""

    armed: Armed | None = None


def reach(point: Failpoint, subject: str = "") -> None:
    """Say that the process is at a failpoint. Nothing happens unless a test armed it.

    Args:
        point: where it is.
        subject: what it works on there, so that a test can tell one execution from another.
    """
    if _Switch.armed is not None:
        _Switch.armed(point, subject)


def arm(armed: Armed | None) -> None:
    """Have something called at every failpoint of this process; None for nothing. For tests only."""
    _Switch.armed = armed
