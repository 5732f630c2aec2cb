"""``rb pause`` and ``rb resume``: the switch that stops all automation."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli import runtime

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
By = Annotated[str, typer.Option("--by", help="Who says so. Default: the user of this terminal.", show_default=False)]


def pause(
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; everybody who asks is told.", show_default=False)] = "",
    by: By = "",
    show: Annotated[bool, typer.Option("--show", help="Only tell whether automation is paused.")] = False,
    as_json: Json = False,
) -> None:
    """Stop all automation: nothing new is permitted, and running executions stop before their next step.

    A rollback that has begun is finished. With --show nothing is changed.

    Examples:
      rb pause --reason "storage migration until 18:00"
      rb pause --show
    """
    if show:
        _tell(runtime.run(_state()), as_json=as_json)
        return
    if not reason.strip():
        raise runtime.CommandError("say why with --reason: everybody who finds automation stopped will ask", 2)
    _tell(runtime.run(_pause(by or runtime.whoami(), reason)), as_json=as_json)


def resume(*, by: By = "", as_json: Json = False) -> None:
    """Lift the pause. Executions that were stopped by it go on.

    Examples:
      rb resume
    """
    _tell(runtime.run(_resume(by or runtime.whoami())), as_json=as_json)


async def _state() -> str | None:
    async with runtime.open_gate(runtime.settings_for()) as gate:
        return await gate.paused()


async def _pause(by: str, reason: str) -> str | None:
    """Turn the switch, and read it again: what is told is what the pipeline sees."""
    async with runtime.open_gate(runtime.settings_for()) as gate:
        await gate.pause(by, reason)
        return await gate.paused()


async def _resume(by: str) -> str | None:
    from safety.errors import GateUnavailable  # noqa: PLC0415 - keeps rb --help quick

    async with runtime.open_gate(runtime.settings_for()) as gate:
        await gate.resume(by)
        try:
            return await gate.paused()
        except GateUnavailable as error:
            # The pause is lifted; a store that was emptied is filled again by the pipeline's next question.
            runtime.note(f"Until the pipeline has filled the gate's store, everything needs an approval ({error}).")
            return None


def _tell(why: str | None, *, as_json: bool) -> None:
    if as_json:
        runtime.print_json({"paused": why is not None, "reason": why})
    else:
        typer.echo("Automation runs." if why is None else f"Automation is paused: {why}")
