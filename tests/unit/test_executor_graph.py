"""Steps as a graph: what waits for what, what runs side by side, and what a failure stops."""

from __future__ import annotations

import asyncio
import random

import pytest
from fakes.actions import permit_for
from fakes.engine import LOOK, bench, flaky, record, run, statuses, write
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.errors import Fenced, HandedOver, PlanError, StepFailed
from executor.graph import ancestors, in_order
from executor.model import Outcome, StepStatus
from runbooks.steps import Step


def steps(**depends_on):
    return [Step(id=name, name=name, action="set", depends_on=needs) for name, needs in depends_on.items()]


def test_without_depends_on_steps_run_as_they_are_listed():
    """Each waits for the one before it."""
    assert in_order(steps(c=None, a=None, b=None)) == ["c", "a", "b"]


def test_of_what_could_be_next_the_first_listed_is():
    """The order is the same every time."""
    assert in_order(steps(z=(), a=("z",), m=(), b=("m", "a"))) == ["z", "a", "m", "b"]


@given(st.integers(1, 12), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_every_order_keeps_every_edge(count, random_: random.Random):
    """Whatever the graph, each step comes after all that it depends on, and its ancestors are exactly those."""
    made = {f"s{n}": tuple(f"s{k}" for k in range(n) if random_.random() < 0.4) for n in range(count)}
    names = list(made)
    random_.shuffle(names)
    nodes = steps(**{name: made[name] for name in names})
    order = in_order(nodes)
    assert sorted(order) == sorted(names)
    assert all(order.index(other) < order.index(name) for name in names for other in made[name])
    known = ancestors(nodes)
    assert all(known[name] >= {up for other in made[name] for up in (other, *known[other])} for name in names)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ({"a": ("b",), "b": ("c",), "c": ("a",)}, ["wait for each other", "a -> b -> c -> a"]),
        ({"a": ("a",)}, ["a -> a"]),
        ({"first": (), "a": ("frist",)}, ["'frist'", "does not exist", "did you mean first?"]),
    ],
)
async def test_a_graph_that_cannot_run_is_refused_before_anything_does(graph, words):
    """Circles are named from step to step, unknown ids with the nearest one."""
    listed = [write(name, depends_on=list(needs)) for name, needs in graph.items()]
    with pytest.raises(PlanError) as raised:
        await record(bench(), {"steps": listed})
    assert all(word in str(raised.value) for word in words), raised.value


class Meeting:
    """Counts how many steps act at once, and lets them go on together."""

    def __init__(self):
        self.now = self.most = 0

    async def __call__(self):
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(20):
            await asyncio.sleep(0)
        self.now -= 1


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (2, 2), (4, 3)])
async def test_independent_steps_run_side_by_side_within_the_limit(limit, most):
    """Three branches after one step; a fourth step waits for all of them."""
    made, meeting = bench(), Meeting()
    made.tiny.performing = meeting
    branches = [write(name, 1, depends_on=["memory"]) for name in ("b", "c", "d")]
    last = write("last", 1, depends_on=["b", "c", "d"])
    ended = await run(made, {"max_parallel": limit, "steps": [write(), *branches, last]})
    assert ended.outcome is Outcome.SUCCESS
    assert meeting.most == most
    assert made.tiny.effects[0] == "set memory=512Mi"
    assert made.tiny.effects[-1] == "set last=1"


async def test_steps_start_in_the_order_of_the_list():
    """Among those that are ready, the first listed begins first, each time."""
    for _ in range(3):
        made = bench()
        listed = [write(name, 1, depends_on=[]) for name in ("memory", "b", "c", "d", "e")]
        listed[0]["params"]["value"] = "512Mi"
        await run(made, {"max_parallel": 2, "steps": listed})
        assert [facts["step_id"] for facts in made.hooks.named("step.started")][:5] == ["memory", "b", "c", "d", "e"]


async def test_a_failed_branch_stops_what_has_not_begun_and_everything_is_undone():
    """The other branch finishes the step that acts, its next step never starts."""
    made, meeting = bench(), Meeting()
    made.tiny.performing = meeting
    listed = [
        write("bad", 1, depends_on=[], fail="permanent"),
        write("slow", 1, depends_on=[]),
        write("after", 1, depends_on=["slow"]),
    ]
    ended = await run(made, {"steps": listed})
    assert ended.outcome is Outcome.ROLLBACK
    assert made.tiny.effects == ["set slow=1", "undo slow=None"]
    assert "after" not in statuses(ended)


