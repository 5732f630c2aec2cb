"""The pause switch in the graph: durable, and part of the record of who did what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from safety.scopes import EVERYTHING, Pause, PauseScope
from safety.trail import SYSTEM, Entry, EntryKind
from services.audit.trail import Neo4jTrail
from services.graph.connect import Graph
from services.graph.values import from_millis, moment


class Neo4jPauseLog:
    """Implements ``safety.ports.PauseLog``.

    Args:
        scope: the gate's store whose switch it is, as its keys begin. Several stores may share a graph.
    """

    def __init__(self, graph: Graph, scope: str) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)
        self._scope = scope

    async def paused(self, by: str, reason: str, scope: PauseScope = EVERYTHING, until: datetime | None = None) -> None:
        """See the port."""
        await self._set(by, reason, scope, until, paused=True)

    async def resumed(self, by: str, scope: PauseScope = EVERYTHING) -> None:
        """See the port."""
        await self._set(by, "", scope, None, paused=False)

    async def in_force(self) -> Sequence[Pause]:
        """See the port."""
        rows = await self._graph.read("pause_in_force", scope=self._scope)
        return [
            Pause(row["by"], row["reason"], PauseScope.of(row["part"]), moment(row["at"]), from_millis(row["until_ms"]))
            for row in rows
        ]

    async def _set(self, by: str, reason: str, part: PauseScope, until: datetime | None, *, paused: bool) -> None:
        # The id is drawn here, so that a write that is retried after a lost answer meets itself.
        parameters: dict[str, Any] = {
            "id": str(uuid4()),
            "by": by,
            "reason": reason,
            "paused": paused,
            "scope": self._scope,
        }
        parameters |= {"part": part.key, "until_ms": int(until.timestamp() * 1000) if until else None}
        kind = EntryKind.PAUSED if paused else EntryKind.RESUMED
        told = Entry(kind, parameters["id"], by, reason, {"scope": self._scope, "part": part.key})
        await self._trail.telling(("pause_set", parameters), tell=lambda teller, _: teller.tell(SYSTEM, told))
