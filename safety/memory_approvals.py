"""An approval store in memory, with the behaviour of the real one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from safety import approvals
from safety.approvals import Approval, ApprovalError, ApprovalProblem, ApprovalStatus, Verb
from safety.quorum import Voter


class MemoryApprovalStore:
    """Implements ``safety.approvals.ApprovalStore``. ``approvals`` is what it keeps, by id."""

    def __init__(self) -> None:
        self.approvals: dict[str, Approval] = {}

    async def request(self, approval: Approval) -> Approval:
        """Keep a question; asked again it is the one that is known."""
        return self.approvals.setdefault(approval.id, approval)

    async def get(self, approval_id: str) -> Approval | None:
        """A question."""
        return self.approvals.get(approval_id)

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
        """Answer a question that is still open."""
        stored = self.approvals.get(approval_id)
        if stored is None:
            return ApprovalError(ApprovalProblem.UNKNOWN, f"there is no approval {approval_id}")
        answered = approvals.answer(
            stored, verb, by=by, reason=reason, now=now, plan_hash=plan_hash, choice=choice, voter=voter
        )
        if isinstance(answered, Approval):
            self.approvals[approval_id] = answered
        return answered

    async def due(self, now: datetime) -> Sequence[Approval]:
        """Open questions whose time is over."""
        return [each for each in await self.list(ApprovalStatus.PENDING) if each.expires_at <= now]

    async def list(self, status: ApprovalStatus | None = None) -> Sequence[Approval]:
        """Questions, oldest first."""
        found = [each for each in self.approvals.values() if status in {None, each.status}]
        return sorted(found, key=lambda each: (each.requested_at, each.id))
