"""The last part of the work on a batch, while the next one is handled: then its offsets are committed, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import chain, repeat

import structlog

from executor.failpoints import Failpoint, reach
from services.kafka.model import Inbound, Rest

log = structlog.get_logger(__name__)

PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between tries at one rest; the last one again and again."""

Commit = Callable[[Sequence[tuple[str, int, int]]], None]
"""Commits (topic, partition, next offset) of a consumer."""


class Settling:
    """Settles the batches of one reader.

    The rest of a batch is tried until it is done: nothing behind it is committed before. When the process ends
    first, neither it nor what is behind it is committed, and whoever comes next reads all of it again.

    Args:
        commit: told the offsets of each batch that is settled.
        stopping: set when the process ends.
        most: so many unsettled batches; with more, reading waits.
        pauses: between tries.
    """

    def __init__(
        self, commit: Commit, stopping: asyncio.Event, *, most: int = 4, pauses: Sequence[float] = PAUSES
    ) -> None:
        self._commit = commit
        self._stopping = stopping
        self._places = asyncio.Semaphore(most)
        self._pauses = pauses
        self._last: asyncio.Task[bool] | None = None

    async def add(self, batch: Sequence[Inbound], rest: Rest | None) -> None:
        """Settle a batch that was handled, behind those before it. Returns at once unless too many are unsettled."""
        await self._places.acquire()
        self._last = asyncio.create_task(self._settle(self._last, batch, rest), name="settle")
        self._last.add_done_callback(lambda _: self._places.release())

    async def done(self) -> None:
        """Return when nothing is left to settle."""
        while (last := self._last) is not None and not last.done():
            await asyncio.wait([last])

    async def _settle(self, before: asyncio.Task[bool] | None, batch: Sequence[Inbound], rest: Rest | None) -> bool:
        """Whether this batch, and so every batch before it, is settled."""
        if before is not None and not await before:
            return False
        if rest is not None and not await self._finished(rest, len(batch)):
            return False
        subject = f"{batch[0].topic}/{batch[0].partition}/{batch[0].offset}" if batch else ""
        reach(Failpoint.OFFSET_DUE, subject)
        highest: dict[tuple[str, int], int] = {}
        for message in batch:
            place = message.topic, message.partition
            highest[place] = max(message.offset, highest.get(place, message.offset))
        try:
            self._commit([(topic, partition, offset + 1) for (topic, partition), offset in highest.items()])
        except Exception as error:  # noqa: BLE001 - who reads it again recognises it; the next commit covers it
            log.warning("offsets.not_committed", messages=len(batch), error=str(error))
        reach(Failpoint.OFFSET_COMMITTED, subject)
        return True

    async def _finished(self, rest: Rest, messages: int) -> bool:
        for pause in chain(self._pauses, repeat(self._pauses[-1])):
            try:
                await rest()
            except Exception as error:  # noqa: BLE001 - whatever it was, nothing behind it may be committed
                log.warning("batch.unsettled", messages=messages, error=str(error), error_type=type(error).__name__)
            else:
                return True
            if self._stopping.is_set():
                return False
            await asyncio.sleep(pause)
        raise AssertionError("the pauses have no end")
