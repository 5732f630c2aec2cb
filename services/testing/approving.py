"""Answers to the questions that a runbook asks on its way, as a scenario declares them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from safety import approvals
from safety.approvals import Approval, ApprovalError, ApprovalProblem, ApprovalStatus, Verb


class DeclaredAnswers:
    """Implements ``safety.approvals.ApprovalStore``: every question is answered as soon as it is asked."""

    def __init__(self, *, yes: bool) -> None:
        self._yes = yes
        self._known: dict[str, Approval] = {}

    async def request(self, approval: Approval) -> Approval:
        """Keep the question with its answer."""
        verb = Verb.APPROVE if self._yes else Verb.DENY
        answered = approvals.answer(
            approval,
            verb,
            by="the scenario",
            reason="as declared",
            now=approval.requested_at,
            plan_hash=approval.plan_hash,
        )
        known = answered if isinstance(answered, Approval) else approval
        return self._known.setdefault(approval.id, known)

    async def get(self, approval_id: str) -> Approval | None:
        """A question."""
        return self._known.get(approval_id)

    async def answer(
        self, approval_id: str, verb: Verb, *, by: str, reason: str, now: datetime, plan_hash: str, choice: str = ""
    ) -> Approval | ApprovalError:
        """Answer a question that is still open."""
        stored = self._known.get(approval_id)
        if stored is None:
            return ApprovalError(ApprovalProblem.UNKNOWN, f"there is no approval {approval_id}")
        answered = approvals.answer(stored, verb, by=by, reason=reason, now=now, plan_hash=plan_hash, choice=choice)
        if isinstance(answered, Approval):
            self._known[approval_id] = answered
        return answered

    async def due(self, now: datetime) -> Sequence[Approval]:
        """Open questions whose time is over."""
        return [one for one in await self.list(ApprovalStatus.PENDING) if one.expires_at <= now]

    async def list(self, status: ApprovalStatus | None = None) -> Sequence[Approval]:
        """Questions, oldest first."""
        found = [one for one in self._known.values() if status in {None, one.status}]
        return sorted(found, key=lambda one: (one.requested_at, one.id))
