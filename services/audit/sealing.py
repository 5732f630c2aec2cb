"""Seals the heads of segments outside the graph, at intervals and before the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog

from executor.failpoints import Failpoint, reach
from safety.anchors import Anchor, Seal, Signer, Tombstone, written
from safety.segments import Segment
from safety.trail import Head, spelled
from services.audit.books import BookFile
from services.graph.connect import Graph

log = structlog.get_logger(__name__)

_PAGE = 500
_OTHERS_SECONDS = 60.0
_LEAST_SECONDS = 0.2
"""Between two anchors in any case: a flood of critical entries is no flood of anchors."""
_BACK = timedelta(days=1)
_FIRST_BACK = timedelta(days=7)

Announce = Callable[[bytes], Awaitable[None]]
"""Tells others of an anchor, given its line; it may fail."""


class Sealer:
    """The anchors of one process.

    Args:
        graph: whose segments are sealed.
        book: where anchors go.
        signer: signs them.
        seconds: between two anchors; what is critical is sealed at once.
        announce: tells Kafka; left out, nobody is told.
        doubt_seconds: how long a write whose answer was lost may still be under way; None for twice the time limit of
            transactions.
    """

    def __init__(
        self,
        graph: Graph,
        book: BookFile,
        signer: Signer,
        *,
        seconds: float = 10.0,
        announce: Announce | None = None,
        doubt_seconds: float | None = None,
    ) -> None:
        self._graph = graph
        self.book = book
        self._signer = signer
        self._seconds = seconds
        self._announce = announce
        self._doubt = 2 * graph.seconds if doubt_seconds is None else doubt_seconds
        self._sealed: dict[str, int] = {}
        self._store = ""
        self._last = ""
        self._doubted: dict[str, float] = {}
        self._looked_at_others = float("-inf")
        self._wanted = asyncio.Event()
        graph.segments.anchor = self._named
        graph.segments.on_critical = self._wanted.set
        if (last := book.last()) is not None:
            self._last = f"{last.book}:{last.hash}"

    def _named(self) -> str:
        return self._last

    async def run(self) -> None:
        """Seal at intervals, and at once what is critical, until cancelled."""
        while True:
            await asyncio.sleep(min(_LEAST_SECONDS, self._seconds))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.seal()
            except Exception as error:  # noqa: BLE001 - the trail goes on; the next interval seals what this did not
                log.warning("audit.not_sealed", error=str(error), error_type=type(error).__name__)

    async def seal(self, *, others: bool = True) -> Anchor | None:
        """Write an anchor when anything has moved since the last one.

        Args:
            others: also look for segments of processes that are gone, once a minute.

        Raises:
            GraphUnavailable: nothing was sealed.
            AuditMisconfigured, BookDamaged: the book takes no anchor.
        """
        heads = {head.segment: head for head in self._graph.segments.heads()}
        heads |= {head.segment: head for head in await self._settled()}
        if others and self._now() - self._looked_at_others > _OTHERS_SECONDS:
            heads |= await self._of_others(set(heads))
            self._looked_at_others = self._now()
        moved = tuple(head for head in heads.values() if head.seq > self._sealed.get(head.segment, -1))
        return await self._write(moved, ()) if moved else None

    async def close(self) -> None:
        """Seal what this process wrote, and that it writes no more. Errors as of ``seal``."""
        await self.seal(others=False)
        ended = tuple(head.segment for head in self._graph.segments.heads() if head.segment in self._sealed)
        if ended:
            await self._write((), (), ended)

    async def bury(self, stones: tuple[Tombstone, ...]) -> Anchor:
        """Write tombstones, before anything is taken away. Errors as of ``seal``."""
        return await self._write((), stones)

    async def _write(
        self, heads: tuple[Head, ...], stones: tuple[Tombstone, ...], closed: tuple[str, ...] = ()
    ) -> Anchor:
        seal = Seal(spelled(datetime.now(UTC)), self._graph.segments.writer, await self.store(), heads, stones, closed)
        reach(Failpoint.ANCHOR_DUE, self._graph.segments.writer)
        made = await asyncio.to_thread(self.book.append, seal, self._signer)
        self._last = f"{made.book}:{made.hash}"
        self._sealed |= {head.segment: head.seq for head in heads}
        reach(Failpoint.ANCHOR_WRITTEN, self._graph.segments.writer)
        if self._announce is not None:
            try:
                await self._announce(written(made).encode())
            except Exception as error:  # noqa: BLE001 - the book has it; Kafka is a second place
                log.warning("audit.anchor_not_announced", error=str(error), error_type=type(error).__name__)
        return made

    async def store(self) -> str:
        """The identity of the database."""
        if not self._store:
            self._store = str((await self._graph.read("audit_store"))[0]["id"])
        return self._store

    async def _settled(self) -> list[Head]:
        """Where segments in doubt ended, once no transaction can still be under way."""
        now = self._now()
        doubtful: list[Segment] = list(self._graph.segments.doubtful)
        ripe = [one for one in doubtful if now - self._doubted.setdefault(one.id, now) > self._doubt]
        if not ripe:
            return []
        rows = await self._graph.read("audit_heads", segments=[segment.id for segment in ripe])
        found = {row["segment"]: Head(row["tenant"], row["segment"], row["seq"], row["hash"]) for row in rows}
        for segment in ripe:
            self._graph.segments.doubtful.remove(segment)
            del self._doubted[segment.id]
            head = found.get(segment.id)
            if segment.seq >= 0 and (head is None or head.seq < segment.seq):
                log.error("audit.cut_off", segment=segment.id, tenant=segment.tenant, expected=segment.seq)
                found[segment.id] = segment.head  # what is certain stays sealed, so that 'verify' finds it
        return list(found.values())

    async def _of_others(self, own: set[str]) -> dict[str, Head]:
        """Heads of segments of others, which may be gone: those of the last week at first, then of the last day."""
        first = self._looked_at_others == float("-inf")
        since, after, found = spelled(datetime.now(UTC) - (_FIRST_BACK if first else _BACK)), "", {}
        while True:
            rows = await self._graph.read("audit_segments", tenant="", since=since, after=after, limit=_PAGE)
            names = [row["segment"] for row in rows if row["segment"] not in own]
            for row in await self._graph.read("audit_heads", segments=names) if names else ():
                found[row["segment"]] = Head(row["tenant"], row["segment"], row["seq"], row["hash"])
            if len(rows) < _PAGE:
                return found
            after = rows[-1]["segment"]

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
