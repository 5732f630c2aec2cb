"""Permits that are redeemed in memory, as the durable ledger does it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from safety.memory_gate import HandClock
from safety.ports import Claim, Clock


@dataclass(frozen=True)
class Permitted:
    """An execution as the ledger holds it."""

    claim: Claim
    status: str = "permitted"
    holder: str = ""
    lease_until: datetime | None = None


class MemoryPermitLedger:
    """Implements ``safety.ports.PermitLedger``."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or HandClock()
        self.executions: dict[str, Permitted] = {}
        self.epochs: dict[str, int] = {}

    def permit(self, claim: Claim) -> None:
        """Record a permitted execution, as the decision's transaction does."""
        self.executions.setdefault(claim.execution_id, Permitted(claim))

    def end(self, execution_id: str) -> None:
        """The execution is over and its target free."""
        self.executions[execution_id] = replace(self.executions[execution_id], status="done", lease_until=None)

    def _busy(self, target_key: str) -> bool:
        now = self.clock.now()
        held = (each for each in self.executions.values() if each.claim.target_key == target_key)
        return any(each.lease_until and each.lease_until > now for each in held)

    async def claim(self, execution_id: str, plan_hash: str, holder: str, lease_seconds: float) -> Claim | str:
        """Claim a permitted execution, once."""
        found = self.executions.get(execution_id)
        if found is None:
            return "unknown execution"
        claim = found.claim
        refused = {
            "it was claimed already": found.status != "permitted",
            "the permit is for another plan": claim.plan_hash != plan_hash,
            "the permit expired": claim.expires_at <= self.clock.now(),
            "the target is held": self._busy(claim.target_key),
            "a newer holder had the target": claim.epoch <= self.epochs.get(claim.target_key, 0),
        }
        if reason := next((text for text, holds in refused.items() if holds), None):
            return reason
        return self._take(found, claim, holder, lease_seconds)

    async def adopt(self, execution_id: str, holder: str, lease_seconds: float) -> Claim | str:
        """Take over an execution whose lease ran out."""
        found = self.executions.get(execution_id)
        if found is None or found.status != "running":
            return "it does not run"
        if self._busy(found.claim.target_key):
            return "the target is held"
        claim = replace(found.claim, epoch=self.epochs[found.claim.target_key] + 1)
        return self._take(found, claim, holder, lease_seconds)

    def _take(self, found: Permitted, claim: Claim, holder: str, lease_seconds: float) -> Claim:
        self.epochs[claim.target_key] = claim.epoch
        until = self.clock.now() + timedelta(seconds=lease_seconds)
        taken = replace(found, claim=claim, status="running", holder=holder, lease_until=until)
        self.executions[claim.execution_id] = taken
        return claim
