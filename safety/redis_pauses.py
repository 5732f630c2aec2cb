"""The pause switch on Redis: one for everything, and one for each part that somebody paused beside it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from safety.calls import since_1970
from safety.errors import GateUnavailable
from safety.keys import Keys
from safety.ports import Clock, PauseLog
from safety.scopes import EVERYTHING, Pause, PauseScope

Plain = Callable[..., Awaitable[list[Any]]]
"""Runs plain commands in one round trip; raises GateUnavailable when one of them did not work."""


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")


class RedisPauses:
    """Sets, lifts, lists and restores pauses.

    Args:
        plain: runs commands.
        keys: names of the keys.
        clock: wall clock.
        log: where pauses are durable; without it an emptied store has forgotten them.
    """

    def __init__(self, plain: Plain, keys: Keys, clock: Clock, log: PauseLog | None) -> None:
        self._plain = plain
        self._keys = keys
        self._clock = clock
        self._log = log

    async def set(self, pause: Pause) -> None:
        """Pause. It is in force even when recording it fails and this raises GateUnavailable."""
        done = await asyncio.gather(self._plain(*self._write(pause)), self._note(pause, None), return_exceptions=True)
        for failure in done:
            if isinstance(failure, BaseException):
                raise failure

    async def lift(self, by: str, scope: PauseScope) -> None:
        """End a pause; recorded first, so that it is never lifted in one place only."""
        await self._note(Pause(by, "", scope), by)
        await self._plain(["DEL", self._keys.pause] if scope == EVERYTHING else ["HDEL", self._keys.pauses, scope.key])

    async def all(self) -> Sequence[Pause]:
        """Every pause that is in force; the one of everything comes first."""
        brake, parts = await self._plain(
            ["HMGET", self._keys.pause, "by", "reason", "at", "until"], ["HGETALL", self._keys.pauses]
        )
        found = [] if brake[0] is None else [_brake(brake)]
        found += [_read(_text(key), json.loads(value)) for key, value in sorted(_pairs(parts))]
        now = self._clock.now()
        if lapsed := [pause.scope.key for pause in found if not pause.holds(now) and pause.scope != EVERYTHING]:
            await self._plain(["HDEL", self._keys.pauses, *lapsed])
        return [pause for pause in found if pause.holds(now)]

    async def restore(self) -> None:
        """Write what the log says is in force. Raises GateUnavailable when nobody can say."""
        if self._log is None:
            return
        try:
            pauses = await self._log.in_force()
        except Exception as error:
            raise GateUnavailable(f"nobody can say whether automation is paused: {error}") from error
        commands = [command for pause in pauses for command in self._write(pause)]
        if commands:
            await self._plain(*commands)

    def _write(self, pause: Pause) -> list[list[str]]:
        at = (pause.at or self._clock.now()).isoformat()
        until = since_1970(pause.until)
        if pause.scope == EVERYTHING:
            facts = {"by": pause.by, "reason": pause.reason, "at": at, "until": str(until or "")}
            return [["HSET", self._keys.pause, *(part for pair in facts.items() for part in pair)]]
        told = {"by": pause.by, "reason": pause.reason, "at": at, "until": until}
        told |= {"scope": dict(pause.scope.parts), "said": str(pause.scope)}
        return [["HSET", self._keys.pauses, pause.scope.key, json.dumps(told)]]

    async def _note(self, pause: Pause, lifted_by: str | None) -> None:
        """Make a pause, or its end, durable."""
        if self._log is None:
            return
        try:
            if lifted_by is None:
                await self._log.paused(pause.by, pause.reason, pause.scope, pause.until)
            else:
                await self._log.resumed(lifted_by, pause.scope)
        except Exception as error:
            raise GateUnavailable(f"the pause switch could not be recorded: {error}") from error


def _pairs(listed: Any) -> list[tuple[Any, Any]]:
    """A hash, as either way of reading answers gives it."""
    return list(listed.items()) if isinstance(listed, dict) else list(zip(listed[::2], listed[1::2], strict=True))


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _until(milliseconds: int) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def _brake(values: Sequence[Any]) -> Pause:
    by, reason, at, until = map(_text, values)
    return Pause(by, reason, EVERYTHING, _moment(at), _until(int(until or 0)))


def _read(key: str, told: dict[str, Any]) -> Pause:
    return Pause(told["by"], told["reason"], PauseScope.of(key), _moment(told["at"]), _until(told["until"]))
