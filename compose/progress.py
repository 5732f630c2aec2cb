"""Shows what `up` does: bars on a terminal, lines elsewhere."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from compose.events import Event

_MEGABYTE = 1e6
_WORDS = {"ready": "[green]ready[/]", "adopted": "[green]runs already[/]", "cleaned": "[yellow]cleaned[/]"}


class Show:
    """Takes events and shows them on standard error, so that standard output stays for results."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._live = sys.stderr.isatty() and not quiet
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            TextColumn("{task.fields[amount]:>18}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._live,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.phase in ("download", "build"):
            self._bar(event)
        elif event.phase != "start":
            word = _WORDS.get(event.phase, event.phase)
            self._console.print(f"  {event.name:<26} {word} [dim]{event.text}[/]", soft_wrap=True)

    def _bar(self, event: Event) -> None:
        key = f"{event.phase} {event.name}"
        if key not in self._bars:
            self._bars[key] = self._progress.add_task(key, total=event.total, amount="")
            if not self._live:
                size = f" ({_amount(event.phase, event.total)})" if event.total else ""
                self._console.print(f"  {event.name:<26} {event.text}{size}", soft_wrap=True)
        if event.done is not None and event.total is not None:
            amount = f"{_amount(event.phase, event.done)} / {_amount(event.phase, event.total)}"
            self._progress.update(self._bars[key], completed=event.done, total=event.total, amount=amount)


def _amount(phase: str, count: int | None) -> str:
    return f"{(count or 0) / _MEGABYTE:.0f} MB" if phase == "download" else f"{count or 0} packages"
