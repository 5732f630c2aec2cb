"""``rb breaker``: what a storm has stopped, and letting it go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from safety.breaker import Stopped
    from safety.redis_breaker import RedisBreaker
    from safety.scopes import StormScope

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def breaker_list(*, as_json: Json = False) -> None:
    """List what the storm breaker has stopped, with its numbers.

    Examples:
      rb breaker list
    """
    found = runtime.run(_stopped())
    if as_json:
        runtime.print_json([_as_json(one) for one in found])
        return
    rows = [
        (one.scope.key, one.scope.tenant, f"{one.counted} {one.of}".strip(), f"{_now(one)} (limit {one.upper})",
         _moment(one.since), _moment(one.calm) or "not yet")
        for one in found
    ]  # fmt: skip
    columns = ("scope", "tenant", "counted", "count", "stopped since", "calm since")
    runtime.print_table(columns, rows, empty="The storm breaker has stopped nothing.")


def breaker_reset(
    scope: Annotated[
        list[str] | None,
        typer.Argument(
            help="As `rb breaker list` names it: reason:prod/OOMKilled, namespace:prod/shop, ...", show_default=False
        ),
    ] = None,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why it may go on; it is recorded.", show_default=False)] = "",
    everything: Annotated[bool, typer.Option("--all", help="Everything that is stopped for the tenant.")] = False,
    tenant: Annotated[
        str, typer.Option("--tenant", help="Whose. Default: matching.default_tenant.", show_default=False)
    ] = "",
    by: Annotated[
        str, typer.Option("--by", help="Who says so. Default: the user of this terminal.", show_default=False)
    ] = "",
    as_json: Json = False,
) -> None:
    """Let automation go on where a storm has stopped it. What was counted there is forgotten.

    Exit code 1 when a scope is not stopped.

    Examples:
      rb breaker reset reason:prod/OOMKilled --reason "the bad image is gone"
      rb breaker reset --all --reason "false alarm"
    """
    if not reason.strip():
        raise runtime.CommandError("say why with --reason: it goes on because of you", 2)
    if bool(scope) == everything:
        raise runtime.CommandError("name the scopes (rb breaker list shows them), or give --all", 2)
    whose = tenant or runtime.settings_for().matching.default_tenant
    closed, missing = runtime.run(_reset(whose, scope or [], by or runtime.whoami(), reason))
    if as_json:
        runtime.print_json({"reset": [each.key for each in closed], "not_stopped": missing})
    else:
        for each in closed:
            typer.echo(f"Automation goes on for {each}.")
        if not closed and everything:
            typer.echo("The storm breaker has stopped nothing.")
    if missing:
        raise runtime.CommandError(f"not stopped for tenant {whose}: {', '.join(missing)} (rb breaker list)", 1)


@asynccontextmanager
async def _breaker() -> AsyncIterator[RedisBreaker]:
    """The breaker behind a gate's store that is filled: an emptied one has forgotten what is stopped."""
    from services import connections  # noqa: PLC0415 - keeps rb --help quick
    from services.clock import SystemClock  # noqa: PLC0415 - as above

    settings, clock = runtime.settings_for(), SystemClock()
    async with runtime.open_redis(settings) as client, runtime.open_graph(settings) as graph:
        await connections.open_gate(settings, client, graph, clock, command=True).paused()
        yield connections.open_breaker(settings, client, graph, clock, command=True)


async def _stopped() -> Sequence[Stopped]:
    async with _breaker() as breaker:
        return await breaker.stopped()


async def _reset(tenant: str, keys: Sequence[str], by: str, reason: str) -> tuple[list[StormScope], list[str]]:
    """What was closed, and what was not open."""
    from safety.scopes import StormScope  # noqa: PLC0415 - keeps rb --help quick

    async with _breaker() as breaker:
        try:
            scopes = [StormScope.of(tenant, key) for key in keys]
        except ValueError as error:
            raise runtime.CommandError(str(error), 2) from error
        if not keys:
            scopes = [one.scope for one in await breaker.stopped() if one.scope.tenant == tenant]
        closed = [scope for scope in scopes if await breaker.close(scope, by, reason)]
    return closed, [scope.key for scope in scopes if scope not in closed]


def _now(one: Stopped) -> int:
    return max((hot.count for hot in one.hot.values()), default=0)


def _moment(milliseconds: int) -> str:
    return f"{_utc(milliseconds).astimezone():%Y-%m-%d %H:%M:%S}" if milliseconds else ""


def _utc(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def _as_json(one: Stopped) -> dict[str, Any]:
    return {
        "scope": one.scope.key,
        "tenant": one.scope.tenant,
        "since": _utc(one.since).isoformat(),
        "calm_since": _utc(one.calm).isoformat() if one.calm else None,
        **{name: value for name, value in one.numbers.items() if name != "scope"},
        "counts": {key: {"count": hot.count, "limit": hot.upper, "lower": hot.lower} for key, hot in one.hot.items()},
    }
