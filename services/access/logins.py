"""Who came in, told to the audit trail: once an hour for each token, however often it is shown."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from executor.ports import Clock
from safety.access import Actor
from safety.trail import SYSTEM, Entry, EntryKind

log = structlog.get_logger(__name__)

EVERY_SECONDS = 3600.0
_SECONDS = 5.0
_REDIS_SECONDS = 0.5
_PAUSE_SECONDS = 30.0
_MOST_REMEMBERED = 10_000
_DIGITS = 16
_CLAIMS = ("iss", "sub", "azp", "client_id", "jti", "uid")


class Trail(Protocol):
    """The part of the audit trail that is needed."""

    async def append(self, tenant: str, entries: Sequence[Entry]) -> None:
        """Write entries."""
        ...


class Logins:
    """Tells of logins. Nobody is kept out because one could not be told: the log has it then.

    An entry is written before it is remembered, so that a crash leads to a second one rather than to none.

    Args:
        trail: of the installation.
        redis: remembers for all processes; None for this process's memory alone. It is asked once an hour a token.
        prefix: begins the keys.
        clock: of durations.
    """

    def __init__(self, trail: Trail, redis: Redis | None, prefix: str, clock: Clock) -> None:
        self._trail = trail
        self._redis = redis
        self._prefix = prefix
        self._clock = clock
        self._known: OrderedDict[str, float] = OrderedDict()
        self._pause_until = float("-inf")

    async def note(self, actor: Actor, way: str, token: str) -> None:
        """Tell of a token that was accepted, unless it was told within the hour.

        Args:
            actor: whose it is.
            way: how that was proven, such as ``oidc``.
            token: as it was given; only a part of its hash is kept.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        now = self._clock.monotonic()
        if now < self._pause_until or now - self._known.get(digest, float("-inf")) < EVERY_SECONDS:
            return
        self._remember(digest, now)  # at once, so that calls at the same moment tell one
        try:
            if not await self._told_elsewhere(digest):
                async with asyncio.timeout(_SECONDS):
                    await self._trail.append(SYSTEM, [_entry(actor, way, digest)])
                await self._share(digest)
        except Exception as error:  # noqa: BLE001 - whatever keeps the record away, the token is good
            self._known.pop(digest, None)
            # Else every call would wait for a trail that is away.
            self._pause_until = now + _PAUSE_SECONDS
            log.warning("access.login_not_told", actor=actor.key, way=way, error=str(error) or type(error).__name__)

    def _remember(self, digest: str, now: float) -> None:
        self._known[digest] = now
        self._known.move_to_end(digest)
        while len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)

    async def _told_elsewhere(self, digest: str) -> bool:
        if self._redis is None:
            return False
        try:
            async with asyncio.timeout(_REDIS_SECONDS):
                return bool(await self._redis.exists(self._key(digest)))
        except (RedisError, OSError, TimeoutError):
            return False  # told twice is better than not at all

    async def _share(self, digest: str) -> None:
        if self._redis is None:
            return
        try:
            async with asyncio.timeout(_REDIS_SECONDS):
                await self._redis.set(self._key(digest), "1", ex=round(EVERY_SECONDS))
        except (RedisError, OSError, TimeoutError) as error:
            log.debug("access.login_not_shared", error=str(error) or type(error).__name__)

    def _key(self, digest: str) -> str:
        return f"{self._prefix}login:{digest}"


def _entry(actor: Actor, way: str, digest: str) -> Entry:
    claims = {name: str(actor.claims[name])[:200] for name in _CLAIMS if name in actor.claims}
    facts = {"way": way, "person": actor.person, "name": actor.name, "token": digest[:_DIGITS], **claims}
    return Entry(EntryKind.LOGIN, actor.key, actor.key, "", facts)
