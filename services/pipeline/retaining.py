"""Takes old executions away while the pipeline runs: a few batches an hour, in nobody's way."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import structlog

from executor.ports import Clock

log = structlog.get_logger(__name__)

_EVERY_SECONDS = 3600.0
_BATCHES = 10
_REASON = "retention.executions of the settings"


class Taken(Protocol):
    """What was taken away."""

    @property
    def executions(self) -> int:
        """How many."""
        ...


class Pruner(Protocol):
    """Takes away what ended long ago."""

    async def __call__(self, keep: timedelta, most: int, reason: str) -> Taken:
        """Take away what ended longer ago than ``keep``, in at most so many batches."""
        ...


class RetentionDuty:
    """A duty of the sweeper.

    Args:
        prune: takes away.
        keep: what ended within it stays.
        clock: durations are monotonic.
    """

    def __init__(self, prune: Pruner, keep: timedelta, clock: Clock) -> None:
        self._prune = prune
        self._keep = keep
        self._clock = clock
        self._next = clock.monotonic()

    async def sweep(self) -> None:
        """Take away what is due, when an hour has passed since the last time."""
        now = self._clock.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY_SECONDS
        taken = await self._prune(self._keep, _BATCHES, _REASON)
        if taken.executions:
            log.info("executions.pruned", executions=taken.executions)
