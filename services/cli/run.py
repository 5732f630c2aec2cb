"""``rb run``: ask for a runbook, or see what it would do."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime
from services.cli.runtime import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbooks.model import LoadedRunbook
    from services.following import Seen
    from services.forecast import Forecast
    from services.intake.run_request import RunRequest
    from services.settings import Settings

_FILES = (".yaml", ".yml", ".json")
_GRAPH_SECONDS = 5.0


def run(
    runbook: Annotated[str, typer.Argument(help="Id of a runbook in force; with --dry-run also a file.")],
    *,
    target: Annotated[str, typer.Option("--target", help="What to act on: KIND/NAMESPACE/NAME or Node/NAME.")] = "",
    param: Annotated[list[str] | None, typer.Option("--param", help="NAME=VALUE for a parameter; repeat it.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "",
    by: Annotated[str, typer.Option("--by", help="Who asks; you, if left out.")] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Show the decision and every step until the end.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Return at the end; without a word in between.")
    ] = False,
    timeout: Annotated[str, typer.Option("--timeout", help="Longest wait for the end: 90s, 30m, 2h.")] = "1h",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done, here and now.")] = False,
    request_id: Annotated[str, typer.Option("--request-id", help="Sent again, it is the same request.")] = "",
    context: Annotated[str, typer.Option("--context", help="Kubernetes context for --dry-run.")] = "",
    kubeconfig: Annotated[Path | None, typer.Option("--kubeconfig", help="Kubeconfig file for --dry-run.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """Ask for a runbook by name. It passes the same gate as after an alert: limits, approvals, locks, proof.

    Returns when Kafka has the request, or with --follow or --wait when it has ended: 0 when the fix is proven, 1 when
    it is not. --dry-run needs no Kafka and changes nothing: it makes the plan here, asks the API server about every
    write, and tells what would be done, who would be asked, and how long it took until now.

    Examples:
      rb run raise-memory --target Deployment/shop/cart --param factor=2 --reason "slow since noon" --follow
      rb run raise-memory --target Deployment/shop/cart --dry-run
      rb run ./changed.yaml --target Deployment/shop/cart --dry-run --json
    """
    settings = runtime.settings_for(
        overrides={"kubernetes": {"context": context or None, "kubeconfig": str(kubeconfig) if kubeconfig else None}}
    )
    patience = _seconds(timeout)
    known, loaded = chosen(runbook, settings, dry_run=dry_run)
    request = checked_request(
        loaded, settings, target=target, params=param or [], by=by or runtime.whoami(), reason=reason, number=request_id
    )
    if dry_run:
        return _rehearse(request, known, loaded, settings, context_named=bool(context), as_json=as_json)
    from services.cli.run_order import order  # noqa: PLC0415 - keeps rb --help quick
    from services.cli.run_show import screen  # noqa: PLC0415 - as above

    shown = screen(follow=follow and not as_json)
    seen = order(request, settings, shown, patience if follow or wait else None)
    if as_json:
        runtime.print_json(_result(request, seen))
    elif seen is None:
        typer.echo(f"asked for: {request.request_id} (rb explain {request.request_id})")
    elif not follow:
        from services.following import ending  # noqa: PLC0415 - as above

        typer.echo(f"{request.request_id}: {ending(seen)}")
    return 0 if seen is None or seen.held else 1


def _seconds(text: str) -> float:
    from runbooks.durations import parse_duration  # noqa: PLC0415 - keeps rb --help quick

    try:
        return float(parse_duration(text).total_seconds())
    except ValueError as error:
        raise CommandError(f"--timeout: {error}", 2) from error


def chosen(text: str, settings: Settings, *, dry_run: bool) -> tuple[Mapping[str, LoadedRunbook], LoadedRunbook]:
    """The runbooks of the folders, and the one that is meant."""
    from runbooks.findings import RunbookError, did_you_mean  # noqa: PLC0415 - keeps rb --help quick
    from runbooks.folder import RunbookFolder  # noqa: PLC0415 - as above
    from runbooks.loader import load_file  # noqa: PLC0415 - as above
    from services.cli.validate import known_actions  # noqa: PLC0415 - as above

    folder = RunbookFolder(settings.runbooks.folders, actions=known_actions())
    folder.reload()
    known = folder.current.runbooks
    if text in known:
        return known, known[text]
    if not text.endswith(_FILES) and not Path(text).is_file():
        raise CommandError(f"there is no runbook {text!r}; {did_you_mean(text, known)}".rstrip("; "), 2)
    try:
        loaded = load_file(Path(text), actions=known_actions())
    except RunbookError as error:
        raise CommandError(str(error), 2) from error
    in_force = known.get(loaded.runbook.id)
    if not dry_run and (in_force is None or in_force.sha != loaded.sha):
        raise CommandError(
            f"{text} is not in force: only --dry-run takes a file. Put it into one of runbooks.paths to run it", 2
        )
    return known, loaded


def checked_request(
    loaded: LoadedRunbook,
    settings: Settings,
    *,
    target: str,
    params: list[str],
    by: str,
    reason: str = "",
    number: str = "",
) -> RunRequest:
    """The request, checked as far as it can be without asking anybody."""
    from pydantic import ValidationError  # noqa: PLC0415 - keeps rb --help quick

    from executor.errors import PlanError  # noqa: PLC0415 - as above
    from executor.parameters import resolve_parameters  # noqa: PLC0415 - as above
    from matcher.model import Asked, Run  # noqa: PLC0415 - as above
    from matcher.named import refusal  # noqa: PLC0415 - as above
    from services.intake.errors import Unreadable  # noqa: PLC0415 - as above
    from services.intake.run_request import parse_target, run_request  # noqa: PLC0415 - as above

    runbook = loaded.runbook
    given = _parameters(runbook, params)
    if no := refusal(runbook, Run(runbook.id, Asked.MANUAL, parameters=given)):
        raise CommandError(f"runbook {runbook.id}: {no}", 2)
    try:
        resolve_parameters(runbook, {**(settings.runbooks.parameters.get(runbook.id) or {}), **given})
        return run_request(
            runbook.id,
            by=by,
            source=Asked.MANUAL,
            at=datetime.now(UTC),
            target=parse_target(target) if target else None,
            request_id=number or None,
            parameters=given,
            reason=reason,
            tenant=settings.matching.default_tenant,
            cluster=settings.default_cluster,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CommandError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}", 2) from error
    except Unreadable as error:
        raise CommandError(f"--target: {error.detail}", 2) from error
    except PlanError as error:
        raise CommandError(str(error), 2) from error
    except ValueError as error:
        raise CommandError(f"--target: {error}", 2) from error


def _parameters(runbook: Any, pairs: list[str]) -> dict[str, Any]:
    """``NAME=VALUE`` pairs; lists and objects are JSON."""
    import orjson  # noqa: PLC0415 - keeps rb --help quick

    types = {parameter.name: parameter.type for parameter in runbook.parameters}
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise CommandError(f"--param {pair}: expected NAME=VALUE", 2)
        given[name] = value
        if types.get(name) in {"list", "object"}:
            try:
                given[name] = orjson.loads(value)
            except orjson.JSONDecodeError as error:
                raise CommandError(f"--param {name}: a {types[name]} is written as JSON: {error}", 2) from error
    return given


# What would be done


def _rehearse(
    request: RunRequest,
    known: Mapping[str, LoadedRunbook],
    loaded: LoadedRunbook,
    settings: Settings,
    *,
    context_named: bool,
    as_json: bool,
) -> int:
    from services import logs  # noqa: PLC0415 - keeps rb --help quick
    from services.cli.run_show import forecast_json, forecast_text  # noqa: PLC0415 - as above

    logs.configure("error", settings.logging.format)  # what the pipeline would log is not the answer
    found = runtime.run(_forecast(request, known, loaded, settings, context_named=context_named))
    if as_json:
        runtime.print_json(forecast_json(found))
    else:
        typer.echo(forecast_text(found))
    return 0 if found.holds else 1


async def _forecast(
    request: RunRequest,
    known: Mapping[str, LoadedRunbook],
    loaded: LoadedRunbook,
    settings: Settings,
    *,
    context_named: bool,
) -> Forecast:
    """The forecast, with the versions in force as far as the graph tells; a file stands in for its runbook."""
    from executor.errors import RemediationError  # noqa: PLC0415 - keeps rb --help quick
    from matcher.errors import LiveUnavailable  # noqa: PLC0415 - as above
    from matcher.select import RunbookIndex  # noqa: PLC0415 - as above
    from services.bootstrap import assemble, make_forecaster  # noqa: PLC0415 - as above

    parts = await assemble(settings, context_named=context_named)
    try:
        parts.catalog.load()
        with suppress(RemediationError, TimeoutError):
            async with asyncio.timeout(_GRAPH_SECONDS):
                await parts.catalog.follow()
        index = parts.catalog.index
        if known.get(loaded.runbook.id) is not loaded:
            others = [one for name, one in parts.catalog.runbooks.items() if name != loaded.runbook.id]
            index = RunbookIndex([*others, loaded])
        return await make_forecaster(parts, index).forecast(request)
    except LiveUnavailable as error:
        raise CommandError(str(error)) from error
    finally:
        await parts.close()


def _result(request: RunRequest, seen: Seen | None) -> dict[str, Any]:
    told: dict[str, Any] = {"request_id": request.request_id, "runbook": request.runbook.id}
    if seen is None:
        return told
    names = ("decision", "check", "says", "execution_id", "approval", "verdict", "outcome", "message")
    steps = [
        {"id": step.id, "phase": step.phase, "item": step.item, "status": step.status, "seconds": step.seconds}
        for step in seen.steps
    ]
    return {**told, **{name: getattr(seen, name) for name in names}, "held": seen.held, "steps": steps}
