"""Success criteria, the observation after the fix, and the triggers that take changes back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fakes.actions import START, Bench, match_for, record_of
from hypothesis import given
from hypothesis import strategies as st

from executor.criteria import is_expression, split_comparison
from executor.data_ports import Sample
from executor.errors import PlanError, Unavailable
from executor.health import Reading
from executor.judge import Observation
from executor.model import Outcome, StepStatus, Trigger, Verdict
from executor.planner import Planner
from executor.triggers import tripped

CHANGE = {"name": "raise", "action": "set", "params": {"name": "memory", "value": "512Mi"}}
UP, DOWN = Reading(healthy=True, detail="up"), Reading(healthy=False, detail="down")


class Prometheus:
    """What each query gives at the time of asking: values by labels, an exception, or a function of the time passed."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []

    def named(self, name: str) -> str:
        return name

    async def instant(self, query: str, *, timeout_seconds: float) -> list[Sample]:
        self.asked.append(query)
        found = self.answers.get(query, [])
        found = found(self.bench.clock.passed) if callable(found) else found
        if isinstance(found, Exception):
            raise found
        return [Sample({"n": str(number)}, value) for number, value in enumerate(found)]


def bench() -> Bench:
    made = Bench()
    prometheus: Any = Prometheus(made)
    made.world = replace(made.world, metrics=prometheus)
    return made


async def run(made: Bench, *, settle=5, observe=0, deadline=60, on_inconclusive="keep", on_not_fixed="rollback", **raw):
    approval = raw.pop("approval", "")
    runbook = {"safety": {"require_approval": False}, "steps": [CHANGE], **raw}
    plan = await Planner(made.actions, made.world, {}).plan(match_for(runbook), "x1")
    record = record_of(
        plan,
        settle_seconds=settle,
        observe_seconds=observe,
        verify_timeout_seconds=deadline,
        on_inconclusive=on_inconclusive,
        on_not_fixed=on_not_fixed,
    )
    return await made.start(record, approval)


def criteria(*checks):
    return {"success_criteria": [{"name": f"c{number}", **check} for number, check in enumerate(checks)]}


async def test_a_fix_counts_when_every_criterion_holds_for_the_settle_time():
    """A healthy target and the evidence of each criterion: that is success, and the report names them."""
    made = bench()
    made.world.metrics.answers["errors"] = [0.01]
    checks = criteria({"check": "metrics.errors < 0.05"}, {"action": "look", "check": "output == '512Mi'"})
    ended = await run(made, verification=checks)
    assert (ended.verdict, ended.outcome) == (Verdict.VERIFIED, Outcome.SUCCESS)
    assert any("c0, c1: holds" in line.detail for line in made.journal.evidence["x1"])


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [([0.5], Verdict.NOT_FIXED), ([], Verdict.INCONCLUSIVE), (Unavailable("away"), Verdict.INCONCLUSIVE)],
)
async def test_a_criterion_that_fails_is_not_fixed_and_one_that_is_silent_is_inconclusive(answer, verdict):
    """The target is well all the time; that alone is no success."""
    made = bench()
    made.world.metrics.answers["errors"] = answer
    ended = await run(made, verification=criteria({"check": "metrics.errors < 0.05"}))
    assert ended.verdict is verdict
    assert ended.outcome is (Outcome.ROLLBACK if verdict is Verdict.NOT_FIXED else Outcome.PARTIAL)
    assert "c0" in ended.error


async def test_a_criterion_that_comes_to_hold_late_starts_the_settle_time():
    """The evidence has to last, not only to be there once."""
    made = bench()
    made.world.metrics.answers["errors"] = lambda passed: [0.5 if passed < 20 or 24 < passed < 30 else 0.01]
    ended = await run(made, verification=criteria({"check": "metrics.errors < 0.05"}))
    assert ended.verdict is Verdict.VERIFIED
    assert made.clock.passed >= 35


async def test_on_inconclusive_can_take_back():
    """Where nobody can say whether it helped, the author may want the old state."""
    for choice, outcome, value in (("keep", Outcome.PARTIAL, "512Mi"), ("rollback", Outcome.ROLLBACK, "256Mi")):
        made = bench()
        checks = criteria({"check": "metrics.errors < 0.05"})
        ended = await run(made, verification=checks, on_inconclusive=choice)
        assert (ended.verdict, ended.outcome) == (Verdict.INCONCLUSIVE, outcome)
        assert made.tiny.values["memory"] == value


async def test_the_observation_lasts_as_long_as_it_says():
    """After it has settled the target is watched on, and a relapse in that time is no success."""
    made = bench()
    assert (await run(made, observe=30)).verdict is Verdict.VERIFIED
    assert made.clock.passed == pytest.approx(35, abs=1)
    made = bench()
    made.cluster.before_read.append(lambda: setattr(made, "good", "512Mi" if made.clock.passed < 20 else "never"))
    assert (await run(made, observe=30)).verdict is Verdict.NOT_FIXED


