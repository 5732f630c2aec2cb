"""Preconditions and assumptions: looked at while planning, and again just before the first change."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fakes.actions import START, Bench, match_for, record_of
from fakes.pipeline_rig import Rig, runbook
from hypothesis import given
from hypothesis import strategies as st

from executor.data_ports import Sample
from executor.errors import PlanError, Unavailable, Unmet
from executor.model import Outcome
from executor.planner import Planner
from safety.approvals import ApprovalStatus, Verb
from services.cli.story import story_text
from services.records import DecisionKind

CHANGE = {"name": "raise", "action": "set", "params": {"name": "memory", "value": "512Mi"}}
WAIT = {"name": "wait", "action": "settle"}
FREE = {"require_approval": False}
"""The clock of the fakes begins on Friday 2026-01-02 03:04:05 UTC."""


class Prometheus:
    """Named queries and the samples that they give; an exception is raised."""

    def __init__(self) -> None:
        self.samples: dict[str, Any] = {}

    def named(self, name: str) -> str:
        return name

    async def instant(self, query: str, *, timeout_seconds: float) -> list[Sample]:
        found = self.samples.get(query, [])
        if isinstance(found, Exception):
            raise found
        return [Sample({}, value) for value in found]


async def plan(bench, *preconditions, assumptions=(), steps=(CHANGE,), **changes):
    raw = {"safety": FREE, "steps": list(steps), "preconditions": list(preconditions), **changes}
    raw["assumptions"] = list(assumptions)
    return await Planner(bench.actions, bench.world, {}).plan(match_for(raw), "x1")


def with_metrics(bench):
    prometheus: Any = Prometheus()
    bench.world = type(bench.world)(
        bench.world.cluster, bench.world.http, bench.world.chat, bench.world.graph, bench.world.secrets, bench.clock,
        metrics=prometheus,
    )  # fmt: skip
    return prometheus


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"check": False}, "false does not hold"),
        ({"check": "target.kind == 'Node'"}, "target.kind == 'Node' does not hold"),
        ({"check": "target.nme == 'x'"}, "cannot be read, so it does not hold: .*did you mean name"),
        ({"check": "'yes'"}, "neither true nor false"),
        ({"action": "look", "check": "output == '512Mi'"}, "output is '256Mi'"),
        ({"action": "look", "params": {"name": "nothing"}}, "there is no value nothing"),
        ({"windows": [{"start": "06:00", "end": "22:00"}]}, "no window is open, the next opens Fri 02 Jan 06:00 UTC"),
        ({"windows": [{"days": ["mon"]}]}, "the next opens Mon 05 Jan 00:00 UTC"),
        ({"windows": [{"start": "03:00", "end": "04:00"}], "check": False}, "false does not hold"),
    ],
)
async def test_a_precondition_that_does_not_hold_stops_the_plan_with_its_reason(check, words):
    """False, unreadable, out of time or neither true nor false: no plan."""
    with pytest.raises(Unmet, match=words) as raised:
        await plan(Bench(), {"name": "ready", **check})
    assert not raised.value.skip
    assert "precondition 'ready'" in str(raised.value)


@pytest.mark.parametrize(
    "check",
    [
        {"check": True},
        {"check": "target.kind == 'Deployment' and params.size == 2"},
        {"action": "look", "check": "output == '256Mi'"},
        {"action": "look"},
        {"action": "settle", "check": "output.waited"},
        {"windows": [{"start": "06:00", "end": "07:00"}, {"start": "22:00", "end": "21:00", "timezone": "Asia/Tokyo"}]},
        {"windows": [{"start": "03:00", "end": "04:00"}], "check": True},
    ],
)
async def test_a_precondition_that_holds_is_part_of_the_plan_with_what_was_found(check):
    """An expression, a read, a wait, one of several windows: people see what was looked at."""
    made = await plan(Bench(), {"name": "ready", **check}, parameters=[{"name": "size", "default": 2}])
    (found,) = made.terms.preconditions
    assert found.holds is True
    assert found.detail
    assert made.approval_reasons == ()


async def test_a_precondition_can_ask_a_human_or_say_that_there_is_nothing_to_do():
    """request_approval becomes a reason, skip ends it without a failure."""
    made = await plan(Bench(), {"name": "calm", "check": False, "on_failure": "request_approval"})
    assert made.approval_reasons == ("precondition 'calm' does not hold: false does not hold",)
    with pytest.raises(Unmet) as raised:
        await plan(Bench(), {"name": "has an HPA", "check": False, "on_failure": "skip"})
    assert raised.value.skip


@pytest.mark.parametrize(
    ("samples", "holds"),
    [([0.01], True), ([0.2], False), ([], None), ([0.01, 0.02], None), (Unavailable("away"), None)],
)
async def test_a_metric_in_an_expression_is_asked_for_and_a_silent_one_does_not_hold(samples, holds):
    """No series, several, or no server: each is a no."""
    bench = Bench()
    with_metrics(bench).samples["errorRate"] = samples
    made = await plan(bench, {"name": "calm", "check": "metrics.errorRate < 0.05", "on_failure": "request_approval"})
    assert made.terms.preconditions[0].holds is holds
    assert bool(made.approval_reasons) is (holds is not True)


async def test_a_check_takes_no_longer_than_its_time():
    """A read that hangs does not hold, and does not hold up the planning."""
    bench = Bench()

    class Slow(type(bench.actions["look"])):
        async def plan(self, params, facts, world):
            import asyncio  # noqa: PLC0415 - only here

            await asyncio.sleep(30)

    bench.actions["look"] = Slow(bench.tiny)
    with pytest.raises(Unmet, match=r"no answer within 0\.05 s"):
        await plan(bench, {"name": "ready", "action": "look", "timeout": "50ms"})


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ({"action": "set", "params": {"name": "memory", "value": 1}}, "precondition 'x': set does not only read"),
        ({"action": "lok"}, "there is no action 'lok'; did you mean look"),
        ({}, "precondition 'x' has nothing to look at"),
    ],
)
async def test_a_check_that_could_never_be_looked_at_is_said_so(check, words):
    """A check changes nothing, names an action that exists, and says what must be true."""
    with pytest.raises(PlanError, match=words):
        await plan(Bench(), {"name": "x", **check})
    with pytest.raises(PlanError, match="success criterion 'x'"):
        await plan(Bench(), verification={"success_criteria": [{"name": "x", **check}]})


async def test_assumptions_are_listed_and_those_with_a_check_are_looked_at():
    """What is only stated asks nobody; what is checked and not so, or cannot be read, asks a human."""
    made = await plan(
        Bench(),
        assumptions=[
            {"name": "source validated", "description": "the team did"},
            {"name": "small", "action": "look", "check": "output == '256Mi'"},
            {"name": "big", "check": "false"},
            {"name": "odd", "check": "params.nothing"},
        ],
    )
    assert [each.holds for each in made.terms.assumptions] == [None, True, False, None]
    assert [reason.partition(":")[0] for reason in made.approval_reasons] == [
        "assumption 'big' does not hold",
        "assumption 'odd' cannot be read, so it does not hold",
    ]


async def test_the_terms_do_not_change_the_hash_of_a_plan():
    """What was found differs from minute to minute; the runbook's own hash binds what was written."""
    held = await plan(Bench(), {"name": "a", "check": "true"})
    asked = await plan(Bench(), {"name": "a", "check": "false", "on_failure": "request_approval"})
    assert held.hash == asked.hash


