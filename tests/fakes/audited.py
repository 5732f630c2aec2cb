"""Trails to be tampered with: the graph's entries in memory, under the queries that read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safety.anchors import Seal, anchor, written
from safety.memory_trail import MemoryTrail
from safety.trail import Entry, EntryKind, Head
from services.audit.keys import AnchorKey

STORE = "the-database-of-the-tests"
NOW = "2026-03-01T12:00:00.000000Z"


class MemoryEntries:
    """Stands in for ``services.graph.connect.Graph`` where the trail is read.

    Attributes:
        nodes: properties of each entry; what a tampering changes.
        edges: pairs of nodes, as ``NEXT`` joins them.
    """

    def __init__(self, trail: MemoryTrail) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.edges: list[tuple[int, int]] = []
        place: dict[tuple[str, int], int] = {}
        for entry in trail.entries:
            begins = {"begins": entry.tenant} if entry.seq == 0 else {}
            place[entry.segment, entry.seq] = len(self.nodes)
            self.nodes.append({**asdict(entry), **begins})
            if entry.seq:
                self.edges.append((place[entry.segment, entry.seq - 1], place[entry.segment, entry.seq]))
        self.gone: set[int] = set()

    @property
    def there(self) -> list[int]:
        """The entries that nobody removed."""
        return [number for number in range(len(self.nodes)) if number not in self.gone]

    def remove(self, number: int) -> None:
        """Take an entry away with what joins it."""
        self.gone.add(number)
        self.edges = [pair for pair in self.edges if number not in pair]

    def of(self, segment: str) -> list[int]:
        """The entries of a segment in order."""
        found = [n for n in self.there if self.nodes[n].get("segment") == segment and self._seq(n) is not None]
        return sorted(found, key=lambda n: self.nodes[n]["seq"])

    def _seq(self, number: int) -> int | None:
        seq = self.nodes[number].get("seq")
        return seq if isinstance(seq, int) and not isinstance(seq, bool) else None

    async def read(self, name: str, **given: Any) -> list[dict[str, Any]]:  # noqa: PLR0911 - a line for each query
        """As the graph answers."""
        match name:
            case "audit_store":
                return [{"id": STORE}]
            case "audit_count":
                return [{"entries": sum(self.nodes[n].get("tenant") == given["tenant"] for n in self.there)}]
            case "audit_count_all":
                return [{"entries": len(self.there)}]
            case "audit_segments_after":
                names = {self.nodes[n].get("segment") for n in self.there if self._seq(n) is not None}
                later = sorted(one for one in names if isinstance(one, str) and one > given["after"])
                return (
                    [{"segment": later[0], "tenant": self.nodes[self.of(later[0])[0]].get("tenant")}] if later else []
                )
            case "audit_segments":
                begun = [self.nodes[n] for n in self.there if self.nodes[n].get("begins") == given["tenant"]]
                names = sorted({one["segment"] for one in begun if one.get("segment", "") > given["after"]})
                return [{"segment": name, "tenant": given["tenant"]} for name in names[: given["limit"]]]
            case "audit_page":
                after = [n for n in self.of(given["segment"]) if self.nodes[n]["seq"] > given["after"]]
                return [{"a": self.nodes[n], "following": self._following(n)} for n in after[: given["limit"]]]
            case "audit_left":
                return [{"entries": 0}]
        raise AssertionError(f"{name} is not asked of a trail in memory")

    def _following(self, number: int) -> list[Any]:
        return [self.nodes[other].get("seq") for one, other in self.edges if one == number]


def key() -> AnchorKey:
    """A key that nobody else has."""
    return AnchorKey(Ed25519PrivateKey.generate())


def entry(number: int, tenant: str = "acme") -> Entry:
    """An entry unlike the others."""
    kinds = list(EntryKind)
    return Entry(
        kinds[number % len(kinds)],
        f"subject-{number}",
        f"person-{number % 7}",
        f"because of {number}",
        {"number": number, "of": tenant},
        incident_id=f"incident-{number % 5}",
        execution_id=f"execution-{number % 3}",
    )


async def trail_of(sizes: Sequence[int], tenant: str = "acme") -> MemoryTrail:
    """A trail with segments of these sizes (without their first entries)."""
    trail = MemoryTrail()
    number = 0
    for size in sizes:
        for _ in range(size):
            await trail.append(tenant, [entry(number, tenant)])
            number += 1
        trail.segments = type(trail.segments)("memory")
    return trail


def book_of(trail: MemoryTrail, signer: AnchorKey, *, every: int = 7, store: str = STORE) -> list[bytes]:
    """A book that seals a trail as it grew, and its ends."""
    lines: list[bytes] = []
    last = None
    heads: dict[str, Any] = {}

    def add(seal: Seal) -> None:
        nonlocal last
        last = anchor(seal, "book", last, signer)
        lines.append(written(last).encode() + b"\n")

    for number, one in enumerate(trail.entries, 1):
        heads[one.segment] = Head(one.tenant, one.segment, one.seq, one.hash)
        if number % every == 0 or number == len(trail.entries):
            add(Seal(NOW, "tests", store, tuple(heads.values())))
    closed = tuple(dict.fromkeys(one.segment for one in trail.entries))
    add(Seal(NOW, "tests", store, (), (), closed))
    return lines
