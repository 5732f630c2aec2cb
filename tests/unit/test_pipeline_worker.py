"""The act path: claims, leases, pause, hand-over, adoption."""

from __future__ import annotations

import asyncio

import pytest
from fakes.actions import permit_for, record_of
from fakes.journal import Crash
from fakes.memory_gate import MemoryGate, State
from fakes.pipeline_rig import LEASE_SECONDS, TOPICS, Rig, runbook
from structlog.testing import capture_logs

from executor.errors import LeaseLost, Paused, Permanent
from executor.model import Plan, Status
from safety.errors import GateUnavailable
from services.intake.contracts import RequestMessage
from services.kafka.errors import BusUnavailable
from services.kafka.model import Inbound
from services.pipeline.act import Holding

TWO_STEPS = [
    {"name": "first", "action": "set", "params": {"name": "first", "value": "1"}},
    {"name": "second", "action": "set", "params": {"name": "{{ target.name }}", "value": "512Mi"}},
]


def a_permit(token=7, approval_id=""):
    plan = Plan(
        runbook_id="rb",
        runbook_version="1",
        runbook_sha="s",
        target_key="kind/shop/Deployment/app",
        steps=(),
        context={"target": {}},
        hash="h",
    )
    return permit_for(record_of(plan), token, approval_id)


class Step:
    """A step that says when it begins, and ends when it may."""

    def __init__(self):
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def __call__(self):
        self.begun.set()
        await self.may_end.wait()


def holding(rig):
    gate = MemoryGate(rig.policy, rig.clock, rig.gate_state)
    return Holding(gate, rig.clock, LEASE_SECONDS), gate


async def check(held, permit):
    await held.check(permit.execution_id, permit.target_key, permit.token)


async def test_invariant_10_pause_takes_effect_before_the_next_step():
    """Asked before each step, the switch holds from the moment it is turned, and lets go when it is turned back."""
    held, gate = holding(Rig())
    held.take(permit := a_permit())
    await check(held, permit)
    await gate.pause("ops", "release")
    with pytest.raises(Paused, match="release"):
        await check(held, permit)
    await gate.resume("ops")
    await check(held, permit)


async def test_invariant_10_a_pause_between_two_steps_holds_the_second_one_back():
    """The step that runs is finished; the next one starts when the pause is lifted, and then the work is proven."""
    rig = Rig(runbook(steps=TWO_STEPS))
    process = rig.process()
    seen = []

    async def pausing():
        if not rig.effects():
            await process.gate.pause("ops", "release")

    def tick():
        if process.gate.state.pause:
            seen.append(list(rig.effects()))
            if len(seen) == 5:
                process.gate.state.pause = None

    rig.tiny.performing = pausing
    rig.clock.on_sleep.append(tick)
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    assert seen == [["set first=1"]] * 5
    assert rig.effects() == ["set first=1", "set app=512Mi"]
    assert rig.outcomes() == ["success"]


async def test_a_switch_that_cannot_be_read_stops_what_runs_by_itself_and_lets_go_on_what_a_human_approved():
    """Missing data never permits; a human's yes was given to this very plan."""
    held, gate = holding(Rig())
    gate.away = True
    held.take(permit := a_permit())
    with pytest.raises(Paused, match="cannot be read"):
        await check(held, permit)
    held.take(approved := a_permit(approval_id="a-1"))
    await check(held, approved)


@pytest.mark.parametrize("how", ["never held", "dropped", "lost", "another epoch", "not renewed in time"])
async def test_invariant_4_a_holder_that_lost_its_lease_starts_no_further_step(how):
    """Whatever made it lose the target; a lease that nobody renewed is lost also when the store cannot be asked."""
    rig = Rig()
    held, _ = holding(rig)
    permit = a_permit(token=7)
    if how != "never held":
        held.take(permit)
        await check(held, permit)
    if how == "dropped":
        held.drop(permit.execution_id)
    if how == "lost":
        held.lose([permit.execution_id])
    if how == "another epoch":
        permit = a_permit(token=8)
    if how == "not renewed in time":
        rig.clock.passed += LEASE_SECONDS - 1
        await check(held, permit)
        rig.clock.passed += 1.1
    with pytest.raises(LeaseLost):
        await check(held, permit)


async def test_invariant_4_a_worker_that_was_taken_over_stops_before_its_next_step():
    """Its heartbeat learns that another process holds the target; the second step happens once, over there."""
    rig = Rig(runbook(steps=TWO_STEPS))
    process, other = rig.process(), rig.process()

    async def stall():
        rig.tiny.performing = None
        rig.clock.passed += LEASE_SECONDS + 1  # its heartbeat hangs
        (execution_id,) = rig.store.executions
        await other.worker.adopt([execution_id])
        await process.worker.renew()

    rig.tiny.performing = stall
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    await other.quiet()
    assert rig.effects().count("set app=512Mi") == 1
    assert not process.holding.all()
    assert next(iter(rig.store.executions.values())).holder == "process-2"


