"""Old executions go, and what says so stays: an entry in the audit trail for each batch, with a hash of what went."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from safety.axes import LONGEST_MEMORY_SECONDS
from safety.trail import Entry, EntryKind
from services.audit.trail import Neo4jTrail, Teller
from services.graph.connect import Graph, Row

LEAST = timedelta(seconds=LONGEST_MEMORY_SECONDS) + timedelta(days=1)
"""What is younger is still needed: the gate counts executions of the last 30 days."""
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken away, or would be."""

    executions: int = 0
    batches: int = 0


class Retention:
    """Takes executions away that ended long ago, with their steps, questions and decisions. What is open stays.

    Args:
        batch: executions of one transaction.
    """

    def __init__(self, graph: Graph, *, batch: int = _BATCH) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)
        self._batch = batch

    async def prune(
        self,
        before: datetime,
        now: datetime,
        *,
        by: str,
        reason: str,
        tenant: str = "",
        dry_run: bool = False,
        most: int | None = None,
    ) -> Taken:
        """Take away what ended before a moment, in batches; who is interrupted does the rest the next time.

        Args:
            before: executions that ended then or later stay.
            now: the present.
            by: who asks for it.
            reason: why.
            tenant: whose; empty for all.
            dry_run: only count.
            most: batches at once; None for all.

        Raises:
            ValueError: the gate still needs what would go.
            GraphUnavailable, GraphRejected.
        """
        if now - before < LEAST:
            raise ValueError(f"at least {LEAST.days}d: the gate counts executions of the last {LEAST.days - 1} days")
        asked = {"until": before, "tenant": tenant}
        if dry_run:
            rows = await self._graph.read("executions_prunable", **asked, limit=1_000_000)
            return Taken(len(rows), -(-len(rows) // self._batch))
        done = Taken()
        while most is None or done.batches < most:
            rows = await self._graph.read("executions_prunable", **asked, limit=self._batch)
            gone = await self._take(rows, before, by, reason) if rows else 0
            if not gone:
                break
            done = Taken(done.executions + gone, done.batches + 1)
        return done

    async def _take(self, rows: Sequence[Row], before: datetime, by: str, reason: str) -> int:
        known = {row["id"]: row for row in rows}

        def tell(teller: Teller, results: list[list[Row]]) -> None:
            gone: dict[str, list[Row]] = {}
            for row in results[0]:
                one = known[row["id"]]
                gone.setdefault(one["tenant"] or "", []).append(one)
            for tenant, lost in gone.items():
                facts = {"executions": len(lost), "before": before.isoformat(), "sha256": digest(lost)}
                facts |= {"ids": [one["id"] for one in lost]}
                teller.tell(tenant, Entry(EntryKind.EXECUTIONS_PRUNED, lost[0]["id"], by, reason, facts))

        (done,) = await self._trail.telling(("executions_prune", {"ids": sorted(known)}), tell=tell)
        return len(done)


def digest(rows: Sequence[Row]) -> str:
    """SHA-256 over the executions that went, one line each: id, plan hash and outcome, in the order of their ids."""
    lines = sorted(f"{row['id']} {row['plan_hash']} {row['outcome']}" for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
