"""Databases of runbooks through SQLAlchemy Core: one connection and one transaction for each statement.

Nothing is pooled: a statement cannot leave a setting behind for the next one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from executor.data_ports import SqlAnswer
from executor.errors import Forbidden, Invalid, NotConfigured, NotDone, RemediationError, StepFailed, Unavailable
from runbooks.findings import did_you_mean
from services.outgoing.databases import pinned
from services.outgoing.rules import Rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import CursorResult
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg", "sqlite": "sqlite+aiosqlite"}
_CONNECT_SECONDS = 5
_GRACE_SECONDS = 2.0
_STEPS_BETWEEN_LOOKS = 1_000
_MAX_BYTES = 1024 * 1024
_LONGEST_ERROR = 300
_NO_EXCEPTIONS = Rules()


@dataclass(frozen=True, slots=True)
class Database:
    """One connection as the settings name it."""

    url_secret: str
    write: bool = False


class SqlDatabases:
    """Implements ``executor.data_ports.Sql``.

    Reads run in transactions that PostgreSQL and SQLite themselves keep from writing; other databases are refused,
    because nothing here would hold them to it.

    Args:
        databases: by name.
        secret: gives the value of a secret.
        rules: which servers may be called; without exceptions unless given.
    """

    def __init__(
        self,
        databases: Mapping[str, Database],
        secret: Callable[[str], Awaitable[str]],
        rules: Rules = _NO_EXCEPTIONS,
    ) -> None:
        self._databases = dict(databases)
        self._secret = secret
        self._rules = rules

    def check(self, connection: str, *, write: bool) -> None:
        """Whether the settings know the connection, and let runbooks write to it.

        Raises:
            NotConfigured: it is not known.
            Forbidden: runbooks may only read it.
        """
        known = self._databases.get(connection)
        if known is None:
            advice = did_you_mean(connection, self._databases) or "sql.connections in the settings names them"
            raise NotConfigured(f"there is no database connection {connection!r}; {advice}")
        if write and not known.write:
            raise Forbidden(f"the settings let runbooks only read {connection}: sql.connections.{connection}.write")

    async def read(
        self, connection: str, statement: str, parameters: Mapping[str, Any], *, max_rows: int, timeout_seconds: float
    ) -> SqlAnswer:
        """Run one statement that only reads.

        Raises:
            Invalid: the database refuses it, or it tries to write.
            Unavailable: no answer came in time.
        """
        self.check(connection, write=False)

        async def work(engine: AsyncEngine) -> SqlAnswer:
            from sqlalchemy import text  # noqa: PLC0415 - as above

            async with engine.connect() as raw:
                given = await raw.execution_options(**_read_only(engine))
                result = await given.stream(text(statement), _bound(parameters))
                try:
                    rows = [dict(row) for row in await result.mappings().fetchmany(max_rows + 1)]
                finally:
                    await result.close()
                    await given.rollback()
            return SqlAnswer(rows=_json(rows[:max_rows]), more=len(rows) > max_rows)

        async with self._engine(connection, timeout_seconds, read_only=True) as engine:
            return await _asked(work(engine), timeout_seconds, connection)

    async def write(
        self, connection: str, statement: str, parameters: Mapping[str, Any], *, max_rows: int, timeout_seconds: float
    ) -> SqlAnswer:
        """Run one statement and commit.

        Raises:
            NotDone: it was certainly not committed.
            Unavailable: nobody knows whether it was committed.
        """
        self.check(connection, write=True)
        committing = False

        async def work(engine: AsyncEngine) -> SqlAnswer:
            nonlocal committing
            async with engine.connect() as given:
                answer = await _changed(given, statement, parameters, max_rows)
                committing = True
                await given.commit()
            return answer

        try:
            async with self._engine(connection, timeout_seconds, read_only=False) as engine:
                return await _asked(work(engine), timeout_seconds, connection)
        except RemediationError as error:
            if committing:
                raise Unavailable(f"{error}; whether it was committed is unknown") from error
            raise NotDone(f"nothing was changed: {error}") from error

    @asynccontextmanager
    async def _engine(self, connection: str, timeout_seconds: float, *, read_only: bool) -> AsyncIterator[AsyncEngine]:
        from sqlalchemy import NullPool  # noqa: PLC0415 - slow, and few need it
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - as above

        url = _url(connection, await self._secret(self._databases[connection].url_secret))
        in_file = url.get_backend_name() == "sqlite"
        where = {} if in_file else await pinned(connection, url, self._rules)
        engine = create_async_engine(
            url,
            poolclass=NullPool,
            # Neither statements nor values belong into logs and errors: values may be secrets.
            echo=False,
            hide_parameters=True,
            connect_args={**_arguments(url, timeout_seconds), **where},
        )
        if in_file:
            _guard_sqlite(engine, timeout_seconds, read_only=read_only)
        try:
            yield engine
        finally:
            await engine.dispose()


def _url(connection: str, text: str) -> URL:
    from sqlalchemy import make_url  # noqa: PLC0415 - slow, and few need it
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - as above

    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        # The library quotes the text, and the text is a secret.
        raise NotConfigured(f"the secret of the connection {connection} is no database URL") from None
    driver = _DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise NotConfigured(
            f"{connection}: {url.get_backend_name()} cannot be held to reading; known: postgresql and sqlite"
        )
    return url.set(drivername=driver)


def _arguments(url: URL, timeout_seconds: float) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"timeout": timeout_seconds}
    return {
        "connect_timeout": _CONNECT_SECONDS,
        # Prepared on first use: the server then refuses several statements in one text.
        "prepare_threshold": 0,
        "options": f"-c statement_timeout={int(timeout_seconds * 1000)} -c lock_timeout={int(timeout_seconds * 1000)}"
        " -c idle_in_transaction_session_timeout=60000",
        "application_name": "rootmend",
    }


def _read_only(engine: AsyncEngine) -> dict[str, Any]:
    return {"postgresql_readonly": True} if engine.dialect.name == "postgresql" else {}


def _guard_sqlite(engine: AsyncEngine, timeout_seconds: float, *, read_only: bool) -> None:
    """SQLite has neither users nor a time limit: the connection itself must refuse."""
    from sqlalchemy import event  # noqa: PLC0415 - slow, and few need it

    deadline = time.monotonic() + timeout_seconds

    @event.listens_for(engine.sync_engine, "connect")
    def limited(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.run_async(lambda raw: raw.execute("PRAGMA trusted_schema=OFF"))
        if read_only:
            dbapi_connection.run_async(lambda raw: raw.execute("PRAGMA query_only=ON"))
        dbapi_connection.run_async(lambda raw: raw.set_authorizer(_authorize))
        dbapi_connection.run_async(
            lambda raw: raw.set_progress_handler(lambda: int(time.monotonic() > deadline), _STEPS_BETWEEN_LOOKS)
        )


def _authorize(action: int, *_: Any) -> int:
    """No other files and no settings: with them a statement could write where it must not."""
    import sqlite3  # noqa: PLC0415 - only for SQLite

    refused = (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA)
    return sqlite3.SQLITE_DENY if action in refused else sqlite3.SQLITE_OK


async def _changed(given: AsyncConnection, statement: str, parameters: Mapping[str, Any], max_rows: int) -> SqlAnswer:
    from sqlalchemy import text  # noqa: PLC0415 - slow, and few need it

    result: CursorResult[Any] = await given.execute(text(statement), _bound(parameters))
    changed = result.rowcount
    if changed > max_rows:
        raise Invalid(f"it touches {changed} rows, and at most {max_rows} are allowed")
    rows = [dict(row) for row in result.mappings().fetchmany(max_rows)] if result.returns_rows else []
    return SqlAnswer(rows=_json(rows), changed=changed)


def _bound(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Values as drivers take them; data becomes JSON text, which databases read."""
    import json  # noqa: PLC0415 - only for data

    return {
        name: json.dumps(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
        for name, value in parameters.items()
    }


async def _asked(work: Awaitable[SqlAnswer], timeout_seconds: float, connection: str) -> SqlAnswer:
    """The answer, with the library's errors as ours."""
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError  # noqa: PLC0415 - slow, and few need it

    try:
        # The database gives up by itself; this is for one that does not answer at all.
        async with asyncio.timeout(timeout_seconds + _GRACE_SECONDS):
            return await work
    except TimeoutError as error:
        raise Unavailable(f"{connection} did not answer within {timeout_seconds:g} s") from error
    except DBAPIError as error:
        told = _told(error.orig)
        if _too_slow(error.orig):
            raise Unavailable(f"{connection} was not done within {timeout_seconds:g} s") from None
        if error.connection_invalidated or _away(error.orig):
            raise Unavailable(f"{connection} does not answer: {told}") from None
        raise Invalid(f"{connection} refuses the statement: {told}") from None
    except SQLAlchemyError as error:
        raise Invalid(f"the statement cannot be run: {str(error).partition(chr(10))[0][:_LONGEST_ERROR]}") from None


def _told(error: BaseException | None) -> str:
    """The first line of a driver's error; the rest quotes statement and values."""
    return str(error).strip().partition("\n")[0][:_LONGEST_ERROR]


def _too_slow(error: BaseException | None) -> bool:
    # 57014 query_canceled, 55P03 lock_not_available
    return getattr(error, "sqlstate", None) in {"57014", "55P03"} or str(error) in {"interrupted", "database is locked"}


def _away(error: BaseException | None) -> bool:
    state = getattr(error, "sqlstate", None)
    psycopg_lost = type(error).__name__ in {"OperationalError", "ConnectionTimeout"} and state is None
    in_file = type(error).__module__.startswith("sqlite3")
    return (psycopg_lost and not in_file) or (state or "").startswith(("08", "57P"))


def _json(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows as JSON data, bounded.

    Raises:
        StepFailed: they are too large for a step's output.
    """
    size = 0
    made = []
    for row in rows:
        plain = {str(name): _plain(value) for name, value in row.items()}
        size += sum(len(str(value)) for value in plain.values())
        if size > _MAX_BYTES:
            raise StepFailed(f"the rows are larger than {_MAX_BYTES} bytes: ask for fewer or for fewer columns")
        made.append(plain)
    return made


def _plain(value: Any) -> Any:
    """A value of a database as JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return next((turn(value) for kinds, turn in _TURNED if isinstance(value, kinds)), str(value))


def _number(value: decimal.Decimal) -> int | float:
    return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)


_TURNED: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (bool | int | float | str | None, lambda value: value),
    (decimal.Decimal, _number),
    (dt.datetime | dt.date | dt.time, lambda value: value.isoformat()),
    (dt.timedelta, lambda value: value.total_seconds()),
    (bytes | memoryview, lambda value: bytes(value).hex()),
)
