"""Round trips to Redis: scripts and plain commands, many at once, tried twice, with one kind of failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from safety.calls import Call
from safety.errors import GateUnavailable

_AT_ONCE = 200
"""Calls in one round trip: a busy machine must answer within the time-out, however long the list is."""
_FAILURES = (RedisError, OSError, TimeoutError)


def as_text(value: Any) -> str:
    """An answer as text, whichever way the client decodes."""
    return value.decode() if isinstance(value, bytes) else str(value)


class RedisWire:
    """Sends.

    Args:
        redis: the client; its lifetime is the caller's.
        timeout_seconds: for one round trip; it is tried twice.
    """

    def __init__(self, redis: Redis, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout = timeout_seconds

    async def run(self, calls: Sequence[Call]) -> list[Sequence[str] | Exception]:
        """Run scripts in order, many in one round trip. Each may be repeated, so a lost answer is asked for again."""
        results: list[Sequence[str] | Exception] = []
        for start in range(0, len(calls), _AT_ONCE):
            try:
                results += map(_reply, await self._run_together(calls[start : start + _AT_ONCE]))
            except GateUnavailable as error:
                # Not another time-out for each of the rest.
                results += [error] * (len(calls) - start)
                break
        return results

    async def plain(self, *commands: Sequence[str]) -> list[Any]:
        """Run plain commands. Raises GateUnavailable when one of them did not work."""
        results = await self._send(commands)
        for result in results:
            if isinstance(result, Exception):
                raise GateUnavailable(f"the gate's store refused: {result}") from result
        return results

    async def _run_together(self, calls: Sequence[Call]) -> list[Any]:
        commands = [["EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args] for call in calls]
        results = await self._send(commands)
        if any(isinstance(result, NoScriptError) for result in results):
            texts = {call.script.text for call in calls}
            results = await self._send([*(["SCRIPT", "LOAD", text] for text in texts), *commands])
            results = results[len(texts) :]
        return results

    async def _send(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """One round trip, tried twice; errors of single commands are among the results."""
        failure: Exception | None = None
        for _ in range(2):
            try:
                async with asyncio.timeout(self._timeout), self._redis.pipeline(transaction=False) as pipe:
                    for command in commands:
                        pipe.execute_command(*command)
                    return await pipe.execute(raise_on_error=False)
            except _FAILURES as error:
                failure = error
        reason = str(failure) or f"no answer within {self._timeout:g} s"
        raise GateUnavailable(f"the gate's store does not answer: {reason}") from failure


def _reply(result: Any) -> Sequence[str] | Exception:
    if isinstance(result, Exception):
        return result
    return [as_text(part) for part in result] if isinstance(result, list) else [as_text(result)]
