"""Messages as values, free of any client library."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message as it was read. Nothing is decoded: poison must reach the DLQ as it came.

    Attributes:
        produced_at: the broker's or producer's timestamp, UTC.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    produced_at: datetime


@dataclass(frozen=True, slots=True)
class Outbound:
    """A message to be written.

    Attributes:
        shorter: makes the value that is written instead where the broker takes no message of this length.
    """

    topic: str
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    shorter: Callable[[], bytes] | None = field(default=None, compare=False, repr=False)


Rest = Callable[[], Awaitable[None]]
"""What is left to do for a batch that was handled. Called again when it raises."""

BatchHandler = Callable[[Sequence[Inbound]], Awaitable[Rest | None]]
"""Handles one batch, which is read again when it raises. What it returns may go on while the next batch is handled;
the offsets are committed when that is done."""


class Publisher(Protocol):
    """Writes messages."""

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """Return when the broker has acknowledged all of them. Raises BusUnavailable, TooLarge."""
        ...
