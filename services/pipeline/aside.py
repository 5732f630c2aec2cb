"""What cannot be looked after now is put aside: told of once, tried again after a while, in nobody's way meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from executor.errors import Unreadable
from executor.ports import Clock, Hooks

log = structlog.get_logger(__name__)

_LEAST_REMEMBERED_SECONDS = 3600.0


@dataclass(slots=True)
class _Put:
    until: float
    pause: float
    why: str


class SetAside:
    """Remembers what failed, and until when it is left alone. The pause doubles each time that it fails again.

    Args:
        clock: durations are monotonic.
        hooks: told of what cannot be read.
        first_seconds, longest_seconds: the first pause, and the longest.
    """

    def __init__(
        self, clock: Clock, hooks: Hooks | None = None, *, first_seconds: float = 15, longest_seconds: float = 300
    ) -> None:
        self._clock = clock
        self._hooks = hooks
        self._first = first_seconds
        self._longest = longest_seconds
        self._put: dict[str, _Put] = {}

    def put(self, execution_id: str, error: Exception) -> None:
        """It failed; said in the log once for each reason, however often it is tried."""
        now, why = self._clock.monotonic(), str(error) or type(error).__name__
        known = self._put.get(execution_id)
        pause = min(known.pause * 2, self._longest) if known else self._first
        self._put[execution_id] = _Put(now + pause, pause, why)
        if known and known.why == why:
            return
        unreadable = isinstance(error, Unreadable)
        log.error(
            "record.unreadable" if unreadable else "execution.set_aside",
            kind="execution",
            id=execution_id,
            why=why,
            do="rb executions orphans tells what to do",
        )
        if unreadable and self._hooks is not None:
            self._hooks.event("record.unreadable", kind="execution")

    def names(self) -> tuple[str, ...]:
        """What is left alone now. What has not failed for an hour is forgotten."""
        now = self._clock.monotonic()
        for name in [name for name, put in self._put.items() if put.until + _LEAST_REMEMBERED_SECONDS < now]:
            del self._put[name]
        return tuple(name for name, put in self._put.items() if put.until > now)
