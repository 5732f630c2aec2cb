"""Checks trails entry by entry: what was changed, removed, put in, reordered or cut off. Pure; memory does not grow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from safety.anchors import Tombstone
from safety.trail import FIELDS, GENESIS, EntryKind, Head, Sealed, entry_id, recomputed

_TYPES = {name: (int if name == "seq" else str) for name in FIELDS}


@dataclass(frozen=True, slots=True)
class Problem:
    """One break of a trail.

    Attributes:
        what: ``changed``, ``missing``, ``inserted``, ``reordered``, ``truncated``, ``unlinked``, ``anchor``.
        entry: the entry, as ``segment:number``; empty when it is about no single one.
        detail: in words.
    """

    what: str
    entry: str
    detail: str


@dataclass(slots=True)
class SegmentCheck:
    """Takes the entries of one segment in the order of their numbers.

    Args:
        segment: whose entries these are.
        tenant: whose trail it is, when that is known.
        stone: what was taken away of it on purpose.
        sealed: how far it goes at least.
        closed: it ends there.

    Attributes:
        count: entries so far.
        anchor: the anchor that its first entry names, ``book:hash``.
    """

    segment: str
    tenant: str = ""
    stone: Tombstone | None = None
    sealed: Head | None = None
    closed: bool = False
    count: int = 0
    anchor: str = ""
    _next: int = 0
    _prev: str = GENESIS
    _at_seal: str = ""
    _linked: bool = True

    def __post_init__(self) -> None:
        if self.stone:
            self._next, self._prev = self.stone.through + 1, self.stone.hash
            if self.sealed and self.sealed.seq == self.stone.through:
                self._at_seal = self.stone.hash

    def take(self, row: Mapping[str, Any], following: Iterable[int] | None = None) -> list[Problem]:
        """The next entry.

        Args:
            row: its properties, all of them.
            following: the numbers of the entries that ``NEXT`` leads to; None when that is not asked.

        Returns:
            What is wrong with it.
        """
        self.count += 1
        seq = row.get("seq")
        number = seq if isinstance(seq, int) and not isinstance(seq, bool) else -1
        name = entry_id(self.segment, number)
        found = self._place(name, number)
        broken = _shape(row)
        if broken:
            self._next, self._prev = number + 1, str(row.get("hash", ""))
            return [*found, Problem("changed", name, broken)]
        entry = Sealed(**{field_name: row[field_name] for field_name in FIELDS})
        found += self._content(name, entry)
        if following is not None:
            found += self._links(name, number, list(following))
        if self.sealed and number == self.sealed.seq:
            self._at_seal = entry.hash
        self._next, self._prev = number + 1, entry.hash
        return found

    def _place(self, name: str, number: int) -> list[Problem]:
        if number == self._next:
            return []
        if number < self._next:
            return [Problem("inserted", name, f"number {number} stands where {self._next} is expected")]
        gap = f"{self._next}" if number == self._next + 1 else f"{self._next} to {number - 1}"
        return [Problem("missing", entry_id(self.segment, self._next), f"entries {gap} are not there")]

    def _content(self, name: str, entry: Sealed) -> list[Problem]:
        found = []
        if self.tenant and entry.tenant != self.tenant:
            found.append(Problem("changed", name, f"it says tenant {entry.tenant}, the segment is of {self.tenant}"))
        self.tenant = self.tenant or entry.tenant
        if recomputed(entry) != entry.hash:
            found.append(
                Problem("changed", name, f"what it says does not fit its hash ({entry.kind}, {entry.subject})")
            )
        if entry.seq == self._next and entry.prev != self._prev:
            found.append(Problem("changed", name, "it does not follow the entry before it"))
        if entry.seq == 0 and entry.kind == EntryKind.SEGMENT_BEGUN.value:
            self.anchor = str(_facts(entry).get("anchor", ""))
        return found

    def _links(self, name: str, number: int, following: list[int]) -> list[Problem]:
        found = []
        if not self._linked and number == self._next:
            found.append(Problem("unlinked", name, "no NEXT leads to it from the entry before it"))
        self._linked = following == [number + 1]
        if following and not self._linked:
            found.append(Problem("reordered", name, f"NEXT leads to {following}, expected [{number + 1}]"))
        return found

    def end(self) -> list[Problem]:
        """The segment has no further entry."""
        if self.sealed is None:
            return []
        if self._next <= self.sealed.seq:
            last = f"sealed up to number {self.sealed.seq}, it ends with {self._next - 1}"
            return [Problem("truncated", entry_id(self.segment, self._next), last)]
        if self.closed and self._next > self.sealed.seq + 1:
            detail = f"its writer ended it with number {self.sealed.seq}"
            return [Problem("inserted", entry_id(self.segment, self.sealed.seq + 1), detail)]
        if self._at_seal and self._at_seal != self.sealed.hash:
            detail = "it is not the entry that was sealed: this and those before it were written again"
            return [Problem("changed", entry_id(self.segment, self.sealed.seq), detail)]
        return []


def _shape(row: Mapping[str, Any]) -> str:
    """What makes a row no entry; empty when it is one."""
    missing = [name for name, kind in _TYPES.items() if not isinstance(row.get(name), kind)]
    if missing:
        return f"its {', '.join(missing)} is missing or of another type"
    begins = row["tenant"] if row["seq"] == 0 else None
    extra = sorted(set(row) - set(FIELDS) - {"begins"})
    if extra:
        return f"it has properties that no entry has: {', '.join(extra)}"
    if row.get("begins") != begins:
        return "its begins is not what it was"
    return ""


def _facts(entry: Sealed) -> Mapping[str, Any]:
    try:
        told = json.loads(entry.facts)
    except ValueError:
        return {}
    return told if isinstance(told, Mapping) else {}
