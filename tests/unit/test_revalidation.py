"""Just before each write: the target is there, it is the same one, and it still needs help."""

from __future__ import annotations

import pytest
from fakes.actions import START, Bench, deployment, match_for, pod, record_of
from fakes.journal import Crash, Crashes
from fakes.pipeline_rig import Rig, runbook

from executor.errors import Unavailable
from executor.model import Outcome, PlannedCheck
from executor.planner import Planner
from executor.revalidation import UNWELL
from safety.approvals import ApprovalStatus, Verb

FREE = {"require_approval": False}


def write(value="512Mi", **step):
    return {"id": "raise", "name": "raise", "action": "set", "params": {"name": "memory", "value": value}, **step}


async def made(bench, *steps, unwell="0 of 1 available", **facts):
    match = match_for({"safety": FREE, "steps": list(steps)})
    plan = await Planner(bench.actions, bench.world, {}).plan(match, "x1")
    record = record_of(plan, **facts)
    return record.model_copy(update={"incident": {**record.incident, UNWELL: unwell}})


def settled(bench, item=None, **status):
    """The cluster stays as it is, whatever is done."""
    bench.cluster.before_read.clear()
    bench.react()
    if item is not None:
        bench.cluster.put(item)
    bench.cluster.put(pod(ready=True, **status))


async def test_a_target_that_is_well_again_is_left_alone():
    """Nothing is written, nothing is taken back, and the record says why."""
    bench = Bench()
    record = await made(bench, write())
    settled(bench, deployment(available=1))
    ended = await bench.start(record)
    assert (ended.outcome, bench.tiny.effects) == (Outcome.ABORTED, [])
    assert "Deployment/shop/app works again" in ended.error
    assert "it was decided when 0 of 1 available" in ended.error


@pytest.mark.parametrize("unwell", ["", "0 of 1 available"])
async def test_a_target_that_is_still_unwell_or_never_was_is_worked_on(unwell):
    """A runbook for something that the workload's health does not show is not stopped by that health."""
    bench = Bench()
    record = await made(bench, write(), unwell=unwell)
    if not unwell:
        settled(bench, deployment(available=1))
    assert (await bench.start(record)).outcome is Outcome.SUCCESS
    assert bench.tiny.effects == ["set memory=512Mi"]


async def test_a_runbook_that_looks_at_something_else_is_not_stopped_by_health():
    """A rollout that was just ending made the workload look unwell; the error rate is what the runbook is about."""
    bench = Bench()
    record = await made(bench, write())
    criterion = PlannedCheck(name="the error rate is low again", check=True)
    plan = record.plan.model_copy(update={"terms": record.plan.terms.model_copy(update={"criteria": (criterion,)})})
    settled(bench, deployment(available=1))
    await bench.start(record.model_copy(update={"plan": plan}))
    assert bench.tiny.effects == ["set memory=512Mi"]


async def test_a_crash_loop_in_a_good_moment_has_not_recovered():
    """A death within the last minutes speaks against it."""
    bench = Bench()
    record = await made(bench, write())
    death = {"terminated": {"reason": "OOMKilled", "finishedAt": START.isoformat()}}
    settled(bench, deployment(available=1), restarts=3, lastState=death)
    await bench.start(record)
    assert bench.tiny.effects[:1] == ["set memory=512Mi"]


async def test_an_alert_that_came_again_says_that_it_has_not_recovered():
    """The symptom is asked for as verification asks for it."""
    bench = Bench()
    record = await made(bench, write())
    settled(bench, deployment(available=1))
    bench.fresh.lines.append((START, "alert HighLatency"))
    await bench.start(record)
    assert bench.tiny.effects[:1] == ["set memory=512Mi"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda bench: bench.cluster.objects.clear(), "is gone"),
        (
            lambda bench: bench.cluster.put({**deployment(), "metadata": {**deployment()["metadata"], "uid": "d2"}}),
            "deleted and created anew",
        ),
        (lambda bench: setattr(bench.cluster, "broken", True), "cannot be read"),
    ],
)
async def test_a_target_that_is_gone_another_one_or_unreadable_is_not_written_to(change, words):
    """Before the first change nothing is done; missing data never permits."""
    bench = Bench()
    record = await made(bench, write())
    bench.cluster.before_read.clear()
    change(bench)
    ended = await bench.start(record)
    assert (ended.outcome, bench.tiny.effects) == (Outcome.ABORTED, [])
    assert words in ended.error


async def test_a_read_that_fails_once_is_tried_again():
    """A hiccup of the API server is no reason to give up."""
    bench = Bench()
    record = await made(bench, write())
    left = [1]

    def hiccup():
        if left:
            left.pop()
            raise Unavailable("try again")

    bench.cluster.before_read.append(hiccup)
    assert (await bench.start(record)).outcome is Outcome.SUCCESS


async def test_between_two_writes_only_existence_and_identity_are_looked_at():
    """The first change itself makes it well; a target that was replaced meanwhile stops the second."""
    bench = Bench()
    second = {"id": "second", "name": "second", "action": "set", "params": {"name": "other", "value": "1"}}
    ended = await bench.start(await made(bench, write(), second))
    assert (ended.outcome, len(bench.tiny.effects)) == (Outcome.SUCCESS, 2)
    bench = Bench()
    record = await made(bench, write(), second)

    async def replaced():
        bench.cluster.before_read.clear()
        bench.cluster.put({**deployment(), "metadata": {**deployment()["metadata"], "uid": "d2"}})

    bench.tiny.performing = replaced
    ended = await bench.start(record)
    assert bench.tiny.effects == ["set memory=512Mi"]
    assert "deleted and created anew" in ended.error
    assert ended.outcome is Outcome.FAILURE


async def test_after_a_crash_an_effect_that_is_there_is_no_recovery():
    """Whoever takes over asks the target for the stamp, and goes on to the proof."""
    second = {"id": "second", "name": "second", "action": "set", "params": {"name": "other", "value": "1"}}
    whole = Bench()
    await whole.start(await made(whole, write(), second))
    bench = Bench(Crashes(whole.crashes.reached.index("after effect set memory=512Mi") + 1))
    with pytest.raises(Crash):
        await bench.start(await made(bench, write(), second))
    ended = await bench.take_over()
    assert ended.outcome is Outcome.SUCCESS
    assert bench.tiny.effects == ["set memory=512Mi", "set other=1"]


async def test_a_target_that_recovers_while_people_are_asked_is_left_alone():
    """Through the whole pipeline: the yes comes, the workload is well, nothing is changed."""
    rig = Rig(runbook(safety={"require_approval": True}))
    rig.blast.surroundings = rig.blast.surroundings.__class__(
        disabled=(), managed=(), budgets=(), frozen=(), workload_percent=0.0, unwell="0 of 1 available"
    )
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    (question,) = await rig.store.list(ApprovalStatus.PENDING)
    rig.good = "256Mi"  # somebody else has helped: it is well with what it has
    rig.clock.passed += 60
    await rig.store.answer(
        question.id, Verb.APPROVE, by="ada", now=rig.clock.now(), plan_hash=question.plan_hash, reason="yes"
    )
    await process.desk.sweep()
    await process.quiet()
    assert (rig.outcomes(), rig.effects()) == (["aborted"], [])
