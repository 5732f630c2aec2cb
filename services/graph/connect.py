"""One driver for the process, and the two ways in which it is used: write together, read."""

from __future__ import annotations

import os
import socket
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neo4j import (
    READ_ACCESS,
    WRITE_ACCESS,
    AsyncDriver,
    AsyncGraphDatabase,
    AsyncManagedTransaction,
    NotificationMinimumSeverity,
    Query,
    TrustAll,
    TrustCustomCAs,
    TrustSystemCAs,
    unit_of_work,
)
from neo4j.exceptions import DriverError, IncompleteCommit, Neo4jError

from cypher import loader
from safety.segments import Segments
from services.graph.errors import translation
from services.graph.formats import Unreadables


class _Again(Exception):
    """A query that was sent by itself failed for a moment."""


Row = dict[str, Any]
Statement = tuple[str, Mapping[str, Any]]
"""Name of a query and its parameters."""

_ENCRYPTED_SCHEMES = ("+s://", "+ssc://")


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """How to reach Neo4j.

    Attributes:
        user: empty when the server asks for none.
        uri: ``bolt://``, ``neo4j://`` (routing), or with ``+s`` (encrypted, certificate checked by the system's CAs).
        encrypted: encrypt a plain scheme; ``ca_file`` then names the CAs, and ``trust_any`` accepts any certificate.
        pool: most connections.
        connect_seconds, acquire_seconds: patience for a new connection, and for a free one.
        retry_seconds: how long transient failures of one transaction are retried.
        transaction_seconds: after it the server ends a transaction.
        idle_check_seconds: a connection that was idle for longer is tested before it is used.
    """

    uri: str
    user: str = "neo4j"
    password: str = ""
    database: str | None = None
    encrypted: bool = False
    ca_file: Path | None = None
    trust_any: bool = False
    pool: int = 32
    connect_seconds: float = 5.0
    acquire_seconds: float = 10.0
    retry_seconds: float = 10.0
    transaction_seconds: float = 30.0
    idle_check_seconds: float = 30.0

    def driver_options(self) -> dict[str, Any]:
        """The settings in the driver's words."""
        options: dict[str, Any] = {
            "max_connection_pool_size": self.pool,
            "connection_timeout": self.connect_seconds,
            "connection_acquisition_timeout": self.acquire_seconds,
            "max_transaction_retry_time": self.retry_seconds,
            "liveness_check_timeout": self.idle_check_seconds,
            "keep_alive": True,
            "user_agent": "rootmend",
            "telemetry_disabled": True,
            # Hints such as "label does not exist yet" are normal on a young database.
            "notifications_min_severity": NotificationMinimumSeverity.OFF,
        }
        if self.encrypted and not any(scheme in self.uri for scheme in _ENCRYPTED_SCHEMES):
            options["encrypted"] = True
            options["trusted_certificates"] = self._trust()
        return options

    def _trust(self) -> TrustAll | TrustCustomCAs | TrustSystemCAs:
        if self.trust_any:
            return TrustAll()
        return TrustCustomCAs(str(self.ca_file)) if self.ca_file else TrustSystemCAs()


