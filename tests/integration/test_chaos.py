"""A small part of ``make chaos``, always run: crashes at failpoints and at random, and a checker that would notice."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from fakes.served import until

from executor.failpoints import Failpoint
from tests.chaos.checker import violations
from tests.chaos.kinds import KINDS, Kind, _hook
from tests.chaos.rounds import RandomKills, failpoint_round
from tests.chaos.site import SLOTS, site
from tests.chaos.watching import look, settled

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(600)]

WAIT = 240
LONG = bool(os.environ.get("LONG_TESTS"))
SOME = (
    Failpoint.GATE_RESERVED,
    Failpoint.DECISION_RECORDED,
    Failpoint.OFFSET_DUE,
    Failpoint.CLAIMED,
    Failpoint.STEP_INTENDED,
    Failpoint.STEP_PERFORMED,
    Failpoint.UNDO_PERFORMED,
    Failpoint.ENDED,
)
FEW = [KINDS[name] for name in ("scale", "keyed", "rollback")]


def slow_hook(url, folder):
    """A step that takes its time, and a call that can be counted."""
    wait = {"id": "breathe", "name": "Breathe", "action": "wait", "params": {"seconds": 9}}
    return [wait, _hook(url)]


SLEPT = Kind("slept", slow_hook, "calls")


async def test_crashes_at_failpoints_of_each_group_lose_nothing_and_do_nothing_twice(stack, tmp_path):
    """Killed with -9 once at each: every input decided once, every effect there once, every lock free."""
    async with site(stack, tmp_path, FEW) as place:
        done = await failpoint_round(place, "some", SOME, FEW, patience=WAIT, most=1)
    assert [str(violation) for violation in done.violations] == []
    assert sorted(done.died) == sorted(SOME)
    assert sum(done.outcomes.values()) == len(FEW)


async def test_random_kills_of_two_processes_lose_nothing_and_do_nothing_twice(stack, tmp_path):
    """Ten deaths at any moment, of either process, some of them before it was ready."""
    async with site(stack, tmp_path, FEW) as place:
        done = await RandomKills(place, FEW, seed=20, incidents=5).round(1, 10, patience=WAIT)
    assert [str(violation) for violation in done.violations] == []
    assert done.deaths == 10
    assert sum(done.outcomes.values()) == 5


async def test_an_effect_before_its_intent_is_noticed(stack, tmp_path):
    """Invariant 3 switched off in a process of the tests: killed after the call, its successor calls again."""
    kinds = [KINDS["webhook"]]
    async with site(stack, tmp_path, kinds) as place:
        points = [Failpoint.STEP_PERFORMED]
        done = await failpoint_round(place, "intent", points, kinds, patience=WAIT, most=1, broken="intent")
    assert done.died == points
    assert "3" in {violation.invariant for violation in done.violations}


async def test_an_offset_that_is_committed_before_its_decision_is_noticed(stack, tmp_path):
    """Invariant 2 switched off in a process of the tests: killed with the input in hand, nobody reads it again."""
    kinds = [KINDS["scale"]]
    async with site(stack, tmp_path, kinds) as place:
        points = [Failpoint.INPUT_READ]
        done = await failpoint_round(place, "commit", points, kinds, patience=20, most=1, broken="commit")
    assert done.died == points
    assert {violation.invariant for violation in done.violations} == {"2"}


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(
            "", marks=pytest.mark.skipif(not LONG, reason="LONG_TESTS=1 runs it; see test_invariants_running")
        ),
        "fence",
    ],
)
async def test_a_holder_that_slept_past_its_lease_does_nothing_twice_and_without_the_fence_it_is_noticed(
    stack, tmp_path, broken
):
    """Stopped in a step and woken after its successor took over: fenced out, or, with invariant 4 off, reported."""
    async with site(stack, tmp_path, [SLEPT]) as place:
        for slot in SLOTS:
            await (await place.start(slot, broken=broken)).ready()
        (one,) = await place.incidents([SLEPT])
        await place.world.send([one.message])
        execution = await place.world.execution(one.event, "running", seconds=WAIT)
        await until(lambda: begun(place, execution["id"]), "the first step is in the journal", WAIT)
        holder = next(v for v in place.living.values() if str(v.pid) == execution["holder"].split("-")[-2])
        holder.signal(signal.SIGSTOP)
        await until(lambda: taken_over(place, one.event, execution["epoch"]), "the other one takes over", WAIT)
        holder.signal(signal.SIGCONT)
        await settled(place, [one], WAIT)
        if broken:
            await until(lambda: twice(place, one.app), "both have called", WAIT)
        else:
            await until(lambda: asyncio.sleep(0, holder.lines("execution.lost")), "the sleeper is told", WAIT)
        found = {violation.invariant for violation in violations(await look(place, [one]))}
    assert found >= {"3", "4"} if broken else found == set()


async def begun(place, execution):
    return await place.world.steps(execution)


async def taken_over(place, event, epoch):
    return (await place.world.execution(event))["epoch"] > epoch


async def twice(place, app):
    return len(place.hub.keys[app]) > 1
