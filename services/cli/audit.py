"""``rb audit``: is the trail what was written, what does it say, and what may be taken away of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from cypher.loader import AuditQuery
    from services.audit.pruning import Pruned
    from services.audit.verifying import Report

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose trail. Default: all.", show_default=False)]
Books = Annotated[
    list[Path] | None,
    typer.Option("--anchors", help="A book of anchors; repeat it for several hosts. Default: that of the settings."),
]


def audit_verify(*, tenant: Tenant = "", anchors: Books = None, as_json: Json = False) -> None:
    """Check that the trail is what was written: nothing changed, removed, put in, reordered or cut off.

    Entries are checked one by one against their chain and against the signed anchors outside the graph. Ends with 1
    when anything is wrong, and names it.

    Examples:
      rb audit verify
      rb audit verify --tenant acme --anchors /backup/host-a.jsonl --anchors /backup/host-b.jsonl
    """
    report = runtime.run(_verify(tenant, anchors))
    if as_json:
        from dataclasses import asdict  # noqa: PLC0415 - keeps rb --help quick

        runtime.print_json({**asdict(report), "holds": report.holds})
    else:
        _tell(report)
    if not report.holds:
        raise typer.Exit(1)


async def _verify(tenant: str, anchors: list[Path] | None) -> Report:
    from services.audit.verifying import Verification  # noqa: PLC0415 - keeps rb --help quick
    from services.bootstrap import trusted_keys  # noqa: PLC0415 - as above

    settings = runtime.settings_for()
    books = anchors or [settings.audit.book]
    missing = [book for book in anchors or () if not book.exists()]
    if missing:
        raise runtime.CommandError(f"{missing[0]}: there is no such book of anchors", 2)
    status = runtime.console(err=True, live=True).status("reading")
    async with runtime.open_graph(settings) as graph:
        with status:
            return await Verification(graph, books, trusted_keys(settings)).run(
                tenant, lambda entries, segments: status.update(f"{entries:,} entries in {segments:,} segments")
            )


def _tell(report: Report) -> None:
    whose = f"The trail of {report.tenant}" if report.tenant else "The trail"
    size = f"{report.entries:,} entries in {report.segments:,} segments, {report.sealed:,} of them sealed"
    seen = f"{report.anchors:,} anchors" + (f", {report.foreign:,} of other databases" if report.foreign else "")
    if report.holds:
        typer.echo(f"{whose} holds: {size}; {seen}.")
        if report.elsewhere:
            runtime.note(f"{report.elsewhere:,} anchors are of books that were not given: --anchors takes several.")
        if report.segments and not report.sealed:
            runtime.note("No anchor vouches for it: what was cut off at an end cannot be found.")
        return
    typer.echo(f"{whose} does not hold: {report.broken:,} problems in {size}; {seen}.")
    runtime.print_table(
        ("what", "entry", "in words"), [(one.what, one.entry or "-", one.detail) for one in report.problems]
    )
    if report.broken > len(report.problems):
        runtime.note(f"The first {len(report.problems)} are shown.")


def audit_query(
    name: Annotated[str, typer.Argument(help="A saved query; left out, they are listed.", show_default=False)] = "",
    *,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", help="NAME=VALUE in the place of what the query's first line says; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run one of the saved queries that also paste into Neo4j Browser.

    Examples:
      rb audit query
      rb audit query who_approved_what --param days=90
    """
    from cypher.loader import audit_queries  # noqa: PLC0415 - keeps rb --help quick

    queries = {query.name: query for query in audit_queries()}
    if not name:
        _list(list(queries.values()), as_json=as_json)
        return
    if name not in queries:
        raise runtime.CommandError(f"there is no saved query '{name}'.{_nearest(name, list(queries))}", 2)
    given = _parameters(param or [], queries[name].defaults)
    rows = runtime.run(_ask(queries[name].asked(tuple(given)), given))
    if as_json:
        runtime.print_json(rows)
    else:
        columns = list(rows[0]) if rows else ["result"]
        runtime.print_table(columns, [[_cell(row[column]) for column in columns] for row in rows], empty="No rows.")


def _list(queries: list[AuditQuery], *, as_json: bool) -> None:
    if as_json:
        runtime.print_json([{"name": q.name, "title": q.title, "parameters": q.defaults} for q in queries])
    else:
        rows = [(query.name, query.title, ", ".join(query.defaults)) for query in queries]
        runtime.print_table(("name", "tells", "parameters"), rows)


