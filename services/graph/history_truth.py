"""What the execution log in PostgreSQL is copied from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from services.graph.connect import Graph
from services.graph.executions import Neo4jExecutionStore
from services.graph.recorded import RecordedHistory
from services.logs import Masker
from services.testing.masking import masked

_MOST = 100_000


class GraphTruth:
    """Implements ``services.history.sink.Truth``.

    Args:
        scope: the gate's store, as its keys begin.
        masker: takes secrets out of what is copied.
    """

    def __init__(self, graph: Graph, scope: str, masker: Masker) -> None:
        self._history = RecordedHistory(graph, scope)
        self._store = Neo4jExecutionStore(graph)
        self._masker = masker
        self._texts: dict[tuple[str, str], str] = {}

    async def recordings(self, execution_ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """See the port."""
        found = []
        for number in execution_ids:
            for incident in await self._history.of_execution(number):
                found += [await self._recording(incident, one) for one in incident["executions"] if one["id"] == number]
        # As JSON: times as text, as every reader of the log finds them.
        told: list[Mapping[str, Any]] = orjson.loads(orjson.dumps(masked(found, self._masker)))
        return told

    async def _recording(self, incident: Mapping[str, Any], execution: Mapping[str, Any]) -> dict[str, Any]:
        used = execution["plan"]["runbook_id"], execution["plan"]["runbook_sha"]
        if used not in self._texts:
            self._texts = {(one["id"], one["sha"]): one["text"] for one in await self._history.runbooks()}
        bare = {key: value for key, value in incident.items() if key != "executions"}
        return {"incident": bare, "execution": execution, "text": self._texts.get(used, "")}

    async def started_since(self, moment: datetime | None) -> Sequence[str]:
        """See the port."""
        return [one.id for one in await self._store.latest(since=moment, limit=_MOST)]
