"""What every durable store does, in memory and in Neo4j."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from fakes.graph_samples import T0, decision, execution, incident, origin, permitted, signal, step_run
from fakes.stores import memory_store, real_store

from executor.errors import Fenced, NotFound
from executor.model import Attempt, Evidence, Kpi, Outcome, Status, StepStatus, Verdict
from safety.approvals import ApprovalStatus, Verb, ask
from safety.ports import Claim
from services.records import DecisionKind, Repeat


@pytest.fixture(scope="module", params=["memory", pytest.param("neo4j", marks=pytest.mark.stack)])
async def store(request):
    if request.param == "memory":
        yield memory_store()
    else:
        async with real_store(request.getfixturevalue("stack")) as real:
            yield real


async def _only(store, text):
    (story,) = await store.ledger.find(text)
    return story


# Decisions


async def test_a_decision_is_found_again_as_it_was_written(store):
    """Everything that explains a decision survives the store."""
    written = decision()
    await store.ledger.record([written])
    told = (await _only(store, written.id)).decision
    assert replace(told, origins=written.origins, last_seen=None) == written


@pytest.mark.parametrize("name", ["decision", "incident", "event", "execution"])
async def test_a_decision_is_found_by_any_of_its_ids_and_by_their_beginning(store, name):
    """People paste whatever id they have, or the start of it."""
    written = permitted()
    await store.ledger.record([written])
    text = {
        "decision": written.id,
        "incident": written.incident.id,
        "event": written.signal.event_id,
        "execution": written.execution.id,
    }[name]
    assert (await _only(store, text)).decision.id == written.id
    assert (await _only(store, text[:13])).decision.id == written.id


async def test_text_that_is_too_short_or_unknown_finds_nothing(store):
    """A prefix that would match half of the graph is no question."""
    assert not await store.ledger.find("abc")
    assert not await store.ledger.find(str(uuid4()))


async def test_a_later_event_of_a_decision_finds_it(store):
    """A repeat's event id leads to the decision that took it, also when the graph does not know the event."""
    written = decision(decided_at=datetime.now(UTC))
    event = str(uuid4())
    repeat = Repeat(written.id, written.signal.tenant, datetime.now(UTC), (origin(2),), event_ids=(event,))
    await store.ledger.record([written])
    await store.ledger.record([repeat])
    assert (await _only(store, event)).decision.id == written.id


async def test_inputs_are_counted_once_however_often_and_in_whatever_batches_they_are_read(store):
    """The same offsets again add nothing; batches with other borders add what is new."""
    sent = signal()
    first = decision(signal=sent, origins=(origin(5), origin(7), origin(3, partition=1)))
    await store.ledger.record([first])
    await store.ledger.record([first])
    again = Repeat(first.id, sent.tenant, T0, (origin(7), origin(9)))
    await store.ledger.record([again, Repeat(first.id, sent.tenant, T0, (origin(4, partition=1), origin(8)))])
    await store.ledger.record([again])
    assert (await _only(store, first.id)).repeat_count == 6


async def test_inputs_beyond_those_named_are_counted_by_number(store):
    """A storm names a hundred inputs and counts the others; read again it counts none."""
    storm = decision(origins=tuple(origin(n) for n in range(3)), count=10, highest={("alerts", 0): 9})
    await store.ledger.record([storm])
    await store.ledger.record([storm])
    assert (await _only(store, storm.id)).repeat_count == 10


async def test_a_repeat_changes_nothing_but_count_and_time(store):
    """A repeat of an open incident leaves the answer as it stands."""
    written = decision()
    later = T0 + timedelta(minutes=2)
    await store.ledger.record([written])
    await store.ledger.record([Repeat(written.id, written.signal.tenant, later, (origin(2),), event_ids=("e-x",))])
    story = await _only(store, written.id)
    assert (story.decision.kind, story.repeat_count, story.last_seen) == (DecisionKind.REFUSAL, 2, later)
    assert story.decision.event_ids == (written.signal.event_id, "e-x")


