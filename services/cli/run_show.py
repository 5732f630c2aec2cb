"""How ``rb run`` shows what would be done, and what is being done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import typer

from services.cli import runtime
from services.following import Seen, ending, lines

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from services.forecast import Forecast, StepForecast

_STYLES = {"succeeded": "green", "failed": "red", "unknown": "red", "skipped": "dim", "running": "yellow"}
_MARKS = {"succeeded": "+", "failed": "x", "unknown": "?", "skipped": "-", "running": ">"}


# What would be done


def forecast_text(found: Forecast) -> str:
    """The summary of a dry run."""
    return "\n".join("".join(c if c.isprintable() else " " for c in line) for line in _forecast(found))


def _forecast(found: Forecast) -> Iterator[str]:
    named = " ".join(filter(None, (found.runbook, found.version, f"({found.type})" if found.type else "")))
    yield f"Dry run of {named}" + (f": {found.name}" if found.name else "")
    if found.target:
        yield f"Target: {found.target}"
    if found.problem:
        yield f"It would not run: {found.problem}"
        return
    for number, step in enumerate(found.steps, 1):
        yield ""
        yield from _step(number, step)
    yield ""
    yield f"Steps: {len(found.steps)}"
    yield f"Approvals needed: {found.approvals}"
    yield f"Gate: {_gate(found)}"
    yield f"Estimated time: {_time(found)}"
    yield "Nothing was changed."


def _step(number: int, step: StepForecast) -> Iterator[str]:
    yield f"{number}. [{'approval' if step.approval else 'auto'}] {step.name}"
    yield f"   type: {step.type} ({step.access})"
    yield from (f"   would: {line}" for line in step.would)
    if step.approval:
        yield f"   approval: {step.approval}"
    if step.server is not None:
        yield f"   API server: {f'would not take it: {step.server}' if step.server else 'would take it'}"
    if step.seconds is not None:
        yield f"   took until now: {_span(step.seconds)}"


def _gate(found: Forecast) -> str:
    says = "; ".join(found.gate_says)
    if found.gate == "refusal":
        return f"would refuse: {says}"
    if found.gate == "approval":
        return f"a human would have to say yes: {says}"
    return "has nothing against it (pause, locks, cooldowns and rates count when it is asked for)"


def _time(found: Forecast) -> str:
    known = found.durations
    if known.seconds is None:
        return "not known, it has not run yet"
    return f"{_span(known.seconds)}, the median of {known.runs} {'run' if known.runs == 1 else 'runs'}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def forecast_json(found: Forecast) -> dict[str, Any]:
    """The same for programs."""
    told = asdict(replace(found, plan=None))
    del told["plan"]
    number = found.plan.hash if found.plan else ""
    return {**told, "approvals": found.approvals, "holds": found.holds, "plan_hash": number}


# What is being done


class Screen(Protocol):
    """Where a request is followed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, seen: Seen) -> None:
        """Show what is known now."""
        ...


def screen(*, follow: bool) -> Screen:
    """The place that fits: nothing, a live table on a terminal, lines elsewhere."""
    if not follow:
        return Quiet()
    return Table() if sys.stdout.isatty() else Lines()


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, seen: Seen) -> None:
        """Nothing to show."""


class Lines(Quiet):
    """One line for everything new."""

    def __init__(self) -> None:
        self._before: Seen | None = None

    def update(self, seen: Seen) -> None:
        """Print what is new."""
        if self._before is None:
            typer.echo(f"asked for: {seen.request_id}")
        for line in lines(self._before or Seen(seen.request_id), seen):
            typer.echo("".join(c if c.isprintable() else " " for c in line))
        self._before = seen


class Table(Quiet):
    """A table that changes in place."""

    def __init__(self) -> None:
        self._live: Live | None = None

    def __enter__(self) -> Self:
        from rich.live import Live  # noqa: PLC0415 - keeps rb --help quick

        self._live = Live(console=runtime.console(live=True), refresh_per_second=8)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, seen: Seen) -> None:
        """Draw it anew."""
        if self._live is not None:
            self._live.update(picture(seen))


def picture(seen: Seen) -> RenderableType:
    """What is known, for a terminal. Names come from outside: they are text, never markup."""
    from rich import box  # noqa: PLC0415 - keeps rb --help quick
    from rich.console import Group  # noqa: PLC0415 - as above
    from rich.table import Table as Grid  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    from services.cli.terminal import harmless  # noqa: PLC0415 - as above

    head = [
        Text(harmless(line)) for line in lines(Seen(seen.request_id), seen) if not line.startswith(("step ", "ended: "))
    ]
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in ("", "step", "action", "status", "took", ""):
        grid.add_column(column, overflow="fold")
    for step in seen.steps:
        phase = "" if step.phase == "step" else f"{step.phase}: "
        item = "" if step.item is None else f" [{step.item}]"
        style = _STYLES.get(step.status, "")
        took = "" if step.seconds is None or step.status == "running" else f"{step.seconds:.1f} s"
        grid.add_row(
            Text(_MARKS.get(step.status, " "), style=style),
            Text(harmless(f"{phase}{step.name}{item}")),
            Text(harmless(step.action)),
            Text(step.status, style=style),
            Text(took),
            Text(harmless(step.message)),
        )
    tail = [Text(harmless(ending(seen)), style="green" if seen.held else "red")] if seen.done else []
    return Group(Text(f"asked for: {seen.request_id}"), *head, *([grid] if seen.steps else []), *tail)
