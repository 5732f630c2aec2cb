"""The two tables: made by numbered migrations, written by id, read for replays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import resources
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from executor.errors import Invalid, Unavailable

_LIMITS = {"connect_timeout": 10, "options": "-c statement_timeout=300000"}
"""Unless the URL says otherwise: a server that does not answer holds up the copy, and not for ever."""
_LOCK = 7_240_115
"""Of the migrations: two processes that start together wait for each other."""

_EXECUTION = """
INSERT INTO runbook_executions
    (id, runbook_id, runbook_version, started_at, completed_at, status, actor_id, metadata)
VALUES (:id, :runbook_id, :runbook_version, :started_at, :completed_at, :status, :actor_id, cast(:metadata AS jsonb))
ON CONFLICT (id) DO UPDATE SET
    started_at = excluded.started_at, completed_at = excluded.completed_at, status = excluded.status,
    actor_id = excluded.actor_id, metadata = excluded.metadata
WHERE runbook_executions.completed_at IS NULL OR excluded.completed_at IS NOT NULL
"""
_STEP = """
INSERT INTO runbook_step_logs
    (id, execution_id, step_id, started_at, completed_at, status, inputs, outputs, errors)
VALUES (:id, :execution_id, :step_id, :started_at, :completed_at, :status, cast(:inputs AS jsonb),
    cast(:outputs AS jsonb), cast(:errors AS jsonb))
ON CONFLICT (id) DO UPDATE SET
    started_at = excluded.started_at, completed_at = excluded.completed_at, status = excluded.status,
    inputs = excluded.inputs, outputs = excluded.outputs, errors = excluded.errors
WHERE runbook_step_logs.completed_at IS NULL OR excluded.completed_at IS NOT NULL
"""

Json = Mapping[str, Any]


class HistoryDatabase:
    """The log in PostgreSQL. Nothing connects before the first call.

    Errors: ``Unavailable``.
    """

    def __init__(self, url: str) -> None:
        address = _address(url)
        limits = {name: value for name, value in _LIMITS.items() if name not in address.query}
        self._engine: AsyncEngine = create_async_engine(
            address, pool_size=2, pool_pre_ping=True, connect_args=limits, hide_parameters=True
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()

    async def migrate(self) -> Sequence[str]:
        """Apply the migrations that are missing; their names."""
        async with _Translated(), self._engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            await connection.execute(
                text(
                    "CREATE TABLE IF NOT EXISTS rootmend_history_migrations "
                    "(version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz DEFAULT now())"
                )
            )
            rows = await connection.execute(text("SELECT version FROM rootmend_history_migrations"))
            done = {row[0] for row in rows}
            return [await _apply(connection, *one) for one in _migrations() if one[0] not in done]

    async def write(self, recordings: Sequence[Json]) -> None:
        """Write executions with their steps, each as it stands; an end that is written is not taken back."""
        executions = [execution_row(one) for one in recordings]
        steps = [row for one in recordings for row in step_rows(one)]
        if not executions:
            return
        async with _Translated(), self._engine.begin() as connection:
            await connection.execute(text(_EXECUTION), executions)
            if steps:
                await connection.execute(text(_STEP), steps)

    async def unfinished(self) -> Sequence[str]:
        """Ids of executions that had not ended when they were written."""
        async with _Translated(), self._engine.connect() as connection:
            rows = await connection.execute(text("SELECT id FROM runbook_executions WHERE completed_at IS NULL"))
            return [str(row[0]) for row in rows]

    async def newest(self) -> datetime | None:
        """When the newest execution that is known was started; None for an empty log."""
        async with _Translated(), self._engine.connect() as connection:
            rows = await connection.execute(text("SELECT max(started_at) FROM runbook_executions"))
            found: datetime | None = rows.scalar()
            return found

    async def recording(self, start: str) -> Sequence[Json]:
        """What was recorded of the executions whose id begins so."""
        async with _Translated(), self._engine.connect() as connection:
            found = await connection.execute(
                text("SELECT metadata FROM runbook_executions WHERE starts_with(cast(id AS text), :start) LIMIT 20"),
                {"start": start.lower()},
            )
            return [row[0] for row in found]


class _Translated:
    """Errors of the driver in our words."""

    async def __aenter__(self) -> None:
        """Nothing to do."""

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SQLAlchemyError | OSError):
            raise Unavailable(f"the execution log in PostgreSQL: {str(error).splitlines()[0]}") from error


def _address(url: str) -> Any:
    try:
        found = make_url(url)
    except ArgumentError as error:
        raise Invalid("history.url is no URL such as postgresql://user:password@host/database") from error
    if found.get_backend_name() != "postgresql":
        raise Invalid(f"history.url names {found.get_backend_name()}; only postgresql is written to")
    return found.set(drivername="postgresql+psycopg")


def _migrations() -> list[tuple[int, str, str]]:
    folder = resources.files("services.history") / "migrations"
    files = sorted((one for one in folder.iterdir() if one.name.endswith(".sql")), key=lambda one: one.name)
    return [(int(one.name.partition("_")[0]), one.name, one.read_text("utf-8")) for one in files]


async def _apply(connection: AsyncConnection, version: int, name: str, script: str) -> str:
    bare = "\n".join(line for line in script.splitlines() if not line.lstrip().startswith("--"))
    for statement in bare.split(";"):
        await connection.execute(text(statement))
    insert = text("INSERT INTO rootmend_history_migrations (version, name) VALUES (:version, :name)")
    await connection.execute(insert, {"version": version, "name": name})
    return name


def execution_row(recording: Json) -> dict[str, Any]:
    """An execution as a row. ``metadata`` holds the whole recording, so that it can be replayed."""
    execution = recording["execution"]
    record, plan = execution["record"], execution["plan"]
    yes = next((one["answered_by"] for one in execution["approvals"] if one["status"] == "approved"), None)
    return {
        "id": UUID(execution["id"]),
        "runbook_id": plan["runbook_id"],
        "runbook_version": plan["runbook_version"],
        "started_at": _moment(execution["started_at"] or execution["requested_at"]),
        "completed_at": _moment(execution["finished_at"]),
        "status": record["outcome"] or record["status"],
        "actor_id": uuid5(NAMESPACE_URL, f"rootmend:person:{yes}") if yes else None,
        "metadata": orjson.dumps(recording).decode(),
    }


def step_rows(recording: Json) -> list[dict[str, Any]]:
    """The steps of an execution as rows; ids are derived, so that writing again meets the same row."""
    execution = recording["execution"]
    planned = {step["index"]: step for step in execution["plan"]["steps"]}
    return [
        {
            "id": uuid5(NAMESPACE_URL, f"rootmend:step:{run['id']}"),
            "execution_id": UUID(execution["id"]),
            "step_id": run["step_id"],
            "started_at": _moment(run["started_at"]),
            "completed_at": _moment(run["finished_at"]),
            "status": run["status"],
            "inputs": _json({"phase": run["phase"], "action": run["action"], **_params(planned, run)}),
            "outputs": _json(run["output"]),
            "errors": _json([run["error"]] if run["error"] else None),
        }
        for run in execution["steps"]
    ]


def _params(planned: Mapping[int, Json], run: Json) -> Json:
    step = planned.get(run["index"]) if run["phase"] == "step" else None
    return {"params": step["params"]} if step else {}


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _moment(value: str | datetime | None) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
