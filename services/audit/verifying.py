"""Checks the trail in the graph against itself and against the anchors; entries stream by, memory does not grow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from safety.anchors import Sealed, Tombstone, Trust, read
from safety.checking import Problem, SegmentCheck
from safety.trail import entry_id
from services.audit.books import BookFile
from services.graph.connect import Graph, Row

PAGE = 2_000
KEPT = 100
"""Most problems that a report names; the rest is counted."""

Progress = Callable[[int, int], None]
"""Told of entries and segments so far."""


@dataclass(slots=True)
class Report:
    """What was found.

    Attributes:
        tenant: whose trail; empty for all.
        problems: the first of them, in the order of the segments' names; flaws of the books come first.
        broken: how many there are.
        anchors: anchors that were read; ``foreign`` of them are about other databases.
        sealed: segments that some anchor vouches for.
        elsewhere: anchors that segments name and that are of books which were not given.
        left: entries that an interrupted pruning has left; the next one takes them away.
    """

    tenant: str
    entries: int = 0
    segments: int = 0
    sealed: int = 0
    anchors: int = 0
    foreign: int = 0
    left: int = 0
    elsewhere: int = 0
    broken: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return self.broken == 0

    def add(self, problems: Iterable[Problem]) -> None:
        """More of what is wrong."""
        for problem in problems:
            self.broken += 1
            if len(self.problems) < KEPT:
                self.problems.append(problem)


class Verification:
    """One run over the trail.

    Args:
        graph: where the entries are.
        books: files of anchors.
        trust: whose anchors count.
        page: entries that are read at a time.

    Attributes:
        buried: the last tombstone of each segment, after a run.
    """

    def __init__(self, graph: Graph, books: Iterable[Path], trust: Trust, *, page: int = PAGE) -> None:
        self._graph = graph
        self._books = [BookFile(path) for path in books]
        self._trust = trust
        self._page = page
        self._named: dict[str, str] = {}
        self.buried: dict[str, Tombstone] = {}

    async def run(self, tenant: str = "", progress: Progress = lambda *_: None) -> Report:
        """Check the trail of a tenant, or all.

        Entries that are written meanwhile do no harm: anchors are read first.

        Raises:
            GraphUnavailable: nothing can be said.
        """
        report = Report(tenant)
        counted = self._graph.read("audit_count", tenant=tenant) if tenant else self._graph.read("audit_count_all")
        expected = (await counted)[0]["entries"]
        store = str((await self._graph.read("audit_store"))[0]["id"])
        sealed = await asyncio.to_thread(self._read, store, report)
        self.buried = {name: stone for name, stone in sealed.pruned.items() if tenant in {"", stone.tenant}}
        left = [{"segment": name, "through": stone.through} for name, stone in self.buried.items()]
        report.left = (await self._graph.read("audit_left", rows=left))[0]["entries"]
        self._named.clear()
        wanted = {name for name, head in sealed.heads.items() if tenant in {"", head.tenant}}
        report.sealed = len(wanted)
        async for segment, owner in self._segments(tenant):
            known = sealed.heads.get(segment)
            if tenant and tenant not in {owner, known.tenant if known else owner}:
                continue
            wanted.discard(segment)
            await self._segment(segment, sealed, report, progress)
        for segment in sorted(wanted):
            await self._segment(segment, sealed, report, progress)
        if report.entries + report.left < expected:
            stray = f"{expected - report.entries - report.left} entries are in no segment"
            report.add([Problem("inserted", "", stray)])
        report.add(await asyncio.to_thread(self._unknown_anchors, set(sealed.last), report))
        return report

    async def _segment(self, segment: str, sealed: Sealed, report: Report, progress: Progress) -> None:
        head, stone = sealed.heads.get(segment), sealed.pruned.get(segment)
        check = SegmentCheck(segment, head.tenant if head else "", stone, head, segment in sealed.closed)
        report.segments += 1
        async for row in self._entries(segment, stone.through if stone else -1):
            report.add(check.take(row["a"], row["following"]))
            report.entries += 1
            if report.entries % self._page == 0:
                progress(report.entries, report.segments)
        report.add(check.end())
        if check.anchor:
            self._named[check.anchor] = entry_id(segment, 0)

    async def _segments(self, tenant: str) -> AsyncIterator[tuple[str, str]]:
        """Names of segments. Those of a tenant begin with an entry of it; what lost that is missed when counting."""
        after = ""
        while tenant:
            found = await self._graph.read("audit_segments", tenant=tenant, since="", after=after, limit=self._page)
            for row in found:
                yield row["segment"], row["tenant"]
            if len(found) < self._page:
                return
            after = found[-1]["segment"]
        while rows := await self._graph.read("audit_segments_after", after=after):
            after = rows[0]["segment"]
            yield after, rows[0]["tenant"]

    async def _entries(self, segment: str, after: int) -> AsyncIterator[Row]:
        while True:
            rows = await self._graph.read("audit_page", segment=segment, after=after, limit=self._page)
            for row in rows:
                yield row
            if len(rows) < self._page:
                return
            after = rows[-1]["a"]["seq"]

    def _read(self, store: str, report: Report) -> Sealed:
        """All anchors: what they say together, and what is wrong with them."""
        sealed = Sealed(store, self._trust)
        for book in self._books:
            for number, line in enumerate(book.lines(), 1):
                sealed.take(number, line)
                report.anchors += 1
            report.add(Problem("anchor", "", f"{book.path}:{flaw.line}: {flaw.what}") for flaw in sealed.flaws)
            sealed.flaws.clear()
        report.foreign = sealed.foreign
        return sealed

    def _unknown_anchors(self, books: set[str], report: Report) -> list[Problem]:
        """Anchors that segments name and that are not in their book. Books of other hosts may not have been given."""
        named = {name: entry for name, entry in self._named.items() if not books or name.partition(":")[0] in books}
        report.elsewhere = len(self._named) - len(named)
        missing = {name.partition(":")[2]: entry for name, entry in named.items()}
        for book in self._books:
            for line in book.lines():
                if not missing:
                    return []
                try:
                    missing.pop(read(line).hash, None)
                except ValueError:
                    continue
        return [
            Problem(
                "anchor", entry, f"it names the anchor {name[:16]}…, which is not in its book: anchors were removed"
            )
            for name, entry in sorted(missing.items(), key=lambda item: item[1])
        ]
