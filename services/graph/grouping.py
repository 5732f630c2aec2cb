"""Several callers, one statement: what is asked for while one is under way goes together in the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.graph.errors import GraphRejected

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MOST = 500
"""Most items of one statement."""


@dataclass(slots=True, eq=False)
class _Asked(Generic[Item, Answer]):
    """One item that waits for its answer."""

    item: Item
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Grouped(Generic[Item, Answer]):
    """Answers items in groups. One that finds nobody asking goes at once, so that grouping never adds a wait.

    A group that the server refuses is asked one by one, so that only the guilty item fails. Whatever else goes wrong,
    every caller of the group hears of it.

    Args:
        work: answers a group, one answer for each item in their order.
        name: of the tasks, for people who look at them.
        at_once: groups under way at a time. One where a group may not overtake another.
        most: items of one group.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        name: str,
        at_once: int = 1,
        most: int = MOST,
    ) -> None:
        self._work = work
        self._name = name
        self._at_once = at_once
        self._most = most
        self._waiting: list[_Asked[Item, Answer]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, item: Item) -> Answer:
        """The answer to one item.

        A caller that is cancelled does not take back what others wait for: its own item is answered all the same.

        Raises:
            Exception: whatever ``work`` raised for a group with this item, or for this item alone.
        """
        asked: _Asked[Item, Answer] = _Asked(item)
        self._waiting.append(asked)
        if len(self._tasks) < self._at_once:
            # It begins at the loop's next turn: those who ask in this one are part of its first group.
            task = asyncio.create_task(self._drain(), name=self._name)
            self._tasks.add(task)
        return await asyncio.shield(asked.answer)

    async def close(self) -> None:
        """Wait until everything that was asked is answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._settle(group)
        finally:
            self._tasks.discard(asyncio.current_task())

    async def _settle(self, group: Sequence[_Asked[Item, Answer]]) -> None:
        try:
            answers = await self._work([one.item for one in group])
        except GraphRejected as error:
            if len(group) == 1:
                _fail(group, error)
                return
            for one in group:
                await self._settle([one])
        except Exception as error:  # noqa: BLE001 - whatever it is, every caller must hear of it, or it waits for ever
            _fail(group, error)
        except BaseException:
            _fail(group, asyncio.CancelledError())
            raise
        else:
            for one, answer in zip(group, answers, strict=True):
                if not one.answer.done():
                    one.answer.set_result(answer)


def _fail(group: Sequence[_Asked[Item, Answer]], error: BaseException) -> None:
    for one in group:
        if not one.answer.done():
            one.answer.set_exception(error)
            # The caller may be gone; its exception then has no reader, which is no reason for a warning.
            one.answer.exception()