async def _ask(text: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    from services.graph.values import plain  # noqa: PLC0415 - keeps rb --help quick

    async with runtime.open_graph(runtime.settings_for()) as graph:
        return [plain(row) for row in await graph.ask(text, parameters)]


def _parameters(given: list[str], known: dict[str, Any]) -> dict[str, Any]:
    """Parameters in the types of their defaults."""
    found: dict[str, Any] = {}
    for text in given:
        name, mark, value = text.partition("=")
        if not mark:
            raise runtime.CommandError(f"--param {text}: expected NAME=VALUE", 2)
        if name not in known:
            raise runtime.CommandError(
                f"--param {name}: the query has no such parameter.{_nearest(name, list(known))}", 2
            )
        try:
            found[name] = type(known[name])(value)
        except ValueError as error:
            wanted = type(known[name]).__name__
            raise runtime.CommandError(
                f"--param {text}: expected {name} as {wanted}, such as {known[name]}", 2
            ) from error
    return found


def _nearest(given: str, known: list[str]) -> str:
    from rapidfuzz import fuzz, process  # noqa: PLC0415 - keeps rb --help quick

    found = process.extractOne(given, known, scorer=fuzz.ratio, score_cutoff=50)
    return f" Did you mean '{found[0]}'?" if found else f" Known: {', '.join(known) or 'none'}."


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else str(value)
    return "".join(c if c.isprintable() else " " for c in text)


def audit_export(
    *,
    form: Annotated[str, typer.Option("--format", help="json, csv, ocsf or cef.")] = "json",
    tenant: Tenant = "",
    since: Annotated[str, typer.Option("--since", help="Only of this time: 30m, 24h, 7d. Default: all.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file. Default: standard output.")] = None,
) -> None:
    """Write the trail for other systems.

    json: one document for each execution, in the schema of audit logs of runbooks; csv: one line for each entry;
    ocsf: events of the Open Cybersecurity Schema Framework 1.3, one JSON object a line; cef: lines of ArcSight's Common
    Event Format.

    Examples:
      rb audit export --since 7d > week.json
      rb audit export --format cef --tenant acme | nc siem 514
    """
    from services.audit.exporting import FORMATS  # noqa: PLC0415 - keeps rb --help quick
    from services.cli.executions import start_of  # noqa: PLC0415 - as above

    if form not in FORMATS:
        raise runtime.CommandError(
            f"--format {form}: expected one of {', '.join(FORMATS)}.{_nearest(form, list(FORMATS))}", 2
        )
    start = start_of(since, datetime.now(UTC))
    count = runtime.run(_export(form, tenant, start, output))
    runtime.note(f"{count:,} {'executions' if form == 'json' else 'entries'}")


async def _export(form: str, tenant: str, since: datetime | None, output: Path | None) -> int:
    import sys  # noqa: PLC0415 - keeps rb --help quick
    from contextlib import ExitStack  # noqa: PLC0415 - as above

    from services.audit.exporting import export  # noqa: PLC0415 - as above

    with ExitStack() as stack:
        out = stack.enter_context(output.open("w", encoding="utf-8")) if output else sys.stdout
        async with runtime.open_graph(runtime.settings_for()) as graph:
            return await export(graph, form, tenant, since, lambda line: print(line, file=out))


def audit_prune(
    *,
    before: Annotated[str, typer.Option("--before", help="A day, 2026-01-31, or an age, 400d.", show_default=False)],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the trail.", show_default=False)],
    by: Annotated[str, typer.Option("--by", help="Who. Default: the user of this terminal.", show_default=False)] = "",
    tenant: Tenant = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be taken away.")] = False,
    as_json: Json = False,
) -> None:
    """Take old entries away and leave a signed tombstone, so that the rest can still be checked.

    The trail has to hold before. Nothing is ever taken away by itself.

    Examples:
      rb audit prune --before 400d --reason "retention policy 7" --dry-run
    """
    found = runtime.run(_prune(before, reason, by or runtime.whoami(), tenant, dry_run=dry_run))
    if as_json:
        runtime.print_json({"entries": found.entries, "segments": found.segments, "dry_run": dry_run})
    else:
        done = "would be taken away" if dry_run else "were taken away"
        typer.echo(f"{found.entries:,} entries of {found.segments:,} segments {done}.")


async def _prune(before: str, reason: str, by: str, tenant: str, *, dry_run: bool) -> Pruned:
    from services.audit.pruning import Pruning, moment_of  # noqa: PLC0415 - keeps rb --help quick
    from services.bootstrap import open_sealer, trusted_keys  # noqa: PLC0415 - as above

    if not reason.strip():
        raise runtime.CommandError("say why with --reason: it stays in the trail when the entries are gone", 2)
    settings = runtime.settings_for()
    try:
        until = moment_of(before, datetime.now(UTC))
    except ValueError as error:
        raise runtime.CommandError(f"--before {before}: {error}", 2) from error
    async with runtime.open_graph(settings) as graph:
        pruning = Pruning(graph, open_sealer(settings, graph), [settings.audit.book], trusted_keys(settings))
        return await pruning.run(until, tenant, by=by, reason=reason, dry_run=dry_run)


def audit_key(*, as_json: Json = False) -> None:
    """The public key that signs this host's anchors, for ``audit.trusted_keys`` of others; made when there is none.

    Examples:
      rb audit key
    """
    from services.audit.keys import open_key  # noqa: PLC0415 - keeps rb --help quick

    audit = runtime.settings_for().audit
    key = open_key(audit.key).key
    if as_json:
        runtime.print_json({"key": key, "file": audit.key, "book": audit.book})
    else:
        typer.echo(key)
