"""Progress on Kafka: in batches, best effort, and in nobody's way."""

from __future__ import annotations

import asyncio
import json

import pytest
from fakes.actions import permit_for
from fakes.engine import bench, flaky, record, write
from fakes.recording_publisher import RecordingPublisher

from executor.runner import Executor
from safety.approvals import Verb
from services.hooks import MultiHooks
from services.pipeline.progress import Progress
from services.settings import Topics

TOPICS = Topics()


async def told(runbook, publisher=None, *, answers=None, until_done=False):
    """Run a runbook with listeners; what was published, as JSON by topic. ``until_done``: nothing is sent before."""
    from fakes.engine import answering  # noqa: PLC0415 - only where somebody answers

    made, publisher = bench(), publisher or RecordingPublisher()
    if answers:
        answering(made, answers)
    planned = await record(made, runbook)
    done = asyncio.Event()

    async def worth_it(_seconds):
        await done.wait()

    progress = Progress(publisher, TOPICS, made.clock, **({"pause": worth_it} if until_done else {}))
    progress.watch(planned)
    made.journal.open(planned, 1)
    executor = Executor(
        actions=made.actions,
        world=made.world,
        journal=made.journal,
        guard=made.guard,
        clock=made.clock,
        hooks=MultiHooks(made.hooks, progress),
        fresh=made.fresh,
        approvals=made.approvals,
    )
    ended = await executor.run(permit_for(planned, 1, "a1"), planned)
    done.set()
    await progress.forget(planned.id)
    messages = [(message.topic, json.loads(message.value)) for message in publisher.messages]
    return ended, messages, publisher


async def test_every_step_attempt_and_item_is_told():
    """In the order in which it happened, with what a listener needs to show it."""
    items = {"id": "all", "name": "All", "action": "set", "for_each": ["x", "y"]}
    steps = [
        write(),
        flaky("b", ["failed"], retry={"attempts": 2, "errors": ["failed"]}),
        {**items, "params": {"name": "{{ item }}", "value": 1}},
    ]
    _, messages, _ = await told({"steps": steps})
    seen = [(one["event"], one["step"], one["item"], one["attempt"]) for _, one in messages if one["step"]]
    assert seen == [
        ("step_started", "memory", None, 1),
        ("step_finished", "memory", None, 1),
        ("step_started", "b", None, 1),
        ("step_retry", "b", None, 1),
        ("step_finished", "b", None, 2),
        ("step_started", "all", None, 1),
        ("step_started", "all", 0, 1),
        ("step_finished", "all", 0, 1),
        ("step_started", "all", 1, 1),
        ("step_finished", "all", 1, 1),
        ("step_finished", "all", None, 1),
    ]
    assert {topic for topic, _ in messages} == {TOPICS.executions}
    assert next(one for _, one in messages if one["event"] == "step_retry")["message"] == "the answer was wrong"


async def test_the_way_back_is_told_with_its_status():
    """A listener sees that the execution is rolling back."""
    _, messages, _ = await told({"steps": [write(), write("c", 1, fail="permanent")]})
    undone = [one for _, one in messages if one["phase"] == "undo"]
    assert {(one["step"], one["status"], one["result"]) for one in undone} == {
        ("c", "rolling_back", "succeeded"),
        ("memory", "rolling_back", "succeeded"),
    }


async def test_a_question_is_told_on_both_topics():
    """On that of approvals with its id, so that it can be answered."""
    _, messages, _ = await told({"steps": [write(require_approval=True)]}, answers=Verb.APPROVE)
    (asked,) = [one for topic, one in messages if topic == TOPICS.approvals]
    assert (asked["status"], asked["step"]) == ("pending", "approval/memory")
    assert "approval_requested" in [one["event"] for _, one in messages if "event" in one]


async def test_events_go_together():
    """A hundred items are a few messages to the broker, not hundreds of calls."""
    names = [f"n{number}" for number in range(100)]
    step = {
        "id": "all",
        "name": "All",
        "action": "set",
        "for_each": names,
        "params": {"name": "{{ item }}", "value": 1},
    }
    _, messages, publisher = await told({"steps": [write(), step]}, until_done=True)
    assert len(messages) > 200
    assert publisher.asked == 1


@pytest.mark.parametrize(("away", "delay"), [(True, 0.0), (False, 0.3)])
async def test_a_topic_that_is_away_or_slow_holds_nothing_up(away, delay):
    """The steps are done before the broker has answered once; what is lost is lost for listeners alone."""
    publisher = RecordingPublisher()
    publisher.away, publisher.delay_seconds = away, delay
    ended, messages, _ = await told({"steps": [write()]}, publisher)
    assert ended.outcome == "success"
    assert (messages == []) is away


async def test_nobody_is_told_of_an_execution_that_is_not_watched():
    """Another process's, or one that has ended."""
    publisher = RecordingPublisher()
    progress = Progress(publisher, TOPICS, bench().clock)
    progress.event("step.started", execution="other", step="x")
    await asyncio.sleep(0.1)
    assert publisher.asked == 0
