"""``rb backtest``: recorded incidents against changed runbooks, before they are merged."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import runtime
from services.cli.executions import start_of
from services.cli.incidents import WARM_UP_SECONDS, export

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbooks.model import LoadedRunbook
    from services.settings import Settings
    from services.testing.backtest import Backtest, Finding
    from services.testing.proposing import Answer, Knobs

_SHOWN = 200
"""Most incidents that are shown to people; --json gives all."""


def backtest(
    *,
    since: Annotated[str, typer.Option("--since", help="Incidents of this time: 24h, 30d. Left out: all.")] = "",
    runbooks: Annotated[
        list[Path] | None, typer.Option("--runbooks", help="The changed runbooks; left out, those of the settings.")
    ] = None,
    base: Annotated[
        list[Path] | None,
        typer.Option("--base", help="Compare with what these runbooks would do, not with what was recorded."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="A file of 'rb incidents export'; left out, the graph.")
    ] = None,
    fail_on: Annotated[
        str, typer.Option("--fail-on", help="Exit with 1 when there are such differences: names, or any.")
    ] = "",
    processes: Annotated[int, typer.Option("--processes", min=0, help="0: one for each core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """Replay recorded incidents through matching, planning and gate of changed runbooks, and show what differs.

    Differences: gained, lost, other-runbook, let-through, refused, asked, changed-plan, cannot-replan. What planning
    needs comes from what was recorded; what was not recorded is said, never guessed. Nothing is changed anywhere.

    Exit code 0: done, and nothing that --fail-on names; 1: something of it; 2: wrong use, or a runbook or file that
    cannot be read.

    Examples:
      rb backtest --since 30d --runbooks my-runbooks
      rb backtest --from incidents.jsonl.gz --runbooks my-runbooks --base main-runbooks --fail-on let-through,lost
    """
    wanted = _wanted(fail_on)
    settings = runtime.settings_for()
    changed = load_runbooks(runbooks or [Path(one) for one in settings.runbooks.folders])
    others = load_runbooks(base) if base else None
    now = datetime.now(UTC)
    start = start_of(since, now)
    with history(settings, source, start, now) as file:
        result = _run(file, changed, others, settings, start=start, processes=processes or None)
    if as_json:
        counts = {"incidents": result.incidents, "unchanged": result.unchanged, "differences": result.counts()}
        assumed = {"assumed_run_times": result.assumed_run_times}
        runtime.print_json({**counts, **assumed, "findings": [one.as_json() for one in result.findings]})
    else:
        _show(result)
    return int(any(wanted.intersection(one.value for one in finding.differences) for finding in result.findings))


def _wanted(text: str) -> frozenset[str]:
    from runbooks.findings import did_you_mean  # noqa: PLC0415 - keeps rb --help quick
    from services.testing.backtest import Difference  # noqa: PLC0415 - as above

    names = [one.value for one in Difference]
    asked = [part.strip() for part in text.split(",") if part.strip()]
    for part in asked:
        if part not in (*names, "any"):
            hint = did_you_mean(part, [*names, "any"])
            raise runtime.CommandError(f"--fail-on: there is no difference '{part}'; {hint}", 2)
    return frozenset(names if "any" in asked else asked)


def load_runbooks(paths: Sequence[Path]) -> tuple[LoadedRunbook, ...]:
    """The runbooks of these paths; a CommandError unless all of them can be used."""
    from runbooks.findings import Severity  # noqa: PLC0415 - keeps rb --help quick
    from runbooks.loader import load_folder  # noqa: PLC0415 - as above
    from services.cli.validate import known_actions  # noqa: PLC0415 - as above

    missing = [path for path in paths if not path.exists()]
    if missing:
        raise runtime.CommandError(f"{', '.join(map(str, missing))} does not exist", 2)
    loaded, findings = load_folder(*paths, actions=known_actions())
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        # A set with a hole would be reported as incidents that were lost.
        text = "\n".join(str(finding) for finding in errors)
        raise runtime.CommandError(f"these runbooks cannot be used:\n{text}", 2)
    if not loaded:
        raise runtime.CommandError(f"no runbook under {', '.join(map(str, paths))}", 2)
    return tuple(loaded.values())


@contextmanager
def history(settings: Settings, source: Path | None, start: datetime | None, now: datetime) -> Iterator[Path]:
    """The file of recorded incidents; what comes from the graph goes through one too, which is deleted afterwards."""
    if source is not None:
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="rootmend-") as folder:
        file = Path(folder) / "incidents.jsonl.gz"
        warm = start - timedelta(seconds=WARM_UP_SECONDS) if start else None
        runtime.run(export(settings, file, warm, now))
        yield file


def _run(
    file: Path,
    changed: tuple[LoadedRunbook, ...],
    others: tuple[LoadedRunbook, ...] | None,
    settings: Settings,
    *,
    start: datetime | None,
    processes: int | None,
) -> Backtest:
    from services.testing.backtest import Setup, compare, opened, propose_all  # noqa: PLC0415 - keeps rb --help quick
    from services.testing.history import read_lines  # noqa: PLC0415 - as above

    knobs = knobs_of(settings)
    head, lines = opened(read_lines(file))
    proposals = propose_all(lines, Setup(changed, head.versions, knobs), processes=processes)
    base = None
    if others is not None:
        _, again = opened(read_lines(file))
        base = propose_all(again, Setup(others, head.versions, knobs), processes=processes)
    return compare(proposals, knobs.policy, head, base, start)


def knobs_of(settings: Settings) -> Knobs:
    """The settings that count for matching, planning and the gate."""
    from services.cli.policy import in_force  # noqa: PLC0415 - as above
    from services.connections import policy_of  # noqa: PLC0415 - keeps rb --help quick
    from services.testing.proposing import Knobs  # noqa: PLC0415 - as above

    return Knobs(
        policy=policy_of(settings),
        least_cooldown=settings.gate.cooldown,
        parameters=settings.runbooks.parameters,
        policies=in_force(settings),
    )


def _show(result: Backtest) -> None:
    rows = [
        (
            one.incident[:13],
            f"{one.at:%Y-%m-%d %H:%M}",
            one.target,
            ", ".join(one.differences),
            _in_words(one.before),
            _in_words(one.after),
        )
        for one in result.findings[:_SHOWN]
    ]
    columns = ("incident", "decided", "target", "difference", "before", "now")
    runtime.print_table(columns, rows, empty="Nothing would have been different.")
    for one in result.findings[:_SHOWN]:
        _show_plan(one)
    if len(result.findings) > _SHOWN:
        typer.echo(f"... and {len(result.findings) - _SHOWN} more: --json shows all")
    counts = ", ".join(f"{count} {name}" for name, count in result.counts().items() if count)
    typer.echo(f"{result.incidents} incidents, {result.unchanged} unchanged{': ' + counts if counts else ''}")
    if result.assumed_run_times:
        typer.echo(
            f"{result.assumed_run_times} executions never ran then: they take as long as their runbook's last run"
        )


def _in_words(answer: Answer) -> str:
    told = f" ({answer.message})" if answer.message and answer.kind != "permit" else ""
    return f"{answer.kind.value.replace('_', ' ')}{' by ' + answer.runbook if answer.runbook else ''}{told}"


def _show_plan(one: Finding) -> None:
    before, after = one.before.effects, one.after.effects
    if before is None or after is None or before == after:
        return
    typer.echo(f"\n{one.incident}: the plan changes")
    for line in before:
        if line not in after:
            typer.echo(f"  - {line}")
    for line in after:
        if line not in before:
            typer.echo(f"  + {line}")
