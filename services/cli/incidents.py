"""``rb incidents``: what was recorded, as a file for backtests and replays."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import runtime
from services.cli.executions import start_of

if TYPE_CHECKING:
    from services.settings import Settings

WARM_UP_SECONDS = 2 * 3600
"""How much earlier a backtest begins to read: longer than any rate's window, so that the gate's memory is full."""


def incidents_export(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file, such as incidents.jsonl.gz.")],
    since: Annotated[str, typer.Option("--since", help="Only decided within this time: 30m, 24h, 30d.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write the recorded incidents to a file: decisions, plans, steps, runbook versions.

    The same records give the same bytes. Texts that look like secrets are masked. `rb backtest` and `rb replay` read
    the file and need no server then.

    Examples:
      rb incidents export --since 30d -o incidents.jsonl.gz
    """
    now = datetime.now(UTC)
    count = runtime.run(export(runtime.settings_for(), output, start_of(since, now), now))
    if as_json:
        runtime.print_json({"file": str(output), "incidents": count, "bytes": output.stat().st_size})
    else:
        typer.echo(f"{count} incidents in {output}")


async def export(settings: Settings, output: Path, since: datetime | None, until: datetime) -> int:
    """Stream what the graph holds into a file; how many incidents that were."""
    from services.graph.recorded import RecordedHistory  # noqa: PLC0415 - keeps rb --help quick
    from services.logs import masker  # noqa: PLC0415 - as above
    from services.testing.history import HistoryWriter  # noqa: PLC0415 - as above
    from services.testing.masking import masked  # noqa: PLC0415 - as above

    for secret in (settings.neo4j.password, settings.redis.url):
        masker.register(secret.get_secret_value())
    async with runtime.open_graph(settings) as graph:
        history = RecordedHistory(graph, settings.redis.prefix)
        runbooks, pauses = await history.runbooks(), await history.pauses()
        try:
            file = HistoryWriter(output)
        except OSError as error:
            raise runtime.CommandError(f"{output} cannot be written: {error.strerror or error}", 2) from error
        with file:
            for version in runbooks:
                file.runbook(masked(version, masker))
            for position in pauses:
                file.pause(position)
            async for incident in history.incidents(since, until):
                file.incident(masked(incident, masker))
            return file.incidents
