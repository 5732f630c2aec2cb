"""``rb explain`` and ``rb executions`` tell the whole story, also why nothing was done."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from fakes.graph_samples import T0, decision, execution, incident, permitted, signal, step_run
from fakes.memory_store import MemoryStore

from executor.model import Change, Evidence, ObjectRef, Outcome, Status, StepStatus, Verdict
from matcher.model import Candidate, Cause, Subject
from safety.approvals import Verb, ask
from services.cli import executions, explain, story
from services.cli.runtime import CommandError
from services.records import DecisionKind, ExecutionStory


@pytest.fixture
def store():
    return MemoryStore()


async def _told(store, written):
    await store.record([written])
    (found,) = await explain.find(store, written.id)
    return story.story_text(found)


async def test_a_refusal_is_told_with_check_and_numbers(store):
    """Who asks why nothing was done reads which check said no, and by how much."""
    text = await _told(store, decision())
    assert "KubePodCrashLooping (WARNING) about Pod web/shop-6d5f-x1" in text
    assert "OOMKilled" in text
    assert "confidence 0.91 (raw 0.62 by kgroot-live, 1 hop away)" in text
    assert "refused by the check 'cooldown'" in text
    assert "seconds_left: 120" in text
    assert "after: e1" in text


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (DecisionKind.NO_MATCH, "no runbook answers this"),
        (DecisionKind.NO_CAUSE, "no root cause appeared in time"),
        (DecisionKind.NO_TARGET, "could not be found"),
        (DecisionKind.PLAN_FAILED, "no plan could be made"),
        (DecisionKind.RESOLVED, "it was over"),
    ],
)
async def test_every_way_of_doing_nothing_is_told(store, kind, words):
    """There is always a reason, in words."""
    text = await _told(store, decision(kind, message="because of this"))
    assert words in text
    assert "because of this" in text


def test_every_kind_of_decision_has_words():
    """A new kind without words would break the command."""
    assert set(story._ANSWERS) == {kind.value for kind in DecisionKind}


async def test_a_waiting_decision_tells_when_it_looks_again(store):
    """And when it gives up."""
    waiting = decision(
        DecisionKind.WAITING, next_check_at=T0 + timedelta(seconds=4), deadline=T0 + timedelta(minutes=2)
    )
    text = await _told(store, waiting)
    assert "waiting for a root cause" in text
    assert "looks again 2026-03-01 12:00:04 UTC, gives up 2026-03-01 12:02:00 UTC" in text


async def test_losers_are_told_with_their_reason(store):
    """Every runbook that was looked at, and why it was not taken."""
    other = Candidate("restart", "2.0", "b" * 64, (1,), lost_because="confidence 0.62 is below 0.80")
    weak = Cause("e-weak", "BackOff", Subject("Pod", "x", "web"), 0.2, "kgroot-unknown", 0.1)
    written = decision()
    written = replace(written, candidates=(*written.candidates, other), causes=(written.incident.cause, weak))
    text = await _told(store, written)
    assert "oom-raise-memory 1.0: taken" in text
    assert "restart 2.0: not taken, confidence 0.62 is below 0.80" in text
    assert "OOMKilled about Pod web/shop-6d5f-x1" in text
    assert "<- acted on" in text
    assert "BackOff about Pod web/x" in text


async def _executed(store):
    problem = incident(signal())
    run = execution(problem)
    change = Change(
        ref=ObjectRef(kind="Deployment", name="shop", namespace="web"),
        verb="patch",
        summary="memory limit of app: 256Mi -> 512Mi",
        undo="memory limit back to 256Mi",
    )
    step = run.plan.steps[0].model_copy(update={"changes": (change,)})
    run = run.model_copy(update={"plan": run.plan.model_copy(update={"steps": (step,)})})
    written = permitted(of=problem, execution=run)
    await store.record([written])
    claim = await store.claim(run.id, run.plan.hash, "worker-1", 30)
    done = step_run(run.id, 0, StepStatus.SUCCEEDED, finished_at=T0 + timedelta(seconds=2))
    await store.outcome(run.id, claim.epoch, done)
    await store.intend(run.id, claim.epoch, step_run(run.id, 0, StepStatus.FAILED, id="u", phase="undo", error="gone"))
    await store.finish(
        run.id,
        claim.epoch,
        Outcome.ROLLBACK,
        Verdict.NOT_FIXED,
        error="the memory limit did not help",
        evidence=[Evidence(at=T0 + timedelta(minutes=1), healthy=False, detail="0 of 3 ready")],
    )
    return written


async def test_an_execution_is_told_from_plan_to_evidence(store):
    """Plan with each change and its undo, what happened, what the verifier saw, how it ended."""
    written = await _executed(store)
    (found,) = await explain.find(store, written.incident.id)
    text = story.story_text(found)
    for words in (
        "Deployment/web/shop: memory limit of app: 256Mi -> 512Mi [undo: memory limit back to 256Mi]",
        "12:00:00 Raise the memory limit: succeeded in 2.0s",
        "undo: Raise the memory limit: failed, gone",
        "12:01:00 not healthy: 0 of 3 ready",
        "done, rollback, verdict not fixed",
        "error: the memory limit did not help",
        "by worker-1",
    ):
        assert words in text


async def test_an_approval_is_told_with_who_and_why(store):
    """Who was asked, who answered, with which reason."""
    problem = incident(signal())
    run = execution(problem, status=Status.WAITING_APPROVAL)
    now = datetime.now(UTC)
    question = ask(run.id, problem.id, run.plan.hash, ["irreversible step"], now=now, timeout=timedelta(minutes=5))
    written = decision(DecisionKind.APPROVAL, signal=problem.signal, incident=problem, execution=run, approval=question)
    text = await _told(store, written)
    assert "approval pending: irreversible step; open until" in text
    await store.answer(question.id, Verb.DENY, by="ann", reason="not now", now=now, plan_hash=question.plan_hash)
    (found,) = await explain.find(store, written.id)
    text = story.story_text(found)
    assert "approval denied: irreversible step; by ann" in text
    assert "error: denied by ann: not now" in text


async def test_control_characters_of_an_alert_do_not_reach_the_terminal(store):
    """An alert's text must not paint on the screen of who reads it."""
    text = await _told(store, decision(signal=signal(message="red \x1b[31m and\rback")))
    assert "\x1b" not in text
    assert "\r" not in text


