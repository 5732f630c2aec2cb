"""Anchors: what seals the heads of segments from outside the graph, so that cutting them off is found.

An anchor names heads and tombstones, carries the hash of the anchor before it in its book, and is signed. Books are
append-only files; who can change the graph cannot change them, and who can change a book has no key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from safety.trail import GENESIS, Head, canonical

SCHEMA = "rootmend.audit-anchor/v1"


class Signer(Protocol):
    """Who signs anchors."""

    @property
    def key(self) -> str:
        """The public key, as people copy it."""
        ...

    def sign(self, message: bytes) -> str:
        """The signature, as text."""
        ...


class Trust(Protocol):
    """Whose signatures count."""

    def holds(self, key: str, message: bytes, signature: str) -> bool:
        """Whether the key is trusted and the signature is its own."""
        ...


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Entries that were taken away on purpose: all of a segment up to one.

    Attributes:
        through: number of the last one that was taken away.
        hash: of that one; the next entry names it.
        first_hash: of the first one that this pruning took away.
        count: how many this pruning took away.
        by: who asked for it.
        reason: why.
        at: when, as entries spell it.
    """

    tenant: str
    segment: str
    through: int
    hash: str
    first_hash: str
    count: int
    by: str
    reason: str
    at: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """One line of a book.

    Attributes:
        book: the identity of the file, drawn when it was begun.
        number: its place in the book, from 1.
        prev: hash of the anchor before it; ``GENESIS`` for the first.
        writer: the process.
        store: identity of the database.
        heads: how far segments go at least; only those that have moved.
        closed: segments that their writer will not go on with: they end where their sealed head is.
        key: the public key that signed.
    """

    book: str
    number: int
    prev: str
    at: str
    writer: str
    store: str
    heads: tuple[Head, ...] = ()
    pruned: tuple[Tombstone, ...] = ()
    closed: tuple[str, ...] = ()
    key: str = ""
    hash: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Seal:
    """What an anchor is about, before it has its place in a book."""

    at: str
    writer: str
    store: str
    heads: tuple[Head, ...] = ()
    pruned: tuple[Tombstone, ...] = ()
    closed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a book.

    Attributes:
        line: of the book, from 1; 0 for the book as a whole.
    """

    line: int
    what: str


def anchor(seal: Seal, book: str, last: Anchor | None, signer: Signer) -> Anchor:
    """Put a seal into its place and sign it."""
    told: dict[str, Any] = {
        **{name: getattr(seal, name) for name in Seal.__dataclass_fields__},
        "book": book,
        "number": last.number + 1 if last else 1,
        "prev": last.hash if last else GENESIS,
        "key": signer.key,
    }
    bare = Anchor(**told)
    name = _digest(bare)
    return Anchor(**told, hash=name, signature=signer.sign(name.encode()))


def written(one: Anchor) -> str:
    """An anchor as a line of a book, without the line's end."""
    return canonical({"schema": SCHEMA, **asdict(one)})


def read(line: str | bytes) -> Anchor:
    """An anchor from its line.

    Raises:
        ValueError: it is none.
    """
    told = json.loads(line)
    if not isinstance(told, Mapping) or told.get("schema") != SCHEMA:
        raise ValueError(f"no anchor: expected the schema {SCHEMA}")
    try:
        fields = {name: told[name] for name in Anchor.__dataclass_fields__}
        heads = tuple(Head(**one) for one in told["heads"])
        pruned = tuple(Tombstone(**one) for one in told["pruned"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"no anchor: {error}") from error
    return Anchor(**{**fields, "heads": heads, "pruned": pruned, "closed": tuple(told["closed"])})


def _digest(one: Anchor) -> str:
    told = {name: value for name, value in asdict(one).items() if name not in {"hash", "signature"}}
    return hashlib.sha256(f"{one.prev}\n{canonical(told)}".encode()).hexdigest()


@dataclass(slots=True)
class Sealed:
    """What the anchors of one store say together; grows with the segments, not with the anchors.

    Attributes:
        heads: the farthest sealed head of each segment.
        pruned: the last tombstone of each segment.
        closed: segments that end where their farthest sealed head is.
        last: the last anchor of each book.
        flaws: what is wrong with the books.
        foreign: anchors of other stores.
    """

    store: str
    trust: Trust
    heads: dict[str, Head] = field(default_factory=dict)
    pruned: dict[str, Tombstone] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    last: dict[str, Anchor] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)
    foreign: int = 0

    def take(self, line: int, text: str | bytes) -> Anchor | None:
        """The next line of a book; the anchor when it counts."""
        try:
            one = read(text)
        except ValueError as error:
            self.flaws.append(Flaw(line, str(error)))
            return None
        given = text.encode() if isinstance(text, str) else text
        if given.rstrip(b"\n") != written(one).encode():
            self.flaws.append(Flaw(line, f"anchor {one.number}: it is not spelled as it was written"))
            return None
        before = self.last.get(one.book)
        self.last[one.book] = one
        flaw = self._flaw(one, before)
        if flaw:
            self.flaws.append(Flaw(line, f"anchor {one.number}: {flaw}"))
            return None
        if one.store != self.store:
            self.foreign += 1
            return one
        self.closed.update(one.closed)
        for head in one.heads:
            known = self.heads.get(head.segment)
            if known is None or known.seq < head.seq:
                self.heads[head.segment] = head
            elif known.seq == head.seq and known != head:
                self.flaws.append(
                    Flaw(line, f"anchor {one.number}: segment {head.segment} is sealed twice, differently")
                )
        for stone in one.pruned:
            known_stone = self.pruned.get(stone.segment)
            if known_stone is None or known_stone.through < stone.through:
                self.pruned[stone.segment] = stone
        return one

    def _flaw(self, one: Anchor, before: Anchor | None) -> str:
        """Why an anchor does not count; empty when it does."""
        if one.hash != _digest(one):
            return "it was changed"
        if not self.trust.holds(one.key, one.hash.encode(), one.signature):
            return f"it is not signed by a trusted key ({one.key or 'no key'})"
        if one.number != (before.number + 1 if before else 1):
            return f"expected number {before.number + 1 if before else 1}: anchors are missing or out of order"
        if one.prev != (before.hash if before else GENESIS):
            return "it does not follow the one before it"
        return ""


def sealed_by(lines: Sequence[str | bytes], store: str, trust: Trust) -> Sealed:
    """What the lines of a book say."""
    found = Sealed(store, trust)
    for number, line in enumerate(lines, 1):
        found.take(number, line)
    return found
