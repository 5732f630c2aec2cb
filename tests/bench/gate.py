"""How long the gate takes for a decision while they come at a fixed rate, beside the barest call on the same Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from redis.asyncio import BlockingConnectionPool, Redis

from safety.model import BlastRadius, GateRequest, Limits, Permit
from safety.policy import PolicySettings
from safety.redis_gate import RedisGate
from safety.surroundings import CLEAR
from tests.bench.site import Site
from tests.bench.stats import percentile

_MANY = 10_000_000
_WARM_UP_SECONDS = 2.0
_NAMESPACES = 50
_CONNECTIONS = 64
_PATIENCE_SECONDS = 60

Ask = Callable[[int], Awaitable[None]]


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def _limits() -> PolicySettings:
    """Every limit is set, so that every count is compared, and none is reached."""
    counted = ("per_minute", "per_hour", "per_day", "concurrent", "blast_in_flight")
    known = PolicySettings.__dataclass_fields__
    axes = ("runbook", "target", "namespace", "cluster", "tenant")
    names = [f"{axis}_{what}" for axis in axes for what in counted if f"{axis}_{what}" in known]
    wide = PolicySettings(max_executions_per_hour_total=_MANY, ask_again_after=_MANY)
    changes: dict[str, Any] = dict.fromkeys(names, _MANY)
    return replace(wide, **changes)


def _request(number: int, run: str) -> GateRequest:
    namespace = f"team-{number % _NAMESPACES}"
    target = f"prod/{namespace}/Deployment/app-{run}-{number}"
    return GateRequest(
        execution_id=f"{run}-{number}",
        tenant="bench",
        cluster="prod",
        runbook_id=f"runbook-{number % 20}",
        target_key=target,
        namespaces=(namespace,),
        confidence=0.95,
        plan_hash="plan",
        blast=BlastRadius(3, 3, (target,), graph_age_seconds=1),
        limits=Limits(0.8, _MANY, 10, 600, _MANY, _MANY, _MANY),
        around=CLEAR,
    )


async def measure(site: Site, *, rate: float, seconds: float, rounds: int) -> dict[str, Any]:
    """Rounds of the gate and of the floor, by turns, on the same Redis; milliseconds from when a decision was due.

    Args:
        site: whose Redis it is.
        rate: decisions a second.
        seconds: length of one round.
        rounds: how many of each.
    """
    # On a machine that cannot keep up, calls wait for a connection: that is latency, and no error.
    pool = BlockingConnectionPool.from_url(site.redis_url, max_connections=_CONNECTIONS, timeout=_PATIENCE_SECONDS)
    redis = Redis.from_pool(pool)
    prefix = f"bench:{uuid4().hex}:"
    gate = RedisGate(redis, _limits(), _Clock(), prefix=prefix, timeout_seconds=_PATIENCE_SECONDS)
    try:
        await gate.restore([])
        asked, floor = await _rounds(gate, redis, prefix, rate=rate, seconds=seconds, rounds=rounds)
    finally:
        async for key in redis.scan_iter(f"{prefix}*", count=1000):
            await redis.unlink(key)
        await redis.aclose()
    return {
        "rate_per_second": rate,
        "seconds": seconds,
        "gate_rounds": asked,
        "floor_rounds": floor,
        "gate": _middle(asked),
        "floor": _middle(floor),
    }


async def _rounds(
    gate: RedisGate, redis: Redis, prefix: str, *, rate: float, seconds: float, rounds: int
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    async def barest(_: int) -> None:
        async with redis.pipeline(transaction=False) as pipe:
            pipe.execute_command("EVAL", "return redis.call('EXISTS', KEYS[1])", 1, f"{prefix}primed:3")
            await pipe.execute()

    await _open_loop(_asking(gate), rate, _WARM_UP_SECONDS)
    asked, floor = [], []
    for _ in range(rounds):
        asked.append(_told(await _open_loop(_asking(gate), rate, seconds)))
        floor.append(_told(await _open_loop(barest, rate, seconds)))
    return asked, floor


def _asking(gate: RedisGate) -> Ask:
    run = uuid4().hex[:8]

    async def ask(number: int) -> None:
        (answer,) = await gate.ask([_request(number, run)])
        if not isinstance(answer, Permit):
            raise RuntimeError(f"the gate was expected to permit: {answer}")

    return ask


async def _open_loop(ask: Ask, rate: float, seconds: float) -> list[float]:
    """Ask on time whatever became of those before; what waits for its turn counts as latency."""
    took: list[float] = []

    async def one(number: int, due: float) -> None:
        await ask(number)
        took.append((time.perf_counter() - due) * 1000)

    began, running = time.perf_counter() + 0.1, []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        running.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*running)
    return took


def _told(took: Sequence[float]) -> dict[str, float]:
    ordered = sorted(took)
    shares = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    return {
        "count": len(ordered),
        **{name: round(percentile(ordered, share), 3) for name, share in shares.items()},
        "worst": round(ordered[-1], 3),
    }


def _middle(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median of each number over the rounds, as for the other measurements; the worst is the worst of all."""
    found = {name: sorted(one[name] for one in rounds)[len(rounds) // 2] for name in ("count", "p50", "p99", "p999")}
    return {**found, "worst": max(one["worst"] for one in rounds)}
