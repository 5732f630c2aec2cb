"""Further attempts: which errors are worth one, when it comes, and what is never done twice."""

from __future__ import annotations

import asyncio

import pytest
from fakes.engine import bench, flaky, record, run, statuses, write
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.errors import Conflict, Drifted, StepFailed, Unavailable
from executor.model import Outcome, RetryPolicy
from executor.retrying import Again, after_attempt, kind_of, share
from executor.settings import ExecutorSettings
from runbooks.model import RetryOn

TRANSPORT = ExecutorSettings(attempts=3, backoff_seconds=0.5)


def policy(**changes):
    given = {"attempts": 5, "backoff_seconds": 1, "factor": 2, "max_backoff_seconds": 30, "jitter": 0, "on": ()}
    return RetryPolicy(**{**given, **changes})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), RetryOn.TIMEOUT),
        (Conflict(), RetryOn.CONFLICT),
        (Unavailable(), RetryOn.TEMPORARY),
        (StepFailed(), RetryOn.FAILED),
        (Drifted(), None),
    ],
)
def test_errors_have_classes(error, kind):
    """What the API server refused for good belongs to none: no retry can be asked for it."""
    assert kind_of(error) is kind


def test_the_pause_grows_to_its_limit():
    """Each is longer by the factor."""
    retry = policy(on=(RetryOn.FAILED,), max_backoff_seconds=5)
    found = [after_attempt(retry, TRANSPORT, RetryOn.FAILED, attempt, "x") for attempt in range(1, 6)]
    assert [again.pause_seconds if again else None for again in found] == [1, 2, 4, 5, None]


def test_errors_that_the_author_does_not_name_are_tried_as_the_transport_does():
    """A policy for one class takes nothing from the rest."""
    retry = policy(on=(RetryOn.FAILED,))
    assert after_attempt(retry, TRANSPORT, RetryOn.TEMPORARY, 2, "x") == Again(1.0)
    assert after_attempt(retry, TRANSPORT, RetryOn.TEMPORARY, 3, "x") is None
    assert after_attempt(retry, TRANSPORT, RetryOn.TIMEOUT, 1, "x") is None
    assert after_attempt(None, TRANSPORT, RetryOn.FAILED, 1, "x") is None


POLICIES = st.builds(
    policy,
    attempts=st.just(20),
    backoff_seconds=st.floats(0, 60),
    factor=st.floats(1, 10),
    max_backoff_seconds=st.floats(0, 120),
    jitter=st.floats(0, 1),
    on=st.just(tuple(RetryOn)),
)


@given(POLICIES, st.integers(1, 19), st.text(max_size=20))
@settings(deadline=None)
def test_jitter_stays_within_its_share_and_is_the_same_in_every_process(retry, attempt, seed):
    """The run decides the jitter: who takes over waits as long as the one before would have."""
    again = after_attempt(retry, TRANSPORT, RetryOn.FAILED, attempt, seed)
    assert again == after_attempt(retry, TRANSPORT, RetryOn.FAILED, attempt, seed)
    plain = min(retry.max_backoff_seconds, retry.backoff_seconds * retry.factor ** (attempt - 1))
    assert plain * (1 - retry.jitter) - 1e-6 <= again.pause_seconds <= plain * (1 + retry.jitter) + 1e-6


def test_different_runs_do_not_come_back_all_at_once():
    """That is what jitter is for."""
    retry = policy(jitter=0.5, on=(RetryOn.FAILED,))
    pauses = {after_attempt(retry, TRANSPORT, RetryOn.FAILED, 1, f"run {n}").pause_seconds for n in range(50)}
    assert len(pauses) > 40


def test_when_timeouts_are_retried_each_attempt_gets_its_share_of_the_time():
    """Otherwise the first one would use up the step's whole time."""
    retry = policy(attempts=3, on=(RetryOn.TIMEOUT,))
    assert share(retry, 30, 1) == 10
    assert share(retry, 30, 3) == 30
    assert share(policy(on=(RetryOn.FAILED,)), 30, 1) == 30


@pytest.mark.parametrize("kind", ["failed", "temporary", "conflict"])
async def test_a_step_is_tried_again_for_the_errors_that_it_names(kind):
    """Every attempt is in the journal, with its error and its class."""
    made = bench()
    retry = {"attempts": 4, "backoff": "2s", "factor": 1, "jitter": 0, "errors": [kind]}
    ended = await run(made, {"steps": [write(), flaky("b", [kind, kind], retry=retry)]})
    assert ended.outcome is Outcome.SUCCESS
    done = next(one for one in ended.steps if one.step_id == "b")
    assert (done.attempt, [one.number for one in done.attempts]) == (3, [1, 2])
    assert {one.kind for one in done.attempts} == {kind}
    assert all(one.error for one in done.attempts)
    assert made.tiny.effects == ["set memory=512Mi", "set b=1"]
    assert len(made.hooks.named("step.attempt")) == 2
    assert made.clock.passed >= 4
    stored = await made.journal.load("x1")
    assert next(one for one in stored.steps if one.step_id == "b") == done


