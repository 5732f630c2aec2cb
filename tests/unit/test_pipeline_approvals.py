"""Approvals: asked, answered, carried out once, and only for the plan that the answer was given to."""

from __future__ import annotations

import pytest
from fakes.journal import Crash
from fakes.memory_gate import Target
from fakes.pipeline_rig import TOPICS, Rig, runbook

from safety.approvals import ApprovalStatus, Verb
from services.records import DecisionKind

ASKING = {"require_approval": True}


async def asked(rig, process):
    """An alert whose runbook asks; gives the question."""
    await process.ingest.on_batch([rig.event()])
    (question,) = await rig.store.list(ApprovalStatus.PENDING)
    return question


async def answer(rig, question, verb=Verb.APPROVE):
    return await rig.store.answer(
        question.id, verb, by="ada", reason="looked at it", now=rig.clock.now(), plan_hash=question.plan_hash
    )


async def test_an_approved_plan_runs_with_the_approval_in_its_permit():
    """Nothing runs before the answer; afterwards the very plan that was shown does."""
    rig = Rig(runbook(safety=ASKING))
    process = rig.process()
    question = await asked(rig, process)
    assert (rig.effects(), rig.outcomes()) == ([], ["waiting_approval"])
    await answer(rig, question)
    await process.desk.sweep()
    await process.quiet()
    assert (rig.effects(), rig.outcomes()) == (["set app=512Mi"], ["success"])
    (execution,) = rig.store.executions.values()
    assert (execution.approval_id, execution.record.plan.hash) == (question.id, question.plan_hash)
    assert rig.only(DecisionKind.PERMIT).id == rig.decisions()[0].id
    assert [m["status"] for m in rig.published(TOPICS.approvals)] == ["pending", "approved"]
    assert not rig.store.to_follow


async def test_an_answer_to_a_plan_that_changed_runs_nothing_and_asks_again():
    """Somebody changed the target meanwhile: the old answer is overtaken, the new plan needs its own."""
    rig = Rig(runbook(safety=ASKING))
    process = rig.process()
    first = await asked(rig, process)
    rig.tiny.values["app"] = "300Mi"
    await answer(rig, first)
    await process.desk.sweep()
    await process.quiet()
    assert (rig.effects(), rig.outcomes()) == ([], ["waiting_approval"])
    (second,) = await rig.store.list(ApprovalStatus.PENDING)
    assert second.plan_hash != first.plan_hash
    assert rig.store.approvals[first.id].status is ApprovalStatus.OVERTAKEN
    await answer(rig, second)
    await process.desk.sweep()
    await process.quiet()
    assert (rig.effects(), rig.outcomes()) == (["set app=512Mi"], ["success"])


async def test_a_plan_that_changes_back_is_asked_about_once_more():
    """The first answer was overtaken and stays so; without a new question nobody could ever answer."""
    rig = Rig(runbook(safety=ASKING))
    process = rig.process()
    first = await asked(rig, process)
    for value in ("300Mi", "256Mi"):
        rig.tiny.values["app"] = value
        (question,) = await rig.store.list(ApprovalStatus.PENDING)
        await answer(rig, question)
        await process.desk.sweep()
    (third,) = await rig.store.list(ApprovalStatus.PENDING)
    assert (third.plan_hash, third.id != first.id) == (first.plan_hash, True)
    await answer(rig, third)
    await process.desk.sweep()
    await process.quiet()
    assert rig.outcomes() == ["success"]


@pytest.mark.parametrize("moment", ["before record", "after record", "before publish", "before answer", "after answer"])
async def test_a_crash_while_a_changed_plan_is_asked_about_leaves_exactly_one_question(moment):
    """There is always somebody to ask, and never twice."""
    rig = Rig(runbook(safety=ASKING))
    process = rig.process()
    first = await asked(rig, process)
    rig.tiny.values["app"] = "300Mi"
    await answer(rig, first)
    rig.points.crash(moment)
    with pytest.raises(Crash):
        await process.desk.sweep()
    await rig.process().desk.sweep()
    (second,) = await rig.store.list(ApprovalStatus.PENDING)
    assert second.plan_hash != first.plan_hash
    assert rig.store.approvals[first.id].status is ApprovalStatus.OVERTAKEN


@pytest.mark.parametrize(
    "moment", ["before ask", "after ask", "before record", "after record", "before publish", "before followed"]
)
async def test_a_crash_while_an_approval_is_carried_out_changes_nothing(moment):
    """It runs once, whoever carries it out in the end, and no decision says otherwise."""
    rig = Rig(runbook(safety=ASKING))
    process = rig.process()
    await answer(rig, await asked(rig, process))
    rig.points.crash(moment)
    with pytest.raises(Crash):
        await process.desk.sweep()
    await process.die()
    rig.clock.passed += 20
    other = rig.process()
    await other.desk.sweep()
    await other.quiet()
    await other.care.sweep()
    await other.quiet()
    assert rig.effects() == ["set app=512Mi"]
    assert rig.outcomes() == ["success"]
    assert {m["kind"] for m in rig.published(TOPICS.decisions)} <= {"approval", "permit"}
    assert not rig.store.to_follow


