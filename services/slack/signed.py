"""Whether a request over HTTP came from Slack, just now, and for the first time."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

WINDOW_SECONDS = 300
_MOST_REMEMBERED = 10_000
_REDIS_SECONDS = 0.5


class NotFromSlack(Exception):
    """The request is not taken; the message says why."""


class Signatures:
    """Checks signatures (v0) and refuses requests that were taken before.

    Those that were taken are remembered in Redis, so that no other process takes them either, and in this process, for
    when Redis is away. Nothing rests on this alone: an answer that is read twice meets its own record.

    Args:
        signing_secret: of the Slack app.
        redis: None for this process's memory alone.
        prefix: begins the keys.
        now: seconds since 1970.
    """

    def __init__(self, signing_secret: str, redis: Redis | None, prefix: str, now: Callable[[], float]) -> None:
        from slack_sdk.signature import Clock, SignatureVerifier  # noqa: PLC0415 - only where Slack is used

        class Watch(Clock):
            def now(self) -> float:
                return now()

        self._verifier = SignatureVerifier(signing_secret, Watch())
        self._redis = redis
        self._prefix = prefix
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._now = now

    async def check(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Return when the request may be taken.

        Raises:
            NotFromSlack: signature, time or repetition speak against it.
        """
        stamp, signature = headers.get("x-slack-request-timestamp", ""), headers.get("x-slack-signature", "")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):  # noqa: PLR2004 - for ever long enough
            raise NotFromSlack("the request has no readable timestamp")
        if abs(self._now() - int(stamp)) > WINDOW_SECONDS:
            raise NotFromSlack(f"the request is older or newer than {WINDOW_SECONDS} s")
        try:
            right = signature.isascii() and self._verifier.is_valid(body, stamp, signature)
        except UnicodeDecodeError as error:
            raise NotFromSlack("the body is no text") from error
        if not right:
            raise NotFromSlack("the signature is not Slack's")
        if await self._known(hashlib.sha256(f"{stamp}:{signature}".encode()).hexdigest()):
            raise NotFromSlack("the request was taken before")

    async def _known(self, digest: str) -> bool:
        """Whether it was seen before; from now on it was."""
        now = self._now()
        while self._seen and (len(self._seen) >= _MOST_REMEMBERED or next(iter(self._seen.values())) < now):
            self._seen.popitem(last=False)
        known = digest in self._seen
        self._seen[digest] = now + 2 * WINDOW_SECONDS
        return known or await self._known_elsewhere(digest)

    async def _known_elsewhere(self, digest: str) -> bool:
        if self._redis is None:
            return False
        try:
            key = f"{self._prefix}slack:seen:{digest}"
            async with asyncio.timeout(_REDIS_SECONDS):
                new = await self._redis.set(key, "1", nx=True, ex=2 * WINDOW_SECONDS)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("slack.replays_not_shared", error=str(error) or type(error).__name__)
            return False
        return not new
