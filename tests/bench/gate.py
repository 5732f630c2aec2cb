"""How long the gate takes for a decision while they come at a fixed rate, beside the barest call on the same Redis.

Decisions are asked for one by one, each as soon as it is due, and as the pipeline does it: one call at a time, with
everything that is due by then. Each round has keys of its own, with a history so long that sets are larger than the
limits of minute and hour: whether these are reached is counted for each decision.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from redis.asyncio import BlockingConnectionPool, Redis

from safety.keys import Keys
from safety.limits import place_of
from safety.model import BlastRadius, GateRequest, Limits, Permit
from safety.policy import PolicySettings
from safety.redis_gate import RedisGate
from safety.surroundings import CLEAR
from tests.bench.stats import percentile

_MANY = 10_000_000
_WARM_UP_SECONDS = 2.0
_NAMESPACES = 50
_RUNBOOKS = 20
_CONNECTIONS = 64
_TOGETHER = 50
"""Most decisions in one call."""
_PATIENCE_SECONDS = 60
_HOUR_MS = 3_600_000
_TIMER_SECONDS = 0.001
_PLANTED_AT_ONCE = 1000

Ask = Callable[[Sequence[int]], Awaitable[None]]
Loop = Callable[[Ask, float, float], Awaitable["Took"]]
Told = dict[str, float]


class Took:
    """Milliseconds from when each decision was due, and how many calls these were."""

    def __init__(self) -> None:
        self.each: list[float] = []
        self.calls = 0


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def _most(decisions: int) -> dict[str, int]:
    """More than a bucket of each axis gets in one round."""
    return {
        "runbook": decisions // _RUNBOOKS + 10,
        "namespace": decisions // _NAMESPACES + 10,
        "cluster": decisions + 10,
        "tenant": decisions + 10,
    }


def _limits(decisions: int) -> PolicySettings:
    """Every limit is set and none is reached."""
    most = _most(decisions)
    counted = ("per_minute", "per_hour", "per_day", "concurrent", "blast_in_flight")
    known = PolicySettings.__dataclass_fields__
    names = [f"{axis}_{what}" for axis in (*most, "target") for what in counted if f"{axis}_{what}" in known]
    changes: dict[str, Any] = dict.fromkeys(names, _MANY)
    changes |= {f"{axis}_{window}": limit for axis, limit in most.items() for window in ("per_minute", "per_hour")}
    changes["max_executions_per_hour_total"] = changes.pop("cluster_per_hour")
    return replace(PolicySettings(), ask_again_after=_MANY, **changes)


def _request(number: int, run: str) -> GateRequest:
    namespace = f"team-{number % _NAMESPACES}"
    target = f"prod/{namespace}/Deployment/app-{run}-{number}"
    return GateRequest(
        execution_id=f"{run}-{number}",
        tenant="bench",
        cluster="prod",
        runbook_id=f"runbook-{number % _RUNBOOKS}",
        target_key=target,
        namespaces=(namespace,),
        confidence=0.95,
        plan_hash="plan",
        blast=BlastRadius(3, 3, (target,), graph_age_seconds=1),
        limits=Limits(0.8, _MANY, 10, 600, _MANY, _MANY, _MANY),
        around=CLEAR,
    )


async def measure(redis_url: str, *, rate: float, seconds: float, rounds: int) -> dict[str, Any]:
    """Rounds of the gate in both ways and of the floor, by turns, on the same Redis.

    Args:
        redis_url: the stack's Redis; the other servers need not run, and are noise where they do.
        rate: decisions a second.
        seconds: length of one round.
        rounds: how many of each.
    """
    # On a machine that cannot keep up, calls wait for a connection: that is latency, and no error.
    pool = BlockingConnectionPool.from_url(redis_url, max_connections=_CONNECTIONS, timeout=_PATIENCE_SECONDS)
    redis = Redis.from_pool(pool)
    try:
        found = await _rounds(redis, rate=rate, seconds=seconds, rounds=rounds)
    finally:
        await redis.aclose()
    return {
        "rate_per_second": rate,
        "seconds": seconds,
        **{f"{name}_rounds": series for name, series in found.items()},
        **{name: _middle(series) for name, series in found.items()},
    }


async def _rounds(redis: Redis, *, rate: float, seconds: float, rounds: int) -> dict[str, list[Told]]:
    async def barest(_: Sequence[int]) -> None:
        async with redis.pipeline(transaction=False) as pipe:
            pipe.execute_command("EVAL", "return redis.call('EXISTS', KEYS[1])", 1, "bench:nothing")
            await pipe.execute()

    async def gate(loop: Loop, lasting: float) -> Told:
        async with _planted(redis, int(rate * lasting)) as ask:
            return await _measured(redis, loop, ask, rate, lasting)

    await gate(_one_by_one, _WARM_UP_SECONDS)
    found: dict[str, list[Told]] = {"gate": [], "batches": [], "floor": []}
    for _ in range(rounds):
        found["gate"].append(await gate(_one_by_one, seconds))
        found["batches"].append(await gate(_together, seconds))
        found["floor"].append(_told(await _one_by_one(barest, rate, seconds)))
    return found


@asynccontextmanager
async def _planted(redis: Redis, decisions: int) -> AsyncIterator[Ask]:
    """A gate with keys of its own and a history; both are gone afterwards: the stack's Redis is small."""
    prefix, run = f"bench:{uuid4().hex}:", uuid4().hex[:8]
    gate = RedisGate(redis, _limits(decisions), _Clock(), prefix=prefix, timeout_seconds=_PATIENCE_SECONDS)

    async def ask(numbers: Sequence[int]) -> None:
        for answer in await gate.ask([_request(number, run) for number in numbers]):
            if not isinstance(answer, Permit):
                raise RuntimeError(f"the gate was expected to permit: {answer}")

    try:
        await gate.restore([])
        for key, many in _histories(Keys(prefix), decisions).items():
            await _plant(redis, key, many)
        yield ask
    finally:
        async for key in redis.scan_iter(f"{prefix}*", count=1000):
            await redis.unlink(key)


