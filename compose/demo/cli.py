"""`rb demo`. Light: everything heavy is imported when it runs."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compose.cli import EngineChoice

if TYPE_CHECKING:
    from compose.addresses import Addresses
    from compose.demo.report import Report
    from compose.demo.scenarios import Scenario


def demo(
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            help="Only these, with commas: oom, image-pull, node, low-confidence, not-fixed, storm, storm-stop.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack, the pipeline and the workloads up.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    engine: Annotated[EngineChoice, typer.Option(help="What runs the servers.")] = EngineChoice.auto,
    state: Annotated[
        Path | None,
        typer.Option("--state", help="State folder. Default: $ROOTMEND_STATE, else the nearest .rootmend/ upward."),
    ] = None,
) -> None:
    """Watch seven incidents being handled, from the alert to the proof.

    Starts the local stack where it does not run, deploys workloads that really are broken, writes the causal graph as
    KGroot does, sends alerts to Kafka, and follows each incident through the pipeline. Exit code 1 when one of them
    does not come out as told.

    Examples:
      rb demo                        all seven
      rb demo --keep                 leave everything up, to look around in
      rb demo --only oom --keep      one incident, under a minute on a warm stack
      rb demo --only node,storm      two of them
    """
    from compose.cli import _errors  # noqa: PLC0415 - see the module's docstring

    with _errors(as_json=as_json):
        from compose import stack  # noqa: PLC0415 - see the module's docstring
        from compose.progress import Show as Starting  # noqa: PLC0415 - see the module's docstring

        chosen = choose(only or [])
        ran = any(server.state == "up" for server in stack.status(state))
        with Starting(quiet=as_json) as starting:
            addresses = stack.up(state=state, engine=engine.value, on_event=starting)
        try:
            report = asyncio.run(perform(addresses, chosen, keep=keep, quiet=as_json))
        except KeyboardInterrupt:
            typer.echo("Interrupted. The next demo removes what this one left.", err=True)
            raise typer.Exit(1) from None
        finally:
            if not (ran or keep):
                stack.down(state)
        _print(report, as_json=as_json)
    raise typer.Exit(0 if report.as_told else 1)


def choose(only: Sequence[str]) -> "list[Scenario]":
    """The scenarios that are asked for, in the order of showing.

    Raises:
        WrongUse: one is unknown.
    """
    from compose.demo.scenarios import ALL  # noqa: PLC0415 - see the module's docstring
    from compose.errors import WrongUse  # noqa: PLC0415 - see the module's docstring

    wanted = [name.strip() for part in only for name in part.split(",") if name.strip()]
    known = [scenario.key for scenario in ALL]
    if unknown := sorted(set(wanted) - set(known)):
        raise WrongUse(f"There is no incident {', '.join(unknown)}.", hint=f"Choose from: {', '.join(known)}.")
    return [scenario() for scenario in ALL if not wanted or scenario.key in wanted]


async def perform(addresses: "Addresses", scenarios: "list[Scenario]", *, keep: bool, quiet: bool = False) -> "Report":
    """Play the scenarios side by side on a running stack, showing where each stands.

    Raises:
        DemoFailed: it could not begin.
    """
    from compose.demo.board import Board  # noqa: PLC0415 - see the module's docstring
    from compose.demo.report import Report, audits, counted  # noqa: PLC0415 - see the module's docstring
    from compose.demo.scenarios import play_all  # noqa: PLC0415 - see the module's docstring
    from compose.demo.show import Show  # noqa: PLC0415 - see the module's docstring
    from compose.demo.tampering import tamper  # noqa: PLC0415 - see the module's docstring
    from compose.demo.theatre import staged  # noqa: PLC0415 - see the module's docstring

    began = time.monotonic()
    board = Board({scenario.key: scenario.title for scenario in scenarios})
    async with staged(addresses, board, keep=keep) as scene:
        with Show(board, quiet=quiet) as show:
            show.say(f"run {scene.run.mark}: namespace {scene.run.namespace}, log {scene.run.log}")
            results = await play_all(scenarios, scene)
            show.say("somebody changes the audit trail in the graph; rb audit verify looks for it")
            results.append(await tamper(scene))
        return Report(
            results=results,
            audits=await audits(scene.graph, scene.run),
            metrics=counted(await scene.pipeline.metrics()),
            metrics_url=scene.pipeline.url,
            pipeline_pid=scene.pipeline.pid,
            addresses=addresses,
            kept=keep,
            seconds=time.monotonic() - began,
        )


def _print(report: "Report", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2, default=str))
        return
    from compose.demo.report import show  # noqa: PLC0415 - see the module's docstring

    show(report)
