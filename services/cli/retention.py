"""``rb executions prune``, ``rb backup``, ``rb restore`` and ``rb migrate``: what is kept of the graph."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from services.graph.backup import Counted
    from services.graph.retention import Taken

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
By = Annotated[str, typer.Option("--by", help="Who. Default: the user of this terminal.", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stays in the audit trail.", show_default=False)]


def executions_prune(
    *,
    before: Annotated[str, typer.Option("--before", help="A day, 2026-01-31, or an age, 90d.", show_default=False)],
    reason: Reason = "",
    by: By = "",
    tenant: Annotated[str, typer.Option("--tenant", help="Whose. Default: all.", show_default=False)] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be taken away.")] = False,
    as_json: Json = False,
) -> None:
    """Take executions away that ended before a time, with their steps, questions and decisions.

    What is open stays, and so does the audit trail: it gets an entry with a hash of each batch. The scores of runbooks
    and what they have earned are counted from executions: keep at least the time that they look back.

    Examples:
      rb executions prune --before 90d --dry-run
      rb executions prune --before 90d --reason "retention policy 7"
    """
    if not dry_run and not reason.strip():
        raise runtime.CommandError("say why with --reason: it stays in the trail when the executions are gone", 2)
    done = runtime.run(_prune(before, reason, by or runtime.whoami(), tenant, dry_run=dry_run))
    if as_json:
        runtime.print_json({"executions": done.executions, "batches": done.batches, "dry_run": dry_run})
    else:
        typer.echo(f"{done.executions:,} executions {'would be' if dry_run else 'were'} taken away.")


async def _prune(before: str, reason: str, by: str, tenant: str, *, dry_run: bool) -> Taken:
    from services.audit.pruning import moment_of  # noqa: PLC0415 - keeps rb --help quick
    from services.graph.retention import Retention  # noqa: PLC0415 - as above

    now = datetime.now(UTC)
    async with runtime.open_graph(runtime.settings_for()) as graph:
        try:
            until = moment_of(before, now)
            return await Retention(graph).prune(until, now, by=by, reason=reason, tenant=tenant, dry_run=dry_run)
        except ValueError as error:
            raise runtime.CommandError(f"--before {before}: {error}", 2) from error


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; one that is there is replaced.")],
    *,
    as_json: Json = False,
) -> None:
    """Write the part of the graph that is Rootmend's to a file: JSON lines with a checksum.

    KGroot's nodes are not in it. It may be made while the pipeline works. Prior states of targets are in it: keep it as
    safe as the graph.

    Examples:
      rb backup /backup/rootmend-2026-05-01.jsonl
    """
    done = runtime.run(_backup(file))
    if as_json:
        runtime.print_json({"file": file, "nodes": done.nodes, "relationships": done.relationships})
    else:
        typer.echo(f"{done.nodes:,} nodes and {done.relationships:,} relationships are in {file}.")


async def _backup(file: Path) -> Counted:
    from services.graph.backup import Backup  # noqa: PLC0415 - keeps rb --help quick
    from services.metrics import product_version  # noqa: PLC0415 - as above

    status = runtime.console(err=True, live=True).status("reading")
    async with runtime.open_graph(runtime.settings_for()) as graph:
        with status:
            try:
                written = Backup(graph, product_version())
                return await written.write(file, lambda nodes: status.update(f"{nodes:,} nodes"))
            except OSError as error:
                raise runtime.CommandError(f"{file} cannot be written: {error}", 2) from error


def restore(
    file: Annotated[Path, typer.Argument(help="A file of rb backup.")],
    *,
    reason: Reason = "",
    by: By = "",
    as_json: Json = False,
) -> None:
    """Put back what a backup holds and the graph does not. What is there already stays as it is.

    The whole file is checked first: a wrong checksum or a newer schema is refused. Executions and questions that were
    open are ended, so that nothing of long ago begins to act.

    Examples:
      rb restore /backup/rootmend-2026-05-01.jsonl --reason "the disk was lost"
    """
    if not reason.strip():
        raise runtime.CommandError("say why with --reason: it stays in the audit trail", 2)
    done = runtime.run(_restore(file, reason, by or runtime.whoami()))
    if as_json:
        told = {"nodes": done.nodes, "there": done.there, "relationships": done.relationships}
        runtime.print_json({**told, "loose": done.loose, "ended": done.ended})
        return
    typer.echo(
        f"{done.nodes:,} nodes were put back, {done.there:,} were there. {done.relationships:,} relationships hold."
    )
    if done.loose:
        runtime.note(f"{done.loose:,} relationships lead to nodes that are not there, such as KGroot's.")
    if done.ended:
        runtime.note(f"{len(done.ended):,} executions were open when the backup was made, and were ended.")


async def _restore(file: Path, reason: str, by: str) -> Counted:
    from services.graph.backup import BadBackup, Restore  # noqa: PLC0415 - keeps rb --help quick

    async with runtime.open_graph(runtime.settings_for()) as graph:
        try:
            return await Restore(graph).read(file, by=by, reason=reason)
        except BadBackup as error:
            raise runtime.CommandError(str(error), 2) from error
        except OSError as error:
            raise runtime.CommandError(f"{file} cannot be read: {error}", 2) from error


def migrate(*, as_json: Json = False) -> None:
    """Bring the schema of the database up to this release; rb serve does so at its start.

    It may be done while processes of this release, or of the one before, work.

    Examples:
      rb migrate
    """
    from services.graph import migrate as schema  # noqa: PLC0415 - keeps rb --help quick

    async def work() -> list[dict[str, object]]:
        async with runtime.open_graph(runtime.settings_for()) as graph:
            return [{"version": one.version, "name": one.name} for one in await schema.migrate(graph)]

    applied = runtime.run(work())
    if as_json:
        runtime.print_json(applied)
    else:
        names = ", ".join(f"{one['version']} {one['name']}" for one in applied)
        typer.echo(f"Applied: {names}." if applied else "The schema is that of this release.")