@pytest.mark.parametrize("verb", [Verb.DENY, Verb.EXPIRE])
async def test_without_a_yes_the_execution_is_aborted_and_the_decision_a_refusal(verb):
    """Denied, or nobody answered in time: nothing runs, and the record says who or what said no."""
    rig = Rig(runbook(safety=ASKING))
    process = rig.process()
    question = await asked(rig, process)
    if verb is Verb.EXPIRE:
        rig.clock.passed += 31 * 60
    else:
        await answer(rig, question, verb)
    await process.desk.sweep()
    await process.quiet()
    refusal = rig.only(DecisionKind.REFUSAL)
    assert refusal.check == f"approval_{'expired' if verb is Verb.EXPIRE else 'denied'}"
    assert (rig.effects(), rig.outcomes(), rig.count(refusal)) == ([], ["aborted"], 1)


async def test_a_humans_no_is_not_asked_again_by_repeats():
    """The incident stands decided."""
    rig = Rig(runbook(safety=ASKING))
    process = rig.process()
    await answer(rig, await asked(rig, process), Verb.DENY)
    await process.desk.sweep()
    rig.clock.passed += 120
    await process.ingest.on_batch([rig.event()])
    assert (rig.outcomes(), len(rig.decisions())) == (["aborted"], 1)


async def test_an_approval_for_a_locked_target_waits_and_then_runs():
    """Another execution holds the target; the answer is kept and carried out when it is free."""
    rig = Rig(runbook(safety=ASKING))
    process = rig.process()
    question = await asked(rig, process)
    key = ("acme", "kind/shop/Deployment/app")
    rig.gate_state.targets[key] = Target(holder="another", until=int(rig.clock.now().timestamp() * 1000) + 60_000)
    await answer(rig, question)
    await process.desk.sweep()
    await process.quiet()
    assert (rig.outcomes(), len(rig.store.to_follow)) == (["waiting_approval"], 1)
    rig.clock.passed += 61
    await process.desk.sweep()
    await process.quiet()
    assert rig.outcomes() == ["success"]


async def test_an_approval_that_could_not_be_carried_out_in_its_time_ends():
    """The target stays locked past the approval's end: the yes is no longer good."""
    rig = Rig(runbook(safety=ASKING))
    process = rig.process()
    question = await asked(rig, process)
    await process.gate.pause("ops", "release")
    await answer(rig, question)
    await process.desk.sweep()
    assert rig.outcomes() == ["waiting_approval"]
    rig.clock.passed += 31 * 60
    await process.desk.sweep()
    assert rig.outcomes() == ["aborted"]
    assert rig.only(DecisionKind.REFUSAL).check == "pause"


async def test_an_approval_of_a_runbook_that_is_gone_ends_with_that_reason():
    """A removed file is a no, even after a yes."""
    rig = Rig(runbook(safety=ASKING))
    process = rig.process()
    question = await asked(rig, process)
    rig.runbooks.clear()
    await answer(rig, question)
    await process.desk.sweep()
    assert (rig.only(DecisionKind.REFUSAL).check, rig.outcomes()) == ("runbook_gone", ["aborted"])


async def test_an_answer_that_cannot_be_followed_does_not_keep_others_waiting():
    """One orphan must not block the rest; it is tried again at every sweep."""
    rig = Rig(runbook(safety=ASKING))
    rig.app("web")
    process = rig.process()
    await process.ingest.on_batch([rig.event("app"), rig.event("web")])
    questions = await rig.store.list(ApprovalStatus.PENDING)
    for question in questions:
        await answer(rig, question)
    rig.points.fail("before ask", RuntimeError("a surprise"))
    await process.desk.sweep()
    await process.quiet()
    assert sorted(rig.outcomes()) == ["success", "waiting_approval"]
    await process.desk.sweep()
    await process.quiet()
    assert rig.outcomes() == ["success", "success"]


async def test_while_the_gate_store_is_away_a_human_is_asked_and_the_answer_runs():
    """Nothing runs by itself then; what a human said yes to does."""
    rig = Rig()
    process = rig.process()
    process.gate.away = True
    question = await asked(rig, process)
    assert rig.effects() == []
    await answer(rig, question)
    await process.desk.sweep()
    await process.quiet()
    assert rig.outcomes() == ["success"]
