"""A small cache for look-ups: bounded, short-lived, and one look-up for any number of callers at the same time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedLookups(Generic[K, V]):
    """Remembers answers for a few seconds; failures are not remembered.

    Args:
        seconds: how long an answer is good for.
        size: the most answers that are kept; the oldest goes first.
        clock: seconds that never go back.
    """

    def __init__(self, seconds: float, size: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._known: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._running: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, look_up: Callable[[], Awaitable[V]]) -> V:
        """The answer for the key: remembered, being looked up, or looked up now."""
        known = self._known.get(key)
        if known is not None and self._clock() - known[0] < self._seconds:
            return known[1]
        task = self._running.get(key)
        if task is None:
            task = asyncio.ensure_future(self._look_up(key, look_up))
            self._running[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        # A caller that gives up must not take the answer from the others.
        return await asyncio.shield(task)

    async def _look_up(self, key: K, look_up: Callable[[], Awaitable[V]]) -> V:
        answer = await look_up()
        self._known[key] = (self._clock(), answer)
        self._known.move_to_end(key)
        while len(self._known) > self._size:
            self._known.popitem(last=False)
        return answer

    def _ended(self, key: K, task: asyncio.Task[V]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # read it, so that a failure nobody waits for any more is not reported as forgotten
