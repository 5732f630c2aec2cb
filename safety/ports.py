"""What the gate offers, and what it needs from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from safety.breaker import Change, Seen, Stopped, StormCall
from safety.model import Answer, GateRecord, GateRequest
from safety.scopes import EVERYTHING, Pause, PauseScope, StormScope, Where


class Clock(Protocol):
    """Time is a port."""

    def now(self) -> datetime:
        """Wall clock, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back and that nobody can set."""
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

    async def pause(self, by: str, reason: str, scope: PauseScope = EVERYTHING, until: datetime | None = None) -> None:
        """Stop automation in a scope: no new permit, and no further step. Raises GateUnavailable when it did not work.

        Args:
            by: who says so.
            reason: why; everybody who asks is told.
            scope: what is paused. A second pause of the same scope takes the place of the first.
            until: it ends by itself then; None for not before somebody lifts it.
        """
        ...

    async def resume(self, by: str, scope: PauseScope = EVERYTHING) -> None:
        """Lift the pause of exactly this scope. Raises GateUnavailable when it did not work."""
        ...

    async def pauses(self) -> Sequence[Pause]:
        """Every pause that is in force. Raises GateUnavailable when the store cannot be read."""
        ...

    async def paused(self, where: Where | None = None) -> str | None:
        """Why automation is paused, or None. Raises GateUnavailable when the store cannot be read.

        Args:
            where: where an execution acts; None looks at the pause of everything alone.
        """
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

    async def paused(self, by: str, reason: str, scope: PauseScope = EVERYTHING, until: datetime | None = None) -> None:
        """Record that automation was paused."""
        ...

    async def resumed(self, by: str, scope: PauseScope = EVERYTHING) -> None:
        """Record that the pause of a scope was lifted."""
        ...

    async def in_force(self) -> Sequence[Pause]:
        """The pauses that were neither lifted nor ended by themselves."""
        ...


class Breaker(Protocol):
    """The storm breaker: what it counts and how is told by ``safety.breaker``. All raise GateUnavailable."""

    async def heard(self, seen: Sequence[Seen]) -> Sequence[Change]:
        """Count what was seen; the scopes that this call has opened."""
        ...

    async def look(self) -> Sequence[Change]:
        """Look at what is open; the scopes that this call has closed because it was calm for long enough."""
        ...

    async def stopped(self) -> Sequence[Stopped]:
        """What is open, of every tenant."""
        ...

    async def close(self, scope: StormScope, by: str, reason: str) -> Change | None:
        """A person closes a scope, and what opened it is forgotten; None when it was not open."""
        ...

    async def stops(self, where: Where) -> bool:
        """Whether a storm has stopped an execution there."""
        ...

    async def hold_back(self, tenant: str, kinds: Mapping[str, int]) -> None:
        """Count refusals and messages that nobody is told of one by one, for the summary."""
        ...

    async def due(self) -> Sequence[StormCall]:
        """What people are to be told now, by the caller and nobody else for a while."""
        ...

    async def told(self, call: StormCall, *, reached: bool) -> None:
        """People were told, or could not be reached: then somebody tries again."""
        ...


class StormLog(Protocol):
    """Where the storm breaker is durable (Neo4j), so that an emptied store cannot forget what it has stopped."""

    async def note(self, change: Change) -> None:
        """Record that a scope opened or closed. Doing it again changes nothing."""
        ...

    async def told(self, tenant: str, since: int) -> None:
        """Record that people were told of the storm that began then."""
        ...

    async def in_force(self) -> Sequence[tuple[Stopped, bool]]:
        """What is open, and whether people were told of it."""
        ...


class PermitLedger(Protocol):
    """Where permits are durable (Neo4j). Redeeming one is what makes it good only once."""

    async def claim(self, execution_id: str, plan_hash: str, holder: str, lease_seconds: float) -> Claim | str:
        """Claim a permitted, unexpired, unclaimed execution; the answer is a text when it cannot be claimed."""
        ...

    async def adopt(self, execution_id: str, holder: str, lease_seconds: float) -> Claim | str:
        """Take over an execution whose lease ran out; the epoch grows. A text when it cannot be adopted."""
        ...