async def test_a_wait_is_cut_short_when_another_branch_fails():
    """What changes nothing need not be waited for; the journal says so."""
    made = bench()
    stopped = asyncio.Event()

    class Long(type(made.actions["settle"])):
        async def perform(self, step, saved, stamp, world):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                stopped.set()
                raise

    made.actions["settle"] = Long(made.tiny)
    listed = [
        {"id": "long", "name": "Wait", "action": "settle", "depends_on": []},
        write("bad", 1, depends_on=[], fail="permanent"),
    ]
    ended = await asyncio.wait_for(run(made, {"steps": listed}), 5)
    assert stopped.is_set()
    assert statuses(ended)["long"] == StepStatus.SKIPPED
    assert ended.outcome is Outcome.ROLLBACK


async def test_a_step_that_planning_worked_out_lets_nothing_pass_what_is_listed_before_it():
    """A check, a calculation, a change: the change waits for the check, though the calculation is long done."""
    made = bench()
    seen = []

    class Check(type(made.actions["settle"])):
        async def perform(self, step, saved, stamp, world):
            for _ in range(20):
                await asyncio.sleep(0)
            seen.extend(made.tiny.effects)
            raise StepFailed("it does not hold")

    made.actions["settle"] = Check(made.tiny)
    listed = [
        {"id": "check", "name": "Check", "action": "settle"},
        {"id": "sum", "name": "Sum", "action": "calculate", "params": {"text": "7"}, "output_var": "sum"},
        write("memory", "512Mi"),
    ]
    ended = await run(made, {"steps": listed})
    assert (seen, made.tiny.effects) == ([], [])
    assert "memory" not in statuses(ended)


async def test_with_continue_the_dependants_of_a_failed_step_run():
    """They can ask how it ended."""
    listed = [
        write("bad", 1, fail="permanent", on_failure="continue"),
        write("memory", "512Mi", when="steps.bad.failed and 'not work' in steps.bad.error"),
        write("never", 1, when="steps.bad.status == 'succeeded'"),
    ]
    made = bench()
    ended = await run(made, {"steps": listed})
    assert statuses(ended) == {"bad": "failed", "memory": "succeeded", "never": "skipped"}
    assert ended.outcome is Outcome.PARTIAL


async def test_an_else_branch_is_a_step_with_the_opposite_condition():
    """Exactly one of both runs."""
    listed = [LOOK, write("b", 1, when="current == '256Mi'"), write("c", 1, when="not (current == '256Mi')"), write()]
    ended = await run(bench(), {"steps": listed})
    assert statuses(ended)["b"] == "succeeded"
    assert statuses(ended)["c"] == "skipped"


async def test_a_step_that_uses_what_it_does_not_wait_for_is_refused():
    """Whether it would be there would be a matter of luck."""
    listed = [
        {"id": "say", "name": "Say", "action": "say", "params": {"text": "x"}, "depends_on": []},
        write("memory", "{{ steps.say.status }}", depends_on=[]),
    ]
    with pytest.raises(PlanError, match=r"steps.say, and does not wait for step 'say': add it to depends_on"):
        await record(bench(), {"steps": listed})


async def test_graduated_response_stops_at_the_first_step_that_helps():
    """Act, look, complete: the stronger step is skipped, and the fix is verified."""
    made = bench()
    listed = [
        write(),
        {
            "id": "helped",
            "name": "Did it help",
            "action": "look",
            "params": {"name": "memory"},
            "on_success": "complete",
            "on_failure": "continue",
        },
        write("strong", 1),
    ]
    ended = await run(made, {"steps": listed})
    assert ended.outcome is Outcome.SUCCESS
    assert statuses(ended) == {"memory": "succeeded", "helped": "succeeded", "strong": "skipped"}
    assert made.tiny.effects == ["set memory=512Mi"]


async def test_graduated_response_goes_on_to_the_stronger_step():
    """A look that fails only says that more is needed: the end is a full success."""
    made = bench()
    check = flaky("check", ["failed"], on_success="complete", on_failure="continue")
    ended = await run(made, {"steps": [write("weak", 1), check, write()]})
    assert ended.outcome is Outcome.SUCCESS
    assert statuses(ended) == {"weak": "succeeded", "check": "failed", "memory": "succeeded"}