async def test_the_story_is_also_json(store):
    """Everything that is told can be read by machines."""
    written = await _executed(store)
    (found,) = await explain.find(store, written.execution.id)
    told = orjson.loads(orjson.dumps(story.story_json(found)))
    assert told["decision"]["kind"] == "permit"
    assert told["executions"][0]["record"]["outcome"] == "rollback"
    assert told["executions"][0]["evidence"][0]["detail"] == "0 of 3 ready"


async def test_an_unknown_short_or_ambiguous_id_is_told_as_such(store):
    """The answer says what to do instead of guessing."""
    with pytest.raises(CommandError, match="too short"):
        await explain.find(store, "abc")
    with pytest.raises(CommandError, match="nothing is on record"):
        await explain.find(store, "no-such-id")
    one, other = decision(id="same-start-1"), decision(id="same-start-2")
    await store.record([one, other])
    with pytest.raises(CommandError, match="same-start-2"):
        await explain.find(store, "same-start")
    (found,) = await explain.find(store, "same-start-1")
    assert found.decision.id == one.id


async def test_an_execution_is_found_by_its_beginning_and_told_alone(store):
    """``rb executions show`` takes what people have."""
    written = await _executed(store)
    (found,) = await executions.find(store, written.execution.id[:8])
    assert isinstance(found, ExecutionStory)
    assert story.execution_text(found).startswith(f"Execution {written.execution.id}: done, rollback")
    with pytest.raises(CommandError, match="no execution"):
        await executions.find(store, "no-such-id")


async def test_a_line_of_the_list_tells_how_it_ended(store):
    """Id, time, runbook, target, status, outcome, verdict, duration."""
    written = await _executed(store)
    (one,) = await store.latest()
    line = executions.row(one)
    assert line[0] == written.execution.id[:13]
    assert line[2:7] == ("oom-raise-memory 1.0", written.incident.target.key, "done", "rollback", "not_fixed")


def test_wrong_options_are_told():
    """A misspelt status or time is wrong use, not an empty list."""
    assert executions.status_of("") is None
    assert executions.status_of("running") is Status.RUNNING
    with pytest.raises(CommandError, match="rolling_back"):
        executions.status_of("finished")
    now = datetime(2026, 3, 2, tzinfo=UTC)
    assert executions.start_of("24h", now) == now - timedelta(days=1)
    assert executions.start_of("", now) is None
    with pytest.raises(CommandError, match="duration"):
        executions.start_of("yesterday", now)


def test_items_and_attempts_are_told_one_by_one():
    """Who reads the story sees which item it was, and how often it was tried."""
    lines = [
        story.run_text(step_run("x", 0, StepStatus.SUCCEEDED, item=2, attempt=3)),
        story.run_text(step_run("x", 0, StepStatus.FAILED, error="no quota")),
    ]
    assert lines[0].endswith("Raise the memory limit (item 2): succeeded, attempt 3")
    assert lines[1].endswith("Raise the memory limit: failed, no quota")


def test_a_plan_shows_the_changes_of_every_item():
    """A human says yes to all of them."""
    whole = execution(incident(signal())).plan.steps[0]
    change = Change(verb="patch", summary="a: 1 -> 2", undo="set it back")
    leaves = tuple(whole.model_copy(update={"item": n, "changes": (change,)}) for n in range(2))
    lines = list(story._step(1, whole.model_copy(update={"items": ("a", "b"), "each": leaves, "changes": ()})))
    assert lines[0].endswith(", for each of 2 items)")
    assert [line.strip() for line in lines[1:]] == ["a: 1 -> 2 [undo: set it back]"] * 2
