"""Mends what can be mended without touching production, and says first what it would do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from redis.asyncio import Redis

from executor.errors import RemediationError
from safety.approvals import ApprovalStore, Verb
from safety.errors import GateUnavailable
from safety.ports import Gate, GateHistory
from services.graph.orphans import Neo4jOrphans
from services.orphans.locks import Lock, locks
from services.orphans.model import Kind, Orphan, in_order
from services.ports import ExecutionStore


class Clock(Protocol):
    """Time is a port."""

    def now(self) -> datetime:
        """Wall clock, UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing that is mended.

    Attributes:
        what: in words.
        outcome: ``would``, ``done`` or ``failed: why``.
    """

    id: str
    what: str
    outcome: str


class Mending:
    """Finds all orphans, those among the locks too, and mends those that can be mended.

    Args:
        redis: the gate's store; the caller closes it.
        prefix: of its keys.
        cluster: whose locks; empty for all.
    """

    def __init__(
        self,
        *,
        orphans: Neo4jOrphans,
        executions: ExecutionStore,
        approvals: ApprovalStore,
        gate: Gate,
        history: GateHistory,
        redis: Redis,
        prefix: str,
        clock: Clock,
        cluster: str = "",
    ) -> None:
        self._cluster = cluster
        self._orphans = orphans
        self._executions = executions
        self._approvals = approvals
        self._gate = gate
        self._history = history
        self._redis = redis
        self._prefix = prefix
        self._clock = clock

    async def find(self) -> list[Orphan]:
        """Every orphan.

        Raises:
            GateUnavailable: the locks cannot be read.
            GraphUnavailable: the graph cannot be read.
        """
        found = await self._orphans.find()
        for lock, _ in await self._loose():
            found.append(_of_lock(lock))
        return in_order(found)

    async def _loose(self) -> list[tuple[Lock, float | None]]:
        """Locks without an execution that needs them, with the cooldown that is left; None for unknown executions."""
        begin = f"{self._cluster}/" if self._cluster else ""
        found = await locks(self._redis, self._prefix)
        held = [lock for lock in found if not lock.provisional and lock.target_key.startswith(begin)]
        states = await self._orphans.states([lock.holder for lock in held])
        loose: list[tuple[Lock, float | None]] = []
        for lock in held:
            status, cooldown = states.get(lock.holder, ("", 0.0))
            if not status or status == "done":
                loose.append((lock, cooldown if status else None))
        return loose

    async def repair(self, *, by: str, reason: str, apply: bool) -> list[Repair]:
        """Mend, or only say what would be.

        Args:
            by: who asks.
            reason: why; it goes on record.
            apply: do it.
        """
        done: list[Repair] = []
        for lock, cooldown in await self._loose():
            what = f"release the lock on {lock.target_key} of {lock.tenant}, whose execution {lock.holder} "
            what += "has ended" if cooldown is not None else "is not on record"
            done.append(await _try(lock.holder, what, self._release(lock, cooldown), apply=apply))
        for one in in_order([one for one in await self._orphans.find() if one.repairable]):
            what, work = self._mend(one, by, reason)
            done.append(await _try(one.id, what, work, apply=apply))
        what = "fill the gate's store from the graph: locks, cooldowns, rates, pauses, storms"
        done.append(await _try("gate", what, self._rebuild(by, reason), apply=apply))
        return done

    def _release(self, lock: Lock, cooldown: float | None) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            if cooldown is None:
                await self._gate.cancel(lock.holder, lock.target_key)
            else:
                await self._gate.release(lock.holder, lock.target_key, cooldown)

        return work

    def _mend(self, one: Orphan, by: str, reason: str) -> tuple[str, Callable[[], Awaitable[None]]]:
        if one.kind is Kind.UNCLAIMED:
            return f"end execution {one.id}, whose permit ran out", lambda: self._abort_expired(one)
        if one.kind is Kind.APPROVAL_OVERDUE:
            return f"let question {one.id} expire", lambda: self._close(one, Verb.EXPIRE, "nobody answered in time")
        if one.kind is Kind.APPROVAL_ABANDONED:
            why = "its execution has ended"
            return f"close question {one.id}, which nobody waits for", lambda: self._close(one, Verb.OVERTAKE, why)
        return f"end execution {one.id}, which waits for a question that is not there", lambda: self._end(
            one, by, reason
        )

    async def _abort_expired(self, one: Orphan) -> None:
        await self._executions.abort_expired([one.id])
        await self._gate.cancel(one.id, one.target_key)

    async def _end(self, one: Orphan, by: str, reason: str) -> None:
        asked = await self._orphans.abort(one.id, by=by, reason=reason)
        if asked.refusal:
            raise RemediationError(asked.refusal)
        await self._gate.cancel(one.id, one.target_key)

    async def _close(self, one: Orphan, verb: Verb, why: str) -> None:
        known = await self._approvals.get(one.id)
        if known is None:
            return
        now = self._clock.now()
        await self._approvals.answer(one.id, verb, by="rootmend", reason=why, now=now, plan_hash=known.plan_hash)

    def _rebuild(self, by: str, reason: str) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            records = await self._history.gate_records()
            await self._gate.restore(records)
            await self._orphans.told_rebuilt(by, reason, len(records))

        return work


async def close_questions(
    approvals: ApprovalStore, execution_id: str, by: str, why: str, now: datetime
) -> Sequence[str]:
    """Close the open questions about an execution that was ended; gives their ids."""
    closed = []
    for one in await approvals.list():
        if one.execution_id == execution_id and one.status.value == "pending":
            await approvals.answer(one.id, Verb.OVERTAKE, by=by, reason=why, now=now, plan_hash=one.plan_hash)
            closed.append(one.id)
    return closed


async def _try(name: str, what: str, work: Callable[[], Awaitable[None]], *, apply: bool) -> Repair:
    """Do it; one that fails does not keep the others from being mended."""
    if not apply:
        return Repair(name, what, "would")
    try:
        await work()
    except (RemediationError, GateUnavailable) as error:
        return Repair(name, what, f"failed: {error}")
    return Repair(name, what, "done")


def _of_lock(lock: Lock) -> Orphan:
    why = f"execution {lock.holder} holds the target in Redis, and has ended or is not on record"
    do = f"it lapses by itself in {lock.left_seconds:.0f} s; rb executions repair releases it now"
    return Orphan(
        Kind.LOCK_WITHOUT_EXECUTION,
        lock.holder,
        "lock",
        why,
        do,
        tenant=lock.tenant,
        target_key=lock.target_key,
        repairable=True,
    )
