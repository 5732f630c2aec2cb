"""Permits for trials: the same gate decides, only its memory is this process's own and ends with the trial.

Nothing but a gate makes a permit, and a trial is no exception: its plan is asked for, refused, approved and redeemed as
in production.
"""

from __future__ import annotations

from dataclasses import replace

from safety.memory_gate import MemoryGate
from safety.memory_ledger import MemoryPermitLedger
from safety.model import Answer, ApprovalNeeded, GateRequest, GrantedApproval, Permit, Refusal
from safety.permits import redeem
from safety.policy import PolicySettings
from safety.ports import Claim, Clock

_LEASE_SECONDS = 3600.0

REPLAYED = PolicySettings(
    protected_namespaces=(),
    max_blast_radius=1_000_000,
    max_executions_per_hour_total=1_000_000,
    min_confidence_floor=0,
)
"""For what was permitted once already: the replay asks whether it runs the same, not whether it may."""


async def permitted(request: GateRequest, policy: PolicySettings, clock: Clock, *, approved_by: str = "") -> Answer:
    """Ask the gate in memory, answer its question, redeem the permit.

    Args:
        request: with the plan's hash and blast radius.
        policy: the gate's limits.
        clock: the trial's time.
        approved_by: who says yes when a human is asked; empty for nobody.

    Returns:
        The redeemed permit, the refusal, or that nobody said yes.
    """
    gate, ledger = MemoryGate(policy, clock), MemoryPermitLedger(clock)
    (answer,) = await gate.ask([request])
    if isinstance(answer, ApprovalNeeded) and approved_by:
        yes = GrantedApproval(f"trial-{request.execution_id}", request.plan_hash, approved_by)
        (answer,) = await gate.ask([replace(request, approval=yes)])
    if not isinstance(answer, Permit):
        return answer
    await gate.confirm([(request.execution_id, request.target_key)])
    ledger.permit(
        Claim(
            answer.execution_id,
            answer.plan_hash,
            answer.target_key,
            answer.token,
            answer.expires_at,
            answer.approval_id,
        )
    )
    redeemed: Permit | Refusal = await redeem(ledger, request.execution_id, request.plan_hash, "trial", _LEASE_SECONDS)
    return redeemed
