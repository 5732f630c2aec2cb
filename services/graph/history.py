"""What the gate's store is rebuilt from after it was emptied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from safety.axes import LONGEST_MEMORY_SECONDS
from safety.model import GateRecord
from services.graph.connect import Graph
from services.graph.values import from_millis

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 24 * 3600 * 1000
"""Longer than any rate's window, and than a cooldown that anybody would set."""


class Neo4jGateHistory:
    """Implements ``safety.ports.GateHistory``.

    Args:
        cluster: whose ends are told by ``ended``; empty for any.
    """

    def __init__(self, graph: Graph, cluster: str = "") -> None:
        self._graph = graph
        self._cluster = cluster

    async def gate_records(self) -> Sequence[GateRecord]:
        """See the port."""
        return [_record(row) for row in await self._rows()]

    async def ended(self, seconds: float) -> Sequence[GateRecord]:
        """Executions of the cluster that ended within so many seconds. Raises GraphUnavailable."""
        rows = await self._graph.read("gate_ended", since_ms=round(seconds * 1000), cluster=self._cluster)
        return [_record(row) for row in rows]

    async def _rows(self) -> Sequence[Mapping[str, Any]]:
        memory_ms = LONGEST_MEMORY_SECONDS * 1000
        return await self._graph.read("gate_records", window_ms=_DAY_MS, memory_ms=memory_ms)


def _record(row: Mapping[str, Any]) -> GateRecord:
    return GateRecord(
        execution_id=row["id"],
        tenant=row["tenant"],
        cluster=row["target_key"].rsplit("/", 3)[0],  # a cluster's name may hold slashes, the other three parts cannot
        runbook_id=row["runbook_id"],
        target_key=row["target_key"],
        plan_hash=row["plan_hash"],
        token=row["token"],
        granted_at=from_millis(row["permitted_ms"]) or _EPOCH,
        expires_at=from_millis(row["permit_expires_ms"]) or _EPOCH,
        holds_target=row["holds"],
        cooldown_until=from_millis(row["cooldown_ms"]),
        approval_id=row["approval_id"],
        namespaces=tuple(row["namespaces"]),
        blast=row["blast"],
    )