async def test_the_plan_hash_binds_the_shape_of_the_graph():
    """An approval is for these steps in this order with these consequences, and for no others."""
    base = {"steps": [write("a", 1), write("b", 1)]}
    changed = [
        {"steps": [write("a", 1), write("b", 1, depends_on=[])]},
        {"steps": [write("a", 1), write("b", 1, on_success="complete")]},
        {"steps": [write("a", 1), write("b", 1, retry={"attempts": 2})]},
        {"steps": [write("a", 1), write("b", 1, require_approval=True)]},
        {"steps": [write("a", 1), write("b", 1, on_failure={"run": "p"})], "procedures": {"p": [write("c", 1)]}},
        {**base, "timeout": "5m"},
        {**base, "max_parallel": 1},
        {**base, "procedures": {"p": [write("c", 1)]}},
    ]
    hashes = {(await record(bench(), runbook)).plan.hash for runbook in [base, *changed]}
    assert len(hashes) == len(changed) + 1
    assert (await record(bench(), base)).plan.hash == (await record(bench(), base)).plan.hash


async def test_the_time_for_all_steps_is_data_and_ends_in_the_rollback():
    """It counts from the start of the execution, whoever runs it."""
    made = bench()
    listed = [write(), {"id": "w", "name": "Wait", "action": "settle"}, write("b", 1)]
    planned = await record(made, {"timeout": "1s", "steps": listed})
    ended = await made.start(planned, "a1")
    assert ended.outcome is Outcome.ROLLBACK
    assert "not done within 1 s (timeout of the runbook)" in ended.error
    assert made.tiny.effects == ["set memory=512Mi", "undo memory=256Mi"]


class Gate:
    """Holds acting steps until it is opened, and tells when two wait at it."""

    def __init__(self):
        self.open, self.both = asyncio.Event(), asyncio.Event()
        self.waiting = 0

    async def __call__(self):
        self.waiting += 1
        if self.waiting == 2:
            self.both.set()
        await self.open.wait()


BRANCHES = [
    write("memory", depends_on=[]),
    write("b", 1, depends_on=[]),
    write("c", 1, depends_on=["memory", "b"]),
]


async def test_a_process_that_is_asked_to_end_lets_every_running_step_finish():
    """Both branches get their outcome, nothing new begins, and the next process does the rest."""
    made, gate = bench(), Gate()
    made.tiny.performing = gate
    planned = await record(made, {"steps": BRANCHES})
    made.journal.open(planned, 1)
    executor = made.executor()
    running = asyncio.create_task(executor.run(permit_for(planned, 1, "a1"), planned))
    await gate.both.wait()
    executor.stop()
    gate.open.set()
    with pytest.raises(HandedOver):
        await running
    stored = await made.journal.load("x1")
    assert statuses(stored) == {"memory": "succeeded", "b": "succeeded"}
    ended = await made.take_over("x1", "a1")
    assert (ended.outcome, statuses(ended)["c"]) == (Outcome.SUCCESS, "succeeded")
    assert sorted(made.tiny.effects) == ["set b=1", "set c=1", "set memory=512Mi"]


async def test_invariant_4_a_lost_lease_drops_every_branch_and_the_next_holder_asks_the_target():
    """Nothing more is written under the old epoch, whichever branch notices first."""
    made, gate = bench(), Gate()
    made.tiny.performing = gate
    planned = await record(made, {"steps": BRANCHES})
    made.journal.open(planned, 1)
    running = asyncio.create_task(made.executor().run(permit_for(planned, 1, "a1"), planned))
    await gate.both.wait()
    made.journal.adopt("x1")
    gate.open.set()
    with pytest.raises(Fenced):
        await running
    assert statuses(await made.journal.load("x1")) == {"memory": "intended", "b": "intended"}
    ended = await made.take_over("x1", "a1")
    assert ended.outcome is Outcome.SUCCESS
    assert sorted(made.tiny.effects) == ["set b=1", "set c=1", "set memory=512Mi"]


async def test_invariant_10_pause_takes_effect_before_the_next_item():
    """What acts is let finish; the rest waits until automation goes on."""
    made = bench()
    step = {"id": "all", "name": "All", "action": "set", "for_each": ["x", "y", "z"]}
    seen = []

    async def performing():
        seen.append(len(made.tiny.effects))
        if len(seen) == 2:
            made.guard.paused = "hands off"

    def resumed():
        if made.clock.passed >= 10:
            made.guard.paused = ""

    made.tiny.performing = performing
    made.clock.on_sleep.append(resumed)
    runbook = {"steps": [write(), {**step, "params": {"name": "{{ item }}", "value": 1}}]}
    ended = await run(made, runbook)
    assert ended.outcome is Outcome.SUCCESS
    started = [facts["item"] for facts in made.hooks.named("step.started") if facts["item"] is not None]
    assert started == [0, 1, 2]
    paused = made.hooks.named("execution.paused")
    assert len(paused) == 1
    times = {one.item: one.started_at for one in ended.steps if one.item is not None}
    assert (times[1] - times[0]).total_seconds() >= 9
