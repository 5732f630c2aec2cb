"""``rb timeline``: one ordered story of an incident, from its signal to its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from services.cli.moments import Timeline

_MOST_ENTRIES = 5_000


def timeline(
    incident: Annotated[
        str, typer.Argument(help="Id of an incident, decision, event or execution; the beginning will do.")
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="For the post-mortem.")] = False,
) -> None:
    """Tell an incident in the order in which it happened: signals, decisions, answers, steps, evidence, outcome.

    With what only the audit trail knows, and links to where it can be seen. `rb explain` tells the same by topic.

    Examples:
      rb timeline 3f1c9a
      rb timeline 3f1c9a --markdown > post-mortem.md
    """
    if as_json and as_markdown:
        raise runtime.CommandError("--json and --markdown exclude each other", 2)
    told = runtime.run(_told(incident))
    if as_json:
        from services.cli.story import story_json  # noqa: PLC0415 - keeps rb --help quick

        runtime.print_json(story_json(told))
    elif as_markdown:
        from services.cli.moments import markdown  # noqa: PLC0415 - as above

        typer.echo(markdown(told), nl=False)
    else:
        _show(told)


async def _told(text: str) -> Timeline:
    from services.cli.explain import find  # noqa: PLC0415 - keeps rb --help quick
    from services.cli.moments import links_of  # noqa: PLC0415 - as above
    from services.cli.moments import timeline as arranged  # noqa: PLC0415 - as above
    from services.graph.ledger import Neo4jDecisionLedger  # noqa: PLC0415 - as above

    settings = runtime.settings_for()
    async with runtime.open_graph(settings) as graph:
        ledger = Neo4jDecisionLedger(graph, settings.matching.default_tenant)
        stories = list(await find(ledger, text))
        of = stories[0].decision.incident
        if of is None:
            return arranged(stories)
        # Whichever of its decisions was named: the incident is told as a whole.
        whole = [one for one in await ledger.find(of.id) if one.decision.incident and one.decision.incident.id == of.id]
        rows = await graph.read("audit_of_incident", incident_id=of.id, limit=_MOST_ENTRIES)
        places = await graph.read("places_of_incident", incident_id=of.id)
        stories = sorted(whole or stories, key=lambda one: one.decision.first_seen)
        return arranged(stories, [row["a"] for row in rows], links_of(of.id, settings.neo4j.browser_url, places))


def _show(told: Timeline) -> None:
    from rich.text import Text  # noqa: PLC0415 - keeps rb --help quick

    out = runtime.console()
    out.print(Text(_clean(told.title), style="bold"))
    out.print(Text(f"incident {_clean(told.incident)}: {_clean(told.outcome)}"))
    colours = {"signal": "yellow", "decision": "cyan", "approval": "magenta", "step": "blue", "audit": "dim"}
    day = ""
    for one in told.moments:
        if f"{one.at:%Y-%m-%d}" != day:
            day = f"{one.at:%Y-%m-%d}"
            out.print(Text(day, style="dim"))
        line = Text(f"  {one.at:%H:%M:%S}  ")
        line.append(f"{one.kind:<12}", style=colours.get(one.kind, "green"))
        line.append(f"  {_clean(one.text)}")
        if one.who != "rootmend":
            line.append(f"  by {_clean(one.who)}", style="dim")
        out.print(line)
    for link in told.links:
        out.print(Text(f"{link.name}: {link.url}"))


def _clean(text: str) -> str:
    """Texts come from alerts: control characters must not reach a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)