async def test_a_waiting_decision_moves_on_and_never_back(store):
    """A message that is read again must not undo what the sweeper decided meanwhile."""
    waiting = decision(DecisionKind.WAITING, next_check_at=T0)
    final = replace(waiting, kind=DecisionKind.NO_CAUSE, next_check_at=None, message="no cause until the deadline")
    await store.ledger.record([waiting])
    await store.ledger.record([final])
    await store.ledger.record([waiting])
    assert (await _only(store, waiting.id)).decision.kind is DecisionKind.NO_CAUSE


async def test_a_permit_is_replaced_by_a_later_attempt_only(store):
    """The gate's answer to a message that is read again does not hide the permit that was given."""
    first = permitted()
    refused = replace(first, kind=DecisionKind.REFUSAL, check="lock", execution=None, permit_token=None)
    await store.ledger.record([first])
    await store.ledger.record([refused])
    assert (await _only(store, first.id)).decision.kind is DecisionKind.PERMIT
    await store.ledger.record([replace(refused, attempt=2)])
    story = await _only(store, first.id)
    assert (story.decision.kind, story.decision.check) == (DecisionKind.REFUSAL, "lock")
    assert [run.record.id for run in story.executions] == [first.execution.id]


async def test_the_newest_incident_of_a_fingerprint_is_found(store):
    """Older incidents of the same problem stay behind."""
    sent = signal()
    old = decision(signal=sent, incident=incident(sent, fingerprint="f-" + sent.alert_key))
    new = permitted(of=incident(sent, fingerprint="f-" + sent.alert_key, opened_at=T0 + timedelta(hours=1)))
    await store.ledger.record([old, new])
    found = await store.ledger.open_incidents(["f-" + sent.alert_key, "unknown"])
    assert list(found) == ["f-" + sent.alert_key]
    known = found["f-" + sent.alert_key]
    assert (known.incident_id, known.execution_id) == (new.incident.id, new.execution.id)
    assert (known.execution_status, known.closed) == (Status.PERMITTED, False)


async def test_an_incident_is_closed_by_the_alert_that_opened_it(store):
    """Resolved means over: the next signal opens a new incident."""
    written = decision()
    await store.ledger.record([written])
    assert set(await store.ledger.open_alerts([written.signal.alert_key])) == {written.signal.alert_key}
    at = T0 + timedelta(minutes=5)
    assert list(await store.ledger.close([written.signal.alert_key], at)) == [written.id]
    assert list(await store.ledger.close([written.signal.alert_key], at)) == []
    assert (await store.ledger.open_incidents([written.incident.fingerprint]))[written.incident.fingerprint].closed
    assert not await store.ledger.open_alerts([written.signal.alert_key])
    story = await _only(store, written.id)
    assert (story.closed_at, story.decision.kind) == (at, DecisionKind.REFUSAL)


async def test_a_resolution_from_before_the_incident_does_not_close_it(store):
    """Messages can be out of order."""
    written = decision()
    await store.ledger.record([written])
    assert not await store.ledger.close([written.signal.alert_key], T0 - timedelta(minutes=1))


async def test_a_waiting_decision_whose_alert_is_resolved_becomes_resolved(store):
    """Nobody looks for the cause of something that is over."""
    waiting = decision(DecisionKind.WAITING, next_check_at=T0)
    await store.ledger.record([waiting])
    await store.ledger.close([waiting.signal.alert_key], T0 + timedelta(seconds=9))
    story = await _only(store, waiting.id)
    assert (story.decision.kind, story.decision.next_check_at) == (DecisionKind.RESOLVED, None)


async def test_a_decision_that_joined_an_incident_is_met_no_more(store):
    """The alert's next delivery belongs to the incident, not to the look-up that led to it."""
    waiting = decision(DecisionKind.WAITING, next_check_at=T0)
    await store.ledger.record([waiting])
    assert set(await store.ledger.open_alerts([waiting.signal.alert_key])) == {waiting.signal.alert_key}
    await store.ledger.record([replace(waiting, kind=DecisionKind.JOINED, next_check_at=None)])
    assert not await store.ledger.open_alerts([waiting.signal.alert_key])
    assert not await store.ledger.close([waiting.signal.alert_key], T0 + timedelta(hours=1))


