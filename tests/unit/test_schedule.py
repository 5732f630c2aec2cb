"""Schedules: the times of the clock on the wall, and each time exactly one request."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from fakes.pipeline_rig import Rig, runbook
from fakes.recording_publisher import RecordingPublisher
from fakes.schedules import MemoryScheduleState
from fakes.world import FakeClock
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from executor.errors import Unavailable
from runbooks.cron import following, times
from runbooks.triggers import Schedule
from services.pipeline.sweep import sweep
from services.records import DecisionKind
from services.schedule import Due, Scheduler, due

VIENNA = ZoneInfo("Europe/Vienna")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)
APP = {"kind": "Deployment", "namespace": "shop", "name": "app"}


def local(*parts):
    return datetime(*parts, tzinfo=VIENNA)


def fired(cron, start, days=1, zone="Europe/Vienna"):
    start = start.astimezone(UTC)
    found = times(Schedule(cron=cron, timezone=zone), start, start + days * DAY)
    return [moment.astimezone(VIENNA).strftime("%d %H:%M%z") for moment in found]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 2 * * *", ["29 03:00+0200"]),  # 02:30 does not exist: right after the gap
        ("30 3 * * *", ["29 03:30+0200"]),
        ("0 2,3 * * *", ["29 03:00+0200"]),  # both would fall on one moment: it is one time
        ("*/30 1-3 * * *", ["29 01:00+0100", "29 01:30+0100", "29 03:00+0200", "29 03:30+0200"]),
    ],
)
def test_in_spring_a_skipped_time_comes_once_right_after_the_gap(cron, expected):
    """Clocks go from 02:00 to 03:00: nothing that is due in a night is lost, and nothing comes twice."""
    assert fired(cron, local(2026, 3, 29, 0, 0), days=0.5) == expected


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 2 * * *", ["25 02:30+0200"]),  # shown twice, due once
        ("0 */1 * * *", [f"25 {at}" for at in ("01:00+0200", "02:00+0200", "02:00+0100", "03:00+0100")]),
    ],
)
def test_in_autumn_a_repeated_time_comes_once_unless_it_is_every_hour(cron, expected):
    """Clocks go from 03:00 back to 02:00: a nightly run is one run, and every hour is every hour of real time."""
    assert fired(cron, local(2026, 10, 25, 0, 30), days=1 / 6) == expected


def test_after_the_first_of_two_equal_times_the_second_is_not_due():
    """Looked at from within the hour that comes twice."""
    second = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)  # 02:15 in Vienna, for the second time
    schedule = Schedule(cron="30 2 * * *", timezone="Europe/Vienna")
    assert following(schedule, second).astimezone(VIENNA) == local(2026, 10, 26, 2, 30)


@pytest.mark.parametrize("zone", ["Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
@given(day=st.integers(0, 364), hour=st.integers(0, 23), minute=st.integers(0, 59))
@limits(max_examples=40, deadline=None)
def test_a_daily_time_comes_once_on_every_day(zone, day, hour, minute):
    """Whatever the clocks do, and wherever one starts to look."""
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day, minutes=7 * day)
    found = list(times(Schedule(cron=f"{minute} {hour} * * *", timezone=zone), start, start + 30 * DAY))
    days = [moment.astimezone(ZoneInfo(zone)).date() for moment in found]
    assert len(set(days)) == len(days)
    assert len(days) in (29, 30, 31)
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("cron", "zone", "told"),
    [("* * *", "UTC", "five fields"), ("61 * * * *", "UTC", "minute"), ("0 3 * * *", "Mars/Olympus", "time zone")],
)
def test_a_schedule_that_cannot_be_read_says_why(cron, zone, told):
    """Field or zone are named. Loading the runbook tells it sooner; this is what holds at run time."""
    with pytest.raises(ValueError, match=told):
        list(times(Schedule.model_construct(cron=cron, timezone=zone), START, START + DAY))


# What is due

NIGHTLY = Schedule(cron="0 3 * * *")
LENIENT = Schedule(cron="0 3 * * *", catch_up="2h")
THREE = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "late", "expected"),
    [
        (NIGHTLY, timedelta(seconds=2), Due((THREE,), THREE)),
        (NIGHTLY, 2 * MINUTE, Due((), THREE + timedelta(seconds=59), THREE)),
        (NIGHTLY, 5 * HOUR, Due((), THREE + 5 * HOUR - MINUTE - timedelta(seconds=1), THREE)),
        (LENIENT, 90 * MINUTE, Due((THREE,), THREE)),
        (LENIENT, 121 * MINUTE, Due((), THREE + MINUTE - timedelta(seconds=1), THREE)),
        (NIGHTLY, -HOUR, Due()),
    ],
)
def test_a_missed_time_is_made_up_for_only_where_the_author_allows_its_age(schedule, late, expected):
    """On time is on time; a missed time is said, and is done with."""
    assert due(schedule, THREE - HOUR * 12, THREE + late) == expected


def test_of_many_missed_times_one_is_made_up_for():
    """A run every five minutes, after an hour away: one run, not twelve."""
    schedule = Schedule(cron="*/5 * * * *", catch_up="2h")
    answer = due(schedule, START - HOUR, START + 2 * MINUTE)
    assert answer.fires == (datetime(2026, 5, 4, 12, 0, tzinfo=UTC),)


# The scheduler


def scheduler(state, publisher, clock, *runbooks, **more):
    loaded = {one.runbook.id: one for one in runbooks}
    given_ = {"topic": "run", "tenant": "acme", "cluster": "kind", **more}
    return Scheduler(runbooks=lambda: loaded, state=state, publisher=publisher, clock=clock, **given_)


def nightly(cron="* * * * *", **more):
    return runbook(trigger={"schedule": [{"cron": cron, "target": APP, **more}]})


def ids(publisher):
    return [json.loads(m.value)["request_id"] for m in publisher.messages]


async def test_nothing_of_the_past_is_fired_when_a_schedule_is_first_seen():
    """It begins now; and while nothing is due the store is not asked."""
    state, publisher, clock = MemoryScheduleState(), RecordingPublisher(), FakeClock(START)
    one = scheduler(state, publisher, clock, nightly("0 3 * * *", catch_up="7d"))
    for _ in range(50):
        await one.sweep()
        clock.advance(2)
    assert publisher.messages == []
    assert state.asked == 1


async def test_two_processes_ask_for_each_time_under_one_id():
    """Both see it; the ids are the same, so that intake sees one request."""
    state, publisher, clock = MemoryScheduleState(), RecordingPublisher(), FakeClock(START)
    both = [scheduler(state, publisher, clock, nightly()) for _ in range(2)]
    for _ in range(150):
        for one in both:
            await one.sweep()
        clock.advance(2)
    assert len(set(ids(publisher))) == 5
    assert {json.loads(m.value)["source"] for m in publisher.messages} == {"schedule"}


@limits(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["one", "other", "publish", "arm", "record", "restart", "wait"]), max_size=60))
async def test_in_whatever_order_processes_look_fail_and_restart_each_time_has_one_id(moments):
    """A publication may be lost, a record may be lost, a process may die: no time is left out or has two ids."""
    state, publisher, clock = MemoryScheduleState(), RecordingPublisher(), FakeClock(START)
    both = {name: scheduler(state, publisher, clock, nightly()) for name in ("one", "other")}
    await both["one"].sweep()
    for moment in moments:
        if moment == "restart":
            both["one"] = scheduler(state, publisher, clock, nightly())
        elif moment == "publish":
            publisher.away = True
        elif moment == "arm":
            state.broken = Unavailable("away")
        elif moment == "record":
            state.forgets = Unavailable("away")
        else:
            clock.advance(20 if moment == "wait" else 0)
            await sweep([("schedule", both.get(moment, both["other"]).sweep)])
            publisher.away, state.broken, state.forgets = False, None, None
    publisher.away, state.broken, state.forgets = False, None, None
    await both["one"].sweep()
    at = sorted({json.loads(m.value)["requested_at"] for m in publisher.messages})
    assert len(at) == len(set(ids(publisher)))
    wanted = list(times(Schedule(cron="* * * * *"), START, clock.now()))
    assert [datetime.fromisoformat(text) for text in at] == wanted


async def test_a_changed_schedule_begins_anew_and_a_removed_one_ends():
    """What is changed makes it another schedule; catch_up alone does not."""
    state, publisher, clock = MemoryScheduleState(), RecordingPublisher(), FakeClock(START)
    loaded = {"raise-memory": nightly()}
    one = Scheduler(
        runbooks=lambda: loaded, state=state, publisher=publisher, topic="run", clock=clock, tenant="t", cluster="c"
    )
    await one.sweep()
    loaded["raise-memory"] = nightly(catch_up="1h")
    clock.advance(60)
    await one.sweep()
    assert len(publisher.messages) == 1
    loaded["raise-memory"] = nightly("*/2 * * * *")
    await one.sweep()
    loaded.clear()
    clock.advance(600)
    await one.sweep()
    assert len(publisher.messages) == 1
    assert len(state.last) == 2


async def test_a_schedule_that_cannot_be_used_does_not_hold_up_the_others():
    """It is left alone until its runbook changes."""
    state, publisher, clock = MemoryScheduleState(), RecordingPublisher(), FakeClock(START)
    bad = runbook(id="bad", trigger={"schedule": [{"cron": "* * * * *", "target": {**APP, "name": "No Name"}}]})
    one = scheduler(state, publisher, clock, bad, nightly())
    for _ in range(60):
        await one.sweep()
        clock.advance(2)
    assert len(publisher.messages) == 2


async def test_runbooks_for_other_clusters_are_left_to_others():
    """One catalog for several clusters: each fires its own."""
    state, publisher, clock = MemoryScheduleState(), RecordingPublisher(), FakeClock(START)
    theirs = runbook(trigger={"cluster": ["prod-*"], "schedule": [{"cron": "* * * * *", "target": APP}]})
    one = scheduler(state, publisher, clock, theirs)
    await one.sweep()
    clock.advance(120)
    await one.sweep()
    assert publisher.messages == []


async def test_each_time_is_one_decision_though_two_processes_asked():
    """From two schedulers through Kafka's copy of both to the pipeline."""
    rig = Rig(nightly(), handoff=False)
    state = MemoryScheduleState()
    both = [scheduler(state, rig.kafka, rig.clock, *rig.runbooks, topic="remediation.run-requests") for _ in range(2)]
    process, read = rig.process(), 0
    for _ in range(40):
        for one in both:
            one._next.clear()  # as if both looked at the very same moment
            await one.sweep()
        orders = [m for m in rig.kafka.messages if m.topic == "remediation.run-requests"]
        await process.ingest.on_batch([rig.raw(m.value, m.topic) for m in orders[read:]])
        read = len(orders)
        rig.clock.passed += 10
    asked = {d.signal.event_id for d in rig.decisions()}
    assert len(asked) == len(rig.decisions()) == 6
    assert len(rig.decisions(DecisionKind.PERMIT)) == 1
    assert {d.check for d in rig.decisions(DecisionKind.REFUSAL)} == {"lock"}
