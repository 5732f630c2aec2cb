"""A process that died between recording an end and releasing its target: the gate hears of it all the same."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.gate_rigs import MemoryRig, request

from executor.errors import Unavailable
from safety.model import GateRecord, Permit, Refusal
from services.pipeline.missed_ends import MissedEnds

TARGET = "prod/shop/Deployment/cart"


class Ends:
    """Executions that ended, as the graph would tell them."""

    def __init__(self):
        self.records, self.asked, self.away = [], [], False

    async def ended(self, seconds):
        self.asked.append(seconds)
        if self.away:
            raise Unavailable("the graph is away")
        return self.records


class Clock:
    """Monotonic seconds by hand."""

    seconds = 0.0

    def monotonic(self):
        return self.seconds


async def ran(rig, *, cooldown):
    """An execution that was permitted, ran and ended, and whose release never came."""
    (answer,) = await rig.gate.ask([request("e1", TARGET)])
    assert isinstance(answer, Permit)
    assert await rig.gate.confirm([("e1", TARGET)]) == []
    now = rig.clock.now()
    return GateRecord(
        "e1", "acme", "prod", "oom", TARGET, "hash-1", answer.token, now, answer.expires_at,
        holds_target=False, cooldown_until=now + timedelta(seconds=cooldown), namespaces=("shop",), blast=3,
    )  # fmt: skip


async def why_not(rig, execution_id="e2"):
    (answer,) = await rig.gate.ask([request(execution_id, TARGET)])
    return answer.check if isinstance(answer, Refusal) else ""


async def test_a_target_whose_release_was_missed_is_free_and_cools_down():
    """The cooldown of its end keeps the next one away, not the lock of the dead one, and also when that is over."""
    rig, ends = MemoryRig(), Ends()
    ends.records = [await ran(rig, cooldown=3600)]
    assert await why_not(rig) == "lock"
    await MissedEnds(ends, rig.gate, Clock()).sweep()
    assert await why_not(rig) == "cooldown"
    await rig.advance(rig.settings.lock_lease_seconds + 600)
    assert await why_not(rig) == "cooldown"
    await rig.advance(3600)
    assert await why_not(rig) == ""


async def test_an_end_that_the_gate_knows_changes_nothing():
    """A look at everything that ended lately weakens nothing: neither a longer cooldown nor the next holder's lock."""
    rig, ends = MemoryRig(), Ends()
    ends.records = [await ran(rig, cooldown=0)]
    await rig.gate.release("e1", TARGET, 0)
    assert await why_not(rig, "e2") == ""
    await rig.gate.confirm([("e2", TARGET)])
    before = await rig.dump()
    await MissedEnds(ends, rig.gate, Clock()).sweep()
    assert (await rig.dump()).targets == before.targets
    assert await why_not(rig, "e3") == "lock"


async def test_it_looks_back_a_day_at_its_start_and_a_while_once_a_minute():
    """Nothing is asked of the graph in between, and a look that failed is made again at the next sweep."""
    rig, ends, clock = MemoryRig(), Ends(), Clock()
    missed = MissedEnds(ends, rig.gate, clock)
    ends.away = True
    with pytest.raises(Unavailable):
        await missed.sweep()
    ends.away = False
    for _ in range(120):
        await missed.sweep()
        clock.seconds += 1
    assert ends.asked == [86_400, 86_400, 900]