def _histories(keys: Keys, decisions: int) -> dict[str, int]:
    """The counts of every bucket but the targets', and how many executions of the day each begins with."""
    found, most = {}, _most(decisions)
    for number in range(max(_NAMESPACES, _RUNBOOKS)):
        asked = _request(number, "")
        for key in keys.of_execution("", asked.target_key, place_of(asked)):
            axis = key.partition(":count:")[2].partition(":")[0]
            if axis in most:
                found[key] = most[axis]
    return found


async def _plant(redis: Redis, key: str, many: int) -> None:
    """Executions that ran from 2 to 22 hours ago."""
    now = int(time.time() * 1000)
    for first in range(0, many, _PLANTED_AT_ONCE):
        last = min(many, first + _PLANTED_AT_ONCE)
        old = {f"old-{n}": now - 2 * _HOUR_MS - 20 * _HOUR_MS * n // many for n in range(first, last)}
        await redis.zadd(key, old)
    await redis.pexpire(key, 48 * _HOUR_MS)


async def _measured(redis: Redis, loop: Loop, ask: Ask, rate: float, seconds: float) -> Told:
    calls, spent = await _scripts(redis)
    took = await loop(ask, rate, seconds)
    calls_then, spent_then = await _scripts(redis)
    return {
        **_told(took),
        "decisions_per_call": round(len(took.each) / took.calls, 2),
        "redis_us": round((spent_then - spent) / (calls_then - calls), 1),
    }


async def _scripts(redis: Redis) -> tuple[int, int]:
    """How many scripts ran on the server so far, those of others included, and for how many microseconds."""
    found = (await redis.info("commandstats")).get("cmdstat_evalsha", {"calls": 0, "usec": 0})
    return found["calls"], found["usec"]


async def _until(due: float) -> None:
    """Wait exactly: the loop's timers count whole milliseconds, which would be half of what is measured."""
    while (wait := due - time.perf_counter()) > 0:  # noqa: ASYNC110 - nobody sets an event at a moment
        await asyncio.sleep(wait - _TIMER_SECONDS if wait > 2 * _TIMER_SECONDS else 0)


async def _one_by_one(ask: Ask, rate: float, seconds: float) -> Took:
    """Ask on time whatever became of those before; what waits for its turn counts as latency."""
    took = Took()

    async def one(number: int, due: float) -> None:
        await ask([number])
        took.each.append((time.perf_counter() - due) * 1000)

    began, running = time.perf_counter() + 0.1, []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await _until(due)
        running.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*running)
    took.calls = len(took.each)
    return took


async def _together(ask: Ask, rate: float, seconds: float) -> Took:
    """One call at a time with all that is due by then, up to 50; they are due on time, however long a call takes."""
    took, number, all_ = Took(), 0, int(rate * seconds)
    began = time.perf_counter() + 0.1
    while number < all_:
        await _until(began + number / rate)
        due = min(all_, int((time.perf_counter() - began) * rate) + 1, number + _TOGETHER)
        asked = range(number, max(due, number + 1))
        await ask(asked)
        done = time.perf_counter()
        took.each += [(done - began - each / rate) * 1000 for each in asked]
        took.calls, number = took.calls + 1, asked.stop
    return took


def _told(took: Took) -> Told:
    ordered = sorted(took.each)
    shares = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    return {
        "count": len(ordered),
        **{name: round(percentile(ordered, share), 3) for name, share in shares.items()},
        "worst": round(ordered[-1], 3),
    }


def _middle(rounds: Sequence[Told]) -> Told:
    """The median of each number over the rounds, as for the other measurements; the worst is the worst of all."""
    found = {name: sorted(one[name] for one in rounds)[len(rounds) // 2] for name in rounds[0]}
    return {**found, "worst": max(one["worst"] for one in rounds)}
