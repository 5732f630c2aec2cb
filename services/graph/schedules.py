"""Schedules in the graph: up to when each was fired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from services.graph.connect import Graph
from services.graph.values import instant
from services.schedule import Planned


class Neo4jScheduleState:
    """Implements ``services.schedule.ScheduleState``."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    async def arm(self, schedules: Sequence[Planned], now: datetime) -> Mapping[str, datetime]:
        """See the port."""
        rows = [{"key": one.key, "now": now, "facts": _facts(one)} for one in sorted(schedules, key=lambda s: s.key)]
        found = await self._graph.write_repeatable("schedules_arm", rows=rows)
        return {row["key"]: instant(row["last"]) for row in found}

    async def fired(self, key: str, at: datetime) -> None:
        """See the port."""
        await self._graph.write_repeatable("schedules_fired", rows=[{"key": key, "at": at}])


def _facts(one: Planned) -> dict[str, str]:
    """What it is about, for people who look at the graph."""
    schedule = one.schedule
    return {
        "tenant": one.tenant,
        "cluster": one.cluster,
        "runbook_id": one.runbook,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
    }
