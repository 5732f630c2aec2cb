"""From alerts to decisions: the decide path on working fakes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.journal import Crash
from fakes.memory_gate import Target
from fakes.pipeline_rig import TOPICS, Rig, runbook

from executor.errors import Unavailable
from executor.model import Status
from matcher.correlate import fold
from safety.axes import Place
from safety.memory_counts import Counts
from services.records import DecisionKind

MINUTE = 60.0


async def test_an_explained_alert_is_permitted_run_and_verified():
    """The whole way, once: one decision, one request, one side effect, proof."""
    rig = Rig()
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    decision = rig.only(DecisionKind.PERMIT)
    assert rig.count(decision) == 1
    assert rig.effects() == ["set app=512Mi"]
    assert rig.outcomes() == ["success"]
    assert len(rig.published(TOPICS.requests)) == 1
    assert [m["event"] for m in rig.published(TOPICS.executions)] == ["started", "finished"]


async def test_a_thousand_repeats_of_one_alert_are_one_incident_and_one_execution():
    """In several batches, in turns through two processes that share nothing but the store."""
    rig = Rig()
    processes = [rig.process(), rig.process()]
    alerts = [rig.event(pod=str(number % 3)) for number in range(1000)]
    for number, start in enumerate(range(0, 1000, 97)):
        await processes[number % 2].ingest.on_batch(alerts[start : start + 97])
    for process in processes:
        await process.quiet()
    decision = rig.only(DecisionKind.PERMIT)
    assert rig.decisions() == [decision]
    assert rig.count(decision) == 1000
    assert rig.effects() == ["set app=512Mi"]
    assert rig.outcomes() == ["success"]


async def test_two_processes_that_see_the_same_problem_at_once_permit_it_once():
    """Neither sees the other's incident yet; the lock of the target lets one through."""
    rig = Rig(handoff=False)
    one, other = rig.process(), rig.process()
    written = [await process.ingest._decide(list(_folded(rig, process))) for process in (one, other)]
    for process, decided in zip((one, other), written, strict=True):
        await process.committer.commit(decided)
    assert len(rig.published(TOPICS.requests)) == 1
    assert sorted(d.kind for d in rig.decisions()) == [DecisionKind.PERMIT, DecisionKind.REFUSAL]
    assert rig.only(DecisionKind.REFUSAL).check == "lock"


def _folded(rig, process):
    received, _ = process.ingest._parse([rig.event()])
    return fold(received)


async def test_a_waiting_decision_becomes_a_permit_when_the_edge_appears():
    """The cause comes late; the look-ups before do not count as attempts, and it stays one decision."""
    rig = Rig()
    process = rig.process()
    await process.ingest.on_batch([rig.event(explained=False, event_id="late")])
    waiting = rig.only(DecisionKind.WAITING)
    for _ in range(3):
        rig.clock.passed += 20
        await process.bridge.sweep()
    assert rig.only(DecisionKind.WAITING).attempt == 4
    rig.explain("late")
    rig.clock.passed += 60
    await process.bridge.sweep()
    await process.quiet()
    permit = rig.only(DecisionKind.PERMIT)
    assert (permit.id, rig.count(permit)) == (waiting.id, 1)
    assert rig.decisions() == [permit]
    assert rig.outcomes() == ["success"]


async def test_a_later_delivery_with_a_cause_answers_the_waiting_decision():
    """KGroot explains the second event and not the first; the alert is one decision all the same."""
    rig = Rig()
    process = rig.process()
    await process.ingest.on_batch([rig.event(explained=False)])
    waiting = rig.only(DecisionKind.WAITING)
    rig.clock.passed += 5
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    permit = rig.only(DecisionKind.PERMIT)
    assert (permit.id, rig.count(permit), len(rig.decisions())) == (waiting.id, 2, 1)
    rig.clock.passed += 60
    await process.bridge.sweep()
    assert rig.outcomes() == ["success"]


async def test_a_late_rca_result_answers_the_waiting_alert():
    """The alert's own decision goes on, with the causes that the result names."""
    rig = Rig()
    process = rig.process()
    await process.ingest.on_batch([rig.event(explained=False, event_id="e-1")])
    waiting = rig.only(DecisionKind.WAITING)
    await process.ingest.on_batch([rig.rca("e-1")])
    await process.quiet()
    permit = rig.only(DecisionKind.PERMIT)
    assert (permit.id, permit.signal.event_id) == (waiting.id, "e-1")
    assert (rig.count(permit), len(rig.decisions())) == (2, 1)


