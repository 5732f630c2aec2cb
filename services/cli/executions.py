"""``rb executions``: what was run, and how it ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import identity, runtime, story

if TYPE_CHECKING:
    from collections.abc import Sequence

    from executor.model import Status
    from services.ports import ExecutionStore
    from services.records import ExecutionStory, ExecutionSummary

_LEAST = 6
_COLUMNS = ("id", "asked", "runbook", "target", "status", "outcome", "verdict", "took")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def executions_list(
    *,
    status: Annotated[str, typer.Option("--status", help="Only of this status, such as running or done.")] = "",
    since: Annotated[str, typer.Option("--since", help="Only asked for within this time: 30m, 24h, 7d.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Most lines.")] = 50,
    as_json: Json = False,
) -> None:
    """List executions, newest first.

    Examples:
      rb executions list --since 24h
      rb executions list --status running --json
    """
    wanted, start = status_of(status), start_of(since, datetime.now(UTC))

    async def work() -> Sequence[ExecutionSummary]:
        from services.graph.executions import Neo4jExecutionStore  # noqa: PLC0415 - keeps rb --help quick

        async with runtime.open_graph(runtime.settings_for()) as graph:
            return await Neo4jExecutionStore(graph).latest(status=wanted, since=start, limit=limit)

    found = _visible(runtime.run(work()))
    if as_json:
        runtime.print_json([story.story_json(one) for one in found])
    else:
        runtime.print_table(_COLUMNS, (row(one) for one in found), empty="No execution fits.")


def executions_show(
    execution: Annotated[
        str, typer.Argument(help="Id of an execution, its incident or decision; the beginning will do.")
    ],
    *,
    as_json: Json = False,
) -> None:
    """Show one execution: plan, steps with what was there before, evidence, end.

    Examples:
      rb executions show 8a41d2
    """
    from safety.permissions import Permission  # noqa: PLC0415 - keeps rb --help quick
    from services.access import scopes  # noqa: PLC0415 - as above

    async def work() -> Sequence[ExecutionStory]:
        from services.graph.executions import Neo4jExecutionStore  # noqa: PLC0415 - keeps rb --help quick

        async with runtime.open_graph(runtime.settings_for()) as graph:
            return await find(Neo4jExecutionStore(graph), execution)

    found = runtime.run(work())
    for one in found:
        identity.require(Permission.EXECUTIONS_READ, scopes.of_execution(one.record))
    if as_json:
        shown: list[Any] = [story.story_json(one) for one in found]
        runtime.print_json(shown[0] if len(shown) == 1 else shown)
    else:
        typer.echo("\n\n".join(story.execution_text(one) for one in found))


def _visible(found: Sequence[ExecutionSummary]) -> list[ExecutionSummary]:
    """Those that the caller may see."""
    from safety.permissions import Permission  # noqa: PLC0415 - keeps rb --help quick
    from services.access import scopes  # noqa: PLC0415 - as above

    return [one for one in found if identity.may(Permission.EXECUTIONS_LIST, scopes.of_summary(one))]


async def find(store: ExecutionStore, text: str) -> Sequence[ExecutionStory]:
    """Executions that a text names; of one incident there can be several attempts.

    Raises:
        CommandError: none is known, or the beginning fits executions of several incidents.
    """
    if len(text) < _LEAST:
        raise runtime.CommandError(f"'{text}' is too short: give at least {_LEAST} characters of the id", 2)
    found = await store.tell(text)
    if not found:
        raise runtime.CommandError(f"no execution is on record about '{text}'")
    exact = [one for one in found if one.record.id == text]
    if exact:
        return exact
    if len({one.record.incident.get("id") for one in found}) > 1:
        lines = "\n".join(f"  {one.record.id} {one.record.plan.runbook_id}" for one in found)
        raise runtime.CommandError(f"several executions begin with '{text}':\n{lines}", 2)
    return found


def status_of(text: str) -> Status | None:
    """The status that a text names; None for an empty one.

    Raises:
        CommandError: there is no such status.
    """
    from executor.model import Status  # noqa: PLC0415 - keeps rb --help quick

    if not text:
        return None
    try:
        return Status(text)
    except ValueError as error:
        names = ", ".join(each.value for each in Status)
        raise runtime.CommandError(f"'{text}' is no status; there are {names}", 2) from error


def start_of(text: str, now: datetime) -> datetime | None:
    """The moment that lies a length of time (``30m``, ``7d``) before ``now``; None for an empty text.

    Raises:
        CommandError: it is no length of time.
    """
    from runbooks.durations import parse_duration  # noqa: PLC0415 - keeps rb --help quick

    if not text:
        return None
    try:
        length: timedelta = parse_duration(text)
    except ValueError as error:
        raise runtime.CommandError(f"--since: {error}", 2) from error
    return now - length


def row(one: ExecutionSummary) -> tuple[str, ...]:
    """One line of the table."""
    return (
        one.id[:13],
        story.at(one.requested_at),
        f"{one.runbook_id} {one.runbook_version}",
        one.target_key,
        one.status.value,
        one.outcome.value if one.outcome else "-",
        one.verdict.value if one.verdict else "-",
        story.span(one.started_at, one.finished_at) or "-",
    )
