"""Approvals: one question to a human about one plan, answered once.

pending ──approve──> pending                             (a rule needs more people)
        ──approve──> approved ──overtake──> overtaken    (the plan changed before it was carried out)
        ──deny─────> denied
        ──bypass───> approved ──overtake──> overtaken    (an emergency: without the people whom the rules ask)
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
from safety.quorum import Approver, Bypass, Rule, Voter, Yes, helps, missing, objection, person, wanted

_SPACE = UUID("8d7c5a9e-6b0f-5e58-9d6c-3f0b8f5a1c27")


class ApprovalStatus(StrEnum):
    """Where an approval stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    OVERTAKEN = "overtaken"


class Verb(StrEnum):
    """What can happen to an approval. People approve, deny and bypass; the pipeline expires and overtakes."""

    APPROVE = "approve"
    DENY = "deny"
    BYPASS = "bypass"
    EXPIRE = "expire"
    OVERTAKE = "overtake"


TRANSITIONS: Mapping[tuple[ApprovalStatus, Verb], ApprovalStatus] = {
    (ApprovalStatus.PENDING, Verb.APPROVE): ApprovalStatus.APPROVED,
    (ApprovalStatus.PENDING, Verb.DENY): ApprovalStatus.DENIED,
    (ApprovalStatus.PENDING, Verb.BYPASS): ApprovalStatus.APPROVED,
    (ApprovalStatus.PENDING, Verb.EXPIRE): ApprovalStatus.EXPIRED,
    (ApprovalStatus.PENDING, Verb.OVERTAKE): ApprovalStatus.OVERTAKEN,
    (ApprovalStatus.APPROVED, Verb.OVERTAKE): ApprovalStatus.OVERTAKEN,
}

BY_PEOPLE = frozenset({Verb.APPROVE, Verb.DENY, Verb.BYPASS})
"""Answers: given to a plan, before it expires."""
EMERGENCY = "emergency"
"""The name of a bypass where the runbook names none."""


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
        bypass: emergency ways around it that the runbook names.
        barred: people who may not say yes, because they asked for the run or wrote the runbook.
        bypassed: the emergency way that was taken; empty for none.
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
    bypass: tuple[Bypass, ...] = ()
    barred: tuple[str, ...] = ()
    bypassed: str = ""

    @property
    def lacking(self) -> tuple[str, ...]:
        """Who still has to say yes, one text for each rule that is not satisfied."""
        found = ((rule.name, missing(rule, self.yeses, self.requested_at)) for rule in self.rules)
        return tuple(f"{name}: {who}" for name, who in found if who)

    @property
    def wanted(self) -> tuple[Approver, ...]:
        """Whose turn it is now; empty where anybody who may answer will do."""
        turns = (wanted(rule, self.yeses, self.requested_at) for rule in self.rules)
        return tuple(dict.fromkeys(each for turn in turns for each in turn))


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
    OWN_REQUEST = "own_request"
    NOT_ASKED = "not_asked"


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
    bypass: Sequence[Bypass] = (),
    barred: Sequence[str] = (),
) -> Approval:
    """A new question, pending until ``now + timeout``; with ``step`` it is about that step alone."""
    identity = approval_id(execution_id, plan_hash, attempt, step)
    asked = Approval(identity, execution_id, incident_id, plan_hash, now, now + timeout, tuple(reasons), step=step)
    return replace(asked, rules=tuple(rules), bypass=tuple(bypass), barred=tuple(filter(None, map(str.strip, barred))))


_NEEDS_REASON = {Verb.DENY: "a denial needs a reason", Verb.BYPASS: "a bypass needs a justification"}


def _objection(
    approval: Approval, verb: Verb, *, by: str, reason: str, now: datetime, choice: str
) -> tuple[ApprovalProblem, str] | None:
    """What speaks against an answer that the transition table allows."""
    over = now >= approval.expires_at
    if not by.strip():
        return ApprovalProblem.NO_NAME, "an answer needs the name of who gives it"
    if verb in _NEEDS_REASON and not reason.strip():
        return ApprovalProblem.NO_REASON, _NEEDS_REASON[verb]
    if verb in BY_PEOPLE and over:
        return ApprovalProblem.EXPIRED, f"the approval expired at {approval.expires_at.isoformat()}"
    if verb is Verb.EXPIRE and not over:
        return ApprovalProblem.NOT_EXPIRED, f"the approval is open until {approval.expires_at.isoformat()}"
    if verb in {Verb.APPROVE, Verb.DENY}:
        said = objection(approval.rules, says_yes=verb is Verb.APPROVE, comment=reason, choice=choice)
        return (ApprovalProblem.NOT_AS_ASKED, said) if said else None
    return None


