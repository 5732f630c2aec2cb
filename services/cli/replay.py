"""``rb replay``: one recorded execution again, every difference shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from runbooks.model import LoadedRunbook
    from services.settings import Settings
    from services.testing.replay import Recording, Replay

_LEAST = 6


def replay(
    execution: Annotated[
        str, typer.Argument(help="Id of an execution, its incident or decision; the beginning will do.")
    ],
    *,
    against: Annotated[
        Path | None, typer.Option("--against", help="A changed runbook, to be run instead of the recorded plan.")
    ] = None,
    source: Annotated[
        str,
        typer.Option("--from", help="A file of 'rb incidents export', or `sql`: history.url. Left out, the graph."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """Plan and run a recorded execution again on what was recorded, and show each difference.

    Reads give what they gave then; writes are compared with what was sent and never made; times, uuids and versions of
    objects are left out of the comparison. Verification is not repeated: the recorded evidence is judged again. No
    server but the graph is asked.

    Exit code 0: everything came out as recorded; 1: something differs; 2: wrong use, or nothing can be replayed.

    Examples:
      rb replay 8a41d2
      rb replay 8a41d2 --from incidents.jsonl.gz --against my-runbooks/oom.yaml
    """
    from services.testing.replay import ReplayError  # noqa: PLC0415 - keeps rb --help quick
    from services.testing.replay import replay as replayed  # noqa: PLC0415 - as above

    if len(execution) < _LEAST:
        raise runtime.CommandError(f"'{execution}' is too short: give at least {_LEAST} characters of the id", 2)
    from services.plugins import all_actions  # noqa: PLC0415 - keeps rb --help quick

    settings = runtime.settings_for()
    changed = _load(against) if against else None
    try:
        recording = _whole(settings, _recorded(settings, source, execution))
        result = runtime.run(replayed(recording, all_actions(), settings.runbooks.parameters, changed))
    except ReplayError as error:
        raise runtime.CommandError(str(error), 2) from error
    if as_json:
        runtime.print_json(_json(result))
    else:
        _show(result)
    return 0 if result.same else 1


def _recorded(settings: Settings, source: str, execution: str) -> Recording:
    if source == "sql":
        return runtime.run(_from_sql(settings, execution))
    return _from_file(Path(source), execution) if source else runtime.run(_from_graph(settings, execution))


def _whole(settings: Settings, recording: Recording) -> Recording:
    """The recording with what is encrypted in it, where the keys are at hand; else its values stay masked."""
    if not recording.execution.get("sealed"):
        return recording
    from services.cli.secrets import read_ring  # noqa: PLC0415 - few recordings hold secrets
    from services.testing.unsealing import unsealed  # noqa: PLC0415 - as above

    ring = runtime.run(read_ring(settings))
    if ring is None:
        runtime.note(
            "rb: values of this execution are encrypted; without secrets.encryption they stay masked and differ"
        )
        return recording
    return _with(recording, unsealed(recording.execution, ring))


async def _from_sql(settings: Settings, text: str) -> Recording:
    from services.history.database import HistoryDatabase  # noqa: PLC0415 - keeps rb --help quick
    from services.testing.replay import Recording, execution_in  # noqa: PLC0415 - as above

    if settings.history.url is None:
        raise runtime.CommandError("--from sql: history.url is not set", 2)
    database = HistoryDatabase(settings.history.url.get_secret_value())
    try:
        found = await database.recording(text)
    finally:
        await database.close()
    known = {one["execution"]["id"]: one for one in found}
    incident, execution = execution_in([{**one["incident"], "executions": [one["execution"]]} for one in found], text)
    return Recording(incident, execution, known[execution["id"]]["text"])


def _load(path: Path) -> LoadedRunbook:
    from runbooks.findings import RunbookError  # noqa: PLC0415 - keeps rb --help quick
    from runbooks.loader import load_file  # noqa: PLC0415 - as above
    from services.cli.validate import known_actions  # noqa: PLC0415 - as above

    try:
        return load_file(path, actions=known_actions())
    except RunbookError as error:
        raise runtime.CommandError(f"this runbook cannot be used:\n{error}", 2) from error


def _from_file(source: Path, text: str) -> Recording:
    import orjson  # noqa: PLC0415 - keeps rb --help quick

    from services.testing.history import intact, read_lines  # noqa: PLC0415 - as above

    texts: dict[tuple[str, str], str] = {}
    found: list[Mapping[str, Any]] = []
    # Most lines are about other incidents; whether the text is in them at all is a quick question.
    for kind, line in read_lines(source):
        if kind == "runbook":
            told = orjson.loads(line)
            texts[told["id"], told["sha"]] = told["text"]
        elif kind == "incident" and text.encode() in line:
            found.append(orjson.loads(line))
    recording = _recording(found, texts, text)
    if intact(recording.incident):
        return recording
    number = recording.execution["id"]
    altered = [*recording.execution["altered"], f"the record of execution {number} in {source}"]
    return _with(recording, {**recording.execution, "altered": altered})


def _with(recording: Recording, execution: Mapping[str, Any]) -> Recording:
    from dataclasses import replace  # noqa: PLC0415 - keeps rb --help quick

    return replace(recording, execution=execution)


async def _from_graph(settings: Settings, text: str) -> Recording:
    import orjson  # noqa: PLC0415 - keeps rb --help quick

    from services.graph.recorded import RecordedHistory  # noqa: PLC0415 - as above

    async with runtime.open_graph(settings) as graph:
        history = RecordedHistory(graph, settings.redis.prefix)
        found = await history.of_execution(text)
        texts = {(one["id"], one["sha"]): one["text"] for one in await history.runbooks()}
    # As a file would have it: times as text.
    return _recording(orjson.loads(orjson.dumps(found)), texts, text)


def _recording(incidents: Sequence[Mapping[str, Any]], texts: Mapping[tuple[str, str], str], text: str) -> Recording:
    from services.testing.replay import Recording, execution_in  # noqa: PLC0415 - keeps rb --help quick

    incident, execution = execution_in(incidents, text)
    used = execution["plan"]["runbook_id"], execution["plan"]["runbook_sha"]
    return Recording(incident, execution, texts.get(used, ""))


def _json(result: Replay) -> Mapping[str, Any]:
    return {
        "execution": result.execution,
        "runbook": result.runbook,
        "version": result.version,
        "same": result.same,
        "steps": [
            {"phase": run.phase, "name": run.name, "action": run.action, "status": run.status.value}
            for run in result.steps
        ],
        "deviations": [
            {"step": one.step, "what": one.what, "recorded": one.recorded, "replayed": one.replayed}
            for one in result.deviations
        ],
        "notes": list(result.notes),
    }


def _show(result: Replay) -> None:
    typer.echo(f"{result.execution}: {result.runbook} {result.version}")
    for line in _lines(result):
        typer.echo(line)
    for note in result.notes:
        typer.echo(f"note: {note}")
    count = len(result.deviations)
    typer.echo("everything came out as recorded" if result.same else f"{count} deviation{'s' if count > 1 else ''}")


def _lines(result: Replay) -> Iterator[str]:
    """Each step with what differs in it, then what belongs to no step."""
    left = list(result.deviations)
    for run in sorted(result.steps, key=lambda run: (run.phase != "step", run.index)):
        mine = [one for one in left if one.step == run.name]
        left = [one for one in left if one.step != run.name]
        yield f"  {'differs' if mine else 'same   '}  {run.phase} {run.name} ({run.action}, {run.status.value})"
        yield from (f"           {str(one).removeprefix(f'step {one.step!r}: ')}" for one in mine)
    yield from (f"  differs  {one}" for one in left)
