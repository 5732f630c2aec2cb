"""Ends that the gate was never told of, because their process died between recording one and releasing its target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from executor.ports import Clock
from safety.model import GateRecord
from safety.ports import Gate

_FIRST_BACK_SECONDS = 86_400.0
_BACK_SECONDS = 900.0
"""Longer than a lock lives without renewal, so that no cooldown is missing when one lapses."""
_EVERY_SECONDS = 60.0


class Ended(Protocol):
    """Executions that ended, as the graph has them."""

    async def ended(self, seconds: float) -> Sequence[GateRecord]:
        """Those that ended within so many seconds. Raises GraphUnavailable."""
        ...


class MissedEnds:
    """Tells the gate of ends that it may have missed: when a process starts, and once a minute.

    Without it the target of such an execution would stay locked until its lease ran out, and then have no cooldown. An
    end that the gate knows changes nothing.
    """

    def __init__(self, history: Ended, gate: Gate, clock: Clock) -> None:
        self._history = history
        self._gate = gate
        self._clock = clock
        self._looked: float | None = None

    async def sweep(self) -> None:
        """Look, when it is time."""
        now = self._clock.monotonic()
        if self._looked is not None and now - self._looked < _EVERY_SECONDS:
            return
        since = _FIRST_BACK_SECONDS if self._looked is None else _BACK_SECONDS
        if records := await self._history.ended(since):
            await self._gate.restore(records)
        self._looked = now
