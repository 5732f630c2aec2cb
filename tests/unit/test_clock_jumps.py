"""Somebody sets a wall clock by an hour: leases do not care, a question becomes no yes, no time is fired twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from fakes.memory_gate import MemoryGate
from fakes.pipeline_rig import Rig, runbook
from fakes.recording_publisher import RecordingPublisher
from fakes.schedules import MemoryScheduleState
from fakes.world import FakeClock
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from executor.errors import LeaseLost
from safety.approvals import ApprovalStatus, Verb
from services.pipeline.act import Holding
from services.schedule import Scheduler

HOUR = timedelta(hours=1)
START = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)
LEASE_SECONDS = 15.0


class Settable(FakeClock):
    """Virtual time of one process; somebody may set its wall clock."""

    def __init__(self, start=START):
        super().__init__(start)
        self._shift = timedelta()

    def now(self):
        return super().now() + self._shift

    def jump(self, by):
        self._shift += by


@pytest.mark.parametrize("by", [HOUR, -HOUR])
async def test_a_lease_lasts_as_long_as_it_lasts(by):
    """The clock is set in the middle: the holder goes on, and it stops when the lease is over and not an hour later."""
    clock = Settable()
    holding = Holding(MemoryGate(None, clock), clock, LEASE_SECONDS)
    permit = SimpleNamespace(execution_id="e", target_key="kind/shop/Deployment/app", token=1, approval_id="a")
    holding.take(permit)
    clock.jump(by)
    clock.advance(LEASE_SECONDS - 1)
    await holding.check("e", permit.target_key, 1)
    clock.advance(2)
    with pytest.raises(LeaseLost):
        await holding.check("e", permit.target_key, 1)


APP = {"kind": "Deployment", "namespace": "shop", "name": "app"}


def nightly():
    return runbook(trigger={"schedule": [{"cron": "*/10 * * * *", "target": APP}]})


@limits(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.sampled_from(["one", "other"])), max_size=30))
async def test_a_schedule_fires_no_time_twice_however_clocks_jump(moments):
    """Ahead and back, in either of two processes: one id for each time, and none that no clock has come to."""
    state, publisher, latest = MemoryScheduleState(), RecordingPublisher(), START
    clocks = {name: Settable() for name in ("one", "other")}
    loaded = nightly()
    both = {
        name: Scheduler(
            runbooks=lambda: {loaded.runbook.id: loaded},
            state=state,
            publisher=publisher,
            topic="run",
            clock=clock,
            tenant="acme",
            cluster="kind",
        )
        for name, clock in clocks.items()
    }
    for jump, name in moments:
        clocks[name].jump(jump * HOUR)
        for clock in clocks.values():
            clock.advance(60)
        latest = max(latest, *(clock.now() for clock in clocks.values()))
        for one in both.values():
            await one.sweep()
    fired = [json.loads(message.value) for message in publisher.messages]
    times = {one["request_id"]: one["requested_at"] for one in fired}
    assert len(set(times.values())) == len(times)
    assert all(datetime.fromisoformat(at) <= latest for at in times.values())


@pytest.mark.parametrize("by", [HOUR, -HOUR])
async def test_a_question_becomes_no_yes_when_the_clock_jumps(by):
    """Ahead: it expires, which is a no. Back: it stays a question, and a yes on the right clock runs it, once."""
    rig = Rig(runbook(safety={"require_approval": True}))
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    (question,) = await rig.store.list(ApprovalStatus.PENDING)
    right = rig.clock.now
    rig.clock.now = lambda: right() + by
    await process.desk.sweep()
    await process.quiet()
    ahead = by > timedelta()
    status = rig.store.approvals[question.id].status
    assert (status, rig.effects()) == (ApprovalStatus.EXPIRED if ahead else ApprovalStatus.PENDING, [])
    rig.clock.now = right
    await rig.store.answer(
        question.id, Verb.APPROVE, by="ada", reason="", now=rig.clock.now(), plan_hash=question.plan_hash
    )
    for _ in range(2):
        await process.desk.sweep()
        await process.quiet()
    assert rig.effects() == ([] if ahead else ["set app=512Mi"])