async def test_waiting_decisions_come_up_when_due_and_for_one_sweeper_only(store):
    """Due ones are taken once, with everything that is needed to decide again."""
    # Far in the past, so that decisions of other tests in the same database are not in between.
    due = datetime(1999, 1, 1, tzinfo=UTC) + timedelta(seconds=int(uuid4().hex[:6], 16))
    early = decision(DecisionKind.WAITING, next_check_at=due, deadline=T0, attempt=2)
    late = decision(DecisionKind.WAITING, next_check_at=due + timedelta(days=400))
    await store.ledger.record([early, late])
    taken = [one for one in await store.ledger.waiting_due(due, 1000, 60) if one.id in {early.id, late.id}]
    assert [(one.id, one.signal, one.attempt, one.deadline) for one in taken] == [(early.id, early.signal, 2, T0)]
    assert early.id not in {one.id for one in await store.ledger.waiting_due(due, 1000, 60)}
    assert early.id in {one.id for one in await store.ledger.waiting_due(due + timedelta(seconds=61), 1000, 60)}
    await store.ledger.record([replace(one, kind=DecisionKind.NO_CAUSE, next_check_at=None) for one in (early, late)])
    assert early.id not in {one.id for one in await store.ledger.waiting_due(due + timedelta(hours=1), 1000)}


async def test_an_execution_is_loaded_as_it_was_planned(store):
    """The plan survives the store byte for byte, or its hash would not hold."""
    written = permitted()
    await store.ledger.record([written])
    loaded = await store.executions.load(written.execution.id)
    assert loaded == written.execution
    assert await store.journal.load(written.execution.id) == loaded
    assert await store.executions.load("unknown") is None


async def test_a_claimed_execution_is_not_written_again(store):
    """A message that is read again must not take a running execution back to permitted."""
    written = permitted()
    await store.ledger.record([written])
    await store.permits.claim(written.execution.id, written.execution.plan.hash, "h", 30)
    await store.ledger.record([written])
    assert (await store.executions.load(written.execution.id)).status is Status.RUNNING


async def test_executions_are_listed_newest_first(store):
    """The list tells what happened last, and can be narrowed."""
    far = datetime.now(UTC) + timedelta(days=3650, seconds=int(uuid4().hex[:5], 16))
    first, second = (
        permitted(
            of=(problem := incident(signal())), execution=execution(problem, requested_at=far + timedelta(hours=n))
        )
        for n in (0, 1)
    )
    await store.ledger.record([first, second])
    ids = [one.id for one in await store.executions.latest(since=far, limit=5000)]
    assert ids.index(second.execution.id) < ids.index(first.execution.id)
    only = await store.executions.latest(status=Status.PERMITTED, since=far + timedelta(minutes=1), limit=5000)
    assert second.execution.id in {one.id for one in only}
    assert first.execution.id not in {one.id for one in only}
    assert not await store.executions.latest(status=Status.DONE, since=far)


# Permits


async def _permit(store, **options):
    written = permitted(**options)
    await store.ledger.record([written])
    return written


async def test_a_permit_is_claimed_once(store):
    """Of many who try at the same time one gets it (invariant 1)."""
    written = await _permit(store)
    run = written.execution
    answers = await asyncio.gather(*(store.permits.claim(run.id, run.plan.hash, f"h{n}", 30) for n in range(8)))
    (claim,) = [answer for answer in answers if isinstance(answer, Claim)]
    assert (claim.execution_id, claim.plan_hash, claim.epoch) == (run.id, run.plan.hash, 100)
    assert claim.target_key == run.plan.target_key
    assert claim.expires_at == pytest.approx(written.permit_expires_at, abs=timedelta(milliseconds=1))
    assert (await store.executions.load(run.id)).status is Status.RUNNING


