"""A journal in memory that behaves like the durable one: it outlives a crash, and fences old epochs."""

from __future__ import annotations

from typing import Any

from executor.errors import Unavailable
from services.testing.journal import MemoryJournal as KeptJournal


class Crash(BaseException):
    """The process dies here. Not an Exception: nothing in the product may catch it."""


class Crashes:
    """Where the process dies: at the nth moment that anybody reaches, counted from 1.

    Attributes:
        reached: every moment so far, by name.
    """

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.reached: list[str] = []

    def reach(self, moment: str) -> None:
        """Die here if it is time."""
        self.reached.append(moment)
        if self.at is not None and len(self.reached) == self.at:
            raise Crash(moment)


class MemoryJournal(KeptJournal):
    """The product's journal in memory, with places to crash, and a switch.

    Attributes:
        away: while it is true every write fails as when the server is away.
    """

    def __init__(self, crashes: Crashes | None = None) -> None:
        super().__init__()
        self.crashes = crashes or Crashes()
        self.away = False

    def _write(self, kind: str, execution_id: str, epoch: int, what: str, facts: dict[str, Any]) -> None:
        if self.away:
            raise Unavailable("the journal is away")
        self.crashes.reach(f"before {kind} {what}")
        super()._write(kind, execution_id, epoch, what, facts)
        self.crashes.reach(f"after {kind} {what}")
