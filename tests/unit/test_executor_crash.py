"""Crashes: wherever the process dies, and however often, each effect happens once and the end is the same."""

from __future__ import annotations

import pytest
from fakes.actions import Bench, match_for, record_of
from fakes.journal import Crash, Crashes
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.model import Outcome, StepStatus, Verdict
from executor.planner import Planner

SAFE = {"require_approval": False}
LOOK = {"name": "Look", "action": "look", "params": {"name": "memory"}, "output_var": "current"}
SAY = {"name": "Say", "action": "settle"}


def write(name="memory", value="512Mi", title=None, **more):
    params = {"name": name, "value": value, **({"fail": more.pop("fail")} if "fail" in more else {})}
    return {"name": title or f"Set {name}", "action": "set", "params": params, **more}


SEEN = {**LOOK, "name": "Again", "output_var": "seen"}
SCENARIOS = {
    "a fix that works": {"steps": [LOOK, write(value="{{ current * 2 }}"), SAY, write("b", 1)]},
    "a wrong fix": {"steps": [write(value="300Mi"), write("b", 1)]},
    "a failing step": {"steps": [write(), write("b", 1), write("c", 1, fail="permanent")]},
    "own rollback": {
        "steps": [LOOK, write(value="300Mi"), write("b", 1)],
        "rollback": [write(value="{{ current }}", title="Back"), write("b", 0, title="Back b")],
    },
    "a deferred write": {"steps": [write(), SEEN, write("copy", "{{ seen }}"), write("c", 1, fail="permanent")]},
    "a failure that may be": {"steps": [write("c", 1, fail="permanent", on_failure="continue"), write()]},
}


async def play(scenario, crashes_at=()):
    """Run a scenario; the nth process dies at the nth given moment, the one after the last goes to the end."""
    bench = Bench()
    plan = await Planner(bench.actions, bench.world, {}).plan(match_for({"safety": SAFE, **SCENARIOS[scenario]}), "x1")
    record = record_of(plan)
    bench.journal.open(record, 1)
    alive = list(crashes_at)
    first = True
    while True:
        crashes = Crashes(alive.pop(0) if alive else None)
        bench.tiny.crashes = bench.journal.crashes = crashes
        try:
            ended = await (bench.start(record, "a1") if first else bench.take_over("x1", "a1"))
        except Crash:
            first = False
            stored = await bench.journal.load("x1")
            if stored.outcome is not None:
                return bench, stored, crashes
            continue
        return bench, ended, crashes


def summary(bench, ended):
    """What must not depend on crashes."""
    runs = sorted((run.phase, run.index, run.status) for run in ended.steps)
    return bench.tiny.values, bench.tiny.effects, ended.outcome, ended.verdict, runs


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_invariant_3_a_crash_at_any_single_moment_changes_nothing(scenario):
    """Before the intent, between intent and effect, between effect and outcome, in rollback: one by one."""
    bench, ended, crashes = await play(scenario)
    expected = summary(bench, ended)
    for moment in range(1, len(crashes.reached) + 1):
        again = summary(*(await play(scenario, [moment]))[:2])
        assert again == expected, f"died at {crashes.reached[moment - 1]}"


@given(scenario=st.sampled_from(sorted(SCENARIOS)), crashes_at=st.lists(st.integers(1, 25), max_size=12))
@settings(deadline=None, max_examples=150)
async def test_invariant_3_any_number_of_crashes_changes_nothing(scenario, crashes_at):
    """One process after another dies; each effect still happened exactly once."""
    expected = summary(*(await play(scenario))[:2])
    assert summary(*(await play(scenario, crashes_at))[:2]) == expected


async def test_invariant_3_the_intent_is_durable_before_the_effect():
    """At the moment of the effect the journal already knows of it."""
    bench, _, crashes = await play("a fix that works")
    moments = crashes.reached
    for effect in ("set memory=512Mi", "set b=1"):
        index = 1 if "memory" in effect else 3
        at = moments.index(f"before effect {effect}")
        assert moments.index(f"after intend x1/step/{index}") < at < moments.index(f"before outcome x1/step/{index}")
    assert len(bench.tiny.effects) == 2