@pytest.mark.parametrize("case", ["unknown", "hash", "expired", "used"])
async def test_a_permit_that_does_not_hold_is_not_claimed(store, case):
    """Unknown, for another plan, expired or used: the answer says which."""
    written = await _permit(store, seconds=-1 if case == "expired" else 60)
    run = written.execution
    name = "no-such" if case == "unknown" else run.id
    if case == "used":
        await store.permits.claim(run.id, run.plan.hash, "first", 30)
    answer = await store.permits.claim(name, "other" if case == "hash" else run.plan.hash, "h", 30)
    words = {"unknown": "no such", "hash": "another plan", "expired": "ran out", "used": "running"}
    assert isinstance(answer, str)
    assert words[case] in answer


async def test_a_target_has_one_holder(store):
    """A second execution of the same target waits until the first is done (invariant 4)."""
    problem = incident(signal())
    first, second = await _permit(store, of=problem), await _permit(store, of=problem, token=101)
    one = await store.permits.claim(first.execution.id, first.execution.plan.hash, "h", 30)
    held = await store.permits.claim(second.execution.id, second.execution.plan.hash, "h", 30)
    assert isinstance(one, Claim)
    assert isinstance(held, str)
    assert first.execution.id in held
    await store.journal.finish(first.execution.id, one.epoch, Outcome.SUCCESS, Verdict.VERIFIED)
    two = await store.permits.claim(second.execution.id, second.execution.plan.hash, "h", 30)
    assert isinstance(two, Claim)
    assert two.epoch == 101


async def test_of_claims_that_come_at_once_one_gets_a_target(store):
    """Claims are made together; one of a group sees what those before it took (invariant 4)."""
    problem = incident(signal())
    rivals = [await _permit(store, of=problem, token=100 + n) for n in range(4)]
    others = [await _permit(store) for _ in range(6)]
    runs = [one.execution for one in (*rivals, *others)]
    answers = await asyncio.gather(*(store.permits.claim(run.id, run.plan.hash, "h", 30) for run in runs))
    assert [type(answer) for answer in answers].count(Claim) == 7
    assert [type(answer) for answer in answers[:4]].count(Claim) == 1
    for run, answer in zip(runs, answers, strict=True):
        status = (await store.executions.load(run.id)).status
        assert status is (Status.RUNNING if isinstance(answer, Claim) else Status.PERMITTED)


async def test_a_claim_that_is_refused_does_not_spoil_those_beside_it(store):
    """Unknown, expired and used ones hear why; each of the others gets its own execution."""
    used = await _permit(store)
    await store.permits.claim(used.execution.id, used.execution.plan.hash, "first", 30)
    good = [(await _permit(store)).execution for _ in range(3)]
    late = (await _permit(store, seconds=-1)).execution
    asked = [good[0], used.execution, good[1], late, good[2]]
    claims = [store.permits.claim(run.id, run.plan.hash, "h", 30) for run in asked]
    *answers, unknown = await asyncio.gather(*claims, store.permits.claim("no-such", "hash", "h", 30))
    assert [one.execution_id if isinstance(one, Claim) else "" for one in answers] == [
        *(good[0].id, "", good[1].id, "", good[2].id)
    ]
    assert "running" in answers[1]
    assert "ran out" in answers[3]
    assert "no such" in unknown


async def test_a_permit_older_than_the_target_has_seen_is_refused(store):
    """Tokens only grow (fencing)."""
    problem = incident(signal())
    first, late = await _permit(store, of=problem), await _permit(store, of=problem, token=99)
    claim = await store.permits.claim(first.execution.id, first.execution.plan.hash, "h", 30)
    await store.journal.finish(first.execution.id, claim.epoch, Outcome.SUCCESS, None)
    answer = await store.permits.claim(late.execution.id, late.execution.plan.hash, "h", 30)
    assert "newer permit" in answer


