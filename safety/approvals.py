"""Approvals: one question to a human about one plan, answered once.

pending ──approve──> pending                             (a rule needs more people)
        ──approve──> approved ──overtake──> overtaken    (the plan changed before it was carried out)
        ──deny─────> denied
        ──expire───> expired
        ──overtake─> overtaken                           (the plan changed before anybody answered)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID, uuid5

from safety.model import GrantedApproval
from safety.quorum import Rule, Yes, missing, objection, person

_SPACE = UUID("8d7c5a9e-6b0f-5e58-9d6c-3f0b8f5a1c27")


class ApprovalStatus(StrEnum):
    """Where an approval stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    OVERTAKEN = "overtaken"


class Verb(StrEnum):
    """What can happen to an approval. People approve and deny; the pipeline expires and overtakes."""

    APPROVE = "approve"
    DENY = "deny"
    EXPIRE = "expire"
    OVERTAKE = "overtake"


TRANSITIONS: Mapping[tuple[ApprovalStatus, Verb], ApprovalStatus] = {
    (ApprovalStatus.PENDING, Verb.APPROVE): ApprovalStatus.APPROVED,
    (ApprovalStatus.PENDING, Verb.DENY): ApprovalStatus.DENIED,
    (ApprovalStatus.PENDING, Verb.EXPIRE): ApprovalStatus.EXPIRED,
    (ApprovalStatus.PENDING, Verb.OVERTAKE): ApprovalStatus.OVERTAKEN,
    (ApprovalStatus.APPROVED, Verb.OVERTAKE): ApprovalStatus.OVERTAKEN,
}


@dataclass(frozen=True, slots=True)
class Approval:
    """A question to a human about one plan.

    Attributes:
        id: derived, see ``approval_id``, so that asking again meets the same question.
        plan_hash: the plan that the answer is for; it is good for no other.
        expires_at: from then on the answer is no.
        reasons: why a human is asked.
        answered_by: who approved or denied; for the pipeline's own verbs what it calls itself.
        step: which step of a running execution it is about; empty for the plan as a whole.
        rules: of the runbook, those that apply; every one must be satisfied.
        yeses: who said yes so far.
        choice: the reason for a no that was chosen among those of the rules.
        bypass: emergency ways around it that the runbook names; for people, none can be used yet.
    """

    id: str
    execution_id: str
    incident_id: str
    plan_hash: str
    requested_at: datetime
    expires_at: datetime
    reasons: tuple[str, ...]
    status: ApprovalStatus = ApprovalStatus.PENDING
    answered_by: str = ""
    answer_reason: str = ""
    answered_at: datetime | None = None
    step: str = ""
    rules: tuple[Rule, ...] = ()
    yeses: tuple[Yes, ...] = ()
    choice: str = ""
    bypass: tuple[str, ...] = ()

    @property
    def lacking(self) -> tuple[str, ...]:
        """Who still has to say yes, one text for each rule that is not satisfied."""
        names = [yes.by for yes in self.yeses]
        found = ((rule.name, missing(rule, names)) for rule in self.rules)
        return tuple(f"{name}: {who}" for name, who in found if who)


class ApprovalProblem(StrEnum):
    """Why an answer does not count."""

    UNKNOWN = "unknown"
    NOT_POSSIBLE = "not_possible"
    EXPIRED = "expired"
    NOT_EXPIRED = "not_expired"
    PLAN_CHANGED = "plan_changed"
    NO_NAME = "no_name"
    NO_REASON = "no_reason"
    NOT_AS_ASKED = "not_as_asked"
    SAID_ALREADY = "said_already"
    NOT_ALLOWED = "not_allowed"


@dataclass(frozen=True, slots=True)
class ApprovalError:
    """An answer that does not count, as a value: nothing was changed. ``status`` is where the approval stands."""

    problem: ApprovalProblem
    message: str
    status: ApprovalStatus | None = None


def approval_id(execution_id: str, plan_hash: str, attempt: int = 1, step: str = "") -> str:
    """The id of the question about one plan of one execution, or about a step of it.

    Args:
        execution_id: the execution.
        plan_hash: of its plan.
        attempt: counts from 1 when it is asked anew.
        step: the step that is asked about; empty for the plan as a whole.
    """
    about = f"{execution_id}\n{plan_hash}\n{attempt}"
    return str(uuid5(_SPACE, f"{about}\n{step}" if step else about))


def ask(
    execution_id: str,
    incident_id: str,
    plan_hash: str,
    reasons: Sequence[str],
    *,
    now: datetime,
    timeout: timedelta,
    attempt: int = 1,
    step: str = "",
    rules: Sequence[Rule] = (),
    bypass: Sequence[str] = (),
) -> Approval:
    """A new question, pending until ``now + timeout``; with ``step`` it is about that step alone."""
    identity = approval_id(execution_id, plan_hash, attempt, step)
    asked = Approval(identity, execution_id, incident_id, plan_hash, now, now + timeout, tuple(reasons), step=step)
    return replace(asked, rules=tuple(rules), bypass=tuple(bypass))


