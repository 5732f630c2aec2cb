"""Schedules in the graph: up to when each was fired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from services.graph.connect import Graph
from services.graph.values import instant


class Neo4jScheduleState:
    """Implements ``services.schedule.ScheduleState``."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    async def arm(self, keys: Sequence[str], now: datetime) -> Mapping[str, datetime]:
        """See the port."""
        rows = [{"key": key, "now": now} for key in sorted(keys)]
        found = await self._graph.write_repeatable("schedules_arm", rows=rows)
        return {row["key"]: instant(row["last"]) for row in found}

    async def fired(self, key: str, at: datetime) -> None:
        """See the port."""
        await self._graph.write_repeatable("schedules_fired", rows=[{"key": key, "at": at}])
