"""Whether anything failed again: what the graph and our own decisions have heard since a moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from executor.model import ObjectRef
from services.graph.connect import Graph, Row
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
        rows = await self._graph.read(
            "fresh_signals",
            rids=names,
            tenant=tenant,
            untagged=tenant == self._default_tenant,
            moment=moment,
            severities=list(FAILING),
            target_key=target_key,
            limit=_MOST,
        )
        return tuple(_line(row) for row in rows)


def _line(row: Row) -> str:
    at = instant(row["at"]).isoformat()
    if row["decision"] is not None:
        return f"alert {row['reason']} (decision {row['decision'][:8]}) at {at}"
    return f"{row['severity']} {row['reason']} about {row['about']} at {at}"