async def test_an_rca_result_and_a_delivery_that_answer_one_decision_do_not_undo_each_other():
    """Both in one batch: the decision is the permit, and never ends as a part of itself."""
    rig = Rig()
    process = rig.process()
    await process.ingest.on_batch([rig.event(explained=False, event_id="e-1")])
    await process.ingest.on_batch([rig.rca("e-1"), rig.event(event_id="e-2")])
    await process.quiet()
    permit = rig.only(DecisionKind.PERMIT)
    assert rig.decisions() == [permit]
    assert (rig.count(permit), rig.outcomes()) == (3, ["success"])


async def test_without_a_cause_until_the_deadline_the_decision_is_no_cause():
    """Nothing is done, and that is recorded."""
    rig = Rig()
    process = rig.process()
    await process.ingest.on_batch([rig.event(explained=False)])
    for _ in range(40):
        rig.clock.passed += 30
        await process.bridge.sweep()
    decision = rig.only(DecisionKind.NO_CAUSE)
    assert (rig.decisions(), rig.count(decision), rig.effects()) == ([decision], 1, [])
    assert [m["kind"] for m in rig.published(TOPICS.decisions)][-1] == "no_cause"


async def test_a_cluster_that_does_not_answer_leaves_the_decision_waiting_with_its_causes():
    """The causes of a message are nowhere else; later they lead to the permit."""
    rig = Rig()
    process = rig.process()
    rig.cluster.broken = True
    await process.ingest.on_batch([rig.rca("e-1")])
    waiting = rig.only(DecisionKind.WAITING)
    assert [cause.reason for cause in waiting.causes] == ["OOMKilled"]
    rig.cluster.broken = False
    rig.clock.passed += 30
    await process.bridge.sweep()
    await process.quiet()
    assert rig.only(DecisionKind.PERMIT).id == waiting.id
    assert rig.outcomes() == ["success"]


@pytest.mark.parametrize("trouble", ["the cluster does not answer", "the cause is not known yet"])
async def test_a_delivery_that_cannot_be_placed_while_its_incident_is_acted_on_is_a_repeat(trouble):
    """The fix itself makes pods disappear; no second decision is opened beside the one that acts."""
    rig = Rig(handoff=False)
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    permit = rig.only(DecisionKind.PERMIT)
    rig.clock.passed += 5  # what was looked up for the first delivery is too old by now
    rig.cluster.broken = trouble == "the cluster does not answer"
    await process.ingest.on_batch([rig.event(explained=trouble != "the cause is not known yet")])
    assert rig.decisions() == [permit]
    assert rig.count(permit) == 2


async def test_a_stale_message_is_recorded_and_nothing_runs():
    """A new consumer group begins with the history of the topic."""
    rig = Rig()
    process = rig.process()
    message = rig.event()
    rig.clock.passed += 20 * MINUTE
    await process.ingest.on_batch([message])
    refusal = rig.only(DecisionKind.REFUSAL)
    assert (refusal.check, rig.count(refusal), rig.effects()) == ("stale_signal", 1, [])


async def test_a_stale_repeat_belongs_to_the_decision_that_stands():
    """A late copy of an alert that waits for its cause does not end the waiting."""
    rig = Rig(max_signal_age=timedelta(seconds=30))
    process = rig.process()
    first, second = rig.event(explained=False), rig.event(explained=False)
    await process.ingest.on_batch([first])
    rig.clock.passed += 60
    await process.ingest.on_batch([second])
    assert rig.count(rig.only(DecisionKind.WAITING)) == 2