WINDOW = {"name": "night", "windows": [{"start": "03:00", "end": "03:05"}]}


@pytest.mark.parametrize(("on_failure", "approval", "outcome"), [
    ("abort", "", Outcome.ABORTED),
    ("abort", "a1", Outcome.ABORTED),
    ("skip", "a1", Outcome.ABORTED),
    ("request_approval", "", Outcome.ABORTED),
    ("request_approval", "a1", Outcome.SUCCESS),
])  # fmt: skip
async def test_preconditions_are_looked_at_again_just_before_the_first_change(on_failure, approval, outcome):
    """The window closed while the plan waited: nothing is changed, unless a human took that on."""
    bench = Bench()
    record = record_of(await plan(bench, {**WINDOW, "on_failure": on_failure}, steps=[CHANGE]))
    bench.clock.passed = 60
    ended = await bench.start(record, approval)
    assert ended.outcome is outcome
    assert bool(bench.tiny.effects) is (outcome is Outcome.SUCCESS)
    if outcome is Outcome.ABORTED:
        assert "just before the first change: precondition 'night' does not hold" in ended.error


async def test_preconditions_are_not_looked_at_between_two_changes():
    """Half of a change is worse than a whole one: what was begun goes on."""
    bench = Bench()
    slow = [CHANGE, WAIT, {"name": "more", "action": "set", "params": {"name": "more", "value": 1}}]
    record = record_of(await plan(bench, WINDOW, steps=slow))
    bench.clock.on_sleep.append(lambda: setattr(bench.clock, "passed", max(bench.clock.passed, 120)))
    ended = await bench.start(record)
    assert bench.tiny.effects == ["set memory=512Mi", "set more=1"]
    assert ended.outcome is Outcome.SUCCESS


