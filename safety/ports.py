"""What the gate offers, and what it needs from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from safety.model import Answer, GateRecord, GateRequest


class Clock(Protocol):
    """Time is a port."""

    def now(self) -> datetime:
        """Wall clock, UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What the graph says of a claimed execution."""

    execution_id: str
    plan_hash: str
    target_key: str
    epoch: int
    expires_at: datetime
    approval_id: str = ""


class Gate(Protocol):
    """The safety gate. One implementation speaks to Redis, one lives in memory."""

    async def ask(self, requests: Sequence[GateRequest]) -> Sequence[Answer]:
        """Answer each request, in order; a Permit reserves rate, lock and budget provisionally.

        The same ``execution_id`` is answered the same while its reservation lives. When the store cannot be
        reached the answer is ``ApprovalNeeded`` (or a Permit, when a granted approval comes with the request).
        """
        ...

    async def confirm(self, permits: Sequence[tuple[str, str]]) -> Sequence[str]:
        """Turn provisional reservations, (execution id, target key), into confirmed ones.

        Returns:
            The execution ids whose reservation lapsed meanwhile. They must not be published; the gate has to be
            asked for them again. An unreachable store is no loss.
        """
        ...

    async def cancel(self, execution_id: str, target_key: str) -> None:
        """Give back a reservation whose decision was not recorded, or whose permit expired unused."""
        ...

    async def renew(self, execution_id: str, target_key: str, token: int) -> bool:
        """Extend the lock on the target; False when somebody else holds it. An unreachable store is no loss."""
        ...

    async def release(self, execution_id: str, target_key: str, cooldown_seconds: float) -> None:
        """Free the target and start its cooldown."""
        ...

    async def pause(self, by: str, reason: str) -> None:
        """Stop all automation: no new permit, and no further step. Raises GateUnavailable when it did not work."""
        ...

    async def resume(self, by: str) -> None:
        """Lift the pause. Raises GateUnavailable when it did not work."""
        ...

    async def paused(self) -> str | None:
        """Why automation is paused, or None. Raises GateUnavailable when the store cannot be read."""
        ...

    async def restore(self, records: Sequence[GateRecord]) -> None:
        """Fill the store from the durable records; needed once before the first permit, harmless at any time.

        An emptied store has forgotten locks, cooldowns, rates and the pause switch, so it permits nothing until
        this was done. Raises GateUnavailable when it did not work.
        """
        ...


class GateHistory(Protocol):
    """The durable records (Neo4j) that the gate's store can be rebuilt from."""

    async def gate_records(self) -> Sequence[GateRecord]:
        """Executions that hold a target, cool one down, or were permitted within the last hour."""
        ...


class PauseLog(Protocol):
    """Where the pause switch is durable (Neo4j), so that an emptied store cannot forget it."""

    async def paused(self, by: str, reason: str) -> None:
        """Record that automation was paused."""
        ...

    async def resumed(self, by: str) -> None:
        """Record that the pause was lifted."""
        ...

    async def in_force(self) -> tuple[str, str] | None:
        """Who paused and why, or None when automation is not paused."""
        ...


class PermitLedger(Protocol):
    """Where permits are durable (Neo4j). Redeeming one is what makes it good only once."""

    async def claim(self, execution_id: str, plan_hash: str, holder: str, lease_seconds: float) -> Claim | str:
        """Claim a permitted, unexpired, unclaimed execution; the answer is a text when it cannot be claimed."""
        ...

    async def adopt(self, execution_id: str, holder: str, lease_seconds: float) -> Claim | str:
        """Take over an execution whose lease ran out; the epoch grows. A text when it cannot be adopted."""
        ...
