"""Whose execution it is: remembered from when it was decided or read, so that nothing has to be asked on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.graph.connect import Graph
from services.records import DecisionRecord

_MOST = 20_000


def remember(graph: Graph, decisions: Iterable[DecisionRecord]) -> None:
    """The executions of decisions that were just recorded."""
    for decision in decisions:
        if decision.execution:
            incident = decision.incident.id if decision.incident else str(decision.execution.incident.get("id", ""))
            _keep(graph, decision.execution.id, decision.signal.tenant, incident)


async def owners(graph: Graph, execution_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Tenant and incident by execution; one that is in no record is left out.

    Only what this process has neither decided nor asked for before is asked for, in one query. Errors as of
    ``Graph.read``.
    """
    unknown = sorted({one for one in execution_ids if one not in graph.owners})
    if unknown:
        for row in await graph.read("audit_owners", ids=unknown):
            _keep(graph, row["id"], row["tenant"], row["incident_id"])
    return {one: graph.owners[one] for one in execution_ids if one in graph.owners}


def _keep(graph: Graph, execution_id: str, tenant: str, incident_id: str) -> None:
    graph.owners[execution_id] = (tenant, incident_id)
    while len(graph.owners) > _MOST:
        graph.owners.popitem(last=False)
