"""``rb versions`` and ``rb rollback-runbook``: what was ever used of a runbook, and which of it is in force."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from services.cli import runtime
from services.versions import SHORT, RunbookRollback, VersionRecord, VersionStore, VersionText, named

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from runbooks.model import LoadedRunbook
    from services.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_LEAST = 6


@asynccontextmanager
async def open_versions(settings: Settings) -> AsyncIterator[VersionStore]:
    """What the graph knows of versions."""
    from services.graph.migrate import migrate  # noqa: PLC0415 - keeps rb --help quick
    from services.graph.versions import Neo4jVersions  # noqa: PLC0415 - as above

    async with runtime.open_graph(settings) as graph:
        await migrate(graph)
        yield Neo4jVersions(graph)


def loaded_runbooks(settings: Settings) -> Mapping[str, LoadedRunbook]:
    """What the folders of the settings hold now."""
    from executor.actions import action_schemas  # noqa: PLC0415 - keeps rb --help quick
    from runbooks.folder import RunbookFolder  # noqa: PLC0415 - as above
    from services.plugins import all_actions  # noqa: PLC0415 - as above

    folder = RunbookFolder(settings.runbooks.folders, actions=action_schemas(all_actions()))
    folder.reload()
    return folder.current.runbooks


def versions(
    runbook: Annotated[str, typer.Argument(help="Id of the runbook.", show_default=False)], *, as_json: Json = False
) -> None:
    """List every version of a runbook that was ever used, and the one that the file holds now.

    Versions are told apart by the hash of their content, whatever their authors call them. The rate is of the
    executions that were carried through: how many were verified.

    Examples:
      rb versions oomkilled-increase-memory
      rb versions show 3f1c9a0b12cd
    """
    rows = runtime.run(_listed(runtime.settings_for(), runbook))
    if as_json:
        runtime.print_json(rows)
        return
    columns = ("HASH", "VERSION", "STANDING", "FIRST USED", "LAST USED", "EXECUTIONS", "VERIFIED")
    runtime.print_table(columns, [_line(row) for row in rows])
    for row in rows:
        if row["told"]:
            runtime.note(f"{row['sha'][:SHORT]}: {row['told']}")


async def _listed(settings: Settings, runbook: str) -> list[dict[str, Any]]:
    loaded = loaded_runbooks(settings)
    async with open_versions(settings) as store:
        records = list(await store.records([runbook]))
        taken = {one.from_sha: one for one in await store.rollbacks() if one.runbook_id == runbook}
    held = loaded.get(runbook)
    if held and held.sha not in {record.sha for record in records}:
        records.insert(0, VersionRecord(runbook, held.sha, held.runbook.version, has_text=True))
    if not records:
        raise runtime.CommandError(unknown(runbook, loaded))
    trying = held is not None and held.runbook.rollout is not None
    return [row_of(record, held.sha if held else "", taken, trying=trying) for record in records]


def unknown(runbook: str, loaded: Mapping[str, LoadedRunbook]) -> str:
    """What to say of a runbook that nobody knows."""
    from runbooks.findings import did_you_mean  # noqa: PLC0415 - keeps rb --help quick

    return f"no version of {runbook!r} is in the graph or in the folders; {did_you_mean(runbook, loaded)}"


def row_of(
    record: VersionRecord, held: str, taken: Mapping[str, RunbookRollback], *, trying: bool = False
) -> dict[str, Any]:
    """One version as it is told: ``standing`` in a word or two, ``told`` in a sentence.

    Args:
        record: what the graph knows of it.
        held: hash of the version in the file.
        taken: rollbacks in force, by the hash that they take out of force.
        trying: the version in the file has a ``rollout``.
    """
    rollback = taken.get(record.sha)
    instead = taken.get(held) is not None and taken[held].to_sha == record.sha
    words = ["in force instead"] if instead else []
    words += ["rolled back"] if rollback else []
    words += ["in the file"] if record.sha == held else []
    words += [record.standing] if record.standing else ["on trial"] if trying and record.sha == held else []
    rate = record.verified / record.ended if record.ended else None
    return {
        **asdict(record),
        "in_file": record.sha == held,
        "rolled_back": asdict(rollback) if rollback else None,
        "verified_rate": rate,
        "standing": ", ".join(words),
        "told": str(rollback) if rollback else record.standing_why,
    }


def _line(row: Mapping[str, Any]) -> tuple[object, ...]:
    rate = "" if row["verified_rate"] is None else f"{row['verified_rate']:.0%} ({row['verified']} of {row['ended']})"
    times = (f"{row[key]:%Y-%m-%d %H:%M}" if row[key] else "never" for key in ("first_used_at", "last_used_at"))
    return (row["sha"][:SHORT], row["version"], row["standing"], *times, row["executions"], rate)


def versions_show(
    sha: Annotated[str, typer.Argument(help="Hash of a version; the beginning will do.", show_default=False)],
    *,
    as_json: Json = False,
) -> None:
    """Print the YAML of a version, as it was when it was used.

    Examples:
      rb versions show 3f1c9a0b12cd > before.yaml
    """
    found = runtime.run(_shown(runtime.settings_for(), sha))
    if as_json:
        runtime.print_json(asdict(found))
    else:
        typer.echo(found.text, nl=not found.text.endswith("\n"))


async def _shown(settings: Settings, sha: str) -> VersionText:
    async with open_versions(settings) as store:
        kept = await store.texts(sha) if len(sha) >= _LEAST else ()
    held = [
        VersionText(one.runbook.id, one.sha, one.runbook.version, one.text)
        for one in loaded_runbooks(settings).values()
        if one.sha.startswith(sha)
    ]
    return one_of(sha, {(one.id, one.sha): one for one in (*held, *kept) if one.text}.values())


def one_of(sha: str, found: Iterable[VersionText]) -> VersionText:
    """The one version that a hash names.

    Raises:
        CommandError: none, or several.
    """
    choices = list(found)
    if len(sha) < _LEAST:
        raise runtime.CommandError(f"'{sha}' is too short: give at least {_LEAST} characters of the hash", 2)
    if not choices:
        raise runtime.CommandError(f"no version whose hash begins with '{sha}' is known with its text")
    if len(choices) > 1:
        lines = "\n".join(f"  {one.sha} {one.id} {one.version}" for one in choices)
        raise runtime.CommandError(f"several versions begin with '{sha}':\n{lines}", 2)
    return choices[0]


def rollback_runbook(
    runbook: Annotated[str, typer.Argument(help="Id of the runbook.", show_default=False)],
    *,
    to: Annotated[str, typer.Option("--to", help="Hash of the version to go back to. Default: the one before.")] = "",
    lift: Annotated[bool, typer.Option("--lift", help="End every rollback of the runbook.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; everybody who asks is told.", show_default=False)] = "",
    by: Annotated[
        str, typer.Option("--by", help="Who says so. Default: the user of this terminal.", show_default=False)
    ] = "",
    as_json: Json = False,
) -> None:
    """Put an earlier version of a runbook in force instead of the one in the file.

    Every process follows within a sweep. It holds as long as the file has the content that it has now: another
    content is another version, and takes force. Plans of the version that wait for an approval are refused; what
    already runs is carried through.

    Examples:
      rb rollback-runbook oomkilled-increase-memory --reason "doubles the wrong container"
      rb rollback-runbook oomkilled-increase-memory --lift --reason "it was the node"
    """
    if not reason.strip():
        raise runtime.CommandError("say why with --reason: everybody who finds another version in force will ask", 2)
    settings, who = runtime.settings_for(), by or runtime.whoami()
    if lift:
        ended = runtime.run(_lift(settings, runbook, who, reason))
        told: dict[str, Any] = {"runbook": runbook, "lifted": ended}
        text = f"{ended} rollback{'' if ended == 1 else 's'} of {runbook} lifted: the version in the file is in force."
    else:
        made = runtime.run(_roll_back(settings, runbook, to, who, reason))
        told = asdict(made)
        text = f"{runbook}: {made.from_sha[:SHORT]} is {made}."
    if as_json:
        runtime.print_json(told)
    else:
        typer.echo(text)


async def _lift(settings: Settings, runbook: str, by: str, reason: str) -> int:
    async with open_versions(settings) as store:
        ended = await store.lift(runbook, by, reason)
    if not ended:
        raise runtime.CommandError(f"no version of {runbook} is rolled back")
    return ended


async def _roll_back(settings: Settings, runbook: str, to: str, by: str, reason: str) -> RunbookRollback:
    loaded = loaded_runbooks(settings)
    async with open_versions(settings) as store:
        records = await store.records([runbook])
        held = loaded.get(runbook)
        if held is None and not records:
            raise runtime.CommandError(unknown(runbook, loaded))
        from_sha = held.sha if held else records[0].sha
        out = {one.from_sha for one in await store.rollbacks() if one.runbook_id == runbook}
        chosen = goal(records, from_sha, to, out)
        await readable(store, chosen)
        made = RunbookRollback(str(uuid4()), runbook, from_sha, chosen.sha, by, reason)
        await store.roll_back(made)
        return made


def goal(records: Sequence[VersionRecord], from_sha: str, to: str, out: set[str]) -> VersionRecord:
    """The version to go back to: the one that is named, else the one that was used last of those that may run.

    Raises:
        CommandError: there is none, or not exactly one.
    """
    if to:
        found = [record for record in records if len(to) >= _LEAST and record.sha.startswith(to)]
        if len(found) != 1 or found[0].sha == from_sha:
            known = "\n".join(f"  {record.sha} {record.version}" for record in records if record.sha != from_sha)
            raise runtime.CommandError(f"--to {to} names no one earlier version; known are:\n{known or '  none'}", 2)
        return found[0]
    bad = out | {from_sha}
    earlier = [one for one in records if one.sha not in bad and one.has_text and one.standing != "demoted"]
    if not earlier:
        raise runtime.CommandError("no earlier version is known that may run: name one with --to (see rb versions)")
    return earlier[0]


async def readable(store: VersionStore, chosen: VersionRecord) -> None:
    """Make sure that a version can be put in force: processes that could not read it would have none.

    Raises:
        CommandError: it cannot.
    """
    from executor.actions import action_schemas  # noqa: PLC0415 - keeps rb --help quick
    from runbooks.findings import RunbookError  # noqa: PLC0415 - as above
    from runbooks.loader import load_text  # noqa: PLC0415 - as above
    from services.plugins import all_actions  # noqa: PLC0415 - as above

    for found in await store.texts(chosen.sha, chosen.id):
        try:
            loaded = load_text(found.text, actions=action_schemas(all_actions()))
        except RunbookError as error:
            raise runtime.CommandError(
                f"{named(chosen.version, chosen.sha)} can no longer be read:\n{error}"
            ) from error
        if loaded.sha == chosen.sha:
            return
    raise runtime.CommandError(f"the text of {named(chosen.version, chosen.sha)} in the graph does not have its hash")
