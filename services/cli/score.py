"""``rb score``: which runbooks, and which causes without one, are worth automating."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime
from services.cli.executions import start_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from matcher.select import RunbookIndex
    from runbooks.model import LoadedRunbook
    from runbooks.scoring import Criterion, Ran, Score, Seen
    from services.graph.scores import Ran as VersionRan
    from services.graph.scores import Seen as Recorded
    from services.settings import Settings

_UNANSWERED = 10
"""Most causes without a runbook that are told beside the runbooks."""


@dataclass
class Tally:
    """Counts incidents of one runbook or one cause."""

    incidents: int = 0
    severities: Counter[str] = field(default_factory=Counter)
    by_hand: list[float] = field(default_factory=list)

    def add(self, one: Recorded) -> None:
        """Count one more."""
        self.incidents += 1
        self.severities[one.incident.signal.severity] += 1
        self.by_hand += [] if one.by_hand is None else [one.by_hand]

    def seen(self) -> Seen:
        """As scoring takes it."""
        from runbooks.scoring import Seen  # noqa: PLC0415 - keeps rb --help quick

        return Seen(self.incidents, self.severities, self.by_hand)


@dataclass
class Tallies:
    """What happened, by the runbook that would take it surely enough, by cause, and by cause that no runbook takes."""

    runbooks: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    causes: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    unanswered: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))


@dataclass(frozen=True, slots=True)
class Asked:
    """What the graph told: tallies, and the executions of each version."""

    tallies: Tallies
    ran: Sequence[VersionRan]


def score(
    path: Annotated[
        Path | None, typer.Argument(help="A runbook or a folder. Default: those of the settings.", show_default=False)
    ] = None,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Rate this root cause instead, as if without runbook.")] = "",
    since: Annotated[str, typer.Option("--since", help="What is looked at, up to 30d: 7d, 24h.")] = "30d",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Rate what is worth automating: frequency, duration, impact, complexity and success, 1 to 3 points each.

    From 10 points on it is worth it. What is not known has no points, and is told. Without a path, the most frequent
    causes that no runbook takes are rated too. Without a graph only what the files say counts.

    Examples:
      rb score
      rb score my-runbooks --since 7d
      rb score --reason OOMKilled --json
    """
    if path and reason:
        raise runtime.CommandError("give a path or --reason, not both", 2)
    settings, now = runtime.settings_for(), datetime.now(UTC)
    start = start_of(since or "30d", now) or now
    rated, index = _runbooks(settings, path, bare=bool(reason))
    asked = runtime.run(_ask(settings, index, [one.runbook.id for one in rated], start, now))
    scores = _causes(asked, reason) if reason else rate(rated, asked, everything=path is None)
    if reason and asked and reason not in asked.tallies.causes:
        runtime.note(f"No incident had the cause {reason}. {_nearest(reason, asked.tallies.causes)}".rstrip())
    if as_json:
        runtime.print_json([as_data(kind, one) for kind, one in scores])
    else:
        _show(scores)


def _runbooks(settings: Settings, path: Path | None, *, bare: bool) -> tuple[Sequence[LoadedRunbook], RunbookIndex]:
    """The runbooks to rate, and all that would compete for an incident: those that are named stand in for their ids."""
    from matcher.select import RunbookIndex  # noqa: PLC0415 - keeps rb --help quick
    from runbooks.mapping_files import MappingFiles  # noqa: PLC0415 - as above

    mappings = MappingFiles(settings.runbooks.mapping_files)
    mappings.reload()
    named = _load(path) if path else {}
    held = _held(settings)
    index = RunbookIndex({**held, **named}.values(), mappings.current)
    return () if bare else tuple((named if path else held).values()), index


def _held(settings: Settings) -> Mapping[str, LoadedRunbook]:
    from services.cli.versions import loaded_runbooks  # noqa: PLC0415 - keeps rb --help quick

    return loaded_runbooks(settings)


def _load(path: Path) -> Mapping[str, LoadedRunbook]:
    from runbooks.findings import Severity  # noqa: PLC0415 - keeps rb --help quick
    from runbooks.loader import load_folder  # noqa: PLC0415 - as above
    from services.cli.validate import known_actions  # noqa: PLC0415 - as above

    if not path.exists():
        raise runtime.CommandError(f"{path} does not exist", 2)
    loaded, findings = load_folder(path, actions=known_actions())
    if errors := [str(finding) for finding in findings if finding.severity is Severity.ERROR]:
        raise runtime.CommandError("these runbooks cannot be used:\n" + "\n".join(errors), 2)
    if not loaded:
        raise runtime.CommandError(f"no runbook under {path}", 2)
    return loaded


