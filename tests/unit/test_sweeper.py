"""The sweeper: no duty and no record keeps the others from being looked after."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from structlog.testing import capture_logs

from executor.errors import Permanent, TooNew, Unreadable
from services.pipeline.aside import SetAside
from services.pipeline.sweep import Sweeper


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.passed, UTC)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds


class Heard:
    """Remembers events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def event(self, name: str, **facts: object) -> None:
        self.events.append((name, facts))


class Duties:
    """One duty that hangs until it is let go, and one that counts."""

    def __init__(self) -> None:
        self.begun = self.cancelled = self.done = 0
        self.free = asyncio.Event()

    async def hangs(self) -> None:
        self.begun += 1
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def counts(self) -> None:
        self.done += 1


async def test_a_duty_that_hangs_does_not_keep_the_others_from_being_done():
    """Those behind it are done at each sweep, and it is not begun a second time beside itself."""
    duties = Duties()
    pairs = [("hangs", duties.hangs), ("counts", duties.counts)]
    sweeper = Sweeper(pairs, patience_seconds=0.01, deadline_seconds=300)
    for _ in range(3):
        await sweeper.once()
    assert (duties.begun, duties.done) == (1, 3)
    duties.free.set()
    await asyncio.sleep(0)
    await sweeper.once()
    await sweeper.once()
    assert duties.begun == 2
    await sweeper.close()


async def test_a_duty_past_its_deadline_is_given_up_and_begun_anew():
    """What waits for an answer that never comes is asked again."""
    clock, duties = HandClock(), Duties()
    sweeper = Sweeper([("hangs", duties.hangs)], patience_seconds=0.01, deadline_seconds=300, monotonic=clock.monotonic)
    await sweeper.once()
    clock.passed += 301
    with capture_logs() as lines:
        await sweeper.once()
    assert [line["duty"] for line in lines if line["event"] == "sweep.given_up"] == ["hangs"]
    assert duties.cancelled == 1
    await sweeper.once()
    assert duties.begun == 2
    await sweeper.close()
    assert duties.cancelled == 2


def test_what_cannot_be_read_is_told_of_once_and_tried_again_ever_more_seldom():
    """A record that stays broken costs one line in the log, not one every two seconds."""
    clock, heard = HandClock(), Heard()
    aside = SetAside(clock, heard, first_seconds=15, longest_seconds=60)
    with capture_logs() as lines:
        for pause in (15, 30, 60, 60):
            aside.put("e1", Unreadable("a field is missing"))
            clock.passed += pause - 1
            assert aside.names() == ("e1",)
            clock.passed += 1
            assert aside.names() == ()
    assert [line["event"] for line in lines] == ["record.unreadable"]
    assert heard.events == [("record.unreadable", {"kind": "execution"})]


def test_another_reason_is_told_as_well_and_what_is_not_unreadable_is_not_counted_as_such():
    """A record that breaks in another way is news."""
    clock, heard = HandClock(), Heard()
    aside = SetAside(clock, heard)
    with capture_logs() as lines:
        aside.put("e1", Permanent("a surprise"))
        aside.put("e1", TooNew("of format 2"))
    assert [line["event"] for line in lines] == ["execution.set_aside", "record.unreadable"]
    assert len(heard.events) == 1


def test_what_has_not_failed_for_an_hour_is_forgotten():
    """A process that runs for months does not remember everything that ever went wrong."""
    clock = HandClock()
    aside = SetAside(clock)
    aside.put("e1", Permanent("a surprise"))
    clock.passed += 3600 + 16
    assert aside.names() == ()
    assert not aside._put
