"""Requests that only ask what would be done: how their answer is put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from executor.model import Plan
from executor.reasons import leaves
from safety.model import ApprovalNeeded, Refusal

DRY_RUN = "dry_run"
"""Only what would be done was asked for."""

Rehearse = Callable[[Plan], Awaitable[str]]
"""Why the API server would not take a write of the plan; empty when it takes them all."""


async def not_rehearsed(_: Plan) -> str:
    """Nobody is asked."""
    return ""


def only_said(plan: Plan, refused: str, no: Refusal | ApprovalNeeded | None) -> Refusal:
    """The answer: nothing is reserved and nothing runs, and this is what would.

    Args:
        plan: what would be done.
        refused: what the API server would not take.
        no: what the gate's own checks say; what only its memory knows (locks, rates) is not asked.
    """
    changes = [change.summary for step in leaves(plan.steps) for change in step.changes]
    steps = f"{len(plan.steps)} {'step' if len(plan.steps) == 1 else 'steps'}"
    parts = [f"only a dry run was asked for: {steps}", "; ".join(changes) or "nothing is changed"]
    parts.append(refused or "the API server would take it")
    if isinstance(no, Refusal):
        parts.append(f"the gate would refuse: {no.message}")
    elif no is not None:
        parts.append(f"a human would have to say yes: {'; '.join(no.reasons)}")
    return Refusal(DRY_RUN, ". ".join(parts))