async def test_a_lease_counts_from_before_the_claim():
    """A claim that took long to be answered is as old as the question."""
    rig = Rig()
    held, _ = holding(rig)
    began = rig.clock.monotonic()
    rig.clock.passed += LEASE_SECONDS + 1
    held.take(permit := a_permit(), began)
    with pytest.raises(LeaseLost):
        await check(held, permit)


async def test_a_renewed_lease_goes_on_and_is_renewed_in_the_gate_as_well():
    """Both leases are extended by one heartbeat, for everything that is held."""
    rig = Rig(handoff=False)
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    (request,) = rig.requests()
    rig.tiny.performing = step = Step()
    await process.worker.on_requests([request])
    await step.begun.wait()
    for _ in range(40):
        rig.clock.passed += LEASE_SECONDS - 1
        await process.worker.renew()
    (held,) = process.holding.all()
    await process.holding.check(held.execution_id, held.target_key, held.token)
    target = rig.gate_state.targets["acme", held.target_key]
    assert target.until > rig.clock.now().timestamp() * 1000
    step.may_end.set()
    await process.quiet()


async def test_a_request_that_two_workers_get_runs_once():
    """The claim decides; whoever comes second leaves it alone."""
    rig = Rig(handoff=False)
    one, other = rig.process(), rig.process()
    await one.ingest.on_batch([rig.event()])
    await asyncio.gather(*(p.worker.on_requests(rig.requests() * 2) for p in (one, other)))
    await one.quiet()
    await other.quiet()
    assert rig.effects() == ["set app=512Mi"]
    assert rig.outcomes() == ["success"]


async def test_a_stopped_worker_leaves_its_execution_to_be_adopted():
    """It finishes its step; another process goes on with the next one when the lease has run out."""
    rig = Rig(runbook(steps=TWO_STEPS))
    process = rig.process()

    async def stopping():
        rig.tiny.performing = None
        process.executor.stop()

    rig.tiny.performing = stopping
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    await process.worker.stop(5)
    assert (rig.effects(), rig.outcomes()) == (["set first=1"], ["running"])
    other = rig.process()
    await other.care.sweep()
    assert rig.outcomes() == ["running"], "the lease still lives"
    rig.clock.passed += LEASE_SECONDS + 1
    await other.care.sweep()
    await other.quiet()
    assert (rig.effects(), rig.outcomes()) == (["set first=1", "set app=512Mi"], ["success"])
    assert [m["event"] for m in rig.published(TOPICS.executions)] == ["started", "resumed", "finished"]


async def test_a_stopping_worker_takes_up_nothing_new():
    """What comes in while it ends is left to others: the permit is durable."""
    rig = Rig(handoff=False)
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.worker.stop(1)
    await process.worker.on_requests(rig.requests())
    await process.worker.adopt(list(rig.store.executions))
    assert rig.outcomes() == ["permitted"]


async def test_a_worker_that_cannot_finish_in_its_grace_says_so_and_ends():
    """A step that hangs must not keep the process from ending."""
    rig = Rig()
    process = rig.process()
    rig.tiny.performing = step = Step()
    await process.ingest.on_batch([rig.event()])
    await step.begun.wait()
    with capture_logs() as lines:
        await process.worker.stop(0.05)
    assert [line["still_running"] for line in lines if line["event"] == "worker.grace_over"] == [1]
    await process.die()


@pytest.mark.parametrize(
    "moment", ["after claim", "before intend", "after intend", "before outcome", "before finish", "after finish"]
)
async def test_a_process_that_dies_while_it_acts_is_taken_over_and_nothing_is_done_twice(moment):
    """The lease runs out, the next one adopts, asks the target what happened and goes on."""
    rig = Rig()
    rig.points.crash(moment)
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    await process.die()
    rig.clock.passed += LEASE_SECONDS + 1
    other = rig.process()
    await other.care.sweep()
    await other.quiet()
    assert (rig.effects(), rig.outcomes()) == (["set app=512Mi"], ["success"])


async def test_a_request_that_was_never_published_is_published_again_once():
    """The process died between the record and the publication; a sweep hands the permit to a worker."""
    rig = Rig(handoff=False)
    rig.points.crash("before publish")
    with pytest.raises(Crash):
        await rig.process().ingest.on_batch([rig.event()])
    other = rig.process()
    await other.care.sweep()
    assert rig.outcomes() == ["permitted"], "the publisher still has its time"
    rig.clock.passed += 16
    for _ in range(3):
        await other.care.sweep()
    await other.quiet()
    assert (rig.effects(), rig.outcomes()) == (["set app=512Mi"], ["success"])