async def test_targets_of_different_tenants_do_not_block_each_other(store):
    """Two tenants may use the same names."""
    one = await _permit(store)
    other = incident(signal(), target=one.incident.target)
    two = await _permit(store, of=other)
    for written in (one, two):
        run = written.execution
        assert isinstance(await store.permits.claim(run.id, run.plan.hash, "h", 30), Claim)


async def test_a_lease_that_ran_out_is_adopted_and_the_old_holder_is_fenced(store):
    """The new holder gets a larger epoch; the old one can write nothing any more."""
    run = (await _permit(store)).execution
    old = await store.permits.claim(run.id, run.plan.hash, "old", 0)
    new = await store.permits.adopt(run.id, "new", 30)
    assert isinstance(new, Claim)
    assert new.epoch > old.epoch
    for write in (
        store.journal.intend(run.id, old.epoch, step_run(run.id)),
        store.journal.outcome(run.id, old.epoch, step_run(run.id)),
        store.journal.advance(run.id, old.epoch, Status.VERIFYING),
        store.journal.finish(run.id, old.epoch, Outcome.SUCCESS, Verdict.VERIFIED),
    ):
        with pytest.raises(Fenced):
            await write
    await store.journal.intend(run.id, new.epoch, step_run(run.id))
    loaded = await store.executions.load(run.id)
    assert (loaded.status, loaded.resumed, len(loaded.steps)) == (Status.RUNNING, True, 1)


async def test_a_living_or_ended_execution_is_not_adopted(store):
    """Only a lease that ran out lets another one in, and only while there is something to do."""
    run = (await _permit(store)).execution
    assert "permitted" in await store.permits.adopt(run.id, "new", 30)
    claim = await store.permits.claim(run.id, run.plan.hash, "old", 30)
    assert "alive" in await store.permits.adopt(run.id, "new", 30)
    await store.journal.finish(run.id, claim.epoch, Outcome.SUCCESS, Verdict.VERIFIED)
    assert "done" in await store.permits.adopt(run.id, "new", 30)


async def test_a_holder_that_lost_its_target_to_another_execution_is_fenced(store):
    """When a lease ran out, a newer permit for the target wins (invariant 4)."""
    problem = incident(signal())
    first, second = await _permit(store, of=problem), await _permit(store, of=problem, token=101)
    old = await store.permits.claim(first.execution.id, first.execution.plan.hash, "h", 0)
    assert isinstance(await store.permits.claim(second.execution.id, second.execution.plan.hash, "h", 30), Claim)
    with pytest.raises(Fenced):
        await store.journal.intend(first.execution.id, old.epoch, step_run(first.execution.id))
    assert "held" in await store.permits.adopt(first.execution.id, "new", 30)


async def test_only_one_of_many_adopts(store):
    """Two sweepers that find the same orphan do not both run it."""
    run = (await _permit(store)).execution
    await store.permits.claim(run.id, run.plan.hash, "old", 0)
    answers = await asyncio.gather(*(store.permits.adopt(run.id, f"h{n}", 30) for n in range(6)))
    assert sum(isinstance(answer, Claim) for answer in answers) == 1


async def test_renewing_tells_what_was_lost(store):
    """A process hears of the executions that somebody else holds now, and keeps the others."""
    kept, lost = (await _permit(store)).execution, (await _permit(store)).execution
    await store.permits.claim(kept.id, kept.plan.hash, "me", 0)
    await store.permits.claim(lost.id, lost.plan.hash, "me", 0)
    await store.permits.adopt(lost.id, "other", 30)
    assert await store.executions.renew("me", [kept.id, lost.id, "unknown"], 30) == {lost.id, "unknown"}
    assert "alive" in await store.permits.adopt(kept.id, "other", 30)


