"""``rb tokens``: API tokens for people and machines."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import identity, runtime

if TYPE_CHECKING:
    from datetime import timedelta

    from safety.access import Grant
    from services.access.tokens import ApiToken
    from services.graph.tokens import Neo4jTokens

_LEAST = 6
_DAYS = re.compile(r"([0-9]{1,4})d")

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def tokens_create(
    *,
    name: Annotated[str, typer.Option("--name", help="What it is for.")],
    role: Annotated[list[str], typer.Option("--role", help="What it may do; repeat it for several.")],
    expires: Annotated[str, typer.Option("--expires", help="How long it holds: 12h, 30d; at most 366d.")] = "90d",
    machine: Annotated[bool, typer.Option("--machine", help="It stands for a program, not for you.")] = False,
    tenant: Annotated[str, typer.Option("--tenant", help="Only for this tenant; a name or a glob.")] = "",
    cluster: Annotated[str, typer.Option("--cluster", help="Only in this cluster; a name or a glob.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", help="Only in this namespace; a name or a glob.")] = "",
    runbook: Annotated[str, typer.Option("--runbook", help="Only this runbook; a name or a glob.")] = "",
    as_json: Json = False,
) -> None:
    """Make an API token. It is shown once; only its hash is kept.

    It has the roles that are named and nothing else, at most what its maker has. A token of yours stands for you: an
    answer that is given with it is yours. One with --machine answers nothing that needs a person.

    Examples:
      rb tokens create --name "my laptop" --role runbook-operator --expires 30d
      rb tokens create --name ci --machine --role runbook-viewer --namespace "shop-*"
    """
    from services.access.tokens import issue  # noqa: PLC0415 - keeps rb --help quick

    who = identity.caller()
    limits = _limits(tenant=tenant, cluster=cluster, namespace=namespace, runbook=runbook)
    grants = [_grant(one, limits) for one in role]
    owner = "" if machine or not who.actor.human else who.actor.person
    now = datetime.now(UTC)
    try:
        text, token = issue(name, grants, owner=owner, by=who.actor.key, now=now, lasts=_length(expires))
    except ValueError as error:
        raise runtime.CommandError(str(error), 2) from error

    async def work() -> None:
        async with _open() as store:
            await store.create(token)

    runtime.run(work())
    if as_json:
        runtime.print_json({**_json(token, now), "token": text})
    else:
        typer.echo(text)
        runtime.note(f"Token {token.id}, until {token.expires_at:%Y-%m-%d %H:%M} UTC. It is shown this once.")


def tokens_list(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also expired and revoked ones.")] = False,
    as_json: Json = False,
) -> None:
    """List the API tokens: whose they are, what they may do, when they were used last.

    Examples:
      rb tokens list
      rb tokens list --all --json
    """
    now = datetime.now(UTC)
    found = [one for one in runtime.run(_listed()) if everything or one.status(now) == "active"]
    if as_json:
        runtime.print_json([_json(one, now) for one in found])
        return
    columns = ("id", "name", "of", "roles", "status", "expires", "last used")
    runtime.print_table(columns, (_row(one, now) for one in found), empty="There are no tokens.")


def tokens_revoke(
    token: Annotated[str, typer.Argument(help="Id of the token; the beginning will do.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; goes on record.", show_default=False)] = "",
) -> None:
    """End an API token for good; it takes effect with its next use.

    Examples:
      rb tokens revoke 3f9a12 --reason "laptop was lost"
    """
    if not reason.strip():
        raise runtime.CommandError("say why with --reason: the record keeps it", 2)
    who = identity.caller()

    async def work() -> ApiToken:
        async with _open() as store:
            chosen = _one_of(token, await store.list())
            await store.revoke(chosen.id, who.actor.key, reason.strip(), datetime.now(UTC))
            return chosen

    ended = runtime.run(work())
    typer.echo(f"Revoked: {ended.id} ({ended.name})")


def _grant(role: str, limits: Any) -> Grant:
    """A role for a token; nobody gives away what they do not have."""
    from runbooks.findings import did_you_mean  # noqa: PLC0415 - keeps rb --help quick
    from safety.access import Denied, Grant  # noqa: PLC0415 - as above

    who = identity.caller()
    access = who.door.access
    if role not in access.roles:
        raise runtime.CommandError(f"there is no role {role!r}; {did_you_mean(role, access.roles)}".rstrip("; "), 2)
    grant = Grant(role, limits)
    answer = access.may_grant(who.actor, grant)
    if isinstance(answer, Denied):
        raise runtime.CommandError(f"not allowed: nobody gives away more than they have; {answer.reason}")
    return grant


def _limits(**given: str) -> Any:
    from safety.access import Limits  # noqa: PLC0415 - keeps rb --help quick

    return Limits(**{f"{name}s": (value,) for name, value in given.items() if value})


def _length(text: str) -> timedelta:
    from datetime import timedelta  # noqa: PLC0415 - keeps rb --help quick

    from runbooks.durations import parse_duration  # noqa: PLC0415 - as above

    if days := _DAYS.fullmatch(text.strip()):
        return timedelta(days=int(days[1]))  # longer than any duration of a runbook may be
    try:
        return parse_duration(text)
    except ValueError as error:
        raise runtime.CommandError(f"--expires: {error}", 2) from error


def _one_of(text: str, known: Any) -> ApiToken:
    if len(text) < _LEAST:
        raise runtime.CommandError(f"'{text}' is too short: give at least {_LEAST} characters of the id", 2)
    found: list[ApiToken] = [one for one in known if one.id.startswith(text)]
    if len(found) != 1:
        many = "several tokens begin" if found else "no token begins"
        raise runtime.CommandError(f"{many} with '{text}'; 'rb tokens list --all' shows them")
    return found[0]


async def _listed() -> Any:
    async with _open() as store:
        return await store.list()


@asynccontextmanager
async def _open() -> AsyncIterator[Neo4jTokens]:
    from services.graph.migrate import migrate  # noqa: PLC0415 - keeps rb --help quick
    from services.graph.tokens import Neo4jTokens  # noqa: PLC0415 - as above

    settings = runtime.settings_for()
    async with runtime.open_graph(settings) as graph:
        await migrate(graph)  # a token may be the first thing that an installation makes
        yield Neo4jTokens(graph, settings.redis.prefix)


def _json(token: ApiToken, now: datetime) -> dict[str, Any]:
    names = [name for name in token.__slots__ if name not in {"hash", "grants"}]
    told = {name: getattr(token, name) for name in names}
    roles = [{"role": grant.role, "where": str(grant.limits)} for grant in token.grants]
    return told | {"roles": roles, "status": token.status(now)}


def _row(token: ApiToken, now: datetime) -> tuple[str, ...]:
    roles = "; ".join(f"{grant.role} ({grant.limits})" for grant in token.grants)
    used = f"{token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else "never"
    return (
        token.id,
        token.name,
        token.owner or "machine",
        roles,
        token.status(now),
        f"{token.expires_at:%Y-%m-%d}",
        used,
    )
