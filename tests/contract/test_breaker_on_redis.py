"""What the storm breaker does on Redis alone: an emptied store, a record away, a process that dies."""

from __future__ import annotations

import pytest
from fakes.breaker_rigs import RedisBreakerRig
from fakes.gate_rigs import request

from safety.breaker import Counted, Seen
from safety.errors import GateUnavailable
from safety.model import ApprovalNeeded, Refusal
from safety.scopes import Axis, StormScope, Where

pytestmark = pytest.mark.stack

OOM = StormScope("acme", Axis.REASON, "prod/OOMKilled")


@pytest.fixture
async def rig(stack):
    """The breaker on a real Redis, with a record that lasts."""
    rig = await RedisBreakerRig(stack.redis_url).start()
    yield rig
    await rig.close()


def causes(count: int) -> list[Seen]:
    places = [Where("acme", "prod", "", f"prod/shop/Deployment/d{n}", ("shop",), "OOMKilled") for n in range(count)]
    return [Seen(place, Counted.CAUSES, place.target_key) for place in places]


async def test_an_emptied_store_does_not_forget_what_a_storm_has_stopped(rig):
    """The first question fills it, and is refused; who was told is not told again."""
    await rig.breaker.heard(causes(6))
    (call,) = await rig.breaker.due()
    await rig.breaker.told(call, reached=True)
    await rig.empty()
    (answer,) = await rig.filling_gate().ask([request(cause_reason="OOMKilled")])
    assert isinstance(answer, Refusal)
    assert answer.check == "storm"
    assert [one.scope for one in await rig.breaker.stopped()] == [OOM]
    assert await rig.breaker.due() == []


async def test_a_restored_storm_ends_after_its_calm(rig):
    """Its counts began anew with the store: calm is measured from then."""
    await rig.breaker.heard(causes(6))
    await rig.empty()
    await rig.filling_gate().paused()
    assert await rig.breaker.look() == []
    await rig.advance(30)
    assert [change.stopped.scope for change in await rig.breaker.look()] == [OOM]
    await rig.empty()
    await rig.filling_gate().paused()
    assert list(await rig.breaker.stopped()) == []


async def test_invariant_6_a_store_is_not_restored_without_its_storms(rig):
    """When nobody can say what is stopped, the store stays approval only."""
    await rig.empty()
    rig.log.error = RuntimeError("graph away")
    (answer,) = await rig.filling_gate().ask([request(cause_reason="OOMKilled")])
    assert isinstance(answer, ApprovalNeeded)


async def test_what_could_not_be_recorded_is_recorded_with_the_next_look(rig):
    """The stop is in force meanwhile."""
    rig.log.error = RuntimeError("graph away")
    await rig.breaker.heard(causes(6))
    assert [one.scope for one in await rig.breaker.stopped()] == [OOM]
    assert rig.log.changes == {}
    rig.log.error = None
    await rig.breaker.look()
    assert [scope for scope, _, _ in rig.log.changes] == [OOM]


async def test_what_a_dead_process_has_opened_is_recorded_by_another(rig):
    """Any process that looks writes down what it finds."""
    rig.log.error = RuntimeError("it dies here")
    await rig.breaker.heard(causes(6))
    rig.log.error = None
    await rig.another_breaker().look()
    assert [(scope, is_open) for scope, _, is_open in rig.log.changes] == [(OOM, True)]


async def test_a_reset_that_cannot_be_recorded_does_not_happen(rig):
    """What is open in the record would come back after the store was emptied."""
    await rig.breaker.heard(causes(6))
    rig.log.error = RuntimeError("graph away")
    with pytest.raises(GateUnavailable, match="graph away"):
        await rig.breaker.close(OOM, "ada", "on we go")
    assert [one.scope for one in await rig.breaker.stopped()] == [OOM]


async def test_counts_of_the_breaker_go_away_by_themselves(rig):
    """Only what is stopped, and whether people were told, stays until it is over."""
    await rig.breaker.heard(causes(5))
    keys = {key.decode().removeprefix(rig.prefix): expiry for key, (_, expiry) in (await rig.dump()).items()}
    counts = {key: expiry for key, expiry in keys.items() if ":storm" in key}
    assert counts
    assert all(expiry > 0 for expiry in counts.values())
