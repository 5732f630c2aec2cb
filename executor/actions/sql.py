"""Ask and change databases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from executor.actions.base import Action, Found, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.beside import LITERAL, text_or_file
from executor.actions.calling import early
from executor.actions.checking import holds
from executor.actions.manifests import Seconds
from executor.actions.masking import reveal
from executor.actions.needs import NO_RIGHTS
from executor.actions.synonyms import Synonyms
from executor.data_ports import SqlAnswer
from executor.errors import StepFailed
from executor.model import Access, Change, PlannedStep

_MAX_STATEMENT = 64 * 1024
_SHOWN = 200


class SqlParams(Synonyms):
    """Parameters of ``sql_query``."""

    synonyms: ClassVar[Mapping[str, str]] = {"sql": "query", "statement": "query", "database": "connection"}

    connection: str = Field(min_length=1, description="Name of a connection from the setting `sql.connections`")
    query: str = Field(
        min_length=1,
        description="One statement, or the name of a .sql file beside the runbook; values are bound as `:name`",
        json_schema_extra=LITERAL,
    )
    parameters: dict[str, Any] = Field({}, description="Values of `:name`, bound and never put into the text")
    write: bool = Field(False, description="It changes data: it cannot be undone, so a human is asked")
    expect: str | None = Field(
        None, description="Expression over `rows`, `row_count`, `first` and `changed`; tried in the step's turn"
    )
    max_rows: int = Field(
        100, ge=1, le=10_000, description="Most rows; more are left out of a read, and take a write back"
    )
    timeout: Seconds = Field(10.0, gt=0, description="Longest run of the statement")


class SqlQuery(Action[SqlParams]):
    """Run one SQL statement. It reads, and the database itself is told so; only ``write: true`` may change data.

    The output of a read is ``rows``, ``row_count``, ``first`` and ``truncated``, of a write ``changed``.
    """

    name = "sql_query"
    aliases = ("sql/query", "database_query")
    access = Access.WRITE
    idempotent = False
    params_model = SqlParams
    rights = NO_RIGHTS
    simulated = "a read is made once while planning, in a read-only transaction; a write is shown and not sent"
    undone = "not at all, unless it only reads"
    targets = "the incident's target"
    example = """\
action: sql_query
params:
  connection: orders
  query: "SELECT count(*) AS stuck FROM jobs WHERE queue = :queue AND locked_at < now() - interval '1 hour'"
  parameters: {queue: "{{ target.name }}"}
  expect: "first.stuck == 0"
"""

    def access_of(self, params: Mapping[str, Any]) -> Access:
        """A read unless it declares that it writes; the database holds it to that."""
        return Access.READ if params.get("write", False) is False else Access.WRITE

    def repeatable(self, params: Mapping[str, Any]) -> bool:
        """Reads only."""
        return self.access_of(params) is Access.READ

    async def plan(self, params: SqlParams, facts: TargetFacts, world: World) -> Planned:
        """Say what will be run; a read that is no check is made now."""
        world.sql.check(params.connection, write=params.write)
        text = await text_or_file(params.query, (".sql",), facts, world, max_bytes=_MAX_STATEMENT)
        ready = params.model_copy(update={"query": text})
        given = ready.model_dump(mode="json", exclude_none=True)
        if params.write:
            return Planned(params=given, changes=(_change(ready),))
        return Planned(params=given, result=None if params.expect else await early(_read(ready, world)))

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Run it.

        Raises:
            StepFailed: the answer is not what the step expects.
        """
        params = SqlParams.model_validate(step.params)
        return await (_write(params, world) if params.write else _read(params, world))

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """A read is repeated; whether a write was committed nobody can tell."""
        return Recovery(Found.NOT_DONE if self.repeatable(step.params) else Found.UNKNOWN)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Nothing can be taken back."""
        return f"a statement cannot be taken back: {step.changes[0].summary}" if step.changes else "nothing to undo"


def _change(params: SqlParams) -> Change:
    text = " ".join(params.query.split())
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    bound = ", ".join(f"{name}={value}" for name, value in params.parameters.items())
    summary = f"{params.connection}: {shown}{f' with {bound}' if bound else ''} (at most {params.max_rows} rows)"
    return Change(verb="sql", summary=summary, irreversible=True)


async def _read(params: SqlParams, world: World) -> dict[str, Any]:
    revealed = await reveal(params.parameters, world.secrets)
    with revealed.hiding():
        answer: SqlAnswer = await world.sql.read(
            params.connection,
            params.query,
            revealed.value,
            max_rows=params.max_rows,
            timeout_seconds=params.timeout,
        )
    rows = revealed.hide_in([dict(row) for row in answer.rows])
    if params.expect:
        if answer.more:
            raise StepFailed(f"there are more than {params.max_rows} rows, so {params.expect!r} cannot be told")
        _expect(params.expect, rows, 0)
    return {"rows": rows, "row_count": len(rows), "first": rows[0] if rows else None, "truncated": answer.more}


async def _write(params: SqlParams, world: World) -> dict[str, Any]:
    revealed = await reveal(params.parameters, world.secrets)
    with revealed.hiding():
        answer = await world.sql.write(
            params.connection,
            params.query,
            revealed.value,
            max_rows=params.max_rows,
            timeout_seconds=params.timeout,
        )
    rows = revealed.hide_in([dict(row) for row in answer.rows])
    if params.expect:
        _expect(params.expect, rows, answer.changed)
    return {"changed": answer.changed, "rows": rows}


def _expect(expect: str, rows: list[Any], changed: int) -> None:
    names = {"rows": rows, "row_count": len(rows), "changed": changed}
    holds(expect, {**names, "first": rows[0]} if rows else names)
