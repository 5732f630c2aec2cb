"""Where questions stand on surfaces, in the graph beside the approvals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from safety.approvals import Approval
from services.approvals.surface import Shown, Spot, Standing
from services.graph.connect import Graph
from services.graph.execution_rows import approval_of
from services.graph.formats import readable


class Neo4jPlaces:
    """Implements ``services.approvals.surface.Places``.

    Args:
        cluster: whose executions this process looks after.
    """

    def __init__(self, graph: Graph, cluster: str) -> None:
        self._graph = graph
        self._cluster = cluster

    async def unasked(self, surface: str, limit: int) -> Sequence[Approval]:
        """See the port."""
        rows = await self._graph.read(
            "places_unasked", surface=surface, cluster=self._cluster, now=datetime.now(UTC), limit=limit
        )
        return readable(self._graph.unreadable, "approval", (row["a"] for row in rows), approval_of)

    async def standing(self, surface: str, limit: int) -> Sequence[Standing]:
        """See the port."""
        rows = await self._graph.read("places_standing", surface=surface, cluster=self._cluster, limit=limit)
        return [_standing(row) for row in rows]

    async def claim(self, surface: str, approval: Approval, holder: str, seconds: float) -> bool:
        """See the port."""
        facts = {
            "approval_id": approval.id,
            "execution_id": approval.execution_id,
            "incident_id": approval.incident_id,
            "surface": surface,
            "cluster": self._cluster,
        }
        rows = await self._graph.write_repeatable(
            "places_claim",
            key=_key(surface, approval),
            holder=holder,
            lease_ms=round(seconds * 1000),
            id=approval.id,
            facts=facts,
        )
        return bool(rows)

    async def root(self, surface: str, incident_id: str) -> Spot | None:
        """See the port."""
        rows = await self._graph.read("places_root", surface=surface, cluster=self._cluster, incident_id=incident_id)
        return _spot(rows[0]) if rows else None

    async def asked(self, surface: str, approval: Approval, holder: str, spot: Spot, shown: str) -> None:
        """See the port."""
        facts = {
            "channel": spot.channel,
            "message": spot.message,
            "thread": spot.thread or None,
            "shown": shown,
            "open": True,
            "asked_at": datetime.now(UTC),
        }
        await self._save(surface, approval, holder, facts)

    async def showed(self, surface: str, approval: Approval, holder: str, shown: Shown) -> None:
        """See the port."""
        known = {"shown": shown.shown, "told": shown.told, "told_state": shown.told_state}
        facts: dict[str, Any] = {name: value for name, value in known.items() if value is not None}
        if shown.over:
            facts["open"] = None
        await self._save(surface, approval, holder, facts)

    async def _save(self, surface: str, approval: Approval, holder: str, facts: Mapping[str, Any]) -> None:
        await self._graph.write_repeatable("places_save", key=_key(surface, approval), holder=holder, facts=dict(facts))


def _key(surface: str, approval: Approval) -> str:
    return f"{surface}|{approval.id}"


def _spot(row: Mapping[str, Any]) -> Spot:
    return Spot(row["channel"], row["message"], row.get("thread") or "")


def _standing(row: Mapping[str, Any]) -> Standing:
    place, status = row["p"], row.get("status") or ""
    return Standing(
        approval=approval_of(row["a"]),
        spot=_spot(place),
        shown=place.get("shown") or "",
        told=place.get("told") or "",
        told_state=place.get("told_state") or "",
        state=f"{status}/{row.get('outcome') or ''}/{row['steps']}/{row['finished']}",
        ended=status in ("done", ""),
    )
