"""Redeeming permits: the step that makes a permit good only once."""

from __future__ import annotations

from safety._seal import SEAL
from safety.model import Permit, Refusal
from safety.ports import Claim, PermitLedger


def _permit(claim: Claim) -> Permit:
    return Permit(
        SEAL, claim.execution_id, claim.plan_hash, claim.target_key, claim.epoch, claim.expires_at, claim.approval_id
    )


async def redeem(
    ledger: PermitLedger, execution_id: str, plan_hash: str, holder: str, lease_seconds: float
) -> Permit | Refusal:
    """Claim a permitted execution and get the permit for running it.

    Args:
        ledger: where permits are durable.
        execution_id: the execution to run.
        plan_hash: hash of the plan that is about to be run, computed from that plan.
        holder: who will run it, such as host and process id.
        lease_seconds: how long the claim lives without renewal.

    Returns:
        The permit, or why there is none: unknown, used, expired, another plan, or the target is held.
    """
    claim = await ledger.claim(execution_id, plan_hash, holder, lease_seconds)
    if isinstance(claim, str):
        return Refusal("redeem", claim, {"execution": execution_id})
    # The ledger compared already; a permit for another plan is the one mistake that must not be possible here.
    if (claim.execution_id, claim.plan_hash) != (execution_id, plan_hash):
        facts = {"execution": execution_id, "claimed": claim.execution_id, "permitted": claim.plan_hash}
        return Refusal("redeem", "the ledger answered for another execution or plan", facts)
    return _permit(claim)


async def adopt(ledger: PermitLedger, execution_id: str, holder: str, lease_seconds: float) -> Permit | Refusal:
    """Take over an execution whose holder let the lease run out.

    Args:
        ledger: where permits are durable.
        execution_id: the execution to go on with.
        holder: who will run it.
        lease_seconds: how long the claim lives without renewal.

    Returns:
        The permit with a larger token, or why there is none.
    """
    claim = await ledger.adopt(execution_id, holder, lease_seconds)
    if isinstance(claim, str):
        return Refusal("adopt", claim, {"execution": execution_id})
    if claim.execution_id != execution_id:
        facts = {"execution": execution_id, "claimed": claim.execution_id}
        return Refusal("adopt", "the ledger answered for another execution", facts)
    return _permit(claim)
