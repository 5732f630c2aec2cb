"""How long a runbook took until now, from the graph."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from statistics import median

from services.forecast import Durations
from services.graph.connect import Graph

_HISTORY = timedelta(days=90)
_MOST = 50


class Neo4jDurations:
    """Implements ``services.forecast.DurationHistory``."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    async def durations(self, runbook_id: str, tenant: str) -> Durations:
        """See the port."""
        since = datetime.now(UTC) - _HISTORY
        (row,) = await self._graph.read(
            "durations_of_runbook", runbook_id=runbook_id, tenant=tenant, since=since, limit=_MOST
        )
        steps: dict[str, list[float]] = defaultdict(list)
        for step in row["steps"]:
            steps[step["step_id"]].append(step["seconds"])
        whole = row["seconds"]
        return Durations(
            runs=len(whole),
            seconds=median(whole) if whole else None,
            steps={name: median(taken) for name, taken in steps.items()},
        )
