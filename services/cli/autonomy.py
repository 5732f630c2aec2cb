"""``rb autonomy``: who may do what by itself, why, and the moves that people make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime
from services.cli.story import at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safety.autonomy import Climber, Ended, Ladder, Rung, Standing, Tally
    from services.graph.autonomy import Neo4jAutonomy
    from services.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Runbook = Annotated[str, typer.Argument(help="Id of the runbook.", show_default=False)]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose; default: matching.default_tenant.")]
Kind = Annotated[str, typer.Option("--kind", help="Kind of target, such as Deployment.")]
By = Annotated[str, typer.Option("--by", help="Who does it; default: your user name.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.")]


@dataclass(frozen=True, slots=True)
class Known:
    """What the graph knows of the ladder."""

    standings: Mapping[Climber, Standing]
    evidence: Mapping[Climber, Sequence[Ended]]
    ladder: Ladder
    now: datetime

    def standing(self, climber: Climber) -> Standing:
        """Where somebody stands, as the pipeline takes it."""
        from safety.autonomy import Standing  # noqa: PLC0415 - keeps rb --help quick

        return self.standings.get(climber) or Standing(self.ladder.first(climber.runbook))

    def tally(self, climber: Climber) -> Tally:
        """The evidence that counts for the next rung."""
        from safety.autonomy import tally  # noqa: PLC0415 - as above

        counted = self.standing(climber).counted_from
        return tally(self.evidence.get(climber, ()), self.ladder, self.now, counted)

    def eligible(self, climber: Climber) -> Rung | None:
        """The next rung up, where the evidence reaches it."""
        from safety.autonomy import eligible  # noqa: PLC0415 - as above

        return eligible(self.standing(climber), self.evidence.get(climber, ()), self.ladder, self.now)

    def as_data(self, climber: Climber) -> dict[str, Any]:
        """One line for programs."""
        standing, evidence, up = self.standing(climber), self.tally(climber), self.eligible(climber)
        return {
            "tenant": climber.tenant,
            "runbook": climber.runbook,
            "kind": climber.kind,
            "rung": standing.rung.value,
            "since": standing.since,
            "by": standing.by,
            "reason": standing.reason or "where every runbook begins",
            "ended": evidence.ended,
            "verified": evidence.verified,
            "against": evidence.against,
            "lower_bound": round(evidence.lower, 4),
            "eligible_for": up.value if up else None,
        }


def autonomy_list(
    *, tenant: Annotated[str, typer.Option("--tenant", help="Only this one's.")] = "", as_json: Json = False
) -> None:
    """Who stands on which rung, with the evidence and what it makes eligible for.

    Runbooks that never ran stand where they begin (autonomy.start) and are not listed.

    Examples:
      rb autonomy list
      rb autonomy list --tenant acme --json
    """
    settings = runtime.settings_for()
    known = runtime.run(_known(settings))
    climbers = [one for one in sorted({*known.standings, *known.evidence}) if not tenant or one.tenant == tenant]
    rows = [known.as_data(one) for one in climbers]
    if as_json:
        runtime.print_json({"start": known.ladder.start.value, "enabled": settings.autonomy.enabled, "climbers": rows})
        return
    _remark(settings)
    columns = ("RUNBOOK", "KIND", "TENANT", "RUNG", "SINCE", "VERIFIED", "LOWER BOUND", "ELIGIBLE FOR")
    table = [
        (
            *(row["runbook"], row["kind"], row["tenant"], row["rung"]),
            at(row["since"]) if row["since"] else "the beginning",
            f"{row['verified']} of {row['ended']}",
            f"{row['lower_bound']:.3f}",
            row["eligible_for"] or "",
        )
        for row in rows
    ]
    runtime.print_table(columns, table, empty=f"Nothing ran yet: every runbook begins at {known.ladder.start}.")


def autonomy_show(runbook: Runbook, *, tenant: Tenant = "", kind: Kind = "", as_json: Json = False) -> None:
    """On which rung a runbook stands, for each kind of target, and what the next one takes.

    Examples:
      rb autonomy show oomkilled-increase-memory
      rb autonomy show oomkilled-increase-memory --kind Deployment --json
    """
    settings = runtime.settings_for()
    known = runtime.run(_known(settings))
    found = _of(settings, known, runbook, tenant, kind)
    if as_json:
        runtime.print_json([known.as_data(one) for one in found])
        return
    _remark(settings)
    for one in found:
        row, above = known.as_data(one), known.standing(one).rung.above
        typer.echo(f"{one.runbook} for {one.kind or 'any kind'} of {one.tenant}: {row['rung']} ({row['reason']})")
        typer.echo(f"  evidence since then: {known.tally(one)}")
        if above:
            wanted = known.ladder.thresholds[above]
            who = "a person promotes" if wanted.needs_human else "it is promoted by itself"
            takes = f"{wanted.executions} executions with a lower bound of {wanted.lower_bound:g}; {who}"
            typer.echo(f"  {above} takes {takes}" + (": enough" if row["eligible_for"] else ""))


def autonomy_promote(
    runbook: Runbook,
    *,
    kind: Kind,
    tenant: Tenant = "",
    to: Annotated[str, typer.Option("--to", help="Rung; default: the next one up.")] = "",
    by: By = "",
    reason: Reason = "",
    unproven: Annotated[bool, typer.Option("--unproven", help="Without enough evidence; recorded.")] = False,
) -> None:
    """Let a runbook do more by itself. Without enough evidence it needs --unproven, which the record keeps.

    Examples:
      rb autonomy promote oomkilled-increase-memory --kind Deployment --reason "20 good runs, seen by me"
      rb autonomy promote my-runbook --kind Node --to auto --unproven --reason "tried on staging for a month"
    """
    _move(runbook, (tenant, kind), to, (by, reason), up=True, unproven=unproven)


def autonomy_demote(
    runbook: Runbook,
    *,
    kind: Kind,
    tenant: Tenant = "",
    to: Annotated[str, typer.Option("--to", help="Rung; default: the next one down.")] = "",
    by: By = "",
    reason: Reason = "",
) -> None:
    """Let a runbook do less by itself, from the next decision on.

    Examples:
      rb autonomy demote oomkilled-increase-memory --kind Deployment --reason "the new version worries me"
      rb autonomy demote my-runbook --kind Node --to observe --reason "not before the audit"
    """
    _move(runbook, (tenant, kind), to, (by, reason), up=False, unproven=False)


def autonomy_history(runbook: Runbook, *, tenant: Tenant = "", kind: Kind = "", as_json: Json = False) -> None:
    """Every move of a runbook: when, who, why, and the evidence of that time.

    Examples:
      rb autonomy history oomkilled-increase-memory
    """
    settings = runtime.settings_for()

    async def read() -> Any:
        async with runtime.open_graph(settings) as graph:
            store = _store(graph)
            known = await _read(settings, store)
            return await store.history(_of(settings, known, runbook, tenant, kind))

    moves = runtime.run(read())
    if as_json:
        names = ("before", "after", "at", "by", "reason", "evidence")
        runtime.print_json([{**asdict(one.climber), **{name: getattr(one, name) for name in names}} for one in moves])
        return
    rows = [
        (at(one.at), one.climber.kind, f"{one.before} -> {one.after}", one.by, one.reason, one.evidence)
        for one in moves
    ]
    runtime.print_table(("WHEN", "KIND", "MOVE", "BY", "WHY", "EVIDENCE"), rows, empty="Nobody moved it yet.")


def _move(runbook: str, whom: tuple[str, str], to: str, who: tuple[str, str], *, up: bool, unproven: bool) -> None:
    from safety.autonomy import Declined  # noqa: PLC0415 - keeps rb --help quick

    settings = runtime.settings_for()
    made = runtime.run(_moved(settings, runbook, whom, to, who, up=up, unproven=unproven))
    if isinstance(made, Declined):
        raise runtime.CommandError(f"{runbook} was not moved: {made.why}")
    typer.echo(f"{runbook} for {made.climber.kind} of {made.climber.tenant}: {made.before} -> {made.standing.rung}")
    typer.echo(f"  evidence: {made.tally}")


async def _moved(
    settings: Settings, runbook: str, whom: tuple[str, str], to: str, who: tuple[str, str], *, up: bool, unproven: bool
) -> Any:
    from safety.autonomy import Climber, Declined, Rung, by_person  # noqa: PLC0415 - keeps rb --help quick

    tenant, kind = whom
    by, reason = who
    async with runtime.open_graph(settings) as graph:
        store = _store(graph)
        known = await _read(settings, store)
        climber = Climber(tenant or settings.matching.default_tenant, runbook, kind)
        _known_runbook(settings, known, runbook)
        standing = known.standing(climber)
        rung = _rung(to) if to else _next(standing.rung, up=up)
        if rung is None or ((rung.height > standing.rung.height) is not up and rung is not standing.rung):
            way = "up" if up else "down"
            raise runtime.CommandError(
                f"{runbook} stands on {standing.rung}: {to or 'nothing'} is not further {way}", 2
            )
        move = by_person(
            climber,
            standing,
            known.evidence.get(climber, ()),
            known.ladder,
            known.now,
            rung=Rung(rung),
            by=by or runtime.whoami(),
            reason=reason,
            unproven=unproven,
        )
        if not isinstance(move, Declined) and not await store.move(move):
            return Declined("somebody else moved it meanwhile; look again with rb autonomy show")
        return move


def _next(rung: Rung, *, up: bool) -> Rung | None:
    from safety.autonomy import Rung  # noqa: PLC0415 - keeps rb --help quick

    if up:
        return rung.above
    return next((one for one in Rung if one.above is rung), None)


def _rung(text: str) -> Rung:
    from runbooks.findings import did_you_mean  # noqa: PLC0415 - keeps rb --help quick
    from safety.autonomy import Rung  # noqa: PLC0415 - as above

    try:
        return Rung(text)
    except ValueError as error:
        raise runtime.CommandError(f"--to: there is no rung {text!r}; {did_you_mean(text, list(Rung))}", 2) from error


def _known_runbook(settings: Settings, known: Known, runbook: str) -> None:
    """A misspelt name must not get a rung of its own."""
    from runbooks.findings import did_you_mean  # noqa: PLC0415 - keeps rb --help quick
    from services.cli.versions import loaded_runbooks  # noqa: PLC0415 - as above

    names = {*(one.runbook for one in (*known.standings, *known.evidence)), *loaded_runbooks(settings)}
    if runbook not in names:
        raise runtime.CommandError(f"there is no runbook {runbook}; {did_you_mean(runbook, names)}", 2)


def _of(settings: Settings, known: Known, runbook: str, tenant: str, kind: str) -> list[Climber]:
    """Whom the words mean; a runbook that never ran stands for itself."""
    from safety.autonomy import Climber  # noqa: PLC0415 - keeps rb --help quick

    whose = tenant or settings.matching.default_tenant
    _known_runbook(settings, known, runbook)
    found = [
        one
        for one in sorted({*known.standings, *known.evidence})
        if one.runbook == runbook and one.tenant == whose and kind in ("", one.kind)
    ]
    return found or [Climber(whose, runbook, kind)]


def _remark(settings: Settings) -> None:
    if not settings.autonomy.enabled:
        runtime.note("autonomy.enabled is false: rungs are kept, and nothing looks at them.")


async def _known(settings: Settings) -> Known:
    async with runtime.open_graph(settings) as graph:
        return await _read(settings, _store(graph))


def _store(graph: Any) -> Neo4jAutonomy:
    from services.graph.autonomy import Neo4jAutonomy  # noqa: PLC0415 - keeps rb --help quick

    return Neo4jAutonomy(graph)


async def _read(settings: Settings, store: Neo4jAutonomy) -> Known:
    now, ladder = datetime.now(UTC), settings.autonomy.ladder()
    evidence: dict[Climber, list[Ended]] = {}
    for climber, ended in await store.evidence(now - ladder.window):
        evidence.setdefault(climber, []).append(ended)
    return Known(await store.standings(), evidence, ladder, now)