async def test_a_condition_that_holds_for_its_window_takes_back_at_once():
    """Errors over the limit for ten seconds: not fixed, however well the target looks, and without waiting longer."""
    made = bench()
    made.world.metrics.answers["errors"] = lambda passed: [0.2 if passed >= 10 else 0.0]
    ended = await run(
        made, observe=60, rollback={"triggers": [{"condition": "metrics.errors > 0.05", "window": "10s"}]}
    )
    assert (ended.verdict, ended.outcome) == (Verdict.NOT_FIXED, Outcome.ROLLBACK)
    assert made.tiny.effects == ["set memory=512Mi", "undo memory=256Mi"]
    assert "rollback trigger: metrics.errors > 0.05 holds for 1" in ended.error
    assert any("rollback trigger" in line.detail and line.healthy is False for line in made.journal.evidence["x1"])


async def test_a_condition_that_holds_for_less_than_its_window_takes_nothing_back():
    """One good look starts the window again."""
    made = bench()
    made.world.metrics.answers["errors"] = lambda passed: [0.0 if int(passed) % 8 > 4 else 0.2]
    ended = await run(made, rollback={"triggers": [{"condition": "metrics.errors > 0.05", "window": "10s"}]})
    assert ended.verdict is Verdict.VERIFIED


async def test_a_trigger_gets_the_time_to_show():
    """A window of a minute behind a settle time of five seconds: the fix is watched for the minute."""
    made = bench()
    made.world.metrics.answers["errors"] = [0.0]
    ended = await run(made, rollback={"triggers": [{"condition": "metrics.errors > 0.05", "window": "60s"}]})
    assert ended.verdict is Verdict.VERIFIED
    assert made.clock.passed >= 60


async def test_a_trigger_that_cannot_be_read_is_never_a_success():
    """Nobody can say that nothing is wrong."""
    made = bench()
    ended = await run(made, rollback={"triggers": [{"condition": "metrics.errors > 0.05"}]})
    assert (ended.verdict, ended.outcome) == (Verdict.INCONCLUSIVE, Outcome.PARTIAL)
    assert "rollback trigger cannot be read: metrics.errors > 0.05" in ended.error


@pytest.mark.parametrize(
    ("query", "series", "fires"),
    [
        ('sum(rate(errors{ns="shop"}[5m])) > 5', [6.0], True),
        ('sum(rate(errors{ns="shop"}[5m])) > 5', [5.0], False),
        ('rate(errors{ns="shop"}[5m]) >= bool 5', [1.0, 5.0], True),
    ],
)
async def test_a_promql_comparison_is_compared_here(query, series, fires):
    """Prometheus answers a comparison that does not hold as it answers a silent metric: with nothing."""
    made = bench()
    left = split_comparison(query)[0]
    made.world.metrics.answers[left] = series
    templated = query.replace("shop", "{{ target.namespace }}")
    ended = await run(made, rollback={"triggers": [{"condition": templated}]})
    assert left in made.world.metrics.asked
    assert (ended.outcome is Outcome.ROLLBACK) is fires


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a > 1", ("a", ">", "1")),
        ('sum by (x) (a{b!="c>d", e=~"f"}) <= bool scalar(g)', ('sum by (x) (a{b!="c>d", e=~"f"})', "<=", "scalar(g)")),
        ("(a > 1) == 2", ("(a > 1)", "==", "2")),
    ],
)
def test_a_comparison_is_split_outside_of_brackets_and_quotes(text, parts):
    """What stands in a selector or a string is no comparison."""
    assert split_comparison(text) == parts


@pytest.mark.parametrize("text", ["a", "a > 1 and b > 2", "a >", "rate(a[5m])", "x{y='>'}"])
def test_what_is_not_one_comparison_is_refused(text):
    """Nothing is guessed."""
    with pytest.raises(PlanError, match=r"comparison|compares with nothing"):
        split_comparison(text)


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("metrics.errorRate > 0.05", True),
        ("{{ target.kind == 'Node' }}", True),
        ("target.kind == 'Node' and metrics.x > 1", True),
        ("up == 0", False),
        ("rate(errors[5m]) > 1", False),
        ('errors{ns="{{ target.namespace }}"} > 1', False),
    ],
)
def test_names_that_are_known_make_an_expression_and_others_promql(text, ours):
    """The same rule for every reader."""
    assert is_expression(text, {"target": {}}) is ours


