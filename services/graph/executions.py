"""Executions in the graph: read for people, and looked after by the sweeper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from executor.model import ExecutionRecord, Outcome, Status
from safety.approvals import Approval
from services.audit import telling
from services.audit.trail import Neo4jTrail, Teller
from services.graph.connect import Graph, Row
from services.graph.execution_rows import approval_of, named_of, record_of, story_of, summary_of
from services.graph.formats import FORMAT, readable
from services.records import ExecutionStory, ExecutionSummary, Orphans

_PREFIX = 6
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


async def stories(graph: Graph, ids: Sequence[str]) -> tuple[ExecutionStory, ...]:
    """Executions with everything about them, in the order of ``ids``.

    Unknown ones are left out, and so are those that cannot be read, of which it is told.
    """
    if not ids:
        return ()
    rows = ({**row["e"], "_row": row} for row in await graph.read("executions_load", ids=list(ids)))
    return tuple(readable(graph.unreadable, "execution", rows, lambda row: _story(row["_row"])))


def _story(row: Row) -> ExecutionStory:
    return story_of(row["e"], row["steps"], row["claim"], row["approvals"])


class Neo4jExecutionStore:
    """Implements ``services.ports.ExecutionStore``.

    Args:
        cluster: whose orphans and answers are looked after. A graph may serve several clusters, and what was planned
            for one must not be carried out on another; empty for any.
    """

    def __init__(self, graph: Graph, cluster: str = "") -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)
        self._cluster = cluster

    async def load(self, execution_id: str) -> ExecutionRecord | None:
        """See the port."""
        rows = await self._graph.read("executions_load", ids=[execution_id])
        return record_of(rows[0]["e"], rows[0]["steps"]) if rows else None

    async def tell(self, text: str) -> Sequence[ExecutionStory]:
        """See the port; a prefix has at least 6 characters."""
        if len(text) < _PREFIX:
            return ()
        rows = await self._graph.read("executions_find", text=text, limit=20)
        found = await stories(self._graph, [row["id"] for row in rows])
        if rows and not found:  # to be told why is better than to be told of none
            return [_story(row) for row in await self._graph.read("executions_load", ids=[rows[0]["id"]])]
        return found

    async def named(self, text: str) -> Sequence[ExecutionSummary]:
        """Lines of the executions whose id begins so. Their plans are not read."""
        rows = await self._graph.read("executions_named", text=text, limit=20)
        return tuple(readable(self._graph.unreadable, "execution", (row["e"] for row in rows), named_of))

    async def latest(
        self, *, status: Status | None = None, since: datetime | None = None, limit: int = 50
    ) -> Sequence[ExecutionSummary]:
        """See the port."""
        start = since or _EVER
        if status is None:
            rows = await self._graph.read("executions_latest", since=start, limit=limit)
        else:
            rows = await self._graph.read("executions_latest_by_status", status=status.value, since=start, limit=limit)
        return tuple(readable(self._graph.unreadable, "execution", (row["e"] for row in rows), summary_of))

    async def success(self, runbook_id: str, tenant: str, since: datetime) -> tuple[int, int]:
        """See the port."""
        rows = await self._graph.read("executions_success", runbook_id=runbook_id, tenant=tenant, since=since)
        return rows[0]["verified"], rows[0]["ended"]

    async def orphans(self, limit: int = 100, unclaimed_seconds: float = 15, skip: Sequence[str] = ()) -> Orphans:
        """See the port."""
        rows = await self._graph.read(
            "executions_orphans",
            limit=limit,
            unclaimed_ms=round(unclaimed_seconds * 1000),
            cluster=self._cluster,
            format=FORMAT,
            skip=list(skip),
        )
        found: dict[str, list[str]] = {"republish": [], "expired": [], "adopt": []}
        for row in rows:
            found[row["what"]].append(row["id"])
        return Orphans(**{what: tuple(ids) for what, ids in found.items()})

    async def abort_expired(self, execution_ids: Sequence[str]) -> Sequence[str]:
        """See the port."""
        if not execution_ids:
            return ()
        told = _aborted("the permit ran out before a worker claimed it")
        statement = ("executions_abort_expired", {"ids": sorted(execution_ids)})
        (rows,) = await self._trail.telling(statement, tell=told)
        return tuple(row["id"] for row in rows)

    async def renew(self, holder: str, execution_ids: Sequence[str], lease_seconds: float) -> frozenset[str]:
        """See the port; one transaction, by the server's clock."""
        if not execution_ids:
            return frozenset()
        parameters = {"holder": holder, "ids": sorted(execution_ids), "lease_ms": round(lease_seconds * 1000)}
        (rows,) = await self._graph.write(("permit_renew", parameters))
        return frozenset(execution_ids) - {row["id"] for row in rows}

    async def answered(self, limit: int = 100) -> Sequence[Approval]:
        """See the port."""
        rows = await self._graph.read("approvals_to_follow", limit=limit, cluster=self._cluster, format=FORMAT)
        return tuple(readable(self._graph.unreadable, "approval", (row["a"] for row in rows), approval_of))

    async def followed(self, approval_id: str) -> None:
        """See the port."""
        await self._graph.write(("approvals_followed", {"id": approval_id}))

    async def abort_waiting(self, execution_id: str, why: str) -> bool:
        """See the port."""
        statement = ("executions_abort_waiting", {"id": execution_id, "why": why})
        (rows,) = await self._trail.telling(statement, tell=_aborted(why))
        return bool(rows)


def _aborted(why: str) -> Callable[[Teller, list[list[Row]]], None]:
    """Tells of the executions that a query has ended."""

    def tell(teller: Teller, results: list[list[Row]]) -> None:
        for row in results[0]:
            teller.tell(row["tenant"], telling.of_end(row["id"], row["incident_id"], Outcome.ABORTED, why))

    return tell
