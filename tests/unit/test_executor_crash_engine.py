"""Crashes in runbooks with everything the engine can do: no effect is doubled, and the end is the same."""

from __future__ import annotations

import pytest
from fakes.engine import LOOK, answering, bench, flaky, play, record, write
from fakes.journal import Crash, Crashes
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.actions.flow import Wait
from executor.model import Outcome
from safety.approvals import Verb

BAD = {"fail": "permanent"}
EACH = {"id": "all", "name": "All", "action": "set", "params": {"name": "{{ item }}", "value": 1}}
ONCE_MORE = {"attempts": 3, "backoff": "2s", "errors": ["failed", "conflict"]}
AGAIN = {"id": "again", "name": "Again", "action": "look", "params": {"name": "memory"}}
CHILD = {
    "id": "child",
    "steps": [LOOK, write("c", 1, save_state={"old": "{{ current }}"}), write("d", 1)],
    "rollback": [write("back", "{{ state.old }}")],
}
CALL = {"id": "call", "name": "Call", "action": "run_runbook", "params": {"runbook": "child"}}
SCENARIOS = {
    "a graph that works": {
        "steps": [
            write(),
            write("b", 1, depends_on=["memory"]),
            write("c", 1, depends_on=["memory"]),
            {"id": "w", "name": "Wait", "action": "settle", "depends_on": ["memory"]},
            write("d", 1, depends_on=["b", "c", "w"]),
        ]
    },
    "a graph that fails at its end": {
        "steps": [
            write("a", 1, depends_on=[]),
            write("b", 1, depends_on=[]),
            write("c", 1, depends_on=["a"]),
            write("bad", 1, depends_on=["b", "c"], **BAD),
        ]
    },
    "items": {"steps": [write(), {**EACH, "for_each": ["a", "b", "c"]}, write("d", 1)]},
    "items side by side": {"steps": [write(), {**EACH, "for_each": ["a", "b", "c"], "max_parallel": 2}]},
    "items that are undone": {"steps": [write(), {**EACH, "for_each": ["a", "b"]}, write("d", 1, **BAD)]},
    "items found on the way": {"steps": [write(), AGAIN, {**EACH, "for_each": "{{ [steps.again.output, 'b'] }}"}]},
    "attempts": {"steps": [flaky("a", ["failed", "conflict"], retry=ONCE_MORE), write()]},
    "attempts in vain": {"steps": [write(), flaky("a", ["failed"] * 9, retry=ONCE_MORE)]},
    "a lost answer": {"steps": [flaky("a", ["lost"], retry=ONCE_MORE), write()]},
    "a procedure, then on": {
        "steps": [write("x", 1, on_failure={"run": "help", "then": "continue"}, **BAD), write()],
        "procedures": {"help": [write("h", 1), {**EACH, "for_each": ["i", "j"]}]},
    },
    "a procedure, then back": {
        "steps": [write(), write("x", 1, on_failure={"run": "help"}, **BAD)],
        "procedures": {"help": [write("h", 1), write("i", 1)]},
    },
    "a call": {"steps": [write(), CALL, write("e", 1)]},
    "a call that is taken back": {"steps": [write(), CALL, write("e", 1, **BAD)]},
    "a question": {"steps": [write(), write("b", 1, require_approval=True)]},
    "a question after a failure": {"steps": [write("x", 1, on_failure="approve", **BAD), write()]},
    "enough": {"steps": [write(on_success="complete"), write("b", 1)]},
}


async def ended(scenario, crashes_at=()):
    """What must not depend on crashes: the world, its effects, and how it ended."""
    made, record, crashes = await play(
        SCENARIOS[scenario], CHILD, crashes_at=crashes_at, on_new=lambda one: answering(one, Verb.APPROVE)
    )
    runs = sorted((run.phase, run.index, run.item is not None, run.item or 0, run.status) for run in record.steps)
    # Side by side, the order of effects is nobody's promise.
    return (made.tiny.values, sorted(made.tiny.effects), record.outcome, record.verdict, runs), crashes


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_invariant_3_a_crash_at_any_single_moment_of_the_engine_changes_nothing(scenario):
    """At every boundary of the journal, and right before and after each effect."""
    expected, crashes = await ended(scenario)
    for moment in range(1, len(crashes.reached) + 1):
        again, _ = await ended(scenario, [moment])
        assert again == expected, f"died at {crashes.reached[moment - 1]}"


@given(scenario=st.sampled_from(sorted(SCENARIOS)), crashes_at=st.lists(st.integers(1, 20), max_size=10))
@settings(deadline=None, max_examples=150)
async def test_invariant_3_any_number_of_crashes_of_the_engine_changes_nothing(scenario, crashes_at):
    """One process after another dies; each effect still happened exactly once."""
    expected, _ = await ended(scenario)
    assert (await ended(scenario, crashes_at))[0] == expected


async def test_attempts_are_counted_across_crashes():
    """A process that dies in the pause leaves the count, and who takes over waits for the rest of the pause."""
    made = bench()
    retry = {"attempts": 3, "backoff": "10s", "factor": 1, "jitter": 0, "errors": ["failed"]}
    planned = await record(made, {"steps": [write(), flaky("a", ["failed"] * 9, retry=retry)]})

    def die():
        made.clock.on_sleep.remove(die)
        raise Crash("in the pause")

    made.clock.on_sleep.append(die)
    with pytest.raises(Crash):
        await made.start(planned, "a1")
    ended = await made.take_over("x1", "a1")
    assert ended.outcome is Outcome.ROLLBACK
    assert made.actions["flaky"].tried["a"] == 3
    assert next(run.attempt for run in ended.steps if run.step_id == "a") == 3


async def test_an_answer_is_in_the_journal_before_anything_follows_from_it():
    """Whoever takes over needs no second look at the question, and asks nobody again."""
    runbook = {"steps": [write(), write("b", 1, require_approval=True)]}
    made = bench()
    answering(made, Verb.APPROVE)
    planned = await record(made, runbook)
    _, _, crashes = await play(runbook, on_new=lambda one: answering(one, Verb.APPROVE))
    made.tiny.crashes = made.journal.crashes = Crashes(crashes.reached.index("after outcome x1/approval/1") + 1)
    with pytest.raises(Crash):
        await made.start(planned, "a1")
    made.tiny.crashes = made.journal.crashes = Crashes()
    made.approvals.approvals.clear()
    made.clock.on_sleep.clear()
    ended = await made.take_over("x1", "a1")
    assert ended.outcome is Outcome.SUCCESS
    assert not made.approvals.approvals


async def test_who_takes_over_waits_for_the_rest_of_a_wait():
    """Its beginning is in the journal, so that a long wait does not begin anew with every process."""
    made = bench()
    made.actions["wait"] = Wait()
    planned = await record(made, {"steps": [write(), {"name": "W", "action": "wait", "params": {"seconds": 100}}]})

    def die():
        made.clock.on_sleep.remove(die)
        made.clock.passed -= 60
        raise Crash("after 40 of 100 seconds")

    made.clock.on_sleep.append(die)
    with pytest.raises(Crash):
        await made.start(planned, "a1")
    assert made.clock.passed == 40
    slept = []
    sleep = made.clock.sleep

    async def noted(seconds):
        slept.append(seconds)
        await sleep(seconds)

    made.clock.sleep = noted
    ended = await made.take_over("x1", "a1")
    assert ended.outcome is Outcome.SUCCESS
    assert slept[0] == 60