def _not_theirs(approval: Approval, yes: Yes) -> tuple[ApprovalProblem, str] | None:
    """Why a yes is not for this person to give."""
    who = person(yes.by)
    if who in {person(each.by) for each in approval.yeses}:
        return ApprovalProblem.SAID_ALREADY, f"{yes.by} said yes already; somebody else has to"
    for each in approval.yeses:
        if who in {person(other) for other in each.stands_for}:
            return ApprovalProblem.SAID_ALREADY, f"{each.by} said yes for {yes.by} already; somebody else has to"
    if who in {person(each) for each in approval.barred}:
        text = f"{yes.by} asked for this run or wrote the runbook; somebody else has to say yes"
        return ApprovalProblem.OWN_REQUEST, text
    if not helps(approval.rules, approval.yeses, yes, approval.requested_at):
        text = f"{yes.by} is not among those who are asked now; still needed: {'; '.join(approval.lacking)}"
        return ApprovalProblem.NOT_ASKED, text
    return None


def _with_hats(yes: Yes, approval: Approval, voter: Voter) -> Yes:
    """A yes with the hats that count for it: nobody stands in for who may not say yes, or has."""
    spent = {person(name) for yes in approval.yeses for name in (yes.by, *yes.stands_for)}
    spent |= {person(name) for name in (*approval.barred, yes.by)}
    taken = [one for one in voter.stands_for if person(one.person) not in spent]
    hats = dict.fromkeys((*voter.hats, *(hat for one in taken for hat in one.hats)))
    return replace(yes, hats=tuple(hats), stands_for=tuple(one.person for one in taken))


def answer(
    approval: Approval,
    verb: Verb,
    *,
    by: str,
    reason: str,
    now: datetime,
    plan_hash: str,
    choice: str = "",
    voter: Voter | None = None,
) -> Approval | ApprovalError:
    """The approval after an answer, or why the answer does not count.

    A yes that is not enough for the rules is kept, and the approval stays pending.

    Args:
        approval: the question as it stands.
        verb: what happens to it.
        by: who says so.
        reason: why; a denial and a bypass need one.
        now: wall clock, UTC.
        plan_hash: hash of the plan that the answer was given to. To overtake it is the new plan's.
        choice: which of the answers that the rules offer; of a bypass, its name.
        voter: the hats of who says so; left out, they have none and count only as the user that they are.
    """
    status = TRANSITIONS.get((approval.status, verb))
    if status is None:
        by_whom = f" by {approval.answered_by}" if approval.answered_by else ""
        text = f"cannot {verb}: the approval is {approval.status}{by_whom}"
        return ApprovalError(ApprovalProblem.NOT_POSSIBLE, text, approval.status)
    if verb in BY_PEOPLE and plan_hash != approval.plan_hash:
        text = "the answer was given to another plan than the one that is asked about"
        return ApprovalError(ApprovalProblem.PLAN_CHANGED, text, approval.status)
    if problem := _objection(approval, verb, by=by, reason=reason, now=now, choice=choice):
        return ApprovalError(*problem, approval.status)
    who, why = by.strip(), reason.strip()
    if verb is Verb.APPROVE:
        return _approved(approval, _with_hats(Yes(who, now, why, choice), approval, voter or Voter()))
    ended = replace(approval, status=status, answered_by=who, answer_reason=why, answered_at=now)
    if verb is Verb.BYPASS:
        return replace(ended, bypassed=choice or EMERGENCY)
    return replace(ended, choice=choice)


def _approved(approval: Approval, yes: Yes) -> Approval | ApprovalError:
    """The approval with one more yes."""
    if problem := _not_theirs(approval, yes):
        return ApprovalError(*problem, approval.status)
    more = replace(approval, yeses=(*approval.yeses, yes))
    if more.lacking:
        return more
    people = ", ".join(each.by for each in more.yeses)
    status = ApprovalStatus.APPROVED
    return replace(more, status=status, answered_by=people, answer_reason=yes.comment, answered_at=yes.at)


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
        self,
        approval_id: str,
        verb: Verb,
        *,
        by: str,
        reason: str,
        now: datetime,
        plan_hash: str,
        choice: str = "",
        voter: Voter | None = None,
    ) -> Approval | ApprovalError:
        """Answer as ``approvals.answer`` does, atomically: of two answers at once only one counts."""
        ...

    async def due(self, now: datetime) -> Sequence[Approval]:
        """Pending approvals whose time is over, for the sweeper to expire."""
        ...
