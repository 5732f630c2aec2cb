"""The pause switch in the graph: durable, and part of the record of who did what."""

from __future__ import annotations

from uuid import uuid4

from services.graph.connect import Graph


class Neo4jPauseLog:
    """Implements ``safety.ports.PauseLog``.

    Args:
        scope: the gate's store whose switch it is, as its keys begin. Several stores may share a graph.
    """

    def __init__(self, graph: Graph, scope: str) -> None:
        self._graph = graph
        self._scope = scope

    async def paused(self, by: str, reason: str) -> None:
        """See the port."""
        await self._set(by, reason, paused=True)

    async def resumed(self, by: str) -> None:
        """See the port."""
        await self._set(by, "", paused=False)

    async def in_force(self) -> tuple[str, str] | None:
        """See the port."""
        rows = await self._graph.read("pause_in_force", scope=self._scope)
        return (rows[0]["by"], rows[0]["reason"]) if rows and rows[0]["paused"] else None

    async def _set(self, by: str, reason: str, *, paused: bool) -> None:
        # The id is drawn here, so that a write that is retried after a lost answer meets itself.
        parameters = {"id": str(uuid4()), "by": by, "reason": reason, "paused": paused, "scope": self._scope}
        await self._graph.write(("pause_set", parameters))