async def _ask(
    settings: Settings, index: RunbookIndex, ids: Sequence[str], start: datetime, now: datetime
) -> Asked | None:
    """What the graph knows; None when it does not answer."""
    from services.graph.errors import GraphUnavailable  # noqa: PLC0415 - keeps rb --help quick
    from services.graph.scores import Neo4jScores  # noqa: PLC0415 - as above

    try:
        async with runtime.open_graph(settings) as graph:
            scores = Neo4jScores(graph)
            tallies = await tallied(index, scores.incidents(start, now), settings.gate.min_confidence_floor)
            return Asked(tallies, await scores.executions(ids, start))
    except GraphUnavailable as error:
        runtime.note(f"Neo4j does not answer, so that only what the files say counts: {error}")
        return None


async def tallied(index: RunbookIndex, incidents: AsyncIterator[Recorded], floor: float) -> Tallies:
    """Count recorded incidents by what these runbooks would do about them now."""
    from matcher.model import Match  # noqa: PLC0415 - keeps rb --help quick

    counts = Tallies()
    async for one in incidents:
        found = index.select(one.incident)
        cause = one.incident.cause.reason
        counts.causes[cause].add(one)
        if not isinstance(found, Match):
            counts.unanswered[cause].add(one)
        elif one.incident.cause.confidence >= max(found.runbook.runbook.trigger.min_confidence, floor):
            # Below it the gate would say no: automating would not spare anybody the work.
            counts.runbooks[found.runbook.runbook.id].add(one)
    return counts


def rate(rated: Sequence[LoadedRunbook], asked: Asked | None, *, everything: bool) -> list[tuple[str, Score]]:
    """Scores of runbooks, and of the causes that none takes; the best first."""
    from runbooks.scoring import score_cause, score_runbook  # noqa: PLC0415 - keeps rb --help quick

    scores: list[tuple[str, Score]] = []
    for one in rated:
        seen = asked.tallies.runbooks[one.runbook.id].seen() if asked else None
        scores.append(("runbook", score_runbook(one, seen, executions(one, asked.ran) if asked else None)))
    if asked and everything:
        often = sorted(asked.tallies.unanswered.items(), key=lambda pair: (-pair[1].incidents, pair[0]))
        scores += [("cause", score_cause(name, tally.seen())) for name, tally in often[:_UNANSWERED]]
    return sorted(scores, key=lambda pair: (-pair[1].total, -pair[1].at_most, pair[1].name))


def executions(loaded: LoadedRunbook, ran: Iterable[VersionRan]) -> Ran:
    """What the executions of a runbook prove for the version in the file."""
    from runbooks.scoring import Ran  # noqa: PLC0415 - keeps rb --help quick

    own = [one for one in ran if one.runbook_id == loaded.runbook.id]
    same = [one for one in own if one.sha == loaded.sha]
    return Ran(
        ended=sum(one.ended for one in same),
        verified=sum(one.verified for one in same),
        earlier=sum(one.ended for one in own if one.sha != loaded.sha),
        seconds=[took for one in own for took in one.seconds],
    )


def _causes(asked: Asked | None, reason: str) -> list[tuple[str, Score]]:
    from runbooks.scoring import score_cause  # noqa: PLC0415 - keeps rb --help quick

    tally = asked.tallies.causes.get(reason, Tally()) if asked else None
    return [("cause", score_cause(reason, tally.seen() if tally else None))]


def _nearest(reason: str, known: Iterable[str]) -> str:
    from runbooks.findings import did_you_mean  # noqa: PLC0415 - keeps rb --help quick

    return did_you_mean(reason, known)


def as_data(kind: str, one: Score) -> dict[str, Any]:
    """A score for programs; ``points`` is null where nothing is known."""
    return {
        "kind": kind,
        "name": one.name,
        "total": one.total,
        "at_most": one.at_most,
        "verdict": one.verdict.value,
        "criteria": {each.name: {"points": each.points, "why": each.why} for each in one.criteria},
        "reservations": list(one.reservations),
    }


def _show(scores: Sequence[tuple[str, Score]]) -> None:
    names = [each.name.upper() for each in scores[0][1].criteria] if scores else []
    rows = [(kind, one.name, one.total, one.verdict.value, *map(_cell, one.criteria)) for kind, one in scores]
    runtime.print_table(("", "NAME", "POINTS", "VERDICT", *names), rows, empty="No runbook to rate.")
    for _, one in scores:
        told = [f"{each.name} ({_cell(each)}): {each.why}" for each in one.criteria] + list(one.reservations)
        typer.echo(f"\n{one.name}\n" + "\n".join(f"  {line}" for line in told))


def _cell(criterion: Criterion) -> str:
    return "?" if criterion.points is None else str(criterion.points)