async def test_orphans_are_found(store):
    """What nobody looks after comes up, each in its kind; what is looked after does not."""
    expired, unclaimed = (await _permit(store, seconds=-1)).execution, (await _permit(store)).execution
    left, held = (await _permit(store)).execution, (await _permit(store)).execution
    await store.permits.claim(left.id, left.plan.hash, "h", 0)
    await store.permits.claim(held.id, held.plan.hash, "h", 30)
    orphans = await store.executions.orphans(limit=10_000, unclaimed_seconds=0)
    assert expired.id in orphans.expired
    assert unclaimed.id in orphans.republish
    assert left.id in orphans.adopt
    assert held.id not in {*orphans.expired, *orphans.republish, *orphans.adopt}
    assert unclaimed.id not in (await store.executions.orphans(limit=10_000, unclaimed_seconds=30)).republish


async def test_only_expired_permits_are_aborted(store):
    """An expired permit ends; a good one and a running one stay."""
    expired, good = (await _permit(store, seconds=-1)).execution, (await _permit(store)).execution
    assert list(await store.executions.abort_expired([expired.id, good.id, "unknown"])) == [expired.id]
    ended = await store.executions.load(expired.id)
    assert (ended.status, ended.outcome) == (Status.DONE, Outcome.ABORTED)
    assert (await store.executions.load(good.id)).status is Status.PERMITTED


# Journal


async def _running(store):
    run = (await _permit(store)).execution
    return run, (await store.permits.claim(run.id, run.plan.hash, "h", 30)).epoch


async def test_intent_and_outcome_of_a_step_are_kept(store):
    """What was there before and what came out survive (invariants 3 and 9)."""
    run, epoch = await _running(store)
    intent = step_run(run.id)
    await store.journal.intend(run.id, epoch, intent)
    assert (await store.journal.load(run.id)).steps == (intent,)
    done = intent.model_copy(
        update={
            "status": StepStatus.SUCCEEDED,
            "output": {"limit": ["512Mi"]},
            "finished_at": T0 + timedelta(seconds=3),
        }
    )
    await store.journal.outcome(run.id, epoch, done)
    second = step_run(run.id, 1, StepStatus.FAILED, error="no quota", before=None)
    await store.journal.outcome(run.id, epoch, second)
    assert (await store.journal.load(run.id)).steps == (done, second)


async def test_items_attempts_and_kept_values_of_a_step_survive(store):
    """Whoever takes over goes on with the right item, the right attempt and the values from before the change."""
    run, epoch = await _running(store)
    failed = Attempt(number=1, kind="temporary", error="away", started_at=T0, finished_at=T0 + timedelta(seconds=1))
    whole = step_run(run.id, before=None, items=("a", {"name": "b"}, 3))
    item = step_run(
        run.id,
        id=f"{run.id}/step/0/1",
        item=1,
        attempt=2,
        attempts=(failed,),
        state={"old": "256Mi"},
        outputs={"id": [1, 2]},
        started_at=T0 + timedelta(seconds=2),
    )
    asked = step_run(
        run.id, 1, phase="approval", id=f"{run.id}/approval/1", items=(), started_at=T0 + timedelta(seconds=3)
    )
    for made in (whole, item, asked):
        await store.journal.intend(run.id, epoch, made)
    assert (await store.journal.load(run.id)).steps == (whole, item, asked)


async def test_an_execution_moves_on_with_facts(store):
    """The verification window opens at a time that survives the process."""
    run, epoch = await _running(store)
    await store.journal.advance(run.id, epoch, Status.VERIFYING, verify_from=T0)
    loaded = await store.journal.load(run.id)
    assert (loaded.status, loaded.verify_from) == (Status.VERIFYING, T0)


async def test_the_procedure_that_takes_back_survives_the_process(store):
    """Who takes the execution over goes on with the same way back."""
    run, epoch = await _running(store)
    await store.journal.advance(run.id, epoch, Status.ROLLING_BACK, error="errors", rollback_with="shrink")
    loaded = await store.journal.load(run.id)
    assert (loaded.status, loaded.rollback_with) == (Status.ROLLING_BACK, "shrink")