def _objection(
    approval: Approval, verb: Verb, *, by: str, reason: str, now: datetime, choice: str
) -> tuple[ApprovalProblem, str] | None:
    """What speaks against an answer that the transition table allows."""
    over = now >= approval.expires_at
    if not by.strip():
        return ApprovalProblem.NO_NAME, "an answer needs the name of who gives it"
    if verb is Verb.DENY and not reason.strip():
        return ApprovalProblem.NO_REASON, "a denial needs a reason"
    if verb in {Verb.APPROVE, Verb.DENY} and over:
        return ApprovalProblem.EXPIRED, f"the approval expired at {approval.expires_at.isoformat()}"
    if verb is Verb.EXPIRE and not over:
        return ApprovalProblem.NOT_EXPIRED, f"the approval is open until {approval.expires_at.isoformat()}"
    return _not_as_asked(approval, verb, by, reason, choice) if verb in {Verb.APPROVE, Verb.DENY} else None


def _not_as_asked(
    approval: Approval, verb: Verb, by: str, reason: str, choice: str
) -> tuple[ApprovalProblem, str] | None:
    """What the rules have against an answer of a person."""
    if verb is Verb.APPROVE and person(by) in {person(yes.by) for yes in approval.yeses}:
        return ApprovalProblem.SAID_ALREADY, f"{by.strip()} said yes already; somebody else has to"
    said = objection(approval.rules, says_yes=verb is Verb.APPROVE, comment=reason, choice=choice)
    return (ApprovalProblem.NOT_AS_ASKED, said) if said else None


def answer(
    approval: Approval, verb: Verb, *, by: str, reason: str, now: datetime, plan_hash: str, choice: str = ""
) -> Approval | ApprovalError:
    """The approval after an answer, or why the answer does not count.

    A yes that is not enough for the rules is kept, and the approval stays pending.

    Args:
        approval: the question as it stands.
        verb: what happens to it.
        by: who says so.
        reason: why; a denial needs one.
        now: wall clock, UTC.
        plan_hash: hash of the plan that the answer was given to. To overtake it is the new plan's.
        choice: which of the answers that the rules offer.
    """
    status = TRANSITIONS.get((approval.status, verb))
    if status is None:
        by_whom = f" by {approval.answered_by}" if approval.answered_by else ""
        text = f"cannot {verb}: the approval is {approval.status}{by_whom}"
        return ApprovalError(ApprovalProblem.NOT_POSSIBLE, text, approval.status)
    if verb in {Verb.APPROVE, Verb.DENY} and plan_hash != approval.plan_hash:
        text = "the answer was given to another plan than the one that is asked about"
        return ApprovalError(ApprovalProblem.PLAN_CHANGED, text, approval.status)
    if problem := _objection(approval, verb, by=by, reason=reason, now=now, choice=choice):
        return ApprovalError(*problem, approval.status)
    who, why = by.strip(), reason.strip()
    if verb is not Verb.APPROVE:
        return replace(approval, status=status, answered_by=who, answer_reason=why, answered_at=now, choice=choice)
    more = replace(approval, yeses=(*approval.yeses, Yes(who, now, why, choice)))
    if more.lacking:
        return more
    people = ", ".join(yes.by for yes in more.yeses)
    return replace(more, status=status, answered_by=people, answer_reason=why, answered_at=now)


def granted(approval: Approval) -> GrantedApproval | None:
    """What the gate takes as a human's yes; None for anything but an approved question about the whole plan."""
    if approval.status is not ApprovalStatus.APPROVED or approval.step:
        return None
    return GrantedApproval(approval.id, approval.plan_hash, approval.answered_by)


class ApprovalStore(Protocol):
    """Where approvals are durable. Every surface (Slack, command line, web) answers through it."""

    async def request(self, approval: Approval) -> Approval:
        """Store a question; one that is known already stays as it is. Returns what is stored."""
        ...

    async def get(self, approval_id: str) -> Approval | None:
        """One approval, or None."""
        ...

    async def list(self, status: ApprovalStatus | None = None) -> Sequence[Approval]:
        """Approvals, those of one status or all, oldest question first."""
        ...

    async def answer(
        self, approval_id: str, verb: Verb, *, by: str, reason: str, now: datetime, plan_hash: str, choice: str = ""
    ) -> Approval | ApprovalError:
        """Answer as ``approvals.answer`` does, atomically: of two answers at once only one counts."""
        ...

    async def due(self, now: datetime) -> Sequence[Approval]:
        """Pending approvals whose time is over, for the sweeper to expire."""
        ...
