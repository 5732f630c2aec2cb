"""Work that goes on side by side, and how it is brought to rest."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from executor.errors import HandedOver


@dataclass(slots=True)
class Halt:
    """Whether steps are to come to rest, and which of them must not be disturbed.

    Attributes:
        asked: nothing new begins, no further attempt is made.
        acting: ids of the runs between intent and outcome: their effect is under way, and they are let finish.
    """

    asked: bool = False
    acting: set[str] = field(default_factory=set)


class Crew:
    """Tasks that run side by side.

    Args:
        halt: says which tasks may be cut short.
    """

    def __init__(self, halt: Halt) -> None:
        self._halt = halt
        self._tasks: dict[asyncio.Task[Any], str] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, key: str) -> bool:
        return key in self._tasks.values()

    def start(self, key: str, work: Coroutine[Any, Any, Any]) -> None:
        """Begin work; ``key`` is the id of its run."""
        self._tasks[asyncio.ensure_future(work)] = key

    async def one(self) -> None:
        """Return when something has ended.

        Raises:
            Stop: the execution must not go on here; what it raises is what the work raised.
        """
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self._collect(done)

    def idle(self) -> bool:
        """Whether everything that was started still runs."""
        return not any(task.done() for task in self._tasks)

    async def rest(self) -> None:
        """Bring everything to rest: what acts finishes, what only reads, waits or asks is cut short."""
        for task, key in self._tasks.items():
            if key not in self._halt.acting:
                task.cancel()
        await self.finish()

    async def finish(self) -> None:
        """Return when everything has ended by itself."""
        while self._tasks:
            done, _ = await asyncio.wait(self._tasks)
            self._collect(done)

    async def leave(self, error: BaseException) -> None:
        """The execution does not go on here: for a hand-over let the steps finish, else drop them where they are.

        Nothing is raised; the caller raises ``error``. Who comes next asks the targets of what was dropped.
        """
        if not isinstance(error, HandedOver):
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _collect(self, done: set[asyncio.Task[Any]]) -> None:
        failed = []
        for task in done:
            del self._tasks[task]
            # One that was cut short before it began has nothing to tell.
            if not task.cancelled() and (error := task.exception()) is not None:
                failed.append(error)
        if failed:
            # A lost lease outweighs a hand-over: then nothing may be finished any more.
            raise min(failed, key=lambda error: isinstance(error, HandedOver))