class Graph:
    """A driver with a database: named queries in, rows out, errors in our words.

    A query whose header names kinds of audit entries goes through ``services.audit.trail``, which writes the entry in
    the same transaction; here it is refused.

    Attributes:
        seconds: after it the server ends a transaction.
        segments: where the audit entries of this process go.
        owners: whose execution it is, by its id: tenant and incident. What was seen lately; see ``services.audit``.
        unreadable: records that cannot be read, each told of once.
    """

    def __init__(self, driver: AsyncDriver, database: str | None = None, *, transaction_seconds: float = 30.0) -> None:
        self.driver = driver
        self.database = database
        self.seconds = transaction_seconds
        self.segments = Segments(f"{socket.gethostname()}-{os.getpid()}")
        self.owners: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self.unreadable = Unreadables()

    async def write(self, *statements: Statement) -> list[list[Row]]:
        """Run named queries in one transaction, in order; rows of each. Transient failures are retried.

        Raises:
            GraphUnavailable: the server did not answer for as long as retries last.
            GraphRejected: the server refused.
            ValueError: one of them has to be told of in the audit trail.
        """
        _untold(*(name for name, _ in statements))

        @unit_of_work(timeout=self.seconds)
        async def work(transaction: AsyncManagedTransaction) -> list[list[Row]]:
            return [await rows_of(transaction, statement) for statement in statements]

        with translation():
            async with self.driver.session(database=self.database, default_access_mode=WRITE_ACCESS) as session:
                return await session.execute_write(work)

    async def read(self, name: str, **parameters: Any) -> list[Row]:
        """Rows of one named query, in a read transaction. Transient failures are retried; errors as in ``write``."""

        @unit_of_work(timeout=self.seconds)
        async def work(transaction: AsyncManagedTransaction) -> list[Row]:
            return await rows_of(transaction, (name, parameters))

        with translation():
            with suppress(_Again):
                return await self._at_once(loader.query(name), parameters, READ_ACCESS)
            async with self.driver.session(database=self.database, default_access_mode=READ_ACCESS) as session:
                return await session.execute_read(work)

    async def ask(self, text: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Rows of a query for people, which cannot write. Errors as in ``write``."""

        @unit_of_work(timeout=self.seconds)
        async def work(transaction: AsyncManagedTransaction) -> list[Row]:
            result = await transaction.run(text, dict(parameters))
            return [record.data() for record in await result.fetch(_ALL)]

        with translation():
            async with self.driver.session(database=self.database, default_access_mode=READ_ACCESS) as session:
                return await session.execute_read(work)

    async def _at_once(self, text: str, parameters: Mapping[str, Any], access: str) -> list[Row]:
        """Run one statement without a transaction around it: one round trip instead of three.

        Raises:
            _Again: it failed for a moment; whether the server has done it may be unknown.
        """
        statement = Query(text, timeout=self.seconds)
        try:
            async with self.driver.session(database=self.database, default_access_mode=access) as session:
                result = await session.run(statement, dict(parameters))
                return [record.data() for record in await result.fetch(_ALL)]
        except (Neo4jError, DriverError) as error:
            if error.is_retryable() or isinstance(error, IncompleteCommit):
                raise _Again from error
            raise

    async def write_repeatable(self, name: str, **parameters: Any) -> list[Row]:
        """Rows of one named query that writes, and that may be sent again when nobody knows whether it was done.

        The same as ``write`` with one statement, in a third of the round trips. Only for queries that recognise their
        own work. Errors as in ``write``.
        """
        _untold(name)
        return await self.run_repeatable(loader.query(name), parameters)

    async def run_repeatable(self, text: str, parameters: Mapping[str, Any]) -> list[Row]:
        """``write_repeatable`` for a statement that the loader has composed."""
        with translation(), suppress(_Again):
            return await self._at_once(text, parameters, WRITE_ACCESS)

        @unit_of_work(timeout=self.seconds)
        async def work(transaction: AsyncManagedTransaction) -> list[Row]:
            result = await transaction.run(text, dict(parameters))
            return [record.data() for record in await result.fetch(_ALL)]

        with translation():
            async with self.driver.session(database=self.database, default_access_mode=WRITE_ACCESS) as session:
                return await session.execute_write(work)

    async def write_together(self, writes: Mapping[str, Sequence[Row]], *, told: bool = False) -> None:
        """Do several queries that write rows, in order, all or nothing; in one round trip.

        Only for queries that recognise their own work, as in ``write_repeatable``. Errors as in ``write``.

        Args:
            writes: rows by the query's name. It pays to name the same queries each time, with no rows where there
                is nothing to write: the server keeps one plan for all.
            told: the entries of the audit trail are among them.
        """
        if not told:
            _untold(*writes)
        await self.run_repeatable(loader.together(tuple(writes)), writes)

    async def schema(self, statement: str) -> None:
        """Run one schema statement, in a transaction of its own: the server allows no data beside it."""
        with translation():
            async with self.driver.session(database=self.database) as session:
                result = await session.run(statement)
                await result.consume()

    async def close(self) -> None:
        """Close the driver."""
        await self.driver.close()


async def rows_of(transaction: AsyncManagedTransaction, statement: Statement) -> list[Row]:
    """Run a named query in a transaction; its rows."""
    name, parameters = statement
    result = await transaction.run(loader.query(name), dict(parameters))
    return [record.data() for record in await result.fetch(_ALL)]


def _untold(*names: str) -> None:
    for name in names:
        if kinds := loader.audited_as(name):
            raise ValueError(f"{name} has to be told of as {', '.join(kinds)}: write it through services.audit.trail")


_ALL = 1_000_000


def connect(settings: GraphSettings) -> Graph:
    """A graph from settings. Nothing is sent until the first query."""
    auth = (settings.user, settings.password) if settings.user else None
    driver = AsyncGraphDatabase.driver(settings.uri, auth=auth, **settings.driver_options())
    return Graph(driver, settings.database, transaction_seconds=settings.transaction_seconds)


async def verify(graph: Graph) -> str:
    """Ask the server who it is, such as ``Neo4j/5.26.30``; the errors of ``Graph.write``."""
    with translation():
        info = await graph.driver.get_server_info()
    return info.agent
