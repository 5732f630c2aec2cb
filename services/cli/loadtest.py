"""``rb loadtest``: a k6 script against the endpoint that runs a runbook."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli import runtime
from services.cli.runtime import CommandError

_MOST_ERRORS = 100


def loadtest(
    runbook: Annotated[str, typer.Argument(help="Id of a runbook in force.")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; left out, the script is printed.")
    ] = None,
    vus: Annotated[str, typer.Option("--vus", help="Callers at the end of each stage.")] = "10,50,0",
    durations: Annotated[str, typer.Option("--durations", help="Length of each stage.")] = "1m,3m,1m",
    p95: Annotated[str, typer.Option("--p95", help="95 % of the answers must be faster.")] = "2s",
    errors: Annotated[float, typer.Option("--errors", min=0, max=_MOST_ERRORS, help="Most failures, percent.")] = 5,
    pause: Annotated[str, typer.Option("--pause", help="Of each caller between two requests.")] = "1s",
    url: Annotated[str, typer.Option("--url", help="Server; left out, that of the settings.")] = "",
    target: Annotated[str, typer.Option("--target", help="What to act on: KIND/NAMESPACE/NAME or Node/NAME.")] = "",
    param: Annotated[list[str] | None, typer.Option("--param", help="NAME=VALUE for a parameter; repeat it.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run/--no-dry-run", help="Each request only asks what would be done, or really runs.")
    ] = True,
) -> None:
    """Write a k6 script that asks for a runbook over REST, by ever more callers, with thresholds that fail the test.

    Each request has an id of its own and is decided as any other; unless --no-dry-run is given, nothing is run.

    Examples:
      rb loadtest raise-memory --target Deployment/shop/cart -o load.js
      LOADTEST_TOKEN=... k6 run load.js
    """
    from services.cli.run import checked_request, chosen  # noqa: PLC0415 - keeps rb --help quick
    from services.loadtest import LoadTest, script, stages  # noqa: PLC0415 - as above

    settings = runtime.settings_for()
    _, loaded = chosen(runbook, settings, dry_run=False)
    request = checked_request(loaded, settings, target=target, params=param or [], by="load test")
    body = request.model_dump(mode="json", include={"target", "parameters", "requested_by"})
    api = settings.api
    try:
        ramp = stages(vus, durations)
    except ValueError as error:
        raise CommandError(f"--vus and --durations: {error}", 2) from error
    text = script(
        LoadTest(
            runbook=loaded.runbook.id,
            body={**body, "reason": "load test", "dry_run": dry_run},
            url=url or f"http://{api.host}:{api.port}",
            stages=ramp,
            p95_ms=round(_seconds("--p95", p95) * 1000),
            error_rate=errors / _MOST_ERRORS,
            pause_seconds=_seconds("--pause", pause),
        )
    )
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error}", 2) from error
    runtime.note(f"written: {output} (k6 run {output})")


def _seconds(option: str, text: str) -> float:
    from runbooks.durations import parse_duration  # noqa: PLC0415 - keeps rb --help quick

    try:
        return float(parse_duration(text).total_seconds())
    except ValueError as error:
        raise CommandError(f"{option}: {error}", 2) from error
