"""The graph database: runs the queries of this package, and the audit queries as they are."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import TracebackType
from typing import Any, Self, cast

from neo4j import AsyncGraphDatabase, NotificationMinimumSeverity, Query

from compose.addresses import Neo4jAddress

Row = Mapping[str, Any]


class Graph:
    """A connection.

    Args:
        address: with the password.
    """

    def __init__(self, address: Neo4jAddress) -> None:
        self._driver = AsyncGraphDatabase.driver(
            address.uri,
            auth=(address.user, address.password),
            notifications_min_severity=NotificationMinimumSeverity.OFF,
        )

    async def __aenter__(self) -> Self:
        await self._driver.verify_connectivity()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._driver.close()

    async def run(self, name: str, **parameters: Any) -> list[Row]:
        """Run `queries/NAME.cypher`, statement by statement; gives the rows of the last one."""
        rows: list[Row] = []
        for statement in _statements("compose.demo", f"queries/{name}.cypher"):
            rows = await self._rows(statement, parameters)
        return rows

    async def audit(self, name: str) -> tuple[str, list[Row]]:
        """An audit query of the product: its title, and what it says now."""
        title = _text("cypher", f"audit/{name}.cypher").splitlines()[0].lstrip("/ ")
        (statement,) = _statements("cypher", f"audit/{name}.cypher")
        return title, await self._rows(statement, {})

    async def _rows(self, statement: str, parameters: Mapping[str, Any]) -> list[Row]:
        # The text comes from files of ours; the type asks for a literal, to keep input from users out.
        query = Query(cast("Any", statement))
        async with self._driver.session() as session:
            answer = await session.run(query, dict(parameters))
            return [record.data() async for record in answer]


@cache
def _text(package: str, path: str) -> str:
    return files(package).joinpath(path).read_text(encoding="utf-8")


@cache
def _statements(package: str, path: str) -> tuple[str, ...]:
    lines = (line for line in _text(package, path).splitlines() if not line.lstrip().startswith("//"))
    return tuple(part.strip() for part in "\n".join(lines).split(";") if part.strip())
