"""Cypher that a runbook brings along: read-only, bounded in time and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neo4j import READ_ACCESS, AsyncManagedTransaction, Query, unit_of_work
from neo4j.exceptions import ClientError

from executor.errors import Forbidden, Invalid
from services.graph.connect import Graph
from services.graph.errors import translation
from services.graph.values import plain

_FORBIDDEN = ("LoadCSV", "ProcedureCall")
_REMEMBERED = 500


class Neo4jGraphReader:
    """Implements ``executor.ports.GraphReader``.

    The server refuses writes in a read session. That is not all: ``LOAD CSV`` reads files and addresses, and
    procedures do what they like; so the plan of each query is looked at before its first run.

    Args:
        seconds: after it the server ends the query.
        rows: most rows of an answer; more is an error, because a cut answer would be taken for the whole.
    """

    def __init__(self, graph: Graph, *, seconds: float = 10.0, rows: int = 1000) -> None:
        self._graph = graph
        self._seconds = seconds
        self._rows = rows
        self._harmless: set[str] = set()

    async def read(self, query: str, parameters: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Rows as JSON values.

        Raises:
            Forbidden: the query does more than read the graph.
            Invalid: the server does not understand it, or the answer is too long.
            GraphUnavailable: the server does not answer.
        """

        @unit_of_work(timeout=self._seconds)
        async def work(transaction: AsyncManagedTransaction) -> list[dict[str, Any]]:
            result = await transaction.run(query, dict(parameters))
            return [record.data() for record in await result.fetch(self._rows + 1)]

        with translation():
            async with self._graph.driver.session(
                database=self._graph.database, default_access_mode=READ_ACCESS
            ) as session:
                try:
                    if query not in self._harmless:
                        answer = await session.run(Query(f"EXPLAIN {query}", timeout=self._seconds), dict(parameters))
                        self._allow(query, await answer.consume())
                    rows = await session.execute_read(work)
                except ClientError as error:
                    raise _refused(error) from error
        if len(rows) > self._rows:
            raise Invalid(f"the query gives more than {self._rows} rows; add a LIMIT")
        return [plain(row) for row in rows]

    def _allow(self, query: str, summary: Any) -> None:
        if summary.query_type != "r":
            raise Forbidden("the query does more than read")
        found = sorted(_operators(summary.plan or {}) & set(_FORBIDDEN))
        if found:
            raise Forbidden(f"the query uses what a runbook may not: {', '.join(found)}")
        if len(self._harmless) < _REMEMBERED:
            self._harmless.add(query)


def _operators(plan: Mapping[str, Any]) -> set[str]:
    """Names of all operators of a plan."""
    name = str(plan.get("operatorType", "")).partition("@")[0]
    return {name}.union(*(_operators(child) for child in plan.get("children", ())))


def _refused(error: ClientError) -> Forbidden | Invalid:
    code = error.code or ""
    if "AccessMode" in code or "Security" in code or "Forbidden" in code:
        return Forbidden(f"the query does more than read: {error.message}")
    return Invalid(f"Neo4j refuses the query: {error.message}")
