"""The trail in the graph: what changes there, and the entry that tells of it, are one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar

from neo4j import WRITE_ACCESS, AsyncManagedTransaction, unit_of_work

from cypher import loader
from safety.trail import SYSTEM, Entry, Sealed
from services.graph.connect import Graph, Row, Statement, rows_of
from services.graph.errors import translation

T = TypeVar("T")
Told = Mapping[str, Sequence[Entry]]
"""Entries by tenant."""

_MOST = 500
"""Most entries of one statement."""


class Teller:
    """Collects what a transaction tells; its entries are written just before it commits."""

    def __init__(self) -> None:
        self.told: dict[str, list[Entry]] = {}

    def tell(self, tenant: str | None, *entries: Entry) -> None:
        """Entries for a tenant; without one they are the installation's."""
        self.told.setdefault(tenant or SYSTEM, []).extend(entries)


class Neo4jTrail:
    """Implements ``safety.trail.AuditTrail``, and writes to the graph together with what is told.

    All trails of one graph share its segments, so that it does not matter how many there are.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    async def append(self, tenant: str, entries: Sequence[Entry]) -> None:
        """See the port."""
        for first in range(0, len(entries), _MOST):
            await self.together({}, {tenant: entries[first : first + _MOST]})

    async def together(self, writes: Mapping[str, Sequence[Row]], told: Told) -> None:
        """``Graph.write_together`` with entries; still one round trip. Errors as there."""
        with self._graph.segments.writing() as draft:
            await self._graph.write_together({**writes, "audit_append": _rows(draft.seal(told, _now()))}, told=True)
            draft.written()

    async def guarded(
        self,
        names: Sequence[str],
        parameters: Mapping[str, Any],
        told: Told,
        holds: str,
        *,
        strict: bool = False,
        apart: bool = False,
    ) -> list[Row]:
        """``Graph.write_repeatable`` with entries that are written when the result is as expected; one round trip.

        Args:
            names: one query, or several of one result with rows of their own; see ``cypher.loader.told``.
            parameters: of the queries.
            told: what happened if the result is as expected.
            holds: Cypher over ``told``, the rows of the result.
            strict: undo everything when it is not as expected; else the queries stand without an entry.
            apart: the one query is done for each of the rows in ``parameters``; see ``cypher.loader.each``.

        Raises:
            GraphUnavailable: whether it was written may be unknown.
            GraphRejected: the server refused; with ``strict`` also when the result was not as expected.
        """
        with self._graph.segments.writing() as draft:
            audit = _rows(draft.seal(told, _now()))
            text = loader.told(tuple(names), holds, apart=apart)
            (row,) = await self._graph.run_repeatable(text, {**parameters, "audit": audit, "strict": strict})
            if row["holds"]:
                draft.written()
            else:
                draft.dropped()
        return list(row["told"])

    async def telling(self, *statements: Statement, tell: Callable[[Teller, list[list[Row]]], None]) -> list[list[Row]]:
        """``Graph.write`` with entries that are made of its result.

        Args:
            statements: as for ``Graph.write``.
            tell: called with the rows of each statement, once for each attempt.
        """

        async def work(transaction: AsyncManagedTransaction, teller: Teller) -> list[list[Row]]:
            results = [await rows_of(transaction, statement) for statement in statements]
            tell(teller, results)
            return results

        return await self.transaction(work)

    async def transaction(self, work: Callable[[AsyncManagedTransaction, Teller], Awaitable[T]]) -> T:
        """Do some work in one transaction and write what it tells in the same one; transient failures are retried."""
        with self._graph.segments.writing() as draft:

            @unit_of_work(timeout=self._graph.seconds)
            async def whole(transaction: AsyncManagedTransaction) -> T:
                teller = Teller()
                result = await work(transaction, teller)
                rows = _rows(draft.seal(teller.told, _now()))
                if rows:
                    await (await transaction.run(loader.query("audit_append"), rows=rows)).consume()
                return result

            with translation():
                async with self._graph.driver.session(
                    database=self._graph.database, default_access_mode=WRITE_ACCESS
                ) as session:
                    result = await session.execute_write(whole)
            draft.written()
            return result


def _rows(entries: Sequence[Sealed]) -> list[Row]:
    return [asdict(entry) for entry in entries]


def _now() -> datetime:
    return datetime.now(UTC)