async def test_a_wait_before_the_first_change_can_outlast_the_window():
    """Just before the change is not at the start of the steps."""
    bench = Bench()
    record = record_of(await plan(bench, WINDOW, steps=[WAIT, CHANGE]))
    bench.clock.on_sleep.append(lambda: setattr(bench.clock, "passed", 120))
    ended = await bench.start(record)
    assert (ended.outcome, bench.tiny.effects) == (Outcome.ABORTED, [])


@given(
    st.lists(st.tuples(st.sampled_from([True, False, None]), st.sampled_from(["abort", "skip", "request_approval"])))
)
async def test_a_plan_without_a_reason_means_that_everything_holds(states):
    """In any mix of preconditions: a plan that asks nobody has only such that hold; missing data never permits."""
    spelt = {True: "true", False: "false", None: "params.unknown"}
    given_ = [
        {"name": f"p{number}", "check": spelt[holds], "on_failure": on_failure}
        for number, (holds, on_failure) in enumerate(states)
    ]
    stops = any(holds is not True and on_failure != "request_approval" for holds, on_failure in states)
    if stops:
        with pytest.raises(Unmet):
            await plan(Bench(), *given_)
        return
    made = await plan(Bench(), *given_)
    assert len(made.approval_reasons) == sum(holds is not True for holds, _ in states)


# Through the whole pipeline


async def test_a_refusal_for_a_precondition_is_decided_again_when_the_alert_repeats():
    """It passes with time, as a pause does: the second look finds the window open, and the fix runs."""
    rig = Rig(runbook(preconditions=[{"name": "later", "windows": [{"start": "03:10", "end": "04:00"}]}]))
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    refusal = rig.only(DecisionKind.REFUSAL)
    assert (refusal.check, rig.effects()) == ("precondition", [])
    assert (
        "precondition 'later' does not hold: no window is open, the next opens Fri 02 Jan 03:10 UTC" in refusal.message
    )
    rig.clock.passed += 6 * 60
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    assert rig.outcomes() == ["success"]


async def test_a_runbook_with_nothing_to_do_is_told_as_such():
    """Skipping is a refusal of its own name, and rb explain says that it is no failure."""
    rig = Rig(runbook(preconditions=[{"name": "has no HPA", "check": False, "on_failure": "skip"}]))
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    refusal = rig.only(DecisionKind.REFUSAL)
    assert (refusal.check, rig.effects()) == ("skipped", [])
    (story,) = await rig.store.find(refusal.id)
    told = story_text(story)
    assert "nothing was done: the runbook has nothing to do here" in told
    assert "precondition 'has no HPA' does not hold" in told


async def test_a_yes_outside_of_the_window_waits_for_the_window():
    """A human said yes at three, changes may be made from ten past: the answer is carried out then."""
    window = {"name": "later", "windows": [{"start": "03:10", "end": "04:00"}], "on_failure": "request_approval"}
    shut = {"name": "shut", "windows": [{"start": "00:00", "end": "03:05"}, {"start": "03:10", "end": "04:00"}]}
    rig = Rig(runbook(preconditions=[window, shut]))
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    (question,) = await rig.store.list(ApprovalStatus.PENDING)
    assert "precondition 'later' does not hold" in question.reasons[0]
    rig.clock.passed += 120
    await rig.store.answer(
        question.id, Verb.APPROVE, by="ada", reason="", now=rig.clock.now(), plan_hash=question.plan_hash
    )
    await process.desk.sweep()
    assert rig.outcomes() == ["waiting_approval"]
    rig.clock.passed = timedelta(minutes=7).total_seconds()
    await process.desk.sweep()
    await process.quiet()
    assert rig.outcomes() == ["success"]
    assert rig.clock.now() > START