async def test_health_checks_count_in_a_row_once_the_target_was_well():
    """A rollout that is under way is not ill; a relapse is."""
    made = bench()
    made.cluster.before_read.append(lambda: setattr(made, "good", "512Mi" if 10 < made.clock.passed < 20 else "never"))
    ended = await run(made, settle=30, deadline=600, rollback={"triggers": [{"health_check_failed": 3}]})
    assert ended.outcome is Outcome.ROLLBACK
    assert "rollback trigger: 3 health checks in a row failed" in ended.error
    assert made.clock.passed < 60


async def test_a_rollback_that_the_runbook_does_not_want_is_made_by_its_trigger():
    """on_not_fixed: keep is the rule, a trigger says otherwise."""
    for trigger in ([], [{"not_fixed": True}]):
        made = bench()
        made.good = "never"
        ended = await run(made, on_not_fixed="keep", rollback={"triggers": trigger})
        assert ended.outcome is (Outcome.ROLLBACK if trigger else Outcome.FAILURE)


FAILS = {"name": "second", "action": "set", "params": {"name": "x", "value": 1, "fail": "permanent"}}


@pytest.mark.parametrize(
    ("on_failure", "step_failed", "outcome"),
    [
        ("continue", "second", Outcome.ROLLBACK),
        ("abort", "second", Outcome.ROLLBACK),
        ("abort", "*", Outcome.ROLLBACK),
        ("continue", "*", Outcome.PARTIAL),
        ("abort", "raise", Outcome.FAILURE),
    ],
)
async def test_a_trigger_for_a_failed_step_takes_back(on_failure, step_failed, outcome):
    """Named, it outweighs on_failure; for any step it leaves those alone that may fail."""
    made = bench()
    steps = [CHANGE, {**FAILS, "on_failure": on_failure}]
    ended = await run(made, steps=steps, rollback={"triggers": [{"step_failed": step_failed}]})
    assert ended.outcome is outcome


BACK = [{"name": "other way", "action": "set", "params": {"name": "memory", "value": "128Mi"}}]


async def test_the_procedure_of_the_trigger_takes_back_instead_of_the_inverse():
    """Each trigger may have a way back of its own."""
    made = bench()
    made.world.metrics.answers["errors"] = [1.0]
    triggers = [
        {"health_check_failed": 3},
        {"condition": "metrics.errors > 0.05", "run": "shrink"},
    ]
    ended = await run(made, rollback={"triggers": triggers}, procedures={"shrink": BACK})
    assert (ended.outcome, ended.rollback_with) == (Outcome.ROLLBACK, "shrink")
    assert made.tiny.effects == ["set memory=512Mi", "set memory=128Mi"]


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        ({"step_failed": "rise"}, "there is no step 'rise'; did you mean raise"),
        ({"not_fixed": True, "run": "shrnk"}, "there is no procedure 'shrnk'; did you mean shrink"),
        ({"window": "5m"}, "a rollback trigger says nothing"),
    ],
)
async def test_a_trigger_that_names_nothing_is_no_plan(trigger, words):
    """Else it would never take anything back, and nobody would know before it is needed."""
    with pytest.raises(PlanError, match=words):
        await run(bench(), rollback={"triggers": [trigger]}, procedures={"shrink": BACK})


def observations(states, every=5.0):
    return [
        Observation(START + timedelta(seconds=every * number), UP if well else DOWN, watched=(holds,), target=well)
        for number, (well, holds) in enumerate(states)
    ]


STATES = st.lists(st.tuples(st.sampled_from([True, False, None]), st.sampled_from([True, False, None])), min_size=1)


@given(STATES, st.integers(0, 30))
def test_a_condition_trips_exactly_when_it_held_unbroken_for_its_window(states, window):
    """Against an independent count of the looks at the end."""
    trail = 0
    for _, holds in reversed(states):
        if holds is not True:
            break
        trail += 1
    expected = trail > 0 and (trail - 1) * 5 >= window
    assert (tripped([Trigger(condition="x", window_seconds=window)], observations(states)) is not None) == expected


@given(STATES, st.integers(1, 4))
def test_health_checks_trip_only_after_a_healthy_look(states, count):
    """A target that was never well is judged by the deadline, never by this trigger."""
    hit = tripped([Trigger(health_checks=count)], observations(states))
    tail = [well for well, _ in states[-count:]]
    assert (hit is not None) == (tail == [False] * count and any(well for well, _ in states))


