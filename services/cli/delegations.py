"""``rb approvals delegate``: answers that somebody hands over for a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from services.cli import identity, runtime

if TYPE_CHECKING:
    from services.approvals.delegations import Delegation

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
By = Annotated[str, typer.Option("--by", help="Whose answers. Default: the user of this terminal.", show_default=False)]
_LEAST_PREFIX = 4


def delegate(
    *,
    to: Annotated[str, typer.Option("--to", help="Id of who answers for you.", show_default=False)],
    lasting: Annotated[str, typer.Option("--for", help="How long, such as 8h or 3d.", show_default=False)],
    reason: Annotated[str, typer.Option("--reason", help="Why; needed, goes on record.", show_default=False)],
    by: By = "",
    as_json: Json = False,
) -> None:
    """Hand your answers over for a time: who has them counts as you do, beside as themselves, and says yes once.

    They need approvals:respond themselves. Where you may not say yes, such as to your own request, or have said it,
    nobody can for you.

    Examples:
      rb approvals delegate --to bob@example.com --for 8h --reason "on a plane"
    """
    from runbooks.durations import parse_duration  # noqa: PLC0415 - keeps rb --help quick
    from services.approvals.delegations import BadDelegation, Delegation, checked  # noqa: PLC0415 - as above
    from services.graph.workflows import Neo4jDelegations  # noqa: PLC0415 - as above

    identity.need_a_person()
    settings, now = runtime.settings_for(), datetime.now(UTC)
    try:
        until = now + parse_duration(lasting)
        made = Delegation(str(uuid4()), by.strip() or runtime.whoami(), to.strip(), now, until, reason.strip())
        checked(made, settings.approvals.longest_delegation)
        _known(made, settings.access.people)
    except (BadDelegation, ValueError) as error:
        raise runtime.CommandError(str(error), 2) from error

    async def work() -> None:
        async with runtime.open_graph(settings) as graph:
            await Neo4jDelegations(graph, settings.redis.prefix).add(made)

    runtime.run(work())
    if as_json:
        runtime.print_json(_json(made))
    else:
        typer.echo(f"{made.to} answers for {made.by} until {made.until:%Y-%m-%d %H:%M} UTC: {made.id}")


def delegations(*, as_json: Json = False) -> None:
    """List whose answers are in whose hands now.

    Examples:
      rb approvals delegations
    """
    found = runtime.run(_in_force())
    if as_json:
        runtime.print_json([_json(one) for one in found])
        return
    rows = ((one.id[:8], one.by, one.to, f"{one.until:%Y-%m-%d %H:%M} UTC", one.reason) for one in found)
    runtime.print_table(("id", "of", "answered by", "until", "why"), rows, empty="Nobody has handed answers over.")


def undelegate(
    which: Annotated[str, typer.Argument(help="Its id; the beginning will do.", metavar="ID")],
    *,
    by: By = "",
) -> None:
    """Take your answers back. A yes that was given stays.

    Examples:
      rb approvals undelegate 3f9a12
    """
    from services.graph.workflows import Neo4jDelegations  # noqa: PLC0415 - keeps rb --help quick

    settings, who = runtime.settings_for(), by.strip() or runtime.whoami()
    own = [one for one in runtime.run(_in_force()) if one.by == who]
    found = [one for one in own if len(which) >= _LEAST_PREFIX and one.id.startswith(which)]
    if len(found) != 1:
        there = ", ".join(one.id[:8] for one in own) or "none"
        raise runtime.CommandError(f"no delegation of {who} begins with '{which}'; in force: {there}")

    async def work() -> Delegation | None:
        async with runtime.open_graph(settings) as graph:
            return await Neo4jDelegations(graph, settings.redis.prefix).end(found[0].id, who, datetime.now(UTC))

    if runtime.run(work()) is None:
        raise runtime.CommandError("it has ended meanwhile")
    typer.echo(f"{found[0].to} does not answer for {who} any more.")


async def _in_force() -> Sequence[Delegation]:
    from services.graph.workflows import Neo4jDelegations  # noqa: PLC0415 - keeps rb --help quick

    settings = runtime.settings_for()
    async with runtime.open_graph(settings) as graph:
        return await Neo4jDelegations(graph, settings.redis.prefix).in_force(datetime.now(UTC))


def _known(made: Delegation, people: object) -> None:
    from runbooks.findings import did_you_mean  # noqa: PLC0415 - keeps rb --help quick
    from services.approvals.delegations import BadDelegation  # noqa: PLC0415 - as above

    ids = list(people) if isinstance(people, dict) else []
    if ids and made.to not in ids:
        near = did_you_mean(made.to, ids)
        raise BadDelegation(f"{made.to} is not in access.people" + f"; {near}" * bool(near))


def _json(one: Delegation) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__slots__}
