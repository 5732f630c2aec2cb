"""Retention with proof: old entries go, a signed tombstone stays, and what is left can still be checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from runbooks.durations import parse_duration
from safety.anchors import Tombstone, Trust
from safety.trail import Entry, EntryKind, spelled
from services.audit.errors import TrailBroken
from services.audit.sealing import Sealer
from services.audit.trail import Neo4jTrail, Teller
from services.audit.verifying import Verification
from services.graph.connect import Graph, Row

_PAGE = 500
_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was taken away, or would be."""

    entries: int = 0
    segments: int = 0


class Pruning:
    """Takes old entries away.

    Args:
        graph: where the entries are.
        sealer: writes the tombstones outside the graph.
        books: anchors against which the trail is checked before.
        trust: whose anchors count.
    """

    def __init__(self, graph: Graph, sealer: Sealer, books: Iterable[Path], trust: Trust) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)
        self._sealer = sealer
        self._books = list(books)
        self._trust = trust

    async def run(self, until: datetime, tenant: str = "", *, by: str, reason: str, dry_run: bool = False) -> Pruned:
        """Prune every segment up to its first entry that is not older.

        Tombstones are durable before anything goes; who is interrupted does the rest the next time.

        Args:
            until: entries from then on stay.
            tenant: whose; empty for all.
            by: who asks for it.
            reason: why.
            dry_run: only count.

        Raises:
            TrailBroken: the trail does not hold: what is wrong with it must not be taken away.
            GraphUnavailable, AuditMisconfigured, BookDamaged: nothing more was taken away.
        """
        verification = Verification(self._graph, self._books, self._trust)
        report = await verification.run(tenant)
        if not report.holds:
            first = report.problems[0]
            raise TrailBroken(
                f"the trail does not hold ({first.what} {first.entry}: {first.detail}): nothing was pruned"
            )
        stones = await self._stones(until, tenant, by, reason, verification.buried)
        done = Pruned(sum(stone.count for stone in stones), len(stones))
        if dry_run:
            return done
        if stones:
            await self._sealer.seal()
            await self._sealer.bury(tuple(stones))
        for stone in (*verification.buried.values(), *stones):
            if tenant in {"", stone.tenant}:
                await self._take(stone, new=stone in stones)
        return done

    async def _stones(
        self, until: datetime, tenant: str, by: str, reason: str, buried: dict[str, Tombstone]
    ) -> list[Tombstone]:
        stones, after, at = [], "", spelled(datetime.now(UTC))
        while rows := await self._graph.read("audit_segments_after", after=after):
            after, owner = rows[0]["segment"], rows[0]["tenant"]
            if tenant not in {"", owner}:
                continue
            old = buried[after].through if after in buried else -1
            for row in await self._graph.read("audit_prunable", segment=after, through=old, until=spelled(until)):
                told = {"through": row["last"], "hash": row["hash"], "first_hash": row["first_hash"]}
                stones.append(
                    Tombstone(tenant=owner, segment=after, count=row["entries"], by=by, reason=reason, at=at, **told)
                )
        return stones

    async def _take(self, stone: Tombstone, *, new: bool) -> None:
        """Take away what a tombstone tells of; a new one is told of in the trail."""
        facts = {"segment": stone.segment, "through": stone.through, "count": stone.count, "hash": stone.hash}
        entry = Entry(EntryKind.TRAIL_PRUNED, stone.segment, stone.by, stone.reason, facts)
        tell_of = new

        def tell(teller: Teller, _: list[list[Row]]) -> None:
            if tell_of:
                teller.tell(stone.tenant, entry)

        parameters = {"segment": stone.segment, "through": stone.through, "limit": _AT_ONCE}
        gone = _AT_ONCE
        while gone == _AT_ONCE:
            (rows,) = await self._trail.telling(("audit_prune", parameters), tell=tell)
            gone, tell_of = rows[0]["gone"], False


def moment_of(text: str, now: datetime) -> datetime:
    """A day (``2026-01-31``, UTC) or an age (``400d``) as a moment.

    Raises:
        ValueError: it is neither, or in the future.
    """
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    except ValueError:
        found = now - parse_duration(text)
    if found > now:
        raise ValueError("it is in the future")
    return found
