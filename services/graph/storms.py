"""What the storm breaker has stopped, in the graph: durable, and part of the record of why nothing was done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

from safety.breaker import Change, Stopped, packed, unpacked
from safety.scopes import StormScope
from safety.trail import Entry, EntryKind
from services.audit.trail import Neo4jTrail, Teller
from services.graph.connect import Graph, Row

_STORMS = UUID("6d0c7d0e-9f0b-5d55-8a1e-2f4b8f1f3a60")


class Neo4jStormLog:
    """Implements ``safety.ports.StormLog``.

    Args:
        scope: the gate's store whose breaker it is, as its keys begin. Several stores may share a graph.
    """

    def __init__(self, graph: Graph, scope: str) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)
        self._scope = scope

    async def note(self, change: Change) -> None:
        """See the port. Every process that hears of a change writes the same node."""
        stopped = change.stopped
        what = "open" if change.open else "closed"
        name = f"{self._scope}|{stopped.scope.tenant}|{stopped.scope.key}|{stopped.since}|{what}"
        parameters: dict[str, Any] = {
            "id": str(uuid5(_STORMS, name)),
            "scope": self._scope,
            "tenant": stopped.scope.tenant,
            "part": stopped.scope.key,
            "open": change.open,
            "state": packed(stopped),
            "since": stopped.since,
            "by": change.by,
            "reason": change.reason,
        }
        kind = EntryKind.STORM_OPENED if change.open else EntryKind.STORM_CLOSED
        facts = {"scope": self._scope, "part": stopped.scope.key, "since": stopped.since}
        entry = Entry(kind, parameters["id"], change.by, change.reason, facts)

        def tell(teller: Teller, results: list[list[Row]]) -> None:
            if results[0][0]["created"]:
                teller.tell(stopped.scope.tenant, entry)

        await self._trail.telling(("storm_note", parameters), tell=tell)

    async def told(self, tenant: str, since: int) -> None:
        """See the port."""
        await self._graph.write(("storm_told", {"scope": self._scope, "tenant": tenant, "since": since}))

    async def in_force(self) -> Sequence[tuple[Stopped, bool]]:
        """See the port."""
        rows = await self._graph.read("storm_in_force", scope=self._scope)
        return [(unpacked(StormScope.of(row["tenant"], row["part"]), row["state"]), row["told"]) for row in rows]
