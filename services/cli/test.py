"""``rb test``: acceptance packs of runbooks, tried with the real planner, gate and executor."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from services.settings import Settings
    from services.testing.acceptance import LoadedPack, Scenario
    from services.testing.reports import Result
    from services.testing.trial import Lab

_LIVE = ("http", "screens", "secrets")


def run_packs(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Packs, runbooks with one beside them, or folders; left out: here.")
    ] = None,
    *,
    scenario: Annotated[
        str, typer.Option("--scenario", "-k", help="Only scenarios with this text in their name.")
    ] = "",
    live: Annotated[
        str, typer.Option("--live", help="Ports that are real instead of declared: http, screens, secrets.")
    ] = "",
    param: Annotated[list[str] | None, typer.Option("--param", help="NAME=VALUE for every scenario.")] = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="On the practice cluster, in a namespace of its own for each scenario.")
    ] = False,
    kubeconfig: Annotated[
        Path | None, typer.Option("--kubeconfig", help="With --cluster: of somebody who may create namespaces there.")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML to this file.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write one self-contained page to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """Try runbooks as their acceptance.yml says, each scenario in a world of its own.

    The cluster is in memory, waiting takes no time, and servers answer what the pack declares. Planner, gate and
    executor are the real ones.

    Exit code 0: everything held; 1: something did not; 2: wrong use, or a pack cannot be read.

    Examples:
      rb test my-runbooks/oom
      rb test my-runbooks --junit results.xml --html results.html
      rb test enrichment --live http,screens --param SOURCE_API_URL=https://api.example.com/entities
    """
    from services.cli.validate import known_actions  # noqa: PLC0415 - keeps rb --help quick
    from services.testing.acceptance import PackError, find_packs, load_pack  # noqa: PLC0415 - as above

    settings = runtime.settings_for()
    try:
        known = known_actions()
        packs = [load_pack(path, known) for path in find_packs(paths or [Path()])]
    except PackError as error:
        raise runtime.CommandError(str(error), 2) from error
    chosen = [(pack, one) for pack in packs for one in pack.pack.scenarios if scenario in one.name]
    if not chosen:
        raise runtime.CommandError("no scenario to try: no acceptance.yml, or no scenario of that name", 2)
    results = runtime.run(
        _all(chosen, settings, _live(live), _params(param or []), on_cluster=cluster, kubeconfig=kubeconfig)
    )
    _write(results, junit, html)
    if as_json:
        from services.testing.reports import as_json as told  # noqa: PLC0415 - keeps rb --help quick

        runtime.print_json(told(results))
    else:
        _show(results)
    return int(not all(one.passed for one in results))


def _live(text: str) -> tuple[str, ...]:
    from runbooks.findings import did_you_mean  # noqa: PLC0415 - keeps rb --help quick

    names = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in names:
        if name not in _LIVE:
            raise runtime.CommandError(f"--live: there is no port '{name}'; {did_you_mean(name, _LIVE)}", 2)
    return names


def _params(pairs: list[str]) -> Mapping[str, str]:
    found = dict(pair.partition("=")[::2] for pair in pairs)
    for pair in pairs:
        if "=" not in pair:
            raise runtime.CommandError(f"--param {pair}: expected NAME=VALUE", 2)
    return found


async def _all(
    chosen: list[tuple[LoadedPack, Scenario]],
    settings: Settings,
    live: tuple[str, ...],
    params: Mapping[str, str],
    *,
    on_cluster: bool,
    kubeconfig: Path | None,
) -> list[Result]:
    from contextlib import AsyncExitStack  # noqa: PLC0415 - keeps rb --help quick

    from services.connections import policy_of  # noqa: PLC0415 - as above
    from services.plugins import all_actions  # noqa: PLC0415 - as above
    from services.testing.practice import open_practice  # noqa: PLC0415 - as above
    from services.testing.trial import Lab  # noqa: PLC0415 - as above

    async with AsyncExitStack() as stack:
        ports = await _ports(settings, live, stack)
        lab = Lab(all_actions(), policy_of(settings), ports, params)
        practice = await stack.enter_async_context(open_practice(settings, kubeconfig)) if on_cluster else None
        return [await _try(pack, one, lab, practice) for pack, one in chosen]


async def _ports(settings: Settings, live: tuple[str, ...], stack: Any) -> Mapping[str, Any]:
    """The real ports that were asked for."""
    from services.bootstrap import open_screens  # noqa: PLC0415 - keeps rb --help quick
    from services.clock import SystemClock  # noqa: PLC0415 - as above
    from services.logs import masker  # noqa: PLC0415 - as above
    from services.outgoing.opening import runbook_client  # noqa: PLC0415 - as above
    from services.secrets.make import make_secrets  # noqa: PLC0415 - as above

    found: dict[str, Any] = {}
    if "http" in live:
        found["http"] = client = runbook_client(settings)
        stack.push_async_callback(client.close)
        found["http_base"] = settings.http.base_url
    if "screens" in live:
        found["screens"] = open_screens(settings)
    if "secrets" in live:
        # Kubernetes Secrets are those of a cluster, and a trial has none of its own.
        found["secrets"] = store = make_secrets(settings.secrets, os.environ, SystemClock(), masker.register).store
        stack.push_async_callback(store.close)
    return found


async def _try(pack: LoadedPack, one: Scenario, lab: Lab, practice: Any) -> Result:
    from services.testing.acceptance import PackError  # noqa: PLC0415 - keeps rb --help quick
    from services.testing.expecting import checks  # noqa: PLC0415 - as above
    from services.testing.reports import Result  # noqa: PLC0415 - as above
    from services.testing.trial import run_scenario  # noqa: PLC0415 - as above

    names = str(pack.path), pack.runbook.runbook.id, one.name
    try:
        course = await run_scenario(pack, one, lab, practice)
        return Result(*names, course, checks(one.expected, course, pack))
    except PackError as error:
        return Result(*names, None, problem=str(error))
    except Exception as error:  # noqa: BLE001 - one scenario that cannot be tried must not hide the others
        return Result(*names, None, problem=f"{type(error).__name__}: {error}")


def _write(results: list[Result], junit: Path | None, html: Path | None) -> None:
    from services.masking import masker  # noqa: PLC0415 - keeps rb --help quick
    from services.testing import reports  # noqa: PLC0415 - as above

    try:
        if junit:
            junit.write_bytes(reports.junit(results))
        if html:
            html.write_text(masker.text(reports.html(results)), "utf-8")
    except OSError as error:
        raise runtime.CommandError(f"the report cannot be written: {error}", 2) from error


def _show(results: list[Result]) -> None:
    for one in results:
        typer.echo(f"{'ok  ' if one.passed else 'FAIL'}  {one.runbook}: {one.scenario}")
        for line in one.failures:
            typer.echo(f"        {line}")
        if one.course is not None:
            _details(one)
    passed = sum(one.passed for one in results)
    typer.echo(f"{passed} of {len(results)} scenarios passed")


def _details(one: Result) -> None:
    course = one.course
    if course is None:
        return
    for line in course.assumptions:
        typer.echo(f"        assumed: {line}")
    for run in course.steps:
        typer.echo(f"        {run.phase:<8} {run.status.value:<9} {run.name}{': ' + run.error if run.error else ''}")
    if course.kpis:
        typer.echo("        " + ", ".join(f"{name} {value:g}" for name, value in course.kpis.items()))


def acceptance_schema() -> None:
    """Print the JSON Schema of acceptance files, for editors.

    Examples:
        rb test-schema > acceptance.schema.json
    """
    from services.testing.acceptance import acceptance_schema as made  # noqa: PLC0415 - keeps rb --help quick

    runtime.print_json(made())
