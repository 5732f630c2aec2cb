"""``rb serve``: run the pipeline."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.runtime import CommandError, run, settings_for

ROLES = ("decide", "act", "approvals", "api", "schedule")


def serve(
    role: Annotated[
        list[str] | None, typer.Option("--role", help=f"What this process does: {', '.join(ROLES)}; all by default")
    ] = None,
    context: Annotated[str, typer.Option(help="Kubernetes context to act on, or in-cluster")] = "",
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig file")] = None,
    grace: Annotated[float, typer.Option(help="Seconds that the current steps may take after SIGTERM")] = 25.0,
) -> None:
    """Run the pipeline until SIGTERM or Ctrl-C; then the current steps finish and the rest is handed over.

    Without --context it acts only on the local practice cluster (rb up): nothing ever acts on a cluster by accident.

    Examples:
      rb serve                               everything in one process, on the practice cluster
      rb serve --context production-eu       on a cluster of yours
      rb serve --role decide --role api      this process only decides
    """
    chosen = tuple(dict.fromkeys(role or ROLES))
    if unknown := [name for name in chosen if name not in ROLES]:
        raise CommandError(f"there is no role {unknown[0]!r}: choose from {', '.join(ROLES)}", 2)
    cluster = {"context": context or None, "kubeconfig": str(kubeconfig) if kubeconfig else None}
    settings = settings_for(overrides={"kubernetes": cluster})

    from services import collector, logs  # noqa: PLC0415 - keeps rb --help quick
    from services.bootstrap import Role, assemble  # noqa: PLC0415 - as above
    from services.serve import Service  # noqa: PLC0415 - as above

    logs.configure(settings.logging.level, settings.logging.format)

    async def work() -> None:
        parts = await assemble(settings, context_named=bool(context))
        collector.settle()
        try:
            await Service(parts, [Role(name) for name in chosen], grace).run()
        finally:
            await parts.close()

    _run_fast(work())


def _run_fast(work: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where there is one: a third less processor time for sockets and TLS than the standard loop."""
    try:
        import uvloop  # noqa: PLC0415 - keeps rb --help quick; there is none for Windows
    except ImportError:
        run(work)
    else:
        uvloop.run(work)