async def test_a_takeover_in_the_middle_of_a_rollback_goes_on_with_the_same_procedure():
    """What takes back is on record before the first undo."""
    made = bench()
    made.world.metrics.answers["errors"] = [1.0]
    raw = {
        "safety": {"require_approval": False},
        "steps": [CHANGE],
        "procedures": {"shrink": BACK},
        "rollback": {"triggers": [{"condition": "metrics.errors > 0.05", "run": "shrink"}]},
    }
    plan = await Planner(made.actions, made.world, {}).plan(match_for(raw), "x1")
    made.executor()  # a first process that only redeemed
    record = record_of(plan)
    made.journal.open(record, 1)
    made.crashes.at = None
    from fakes.actions import permit_for  # noqa: PLC0415 - beside its only use
    from fakes.journal import Crash  # noqa: PLC0415 - as above

    made.crashes.at = _moment_of_rollback(await _rehearsal(raw))
    with pytest.raises(Crash):
        await made.executor().run(permit_for(record), record)
    made.crashes.at = None
    ended = await made.take_over()
    assert (ended.outcome, ended.rollback_with) == (Outcome.ROLLBACK, "shrink")
    assert made.tiny.values["memory"] == "128Mi"
    assert [run_.status for run_ in ended.steps if run_.phase == "rollback"] == [StepStatus.SUCCEEDED]


async def _rehearsal(raw):
    made = bench()
    made.world.metrics.answers["errors"] = [1.0]
    plan = await Planner(made.actions, made.world, {}).plan(match_for(raw), "x1")
    await made.start(record_of(plan))
    return made.crashes.reached


def _moment_of_rollback(reached) -> int:
    return reached.index("after advance rolling_back") + 1


async def test_a_procedure_can_say_why_changes_are_taken_back():
    """The trigger that was set off is known to the messages of its procedure, and to no step before."""
    made = bench()
    made.world.metrics.answers["errors"] = [1.0]
    say = {"name": "tell", "action": "say", "params": {"text": "back: {{ rollback.trigger.condition }}"}}
    await run(
        made,
        rollback={"triggers": [{"condition": "metrics.errors > 0.05", "run": "shrink"}]},
        procedures={"shrink": [*BACK, say]},
    )
    assert made.tiny.effects[-1] == "say back: rollback trigger: metrics.errors > 0.05 holds"
    with pytest.raises(PlanError, match="rollback is unknown"):
        await run(bench(), steps=[CHANGE, say])


async def test_a_procedure_runs_with_the_values_that_were_saved_before_the_change():
    """Not with those at the time of the rollback."""
    made = bench()
    made.world.metrics.answers["errors"] = [1.0]
    saving = {**CHANGE, "save_state": {"before": "{{ current }}"}}
    look = {"name": "look", "action": "look", "output_var": "current"}
    back = {"name": "set back", "action": "set", "params": {"name": "memory", "value": "{{ state.before }}"}}
    ended = await run(
        made,
        steps=[look, saving],
        rollback={"triggers": [{"condition": "metrics.errors > 0.05", "run": "restore"}]},
        procedures={"restore": [back]},
    )
    assert ended.outcome is Outcome.ROLLBACK
    assert made.tiny.effects == ["set memory=512Mi", "set memory=256Mi"]


async def test_people_who_cannot_be_told_do_not_make_a_rollback_fail():
    """What was changed is back; the message that got lost stands in the journal."""
    tell = {"name": "tell", "action": "set", "params": {"name": "told", "value": 1, "fail": "permanent"}}
    for allowed, outcome in (("continue", Outcome.ROLLBACK), ("abort", Outcome.FAILURE)):
        made = bench()
        made.world.metrics.answers["errors"] = [1.0]
        ended = await run(
            made,
            rollback={"triggers": [{"condition": "metrics.errors > 0.05", "run": "shrink"}]},
            procedures={"shrink": [*BACK, {**tell, "on_failure": allowed}]},
        )
        assert ended.outcome is outcome
        assert [step.status for step in ended.steps if step.step_id == "tell"] == [StepStatus.FAILED]
        assert made.tiny.values["memory"] == "128Mi"


async def test_what_was_never_kept_was_never_begun_and_is_not_taken_back():
    """The step that keeps the value is refused: its way back is skipped and says why, the rest of it runs."""
    made = bench()
    keeping = {"name": "other", "action": "set", "params": {"name": "b", "value": 1, "fail": "permanent"}}
    refused = {**keeping, "save_state": {"before": "{{ steps.look.output.nothing }}"}}
    back = {"name": "set back", "action": "set", "params": {"name": "b", "value": "{{ state.before }}"}}
    ended = await run(
        made,
        approval="a1",
        steps=[CHANGE, {"name": "look", "action": "look", "output_var": "current"}, refused],
        rollback={"triggers": [{"step_failed": "other", "run": "restore"}]},
        procedures={"restore": [back, *BACK]},
    )
    assert ended.outcome is Outcome.ROLLBACK, ended.error
    (skipped,) = [step for step in ended.steps if step.step_id == "set_back"]
    assert skipped.status is StepStatus.SKIPPED
    assert skipped.error == "state.before was never kept: the step that keeps it did not begin"
    assert made.tiny.effects == ["set memory=512Mi", "set memory=128Mi"]
