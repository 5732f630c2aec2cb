"""Coroutines in order for each key and side by side across keys, bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

Job = Callable[[], Awaitable[Any]]


@dataclass(slots=True)
class _Waiting:
    job: Job
    done: asyncio.Future[Any]


@dataclass(slots=True)
class _Lane:
    """The jobs of one key that wait, and the task that works through them."""

    jobs: deque[_Waiting] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class KeyedRunner:
    """Runs jobs in order for each key, and at most ``limit`` at once.

    A key that has nothing to do costs nothing: its lane goes away with its last job.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        self._slots = asyncio.Semaphore(limit)
        self._lanes: dict[str, _Lane] = {}
        self._stopping = False

    @property
    def pending(self) -> int:
        """How many keys have a job that runs or waits."""
        return len(self._lanes)

    def submit(self, key: str, job: Job) -> asyncio.Future[Any]:
        """Queue a job behind the others of its key.

        Args:
            key: what must stay in order.
            job: called when its turn comes, so that a job that never starts leaves no coroutine behind.

        Returns:
            The job's result or error; cancelled when the runner stops before the job starts.

        Raises:
            RuntimeError: the runner is stopping.
        """
        if self._stopping:
            raise RuntimeError("the runner is stopping and takes no further job")
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        lane = self._lanes.setdefault(key, _Lane())
        lane.jobs.append(_Waiting(job, done))
        if lane.task is None:
            lane.task = asyncio.create_task(self._work(key, lane), name=f"lane {key}")
        return done

    async def stop(self) -> None:
        """Let running jobs finish, cancel those that wait, and return when all is quiet."""
        self._stopping = True
        for lane in self._lanes.values():
            for waiting in lane.jobs:
                waiting.done.cancel()
            lane.jobs.clear()
        await self.join()

    async def join(self) -> None:
        """Return when nothing runs or waits any more."""
        while tasks := [lane.task for lane in self._lanes.values() if lane.task is not None]:
            await asyncio.wait(tasks)

    async def _work(self, key: str, lane: _Lane) -> None:
        try:
            while lane.jobs:
                async with self._slots:
                    # Taken only now: stop() can still cancel what waits for a slot.
                    if lane.jobs:
                        await self._run(lane.jobs.popleft())
        finally:
            del self._lanes[key]

    @staticmethod
    async def _run(waiting: _Waiting) -> None:
        if waiting.done.cancelled():
            return
        try:
            result = await waiting.job()
        except asyncio.CancelledError:
            waiting.done.cancel()
            raise
        except BaseException as error:  # noqa: BLE001 - the caller owns the job's error, whatever it is
            if not waiting.done.cancelled():
                waiting.done.set_exception(error)
        else:
            if not waiting.done.cancelled():
                waiting.done.set_result(result)
