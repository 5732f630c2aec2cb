"""Keeps the log in PostgreSQL up to date, from the executor's events and from the graph; nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from executor.errors import Temporary
from services.history.database import HistoryDatabase

log = structlog.get_logger(__name__)

_MOST = 10_000
"""More changes than these are left to the next look into the graph."""
_BATCH = 50
_OVERLAP = timedelta(hours=1)
_LONGEST_PAUSE = 60.0

Json = Mapping[str, Any]


class Truth(Protocol):
    """The graph, as far as the log needs it."""

    async def recordings(self, execution_ids: Sequence[str]) -> Sequence[Json]:
        """What is recorded of these executions."""
        ...

    async def started_since(self, moment: datetime | None) -> Sequence[str]:
        """Ids of executions that were asked for since then."""
        ...


class SqlHistory:
    """Implements ``executor.ports.Hooks``: hears which executions changed, and copies them a little later.

    Each is copied as it stands in the graph, so that a lost or repeated event does no harm. What happened while nobody
    listened, or while the database was away, is found again: executions without an end in the log, and those that
    are newer than its newest.
    """

    def __init__(
        self,
        database: HistoryDatabase,
        truth: Truth,
        *,
        write_seconds: float = 2.0,
        catch_up_seconds: float = 300.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._truth = truth
        self._write_seconds = write_seconds
        self._catch_up_seconds = catch_up_seconds
        self._sleep = sleep
        self._changed: dict[str, None] = {}

    def event(self, name: str, **facts: Any) -> None:
        """Remember which execution changed; nothing else happens here."""
        number = facts.get("execution")
        if isinstance(number, str) and len(self._changed) < _MOST and name.startswith(("execution.", "step.", "roll")):
            self._changed[number] = None

    async def run(self) -> None:
        """Copy until cancelled. A database that is away is tried again, ever more slowly."""
        loop = asyncio.get_running_loop()
        pause, due, ready = self._write_seconds, loop.time(), False
        while True:
            try:
                if not ready:
                    log.info("history.ready", migrations=list(await self._database.migrate()))
                    ready = True
                if loop.time() >= due:
                    await self.catch_up()
                    due = loop.time() + self._catch_up_seconds
                await self.flush()
                pause = self._write_seconds
            except Temporary as error:
                pause = min(pause * 2, _LONGEST_PAUSE)
                log.warning("history.away", why=str(error), again_in_seconds=pause)
            await self._sleep(pause)

    async def catch_up(self) -> None:
        """Remember everything that the log may lack."""
        newest = await self._database.newest()
        since = newest - _OVERLAP if newest else None
        for number in (*await self._database.unfinished(), *await self._truth.started_since(since)):
            self._changed[number] = None

    async def flush(self) -> None:
        """Copy what changed. What fails is kept for the next time."""
        while self._changed:
            batch = list(self._changed)[:_BATCH]
            for number in batch:
                del self._changed[number]
            try:
                await self._database.write(await self._truth.recordings(batch))
            except BaseException:
                self._changed = {**dict.fromkeys(batch), **self._changed}
                raise
