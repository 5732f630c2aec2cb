"""``rb pause`` and ``rb resume``: the switch that stops automation, all of it or a part."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from safety.scopes import Pause, PauseScope

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
By = Annotated[str, typer.Option("--by", help="Who says so. Default: the user of this terminal.", show_default=False)]
Namespace = Annotated[str, typer.Option("--namespace", help="Only what acts in this namespace.", show_default=False)]
Cluster = Annotated[str, typer.Option("--cluster", help="Only in this cluster, by its name.", show_default=False)]
Tenant = Annotated[str, typer.Option("--tenant", help="Only for this tenant.", show_default=False)]
RunbookId = Annotated[str, typer.Option("--runbook", help="Only this runbook, by its id.", show_default=False)]
Target = Annotated[
    str,
    typer.Option("--target", help="Only this target: KIND/NAMESPACE/NAME, or KIND/NAME.", show_default=False),
]


def pause(
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; everybody who asks is told.", show_default=False)] = "",
    namespace: Namespace = "",
    cluster: Cluster = "",
    tenant: Tenant = "",
    runbook: RunbookId = "",
    target: Target = "",
    until: Annotated[
        str, typer.Option("--until", help="Ends by itself then: 2026-05-01T18:00, or 18:00 today.", show_default=False)
    ] = "",
    for_: Annotated[
        str, typer.Option("--for", help="Ends by itself after so long: 30m, 2h, 1h30m.", show_default=False)
    ] = "",
    by: By = "",
    show: Annotated[bool, typer.Option("--show", help="Only tell whether automation is paused.")] = False,
    as_json: Json = False,
) -> None:
    """Stop automation: nothing new is permitted, and running executions stop before their next step.

    Without a scope it stops everywhere. A namespace, runbook or target can be narrowed by cluster and tenant. A
    rollback that has begun is finished. With --show nothing is changed.

    Examples:
      rb pause --reason "storage migration until 18:00"
      rb pause --namespace shop --for 2h --reason "release of the shop"
      rb pause --runbook oom-killed --reason "it doubles too often"
      rb pause --target Deployment/shop/cart --cluster prod --reason "hands off"
      rb pause --show
    """
    if show:
        _tell(runtime.run(_state()), as_json=as_json)
        return
    if not reason.strip():
        raise runtime.CommandError("say why with --reason: everybody who finds automation stopped will ask", 2)
    scope = scope_of(namespace=namespace, cluster=cluster, tenant=tenant, runbook=runbook, target=target)
    ends = end_of(until, for_, datetime.now().astimezone())
    _tell(runtime.run(_pause(by or runtime.whoami(), reason, scope, ends)), as_json=as_json)


def resume(
    *,
    namespace: Namespace = "",
    cluster: Cluster = "",
    tenant: Tenant = "",
    runbook: RunbookId = "",
    target: Target = "",
    by: By = "",
    as_json: Json = False,
) -> None:
    """Lift the pause of exactly this scope. Executions that were stopped by it go on.

    Examples:
      rb resume
      rb resume --namespace shop
    """
    scope = scope_of(namespace=namespace, cluster=cluster, tenant=tenant, runbook=runbook, target=target)
    _tell(runtime.run(_resume(by or runtime.whoami(), scope)), as_json=as_json)


def pause_list(*, as_json: Json = False) -> None:
    """List what is paused, by whom, why and until when.

    Examples:
      rb pause list
    """
    found = runtime.run(_state())
    if as_json:
        runtime.print_json([_as_json(one) for one in found])
        return
    runtime.print_table(
        ("what", "by", "reason", "since", "until"),
        [(one.scope, one.by, one.reason, _moment(one.at), _moment(one.until) or "rb resume") for one in found],
        empty="Nothing is paused.",
    )


def scope_of(*, namespace: str, cluster: str, tenant: str, runbook: str, target: str) -> PauseScope:
    """The scope that the options name.

    Raises:
        CommandError: two of namespace, runbook and target together, or a target that is none.
    """
    from safety.scopes import PauseScope  # noqa: PLC0415 - keeps rb --help quick

    named = [
        f"--{name}" for name, value in (("namespace", namespace), ("runbook", runbook), ("target", target)) if value
    ]
    if len(named) > 1:
        raise runtime.CommandError(f"{' and '.join(named)} together would pause less than either: give one of them", 2)
    if target:
        parts = target.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise runtime.CommandError(f"--target {target}: give KIND/NAMESPACE/NAME, or KIND/NAME for a node", 2)
        inside = parts[1] if len(parts) == 3 else ""  # noqa: PLR2004 - kind, namespace, name
        target = f"{inside}/{parts[0]}/{parts[-1]}"
    return PauseScope(tenant=tenant, cluster=cluster, namespace=namespace, runbook=runbook, target=target)


def end_of(until: str, lasts: str, now: datetime) -> datetime | None:
    """When a pause ends by itself, UTC; None for not.

    Args:
        until: a time, or only the time of a day, which is the next such time; without a zone it is the terminal's.
        lasts: a duration from now.
        now: with the terminal's zone.

    Raises:
        CommandError: both, neither can be read, or it is over already.
    """
    from runbooks.durations import parse_duration  # noqa: PLC0415 - keeps rb --help quick

    if until and lasts:
        raise runtime.CommandError("give --until or --for, not both", 2)
    try:
        if lasts:
            given = now + parse_duration(lasts)
        elif until:
            given = _time_of_day(until, now) or datetime.fromisoformat(until)
        else:
            return None
    except ValueError as error:
        raise runtime.CommandError(f"{'--for' if lasts else '--until'} {lasts or until}: {error}", 2) from error
    ends = given.replace(tzinfo=now.tzinfo) if given.tzinfo is None else given
    if ends <= now:
        raise runtime.CommandError(f"{'--for' if lasts else '--until'} {lasts or until} is over already", 2)
    return ends.astimezone(UTC)


def _time_of_day(text: str, now: datetime) -> datetime | None:
    try:
        read = datetime.strptime(text, "%H:%M")  # noqa: DTZ007 - it gets the terminal's zone
    except ValueError:
        return None
    then = now.replace(hour=read.hour, minute=read.minute, second=0, microsecond=0)
    return then if then > now else then + timedelta(days=1)


async def _state() -> Sequence[Pause]:
    async with runtime.open_gate(runtime.settings_for()) as gate:
        return await gate.pauses()


async def _pause(by: str, reason: str, scope: PauseScope, until: datetime | None) -> Sequence[Pause]:
    """Turn the switch, and read it again: what is told is what the pipeline sees."""
    async with runtime.open_gate(runtime.settings_for()) as gate:
        await gate.pause(by, reason, scope, until)
        return await gate.pauses()


async def _resume(by: str, scope: PauseScope) -> Sequence[Pause]:
    from safety.errors import GateUnavailable  # noqa: PLC0415 - keeps rb --help quick

    async with runtime.open_gate(runtime.settings_for()) as gate:
        try:
            before = await gate.pauses()
        except GateUnavailable:
            before = []  # what was forgotten is lifted in the record
        await gate.resume(by, scope)
        if before and scope not in [one.scope for one in before]:
            others = ", ".join(str(one.scope) for one in before)
            runtime.note(f"{scope} was not paused by itself. Paused: {others}.")
        try:
            return await gate.pauses()
        except GateUnavailable as error:
            # The pause is lifted; a store that was emptied is filled again by the pipeline's next question.
            runtime.note(f"Until the pipeline has filled the gate's store, everything needs an approval ({error}).")
            return []


def _tell(found: Sequence[Pause], *, as_json: bool) -> None:
    from safety.scopes import EVERYTHING  # noqa: PLC0415 - keeps rb --help quick

    brake = next((one for one in found if one.scope == EVERYTHING), None)
    parts = [one for one in found if one.scope != EVERYTHING]
    if as_json:
        runtime.print_json(
            {
                "paused": brake is not None,
                "reason": str(brake) if brake else None,
                "scopes": [_as_json(one) for one in parts],
            }
        )
        return
    typer.echo(f"Automation is {brake}" if brake else f"Automation runs{', except:' if parts else '.'}")
    for one in parts:
        typer.echo(f"  {one}")


def _as_json(one: Pause) -> dict[str, Any]:
    return {
        "scope": dict(one.scope.parts),
        "by": one.by,
        "reason": one.reason,
        "at": one.at.isoformat() if one.at else None,
        "until": one.until.isoformat() if one.until else None,
    }


def _moment(value: datetime | None) -> str:
    return f"{value.astimezone():%Y-%m-%d %H:%M:%S}" if value else ""