async def test_attempts_have_an_end():
    """The last error is told, and how often it was tried."""
    made = bench()
    retry = {"attempts": 2, "errors": ["failed"]}
    ended = await run(made, {"steps": [flaky("b", ["failed"] * 5, retry=retry)]})
    assert "still failing after 2 tries: the answer was wrong" in ended.error
    assert made.actions["flaky"].tried["b"] == 2


async def test_without_retry_a_failure_is_final():
    """Only what the transport does by itself is repeated."""
    made = bench()
    ended = await run(made, {"steps": [flaky("b", ["failed"])]})
    assert made.actions["flaky"].tried["b"] == 1
    assert "the answer was wrong" in ended.error


async def test_invariant_3_a_write_whose_answer_was_lost_is_not_repeated():
    """The target says that it happened: that is a success, however many attempts are left."""
    made = bench()
    retry = {"attempts": 5, "errors": ["temporary", "failed", "timeout"]}
    ended = await run(made, {"steps": [write(), flaky("b", ["lost"], retry=retry)]})
    assert ended.outcome is Outcome.SUCCESS
    assert made.tiny.effects.count("set b=1") == 1


async def test_a_write_is_repeated_only_when_the_target_can_say_that_it_did_not_happen():
    """A call that nobody can ask about ends with its first failure, whatever the policy says."""
    made = bench()

    class Broken(type(made.actions["fire"])):
        calls = 0

        async def perform(self, step, saved, stamp, world):
            type(self).calls += 1
            raise StepFailed("502")

    made.actions["fire"] = Broken(made.tiny)
    step = {"name": "Call", "action": "fire", "params": {"what": "x"}, "retry": {"attempts": 5, "errors": ["failed"]}}
    await run(made, {"steps": [step]})
    assert Broken.calls == 1
    Broken.calls = 0
    made = bench()
    made.actions["fire"] = Broken(made.tiny)
    await run(made, {"steps": [{**step, "idempotent": True}]})
    assert Broken.calls == 5


async def test_an_attempt_that_takes_too_long_is_followed_by_another():
    """The first hangs; the share of its time over, the second works."""
    made = bench()

    class Slow(type(made.actions["flaky"])):
        async def perform(self, step, saved, stamp, world):
            if self.tried.get("b", 0) == 0:
                self.tried["b"] = 1
                await asyncio.sleep(60)
            return await super().perform(step, saved, stamp, world)

    made.actions["flaky"] = Slow(made.tiny)
    retry = {"attempts": 3, "backoff": "0s", "errors": ["timeout"]}
    ended = await run(made, {"steps": [write(), flaky("b", retry=retry, timeout="300ms")]})
    assert ended.outcome is Outcome.SUCCESS
    assert statuses(ended)["b"] == "succeeded"
    assert next(one for one in ended.steps if one.step_id == "b").attempts[0].kind == "timeout"


async def test_no_attempt_begins_when_the_time_of_the_step_is_over():
    """The pause would be longer than what is left."""
    made = bench()
    retry = {"attempts": 9, "backoff": "20s", "factor": 1, "jitter": 0, "errors": ["failed"]}
    await run(made, {"steps": [flaky("b", ["failed"] * 9, retry=retry, timeout="50s")]})
    assert made.actions["flaky"].tried["b"] == 3


async def test_a_read_is_retried_too():
    """A check that did not hold yet may hold a little later."""
    made = bench()

    class Late(type(made.actions["settle"])):
        async def perform(self, step, saved, stamp, world):
            self.waits += 1
            if self.waits < 3:
                raise StepFailed("not yet")
            return {"waits": self.waits}

    made.actions["settle"] = Late(made.tiny)
    step = {"id": "w", "name": "Wait", "action": "settle", "retry": {"attempts": 3, "errors": ["failed"]}}
    ended = await run(made, {"steps": [write(), step]})
    assert ended.outcome is Outcome.SUCCESS
    assert next(one for one in ended.steps if one.step_id == "w").output == {"waits": 3}


async def test_the_policy_is_part_of_the_plan():
    """It survives the way through the store."""
    planned = await record(
        bench(), {"steps": [flaky("b", retry={"attempts": 7, "backoff": "90s", "errors": ["conflict"]})]}
    )
    again = type(planned).model_validate_json(planned.model_dump_json())
    assert again.plan.steps[0].retry.backoff_seconds == 90
    assert again.plan == planned.plan
