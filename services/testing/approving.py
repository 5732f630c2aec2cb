"""Answers to the questions that a runbook asks on its way, as a scenario declares them."""

from __future__ import annotations

from safety import approvals
from safety.approvals import Approval, Verb
from safety.memory_approvals import MemoryApprovalStore


class DeclaredAnswers(MemoryApprovalStore):
    """An approval store in which every question is answered as soon as it is asked."""

    def __init__(self, *, yes: bool) -> None:
        super().__init__()
        self._yes = yes

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
        return await super().request(answered if isinstance(answered, Approval) else approval)