@pytest.mark.parametrize("check", ["pause", "cooldown", "runbook_rate", "blast_radius_unknown", "unreachable"])
async def test_a_refusal_for_now_is_asked_again_by_a_later_repeat(check):
    """The problem is still there; once what stood in the way has passed, the repeat leads to a permit."""
    rig = Rig(runbook(safety={"max_executions_per_hour": 1}))
    process = rig.process()
    free = await _obstacle(rig, process, check)
    await process.ingest.on_batch([rig.event()])
    refusal = rig.decisions()[-1]
    assert (refusal.check, refusal.attempt) == (check, 1)
    await free()
    await process.ingest.on_batch([rig.event()])
    assert rig.decisions()[-1].attempt == 1, "too early"
    rig.clock.passed += rig.settings.retry_refused.total_seconds()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    permit = rig.decisions()[-1]
    assert (permit.kind, permit.attempt, permit.id) == (DecisionKind.PERMIT, 2, refusal.id)
    assert rig.count(permit) == 3
    assert rig.outcomes()[-1] == "success"


async def _obstacle(rig, process, check):
    """Put something in the way; gives what takes it away."""
    now = int(rig.clock.now().timestamp() * 1000)
    state = rig.gate_state
    if check == "pause":
        await process.gate.pause("ops", "release")
        return lambda: process.gate.resume("ops")
    if check == "blast_radius_unknown":
        rig.blast.unknown = True
        return _setting(rig.blast, "unknown", value=False)
    if check == "unreachable":
        plan = rig.actions["set"].plan
        rig.actions["set"].plan = _away
        return _setting(rig.actions["set"], "plan", value=plan)
    if check == "runbook_rate":
        state.counts.settle("another", Place("acme", "other", "raise-memory"), "other/shop/Deployment/other", now)
        return _setting(state, "counts", value=Counts())
    state.targets["acme", "kind/shop/Deployment/app"] = Target(cooling=now + 3_600_000, cooled_by="another")
    return _setting(state, "targets", value={})


def _setting(thing, name, *, value):
    async def work():
        setattr(thing, name, value)

    return work


async def _away(*_):
    raise Unavailable("the API server is away")


async def test_a_refusal_for_good_is_not_asked_again():
    """A protected namespace stays protected, however often the alert repeats."""
    rig = Rig(runbook(trigger={"min_confidence": 0.99}))
    process = rig.process()
    for _ in range(5):
        await process.ingest.on_batch([rig.event()])
        rig.clock.passed += 2 * MINUTE
    (decision,) = rig.decisions()
    assert (decision.kind, rig.count(decision), decision.attempt) == (decision.kind, 5, 1)
    assert decision.kind is not DecisionKind.PERMIT
    assert rig.effects() == []


async def test_a_permit_that_nobody_claimed_is_aborted_and_asked_for_again():
    """No worker was there in time; the next repeat after a while begins the second attempt."""
    rig = Rig(handoff=False)
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    rig.clock.passed += rig.policy.permit_ttl_seconds + 1
    await process.care.sweep()
    assert rig.outcomes() == ["aborted"]
    await process.ingest.on_batch([rig.event()])
    permit = rig.only(DecisionKind.PERMIT)
    assert (permit.attempt, rig.count(permit)) == (2, 2)
    assert rig.outcomes() == ["aborted", "permitted"]


async def test_resolved_closes_the_incident_and_counts_as_no_further_alert():
    """The end of an alert is a decision of its own; the next firing is another incident."""
    rig = Rig(runbook(trigger={"root_cause_reason": "Evicted"}))
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    first = rig.only(DecisionKind.NO_MATCH)
    await process.ingest.on_batch([rig.event(status="resolved")])
    assert rig.store.decisions[first.id].closed_at is not None
    assert rig.count(first) == 1
    assert first.id in rig.only(DecisionKind.RESOLVED).message
    await process.ingest.on_batch([rig.event()])
    assert len(rig.decisions(DecisionKind.NO_MATCH)) == 2


async def test_an_alert_that_ends_while_its_fix_is_verified_does_not_speak_against_it():
    """Only alerts that fire count as fresh signals; that it is over is good news."""
    rig = Rig()
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    sent = False

    async def resolve():
        nonlocal sent
        if not sent and any(e.record.status is Status.VERIFYING for e in rig.store.executions.values()):
            sent = True
            await process.ingest.on_batch([rig.event(status="resolved")])

    sleep = rig.clock.sleep

    async def sleeping(seconds):
        await sleep(seconds)
        await resolve()

    rig.clock.sleep = sleeping
    await process.quiet()
    assert sent
    assert rig.outcomes() == ["success"]


async def test_resolved_of_an_unknown_alert_is_recorded_as_such():
    """Every input has its decision."""
    rig = Rig()
    await rig.process().ingest.on_batch([rig.event(status="resolved")])
    assert "nothing was open" in rig.only(DecisionKind.RESOLVED).message