async def test_what_an_execution_came_to_is_kept(store):
    """Promises with their values survive, also the end of the execution."""
    run, epoch = await _running(store)
    kpis = (Kpi(name="duration_seconds", value=12.5, limit=300, met=True),)
    await store.journal.advance(run.id, epoch, Status.RUNNING, kpis=kpis)
    assert (await store.journal.load(run.id)).kpis == kpis
    await store.journal.finish(run.id, epoch, Outcome.SUCCESS, Verdict.VERIFIED)
    assert (await store.executions.load(run.id)).kpis == kpis


async def test_how_often_a_runbook_helped_is_counted(store):
    """Verified ones of those that were carried through, by tenant; what never began or was aborted does not count."""
    since = datetime.now(UTC) - timedelta(days=1)
    ends = [(Outcome.SUCCESS, Verdict.VERIFIED), (Outcome.ROLLBACK, Verdict.NOT_FIXED), (Outcome.ABORTED, None)]
    plan = (await _permit(store)).execution.plan
    before = await store.executions.success(plan.runbook_id, "", since)
    for outcome, verdict in ends:
        run, epoch = await _running(store)
        await store.journal.finish(run.id, epoch, outcome, verdict)
    after = await store.executions.success(plan.runbook_id, "", since)
    assert (after[0] - before[0], after[1] - before[1]) == (1, 2)
    assert await store.executions.success(plan.runbook_id, "nobody", since) == (0, 0)
    assert await store.executions.success("unknown", "", since) == (0, 0)


async def test_finishing_keeps_the_evidence_and_frees_the_target(store):
    """After the end nobody writes any more, and the end can be written twice."""
    run, epoch = await _running(store)
    evidence = (Evidence(at=T0, healthy=True, detail="3 of 3 ready"),)
    for _ in range(2):
        await store.journal.finish(
            run.id, epoch, Outcome.SUCCESS, Verdict.VERIFIED, evidence=evidence, actions_taken=["limit raised"]
        )
    (story,) = await store.executions.tell(run.id)
    assert (story.record.status, story.record.outcome, story.record.verdict) == (
        Status.DONE,
        Outcome.SUCCESS,
        Verdict.VERIFIED,
    )
    assert (story.evidence, story.actions_taken, story.holder) == (evidence, ("limit raised",), "h")
    assert story.lease_until is None
    assert story.record.finished_at is not None
    with pytest.raises(Fenced):
        await store.journal.intend(run.id, epoch, step_run(run.id))


async def test_writes_about_an_unknown_execution_are_refused(store):
    """A journal does not invent executions."""
    with pytest.raises(NotFound):
        await store.journal.intend(str(uuid4()), 1, step_run("x"))


async def test_writes_before_the_claim_are_fenced(store):
    """Nothing is written about an execution that nobody holds."""
    run = (await _permit(store)).execution
    with pytest.raises(Fenced):
        await store.journal.intend(run.id, 100, step_run(run.id))