async def test_a_process_without_a_worker_publishes_a_lost_request_again():
    """Roles scale out separately: who decides has nobody to hand it to."""
    rig = Rig(handoff=False)
    rig.points.crash("before publish")
    with pytest.raises(Crash):
        await rig.process().ingest.on_batch([rig.event()])
    rig.clock.passed += 16
    other = rig.process()
    other.care._worker = None
    await other.care.sweep()
    assert len(rig.published(TOPICS.requests)) == 1


async def test_an_execution_that_cannot_be_adopted_does_not_keep_others_waiting():
    """One orphan must not block the rest."""
    rig = Rig(handoff=False)
    rig.app("web")
    process = rig.process()
    await process.ingest.on_batch([rig.event("app"), rig.event("web")])
    rig.points.crash("before intend")
    rig.points.crash("before intend")
    await process.worker.on_requests(rig.requests())
    await process.quiet()
    rig.clock.passed += LEASE_SECONDS + 1
    adopt, first = rig.store.adopt, next(iter(rig.store.executions))

    async def failing(execution_id, holder, lease_seconds):
        if execution_id == first:
            raise BrokenNode("a broken node")
        return await adopt(execution_id, holder, lease_seconds)

    rig.store.adopt = failing
    other = rig.process()
    await other.care.sweep()
    await other.quiet()
    assert sorted(rig.outcomes()) == ["running", "success"]


class BrokenNode(Permanent):
    """The store refuses one execution."""


async def test_a_gate_that_cannot_release_does_not_fail_the_execution():
    """The world was changed and proven; the lock runs out by itself."""
    rig = Rig()
    rig.points.fail("before release", GateUnavailable("redis is away"))
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    assert rig.outcomes() == ["success"]
    assert [m["event"] for m in rig.published(TOPICS.executions)] == ["started", "finished"]


@pytest.mark.parametrize("error", [BusUnavailable("kafka is away"), RuntimeError("the client is closed")])
async def test_a_topic_that_cannot_be_written_does_not_stop_an_execution(error):
    """The graph has the truth, the topic is for listeners."""
    rig = Rig(handoff=False)
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    rig.points.fail("before publish", error, error)
    await process.worker.on_requests(rig.requests())
    await process.quiet()
    assert rig.outcomes() == ["success"]


@pytest.mark.parametrize("value", [None, b"", b"\xff\xfe", b"{}", b"[]", b'{"execution_id": 7}'])
async def test_an_unreadable_request_is_skipped_loudly(value):
    """It is logged with its place; the requests around it run."""
    rig = Rig(handoff=False)
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    (good,) = rig.requests()
    bad = Inbound(TOPICS.requests, 3, 41, None, value, (), rig.clock.now())
    with capture_logs() as lines:
        await process.worker.on_requests([bad, good])
        await process.quiet()
    (line,) = [line for line in lines if line["event"] == "request.unreadable"]
    assert (line["partition"], line["offset"], line["log_level"]) == (3, 41, "warning")
    assert rig.outcomes() == ["success"]


async def test_a_request_for_an_execution_that_nobody_knows_runs_nothing():
    """A forged or outdated request finds no permit."""
    rig = Rig()
    process = rig.process()
    request = RequestMessage(
        execution_id="nobody",
        plan_hash="h",
        target_key="kind/shop/Deployment/app",
        decision_id="",
        requested_at=rig.clock.now(),
    )
    with capture_logs() as lines:
        process.worker.submit(request)
        await process.quiet()
    assert [line["event"] for line in lines] == ["request.not_run"]
    assert not process.holding.all()


async def test_a_request_with_another_plan_hash_runs_nothing():
    """A permit is good for one plan."""
    rig = Rig(handoff=False)
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    request = RequestMessage.model_validate_json(rig.requests()[0].value)
    process.worker.submit(request.model_copy(update={"plan_hash": "another"}))
    await process.quiet()
    assert (rig.effects(), rig.outcomes()) == ([], ["permitted"])


async def test_executions_of_different_targets_run_side_by_side():
    """One target's slow step does not hold another target back."""
    rig = Rig()
    rig.app("web")
    process = rig.process()
    both = asyncio.Barrier(2)
    rig.tiny.performing = both.wait
    async with asyncio.timeout(5):
        await process.ingest.on_batch([rig.event("app"), rig.event("web")])
        await process.quiet()
    assert rig.outcomes() == ["success", "success"]


async def test_an_execution_that_ended_frees_its_target_and_starts_its_cooldown():
    """A new permit for the target has to wait for the quiet time."""
    rig = Rig()
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    target = rig.gate_state.targets["acme", "kind/shop/Deployment/app"]
    assert (target.holder, target.cooling > rig.clock.now().timestamp() * 1000) == ("", True)
    assert isinstance(rig.gate_state, State)
    assert next(iter(rig.store.executions.values())).record.status is Status.DONE