async def test_firing_resolved_firing_in_one_batch_are_decided_in_that_order():
    """The first incident is closed before the second opens."""
    rig = Rig(runbook(trigger={"root_cause_reason": "Evicted"}))
    process = rig.process()
    await process.ingest.on_batch([rig.event(), rig.event(status="resolved"), rig.event()])
    first, second = rig.decisions(DecisionKind.NO_MATCH)
    assert rig.store.decisions[first.id].closed_at is not None
    assert rig.store.decisions[second.id].closed_at is None
    assert first.first_seen < second.first_seen
    assert rig.decisions(DecisionKind.RESOLVED)[0].signal.seen_at > first.first_seen


async def test_alerts_of_one_incident_are_counted_though_another_of_them_changes_its_status_between():
    """A decision counts by the highest offset of a partition, so that the order of the batch must hold."""
    rig = Rig(runbook(trigger={"root_cause_reason": "Evicted"}))
    process = rig.process()
    batch = [
        rig.event(pod="1"),
        rig.event(pod="2"),
        rig.event(pod="2", status="resolved"),
        rig.event(pod="2"),
        rig.event(pod="1"),
    ]
    await process.ingest.on_batch(batch)
    assert rig.count(rig.only(DecisionKind.NO_MATCH)) == 4


async def test_a_problem_that_comes_back_long_after_its_fix_is_another_incident():
    """It has a decision and an execution of its own."""
    rig = Rig()
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    rig.clock.passed += 3600
    rig.tiny.values["app"] = "256Mi"
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    first, second = rig.decisions(DecisionKind.PERMIT)
    assert first.incident.id != second.incident.id
    assert rig.outcomes() == ["success", "success"]


async def test_an_alert_that_fires_on_for_a_while_after_the_fix_is_a_repeat():
    """Rules look at windows: five more deliveries after the success start nothing."""
    rig = Rig()
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    for _ in range(5):
        rig.clock.passed += 30
        await process.ingest.on_batch([rig.event()])
    await process.quiet()
    assert rig.count(rig.only(DecisionKind.PERMIT)) == 6
    assert rig.outcomes() == ["success"]


async def test_a_lapsed_reservation_is_neither_published_nor_handed_to_a_worker():
    """Recording took longer than the reservation lives: the lock may be somebody else's by now."""
    rig = Rig()
    process = rig.process()
    rig.policy = process.gate.settings

    record = rig.store.record

    async def slow(batch):
        rig.clock.passed += rig.policy.provisional_ttl_seconds + 1
        await record(batch)

    rig.store.record = slow
    await process.ingest.on_batch([rig.event()])
    rig.store.record = record
    assert rig.published(TOPICS.requests) == []
    rig.clock.passed += 16
    await process.care.sweep()
    await process.quiet()
    assert rig.effects() == []
    assert rig.outcomes() == ["permitted"]


async def test_the_decision_and_its_request_are_published_again_when_the_input_is_read_again():
    """The process died between the record and the publication; the topics miss nothing."""
    rig = Rig(handoff=False)
    message = rig.event()
    rig.points.crash("before publish")
    with pytest.raises(Crash):
        await rig.process().ingest.on_batch([message])
    assert rig.kafka.messages == []
    await rig.process().ingest.on_batch([message])
    permit = rig.only(DecisionKind.PERMIT)
    assert [m["decision_id"] for m in rig.published(TOPICS.decisions)] == [permit.id]
    assert [m["execution_id"] for m in rig.published(TOPICS.requests)] == [next(iter(rig.store.executions))]
    assert rig.count(permit) == 1


async def test_an_unexplained_alert_that_ended_and_fires_again_waits_for_its_cause_again():
    """The end of the first one does not swallow the second, however soon it comes."""
    rig = Rig()
    process = rig.process()
    await process.ingest.on_batch([rig.event(explained=False)])
    await process.ingest.on_batch([rig.event(status="resolved")])
    await process.ingest.on_batch([rig.event(explained=False, event_id="again")])
    rig.explain("again")
    rig.clock.passed += 60
    await process.bridge.sweep()
    await process.quiet()
    assert rig.outcomes() == ["success"]
