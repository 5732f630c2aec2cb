"""A gate with everything around it that a test needs: hand-moved time, a look at the store, other processes."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

from fakes.memory_gate import HandClock, MemoryGate
from redis.asyncio import Redis

from safety import scripts
from safety.model import BlastRadius, GateRequest, GrantedApproval, Limits
from safety.policy import PolicySettings
from safety.ports import Clock, Gate
from safety.redis_gate import RedisGate
from safety.scripts import Script, Scripts
from safety.surroundings import CLEAR

SETTINGS = PolicySettings(
    max_executions_per_hour_total=6, provisional_ttl_seconds=60, permit_ttl_seconds=120, lock_lease_seconds=300
)
LIMITS = Limits(min_confidence=0.8, max_executions_per_hour=3, blast_radius=10, cooldown_seconds=600)


def request(execution_id: str = "e1", target: str = "prod/shop/Deployment/cart", **changes: Any) -> GateRequest:
    """A request that nothing speaks against."""
    plain = GateRequest(
        execution_id=execution_id,
        tenant="acme",
        cluster=target.partition("/")[0],
        runbook_id="oom",
        target_key=target,
        namespaces=("shop",),
        confidence=0.93,
        plan_hash="hash-1",
        blast=BlastRadius(graph=2, live=3, resources=(target,), graph_age_seconds=1),
        limits=LIMITS,
        around=CLEAR,
    )
    return replace(plain, **changes)


def approval(plan_hash: str = "hash-1") -> GrantedApproval:
    """A human's yes."""
    return GrantedApproval("approval-1", plan_hash, "ada")


class Wall:
    """The clock of one process, which may be wrong."""

    def __init__(self, right: Clock) -> None:
        self._right = right
        self._shift = timedelta(0)

    def now(self) -> datetime:
        """What the process believes."""
        return self._right.now() + self._shift

    def monotonic(self) -> float:
        """What nobody can set."""
        return self._right.monotonic()

    def jump(self, seconds: float) -> None:
        """Somebody sets it."""
        self._shift += timedelta(seconds=seconds)


class Rig(Protocol):
    """What a test does with a gate beside asking it."""

    gate: Gate
    clock: HandClock

    async def advance(self, seconds: float) -> None: ...

    async def dump(self) -> Any:
        """Everything that the store holds, to be compared."""
        ...

    async def empty(self) -> None:
        """The store forgets all."""
        ...

    def another(self, wall: Clock | None = None) -> Gate:
        """The gate of another process on the same store, with a clock of its own or the right one."""
        ...

    async def close(self) -> None: ...


class MemoryRig:
    def __init__(self, settings: PolicySettings = SETTINGS) -> None:
        self.clock = HandClock()
        self.settings = settings
        self.gate = MemoryGate(settings, self.clock)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def dump(self) -> Any:
        return pickle.loads(pickle.dumps(self.gate.state))  # noqa: S301 - our own; much faster than deepcopy

    async def empty(self) -> None:
        self.gate.empty()

    def another(self, wall: Clock | None = None) -> MemoryGate:
        return MemoryGate(self.settings, self.clock, self.gate.state, wall)

    async def close(self) -> None:
        """Nothing to close."""


def hand_timed(key: str) -> Scripts:
    """The gate's own scripts, but with the time of a key instead of the server's."""
    loaded = scripts.load()
    timed = {}
    for each in fields(loaded):
        text = getattr(loaded, each.name).text
        asks = "redis.call('TIME')"
        assert asks in text
        timed[each.name] = Script.of(text.replace(asks, f"redis.call('HMGET', '{key}', 's', 'us')"))
    return Scripts(**timed)


class RedisRig:
    def __init__(self, url: str, settings: PolicySettings = SETTINGS) -> None:
        self.redis = Redis.from_url(url)
        self.prefix = f"test:{uuid4().hex}:"
        # Not earlier than the server's own time: else what is kept for hours would be dropped at once.
        self.clock = HandClock(datetime.now(UTC).replace(microsecond=0))
        self.settings = settings
        self._time_key = f"time-of-{self.prefix}"
        self.gate = self.another()

    async def start(self) -> RedisRig:
        await self.advance(0)
        await self.gate.restore([])
        return self

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        moment = self.clock.now()
        await self.redis.execute_command(
            "HSET", self._time_key, "s", int(moment.timestamp()), "us", moment.microsecond, "x", 0
        )
        await self.redis.expire(self._time_key, 3600)

    async def _keys(self) -> list[bytes]:
        return sorted([key async for key in self.redis.scan_iter(f"{self.prefix}*", count=1000)])

    async def dump(self) -> Mapping[bytes, Any]:
        """Serialised value and time of expiry of every key."""
        keys = await self._keys()
        return {key: (await self.redis.dump(key), await self.redis.pexpiretime(key)) for key in keys}

    async def sums(self) -> Mapping[str, tuple[int, int]]:
        """Of every bucket: the sum of the blast radii that is kept, and the one that its members add up to."""
        found = {}
        for key in await self._keys():
            if b":flight:" in key:
                held = {name.decode(): score for name, score in await self.redis.zrange(key, 0, -1, withscores=True)}
                kept = -int(held.pop("sum", 0))
                found[key.decode()] = (kept, sum(int(member.partition(":")[0]) for member in held))
        return found

    async def empty(self) -> None:
        if keys := await self._keys():
            await self.redis.delete(*keys)

    async def breaks(self, start: str) -> int:
        """Put something else into every key whose name starts so; gives how many there were."""
        keys = [key for key in await self._keys() if key.startswith(f"{self.prefix}{start}".encode())]
        for key in keys:
            await self.redis.set(key, "broken")
        return len(keys)

    def another(self, wall: Clock | None = None) -> RedisGate:
        return RedisGate(
            self.redis,
            self.settings,
            wall or self.clock,
            prefix=self.prefix,
            timeout_seconds=5,
            lua=hand_timed(self._time_key),
        )

    async def close(self) -> None:
        await self.empty()
        await self.redis.delete(self._time_key)
        await self.redis.aclose()
