"""Locks in the gate's store, as they stand there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from redis.asyncio import Redis
from redis.exceptions import RedisError

from safety.errors import GateUnavailable

_PAGE = 500
_SPECIAL = re.compile(r"([*?\[\]\\])")


@dataclass(frozen=True, slots=True)
class Lock:
    """A target that is held.

    Attributes:
        holder: id of the execution.
        provisional: its decision may not be recorded yet; such a lock lapses by itself within a minute.
        left_seconds: until it lapses by itself.
    """

    tenant: str
    target_key: str
    holder: str
    provisional: bool
    left_seconds: float


async def locks(redis: Redis, prefix: str) -> list[Lock]:
    """Every lock that is in force, by the store's clock.

    Raises:
        GateUnavailable: the store does not answer.
    """
    try:
        seconds, micros = await redis.time()
        now = seconds * 1000 + micros // 1000
        pattern = _SPECIAL.sub(r"\\\1", prefix) + "{*}:target:*"
        keys = [_text(raw) async for raw in redis.scan_iter(match=pattern, count=_PAGE)]
        found = [lock for key in sorted(set(keys)) if (lock := await _lock(redis, prefix, key, now))]
    except (RedisError, OSError) as error:
        raise GateUnavailable(f"the locks in Redis cannot be read: {error}") from error
    return sorted(found, key=lambda one: (one.tenant, one.target_key))


async def _lock(redis: Redis, prefix: str, key: str, now: int) -> Lock | None:
    holder, until = (_text(value) for value in await redis.hmget(key, ["holder", "until"]))
    if not holder or int(float(until or 0)) <= now:
        return None
    tenant, _, target = key.removeprefix(prefix).removeprefix("{").partition("}:target:")
    state = _text(await redis.hget(f"{prefix}{{{tenant}}}:execution:{holder}", "state"))
    left = (int(float(until)) - now) / 1000
    return Lock(unquote(tenant), unquote(target), holder, state == "provisional", left)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
