"""What `up` and `down` tell while they work, for a progress bar, a log or a test."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["download", "build", "start", "ready", "adopted", "stopped", "cleaned", "note"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one part of the stack."""

    phase: Phase
    name: str
    text: str = ""
    done: int | None = None
    total: int | None = None


OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Take an event and say nothing."""
    del event


class Throttle:
    """Pass on at most a few progress events a second, and always the last one."""

    def __init__(self, on_event: OnEvent, every: float = 0.1) -> None:
        self._on_event = on_event
        self._every = every
        self._next = 0.0

    def __call__(self, event: Event) -> None:
        """Pass the event on, unless one like it was passed a moment ago."""
        now = time.monotonic()
        final = event.done is None or event.done == event.total
        if final or now >= self._next:
            self._next = now + self._every
            self._on_event(event)
