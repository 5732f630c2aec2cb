"""The segments of one process: each is written by one transaction at a time, so that no two meet at one head.

A transaction takes a free segment of its tenant, or begins one when all are being written. There are as many as
there were transactions at once, and none ever waits. A segment whose last write may or may not have happened is never
written again: nobody knows where it ends until the store is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from safety.trail import CRITICAL, GENESIS, PIPELINE, Entry, EntryKind, Head, Sealed, seal


@dataclass(slots=True)
class Segment:
    """One chain of one writer.

    Attributes:
        seq, hash: of the last entry that is durable; -1 before the first.
        attempted: the last entry that may be durable; only in a segment that is in doubt.
    """

    id: str
    tenant: str
    seq: int = -1
    hash: str = GENESIS
    attempted: int = -1

    @property
    def head(self) -> Head:
        """How far it goes for certain."""
        return Head(self.tenant, self.id, self.seq, self.hash)


@dataclass(slots=True)
class Draft:
    """The entries of one transaction. Sealed again, because the transaction is tried again, they are the same chain."""

    _segments: Segments
    _taken: dict[str, Segment] = field(default_factory=dict)
    _last: dict[str, Head] = field(default_factory=dict)
    settled: bool = False
    critical: bool = False

    def seal(self, told: Mapping[str, Sequence[Entry]], now: datetime) -> list[Sealed]:
        """Entries in their places, by tenant; what an earlier call of this draft sealed is replaced."""
        self._last.clear()
        self.critical = any(entry.kind in CRITICAL for entries in told.values() for entry in entries)
        rows: list[Sealed] = []
        for tenant in sorted(told):
            if told[tenant]:
                rows += self._of(tenant, told[tenant], now)
        return rows

    def _of(self, tenant: str, entries: Sequence[Entry], now: datetime) -> list[Sealed]:
        segment = self._taken.get(tenant)
        if segment is None:
            segment = self._taken[tenant] = self._segments.take(tenant)
        opening = [self._segments.opening(segment)] if segment.seq < 0 else []
        head, rows = segment.head, []
        for entry in (*opening, *entries):
            sealed = seal(entry, head, now)
            head = Head(tenant, segment.id, sealed.seq, sealed.hash)
            rows.append(sealed)
        self._last[tenant] = head
        segment.attempted = max(segment.attempted, head.seq)
        return rows

    def written(self) -> None:
        """The transaction is durable with what was sealed last."""
        for tenant, last in self._last.items():
            self._taken[tenant].seq, self._taken[tenant].hash = last.seq, last.hash
        self.settled = True
        if self.critical:
            self._segments.on_critical()

    def dropped(self) -> None:
        """The transaction is durable without any entry: there was nothing to tell."""
        self.settled = True

    def leave(self) -> None:
        """Give the segments back; after a failure they are in doubt and are not written again."""
        for segment in self._taken.values():
            if self.settled:
                segment.attempted = segment.seq
                self._segments.give_back(segment)
            else:
                self._segments.doubt(segment)


class Segments:
    """All segments of a writer.

    Args:
        writer: the process, as people find it in claims and logs.
        anchor: gives the last anchor that this process knows (``book:hash``), which each segment names as it begins.

    Attributes:
        on_critical: told when something of ``CRITICAL`` has become durable, so that it is sealed at once.
    """

    def __init__(self, writer: str, anchor: Callable[[], str] = lambda: "") -> None:
        self.writer = writer
        self.anchor = anchor
        self.on_critical: Callable[[], None] = lambda: None
        self.doubtful: list[Segment] = []
        self._free: dict[str, list[Segment]] = {}
        self._known: list[Segment] = []

    @contextmanager
    def writing(self) -> Iterator[Draft]:
        """A draft for one transaction; left without ``written`` or ``dropped``, its segments are in doubt."""
        draft = Draft(self)
        try:
            yield draft
        finally:
            draft.leave()

    def heads(self) -> list[Head]:
        """The certain heads of every segment that has entries."""
        return [segment.head for segment in (*self._known, *self.doubtful) if segment.seq >= 0]

    def take(self, tenant: str) -> Segment:
        """A segment that nobody writes."""
        free = self._free.get(tenant)
        if free:
            return free.pop()
        # Drawn, not counted: a name that was used before, by a process of the same name, must not come back.
        segment = Segment(uuid4().hex, tenant)
        self._known.append(segment)
        return segment

    def give_back(self, segment: Segment) -> None:
        """It ends where it says."""
        self._free.setdefault(segment.tenant, []).append(segment)

    def doubt(self, segment: Segment) -> None:
        """Nobody knows where it ends."""
        self._known = [one for one in self._known if one is not segment]
        self.doubtful.append(segment)

    def opening(self, segment: Segment) -> Entry:
        """The first entry of a segment: whose it is, and what was sealed before it."""
        facts = {"writer": self.writer, "anchor": self.anchor()}
        return Entry(EntryKind.SEGMENT_BEGUN, segment.id, PIPELINE, "", facts)
