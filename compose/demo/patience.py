"""Waiting with a deadline, and saying afterwards what was waited for and what was seen last."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from compose.demo.errors import DemoFailed

T = TypeVar("T")

Look = Callable[[], Awaitable[tuple[T | None, object]]]
"""One look: what was waited for (None: not yet), and what was seen, for people."""


async def until(
    what: str, look: Look[T], *, seconds: float, every: float = 0.25, alarm: Callable[[], None] = lambda: None
) -> T:
    """Look again and again until there is something.

    Args:
        what: what is waited for, for people.
        look: one look.
        seconds: how long to wait.
        every: pause between two looks, seconds.
        alarm: called before each look; may raise when waiting has become pointless.

    Raises:
        DemoFailed: it did not come in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        alarm()
        found, seen = await look()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise DemoFailed(f"waited {seconds:.0f} s for {what}; seen last: {_short(seen)}")
        await asyncio.sleep(every)


def _short(seen: object, most: int = 600) -> str:
    text = str(seen) or "nothing"
    return text if len(text) <= most else f"{text[:most]}..."