async def crashed_fire(moment, *, idempotent=None, action="fire"):
    bench = Bench()
    params = {"what": "x"} if action == "fire" else {"text": "x"}
    step = {"name": "Call", "action": action, "params": params}
    runbook = {
        "safety": SAFE,
        "steps": [write(), {**step, **({} if idempotent is None else {"idempotent": idempotent})}],
    }
    plan = await Planner(bench.actions, bench.world, {}).plan(match_for(runbook), "x1")
    record = record_of(plan)
    dry = Bench()
    await dry.start(record, "a1")
    at = dry.crashes.reached.index(moment) + 1
    bench.tiny.crashes = bench.journal.crashes = Crashes(at)
    with pytest.raises(Crash):
        await bench.start(record, "a1")
    bench.tiny.crashes = bench.journal.crashes = Crashes()
    return bench, await bench.take_over("x1", "a1")


@pytest.mark.parametrize("moment", ["before effect fire x", "after effect fire x"])
async def test_invariant_3_what_can_be_neither_asked_nor_repeated_ends_with_a_human(moment):
    """It may or may not have happened: it is not done again, nothing is undone, and a human is told."""
    bench, ended = await crashed_fire(moment)
    assert ended.outcome is Outcome.ABORTED
    assert "a human must look" in ended.error
    assert bench.tiny.effects.count("fire x") == (1 if moment.startswith("after") else 0)
    assert ended.steps[-1].status is StepStatus.UNKNOWN
    assert bench.tiny.values["memory"] == "512Mi"


async def test_invariant_3_only_what_is_declared_idempotent_is_simply_repeated():
    """The author says that the server recognises repeats."""
    bench, ended = await crashed_fire("after effect fire x", idempotent=True)
    assert ended.outcome is Outcome.SUCCESS
    assert bench.tiny.effects.count("fire x") == 2


async def crashed_pair(moment, *more, **step):
    bench = Bench()
    bench.tiny.values.update(left="old", right="old")
    runbook = {"safety": SAFE, "steps": [{"name": "Pair", "action": "pair", **step}, *more]}
    plan = await Planner(bench.actions, bench.world, {}).plan(match_for(runbook), "x1")
    dry = Bench()
    await dry.start(record_of(plan))
    bench.tiny.crashes = bench.journal.crashes = Crashes(dry.crashes.reached.index(moment) + 1)
    with pytest.raises(Crash):
        await bench.start(record_of(plan))
    bench.tiny.crashes = bench.journal.crashes = Crashes()
    return bench, await bench.take_over()


async def test_invariant_9_a_repeated_half_done_step_is_undone_to_what_was_there_first():
    """The second try sees its own half; what is put back is what the first one saw."""
    bench, ended = await crashed_pair("after effect set left", write("c", 1, fail="permanent"))
    assert ended.outcome is Outcome.ROLLBACK
    assert (bench.tiny.values["left"], bench.tiny.values["right"]) == ("old", "old")


async def test_invariant_3_an_author_can_forbid_the_repeat_of_an_idempotent_step():
    """Then only a target that was asked can say that it may be done again."""
    bench, ended = await crashed_pair("after effect set left", idempotent=False)
    assert ended.outcome is Outcome.ABORTED
    assert bench.tiny.effects == ["set left"]


async def test_a_message_is_never_sent_twice():
    """After a crash nobody knows whether it was sent; the execution goes on without."""
    bench, ended = await crashed_fire("after effect say x", action="say")
    assert (ended.outcome, ended.verdict) == (Outcome.SUCCESS, Verdict.VERIFIED)
    assert bench.tiny.effects.count("say x") == 1


async def test_a_recovered_step_says_so():
    """The target told that it was done; the output is marked."""
    dry = await play("a wrong fix")
    at = dry[2].reached.index("after effect set memory=300Mi") + 1
    _, ended, _ = await play("a wrong fix", [at])
    run = next(run for run in ended.steps if run.id == "x1/step/0")
    assert run.output == {"value": "300Mi", "recovered": True}


async def test_values_read_while_planning_survive_a_restart():
    """Output variables come from the plan and the journal, not from memory."""
    dry = await play("own rollback")
    at = dry[2].reached.index("after intend x1/rollback/0") + 1
    bench, ended, _ = await play("own rollback", [at])
    assert ended.outcome is Outcome.ROLLBACK
    assert bench.tiny.values["memory"] == "256Mi"