async def test_one_fenced_writer_does_not_disturb_the_others(store):
    """Writes go together, but each is judged by its own epoch."""
    runs = [await _running(store) for _ in range(5)]
    answers = await asyncio.gather(
        *(store.journal.intend(run.id, epoch - (n == 2), step_run(run.id)) for n, (run, epoch) in enumerate(runs)),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [type(None), type(None), Fenced, type(None), type(None)]


async def test_an_incident_is_over_when_its_execution_ended_and_cooled_down(store):
    """While the target cools down further signals are repeats; after it they open a new incident."""
    for cooldown, closed in ((600.0, False), (0.0, True)):
        problem = incident(signal())
        written = await _permit(store, of=problem, execution=execution(problem, cooldown_seconds=cooldown))
        claim = await store.permits.claim(written.execution.id, written.execution.plan.hash, "h", 30)
        await store.journal.finish(written.execution.id, claim.epoch, Outcome.SUCCESS, Verdict.VERIFIED)
        await asyncio.sleep(0.01)
        assert (await store.ledger.open_incidents([problem.fingerprint]))[problem.fingerprint].closed is closed


async def test_an_alert_is_busy_until_the_execution_that_followed_from_it_has_ended(store):
    """From the permit on, running included: what comes in meanwhile belongs to it."""
    problem = incident(signal())
    key = problem.signal.alert_key

    async def busy():
        return (await store.ledger.open_alerts([key]))[key].busy

    written = await _permit(store, of=problem)
    assert await busy()
    claim = await store.permits.claim(written.execution.id, written.execution.plan.hash, "h", 30)
    assert await busy()
    await store.journal.finish(written.execution.id, claim.epoch, Outcome.SUCCESS, Verdict.VERIFIED)
    assert not await busy()


# Approvals


async def _asked(store):
    problem = incident(signal())
    run = execution(problem, status=Status.WAITING_APPROVAL)
    now = datetime.now(UTC)
    question = ask(run.id, problem.id, run.plan.hash, ["irreversible"], now=now, timeout=timedelta(minutes=5))
    written = decision(DecisionKind.APPROVAL, signal=problem.signal, incident=problem, execution=run, approval=question)
    await store.ledger.record([written])
    return written, question


async def test_a_question_is_written_with_its_decision(store):
    """The approval is there as soon as the decision is, and cannot be claimed."""
    written, question = await _asked(store)
    assert await store.approvals.get(question.id) == question
    run = written.execution
    assert "waiting" in await store.permits.claim(run.id, run.plan.hash, "h", 30)
    (story,) = await store.executions.tell(run.id)
    assert story.approvals == (question,)


async def test_a_denied_question_ends_the_execution_that_waits(store):
    """A no is final for that plan."""
    written, question = await _asked(store)
    now = datetime.now(UTC)
    await store.approvals.answer(
        question.id, Verb.DENY, by="ann", reason="not now", now=now, plan_hash=question.plan_hash
    )
    ended = await store.executions.load(written.execution.id)
    assert (ended.status, ended.outcome) == (Status.DONE, Outcome.ABORTED)
    assert "ann" in ended.error


async def test_an_approved_execution_becomes_permitted_with_the_same_id(store):
    """After the yes the same execution gets its permit."""
    written, question = await _asked(store)
    now = datetime.now(UTC)
    answered = await store.approvals.answer(
        question.id, Verb.APPROVE, by="ann", reason="", now=now, plan_hash=question.plan_hash
    )
    assert answered.status is ApprovalStatus.APPROVED
    await store.ledger.record(
        [
            replace(
                written,
                kind=DecisionKind.PERMIT,
                execution=written.execution.model_copy(update={"status": Status.PERMITTED}),
                permit_token=7,
                permit_expires_at=now + timedelta(minutes=1),
                approval=answered,
            )
        ]
    )
    claim = await store.permits.claim(written.execution.id, written.execution.plan.hash, "h", 30)
    assert isinstance(claim, Claim)
    assert claim.approval_id == question.id
    assert (await _only(store, written.id)).executions[0].approvals[0].answered_by == "ann"


async def test_the_consequence_of_an_answer_comes_up_until_it_was_carried_out(store):
    """A crash between the answer and what follows from it is made good."""
    _, question = await _asked(store)
    now = datetime.now(UTC)
    assert question.id not in {a.id for a in await store.executions.answered(10_000)}
    await store.approvals.answer(question.id, Verb.APPROVE, by="ann", reason="", now=now, plan_hash=question.plan_hash)
    assert question.id in {a.id for a in await store.executions.answered(10_000)}
    await store.executions.followed(question.id)
    assert question.id not in {a.id for a in await store.executions.answered(10_000)}


async def test_an_execution_whose_answer_cannot_be_carried_out_ends(store):
    """Only while it waits; afterwards it belongs to whoever runs it."""
    written, _ = await _asked(store)
    assert await store.executions.abort_waiting(written.execution.id, "the runbook is gone")
    assert not await store.executions.abort_waiting(written.execution.id, "again")
    assert (await store.executions.load(written.execution.id)).error == "the runbook is gone"
