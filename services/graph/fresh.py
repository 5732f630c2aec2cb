"""Whether anything failed again: what the graph and our own decisions have heard since a moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from executor.model import ObjectRef
from services.graph.connect import Graph, Row
from services.graph.grouping import Grouped
from services.graph.identity import rids
from services.graph.values import instant

FAILING = ("WARNING", "ERROR", "CRITICAL", "FATAL")
_MOST = 20


class Neo4jFreshSignals:
    """Implements ``executor.ports.FreshSignals``; executions that look at the same time share a query.

    Args:
        default_tenant: nodes of KGroot without ``client_id`` are this tenant's.
    """

    def __init__(self, graph: Graph, default_tenant: str) -> None:
        self._graph = graph
        self._default_tenant = default_tenant
        self._group: Grouped[Row, list[Row]] = Grouped(self._ask, name="fresh signals", at_once=2)

    async def since(
        self, tenant: str, target_key: str, subjects: Sequence[ObjectRef], moment: datetime
    ) -> Sequence[str]:
        """See the port; newest first, at most 20 of each source.

        Raises:
            GraphUnavailable, GraphRejected: then nobody knows, which is not "nothing happened".
        """
        question: Row = {
            "rids": list(dict.fromkeys(rid for subject in subjects for rid in rids(subject))),
            "tenant": tenant,
            "untagged": tenant == self._default_tenant,
            "moment": moment,
            "target_key": target_key,
        }
        return tuple(_line(row) for row in await self._group.ask(question))

    async def _ask(self, questions: Sequence[Row]) -> list[list[Row]]:
        """The rows of each question; one query."""
        asked = [{"n": number, **question} for number, question in enumerate(questions)]
        rows = await self._graph.read("fresh_signals", asked=asked, severities=list(FAILING), limit=_MOST)
        answers: list[list[Row]] = [[] for _ in questions]
        for row in rows:
            answers[row["n"]].append(row)
        return answers


def _line(row: Row) -> str:
    at = instant(row["at"]).isoformat()
    if row["decision"] is not None:
        return f"alert {row['reason']} (decision {row['decision'][:8]}) at {at}"
    return f"{row['severity']} {row['reason']} about {row['about']} at {at}"
