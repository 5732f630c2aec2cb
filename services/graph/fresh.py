"""Whether anything failed again: what the graph and our own decisions have heard since a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from executor.model import ObjectRef
from services.graph.connect import Graph
from services.graph.identity import rids
from services.graph.values import instant

FAILING = ("WARNING", "ERROR", "CRITICAL", "FATAL")
_MOST = 20


class Neo4jFreshSignals:
    """Implements ``executor.ports.FreshSignals``.

    Args:
        default_tenant: nodes of KGroot without ``client_id`` are this tenant's.
    """

    def __init__(self, graph: Graph, default_tenant: str) -> None:
        self._graph = graph
        self._default_tenant = default_tenant

    async def since(
        self, tenant: str, target_key: str, subjects: Sequence[ObjectRef], moment: datetime
    ) -> Sequence[str]:
        """See the port; newest first, at most 20 of each source.

        Raises:
            GraphUnavailable, GraphRejected: then nobody knows, which is not "nothing happened".
        """
        names = list(dict.fromkeys(rid for subject in subjects for rid in rids(subject)))
        events, decisions = await asyncio.gather(
            self._graph.read(
                "fresh_events",
                rids=names,
                tenant=tenant,
                untagged=tenant == self._default_tenant,
                moment=moment,
                severities=list(FAILING),
                limit=_MOST,
            ),
            self._graph.read("fresh_decisions", target_key=target_key, tenant=tenant, moment=moment, limit=_MOST),
        )
        heard = [
            f"{row['severity']} {row['reason']} about {row['rid']} at {instant(row['event_time']).isoformat()}"
            for row in events
        ]
        repeated = [
            f"alert {row['reason']} (decision {row['id'][:8]}) at {instant(row['last_seen']).isoformat()}"
            for row in decisions
        ]
        return (*heard, *repeated)
