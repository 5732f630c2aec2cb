"""Shows the board: a live table on a terminal, lines elsewhere. On standard error; results go to standard output."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from compose.demo.board import BUSY, DONE, LEFT_OUT, NO, OPEN, STAGES, Board, Cell

_MARKS: Mapping[str, tuple[str, str]] = {
    OPEN: ("·", "dim"),
    BUSY: ("…", "yellow"),
    DONE: ("✓", "green"),
    NO: ("✗", "red"),
    LEFT_OUT: ("-", "dim"),
}


class Show:
    """Follows a board.

    Args:
        board: what is shown.
        quiet: say nothing.
    """

    def __init__(self, board: Board, *, quiet: bool = False) -> None:
        self._board = board
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._began = time.monotonic()
        self._live = None
        if sys.stderr.isatty() and not quiet:
            self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=5)
        else:
            board.on_change = self._line

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        """Say something about the whole."""
        self._console.print(Text(f"{self._clock()} {text}"), soft_wrap=True)

    def _line(self, key: str, stage: str, cell: Cell) -> None:
        if cell.mark in (OPEN, LEFT_OUT):
            return
        mark = _MARKS[cell.mark][0]
        self._console.print(Text(f"{self._clock()} {key:<15} {stage:<9} {mark} {cell.text}"), soft_wrap=True)

    def _table(self) -> Table:
        table = Table(title=f"{self._clock()} rootmend demo", title_justify="left", expand=True)
        table.add_column("incident", no_wrap=True)
        for stage in STAGES:
            table.add_column(stage, justify="center", no_wrap=True)
        table.add_column("now", ratio=1)
        for key, row in self._board.rows.items():
            marks = (Text(*_MARKS[row[stage].mark]) for stage in STAGES)
            table.add_row(self._board.titles[key], *marks, self._now(key))
        return table

    def _now(self, key: str) -> Text:
        told = [(stage, cell) for stage, cell in self._board.rows[key].items() if cell.text]
        if not told:
            return Text(self._board.remarks[key], style="dim")
        # What stopped it says more than what came after.
        stage, cell = next(((stage, cell) for stage, cell in told if cell.mark == NO), told[-1])
        return Text(f"{stage}: {cell.text}", style=_MARKS[cell.mark][1])

    def _clock(self) -> str:
        return f"[{time.monotonic() - self._began:5.1f}s]"
