"""The process around the pipeline: tasks that must not die unnoticed, and the order of its end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.bootstrap import Pipeline, Role
from services.health import Health
from services.serve import LONGEST_PAUSE_SECONDS, RUNNING, Service, keep


class Enough(BaseException):
    """Ends a test's endless loop from inside."""


class Naps:
    """Sleeps that take no time, so many of them."""

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        if len(self.taken) == self.most:
            raise Enough


async def test_a_task_that_dies_is_told_of_and_begun_again():
    """While it pauses the process is broken for its prober; afterwards it works again."""
    health, begun, states = Health(), [], []

    async def work() -> None:
        begun.append(health.alive()[0])
        raise RuntimeError("a surprise")

    def tell(name: str, state: str) -> None:
        health.role(name, state)
        states.append(state)

    with capture_logs() as lines, pytest.raises(Enough):
        await keep("sweep", work, tell, Naps(2))
    assert begun == [True, True]
    assert states == [RUNNING, "failed: RuntimeError: a surprise"] * 2
    alive, seen = health.alive()
    assert (alive, seen["status"]) == (False, "broken: sweep")
    assert [line["task"] for line in lines if line["event"] == "task.failed"] == ["sweep", "sweep"]


async def test_a_task_that_ends_by_itself_is_a_failure_as_well():
    """None of them has an end."""
    states: list[str] = []

    async def work() -> None:
        return

    with pytest.raises(Enough):
        await keep("runbooks", work, lambda _, state: states.append(state), Naps(1))
    assert states == [RUNNING, "failed: it ended"]


async def test_pauses_between_failures_grow_up_to_a_limit():
    """A task that cannot work does not keep the machine busy."""
    naps = Naps(9)

    async def work() -> None:
        raise OSError("no more watches")

    with pytest.raises(Enough):
        await keep("runbooks", work, lambda *_: None, naps)
    assert naps.taken == sorted(naps.taken)
    assert naps.taken[0] < naps.taken[1]
    assert naps.taken[-1] == LONGEST_PAUSE_SECONDS


async def test_a_cancelled_task_ends_and_is_no_failure():
    """The end of the process is on purpose."""
    states: list[str] = []

    async def work() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(keep("sweep", work, lambda _, state: states.append(state)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert states == [RUNNING]


class Recorder:
    """Collaborators of the service that write down what they are asked to do."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.held = asyncio.Event()

    def parts(self) -> Any:
        execution = SimpleNamespace(heartbeat_seconds=0.01, sweep_seconds=0.01, sweep_deadline_seconds=60)
        settings = SimpleNamespace(execution=execution, runbooks=SimpleNamespace(watch=True))
        catalog = SimpleNamespace(watch=self.watch, count=lambda: 3, remarks=())
        return SimpleNamespace(settings=settings, bus=self, catalog=catalog, history=None)

    async def stop_reading(self) -> None:
        self.done.append("stop reading")

    async def watch(self) -> None:
        raise OSError("no more watches")

    async def renew(self) -> None:
        self.done.append("renew")
        self.held.set()

    async def duty(self) -> None:
        self.done.append("sweep")

    async def stop(self, grace: float) -> None:
        self.done.append(f"finish steps within {grace:g} s")
        self.held.clear()
        await self.held.wait()
        self.done.append("finished")


async def test_a_service_stops_reading_then_sweeping_then_finishes_its_steps_with_leases_renewed():
    """Nothing new is taken up, and what runs keeps its targets until it is done."""
    seen = Recorder()
    service = Service(seen.parts(), [Role.ACT], 7)
    worker: Any = seen
    pipeline = Pipeline(None, worker, (("orphans", seen.duty),))
    service._begin(pipeline, Health())
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        await service._end(pipeline)
    end = seen.done[seen.done.index("stop reading") :]
    assert end[:1] + end[-1:] == ["stop reading", "finished"]
    during = end[end.index("finish steps within 7 s") :]
    assert set(during) == {"finish steps within 7 s", "renew", "finished"}
    count = len(seen.done)
    await asyncio.sleep(0.05)
    assert len(seen.done) == count, "nothing goes on afterwards"


async def test_runbooks_that_are_not_followed_are_said_with_the_runbooks_and_break_nothing():
    """What is loaded still works; a restart would not make the folder readable."""
    seen, health = Recorder(), Health()
    service = Service(seen.parts(), [Role.ACT], 1)
    pipeline = Pipeline(None, None, ())
    service._begin(pipeline, health)
    await asyncio.sleep(0.02)
    assert await service._runbooks() == "3 loaded; changes are not followed, failed: OSError: no more watches"
    assert health.alive()[0]
    await service._end(pipeline)


async def test_a_failing_duty_does_not_end_the_sweeper():
    """It is told of and tried again at the next sweep, and the others are done."""
    seen = Recorder()

    async def broken() -> None:
        raise RuntimeError("a surprise")

    service = Service(seen.parts(), [Role.ACT], 1)
    pipeline = Pipeline(None, None, (("broken", broken), ("orphans", seen.duty)))
    with capture_logs() as lines:
        service._begin(pipeline, Health())
        await asyncio.sleep(0.06)
        await service._end(pipeline)
    assert seen.done.count("sweep") > 1
    assert {line["duty"] for line in lines if line["event"] == "sweep.failed"} == {"broken"}
