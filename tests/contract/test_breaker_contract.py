"""What every storm breaker does with its gate; the same suite runs in memory and on Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from fakes.breaker_rigs import MemoryBreakerRig, RedisBreakerRig
from fakes.gate_rigs import approval, request

from safety.breaker import Counted, Seen
from safety.model import Permit, Refusal
from safety.policy import where_of
from safety.scopes import Axis, StormScope, Where

OOM = StormScope("acme", Axis.REASON, "prod/OOMKilled")


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.stack)])
async def rig(request):
    """The breaker in memory, and the one on a real Redis, each beside its gate and with the same hand-moved time."""
    if request.param == "memory":
        rig = MemoryBreakerRig()
    else:
        rig = await RedisBreakerRig(request.getfixturevalue("stack").redis_url).start()
    yield rig
    await rig.close()


def where(number: int = 0, **changes) -> Where:
    plain = Where("acme", "prod", "", f"prod/shop/Deployment/d{number}", ("shop",), "OOMKilled")
    return replace(plain, **changes)


def causes(count: int, start: int = 0, **changes) -> list[Seen]:
    places = [where(number, **changes) for number in range(start, start + count)]
    return [Seen(place, Counted.CAUSES, place.target_key) for place in places]


def outcomes(count: int, counted: Counted, **changes) -> list[Seen]:
    return [Seen(where(**changes), counted, f"e{number}") for number in range(count)]


async def keys(breaker) -> list[str]:
    return [one.scope.key for one in await breaker.stopped()]


async def check_of(gate, asked) -> str:
    (answer,) = await gate.ask([asked])
    if isinstance(answer, Permit):
        await gate.cancel(asked.execution_id, asked.target_key)
        return "permit"
    assert isinstance(answer, Refusal), answer
    return answer.check


async def test_many_targets_with_one_cause_stop_automation_for_that_cause(rig):
    """The sixth target opens the scope, once; the gate then refuses it with the numbers, and nothing else."""
    assert await rig.breaker.heard(causes(5)) == []
    assert await check_of(rig.gate, request(cause_reason="OOMKilled")) == "permit"
    (change,) = await rig.another_breaker().heard(causes(1, start=5))
    assert (change.open, change.stopped.scope) == (True, OOM)
    assert await rig.breaker.heard(causes(1, start=6)) == []
    (answer,) = await rig.gate.ask([request(cause_reason="OOMKilled")])
    assert isinstance(answer, Refusal)
    assert answer.check == "storm"
    assert answer.numbers == {
        "scope": "reason:prod/OOMKilled",
        "counted": "causes",
        "of": "OOMKilled",
        "count": 6,
        "limit": 5,
        "window_seconds": 60,
    }
    assert "6 causes in 60 s, 5 are allowed" in answer.message


async def test_other_causes_clusters_and_tenants_go_on(rig):
    """A storm stops its own scope."""
    await rig.breaker.heard(causes(6))
    assert await check_of(rig.gate, request(cause_reason="ImagePullBackOff")) == "permit"
    elsewhere = request(target="test/shop/Deployment/cart", cause_reason="OOMKilled")
    assert await check_of(rig.gate, elsewhere) == "permit"
    assert await check_of(rig.gate, request(tenant="globex", cause_reason="OOMKilled")) == "permit"


async def test_different_causes_are_no_storm(rig):
    """Six targets of a namespace, each with a cause of its own: nothing piles up."""
    seen = [one for n in range(30) for one in causes(1, start=n, reason=f"Reason{n}")]
    assert await rig.breaker.heard(seen) == []


async def test_one_target_again_and_again_is_no_storm(rig):
    """It counts once however often it is seen."""
    for _ in range(20):
        assert await rig.breaker.heard(causes(1)) == []


async def test_a_window_slides(rig):
    """What is older than the window counts no more; what is seen again counts from then on."""
    await rig.breaker.heard(causes(4))
    await rig.advance(59)
    await rig.breaker.heard(causes(1))
    await rig.advance(2)
    assert await rig.breaker.heard(causes(4, start=10)) == []
    assert [each.stopped.scope for each in await rig.breaker.heard(causes(1, start=20))] == [OOM]


@pytest.mark.parametrize(
    ("counted", "allowed", "scope"),
    [(Counted.FAILURES, 3, "runbook:oom"), (Counted.NOT_FIXED, 2, "cluster:prod")],
)
async def test_failures_stop_a_runbook_and_what_was_not_fixed_a_cluster(rig, counted, allowed, scope):
    """Executions count whatever their causes were; each once."""
    await rig.breaker.heard(outcomes(allowed, counted, runbook="oom"))
    await rig.breaker.heard(outcomes(allowed, counted, runbook="oom"))
    assert await keys(rig.breaker) == []
    await rig.breaker.heard(outcomes(allowed + 1, counted, runbook="oom", reason="Another"))
    assert await keys(rig.breaker) == [scope]
    assert await check_of(rig.gate, request(cause_reason="Third")) == "storm"


async def test_an_approved_plan_waits_for_the_end_of_the_storm(rig):
    """A yes answers the approval rule, and no other check."""
    await rig.breaker.heard(causes(6))
    assert await check_of(rig.gate, request(cause_reason="OOMKilled", approval=approval())) == "storm"


async def test_nobody_is_asked_about_what_a_storm_has_stopped(rig):
    """The gate refuses before the question, so that no approval is requested in vain."""
    await rig.breaker.heard(causes(6))
    asked = request(cause_reason="OOMKilled", approval_reasons=("the runbook asks for it",))
    assert await check_of(rig.gate, asked) == "storm"


async def test_what_runs_goes_on_and_ends_in_a_storm(rig):
    """Running executions keep their permit and their lock, and free their target."""
    asked = request(cause_reason="OOMKilled")
    (permit,) = await rig.gate.ask([asked])
    assert isinstance(permit, Permit)
    await rig.gate.confirm([("e1", asked.target_key)])
    await rig.breaker.heard(causes(6))
    assert await rig.gate.ask([asked]) == [permit]
    assert await rig.gate.renew("e1", asked.target_key, permit.token)
    await rig.gate.release("e1", asked.target_key, 0)


async def test_it_opens_again_only_after_a_time_of_calm(rig):
    """Below the lower limit for the whole quiet time, and not a moment sooner: hysteresis."""
    await rig.breaker.heard(causes(6))
    await rig.advance(50)
    await rig.breaker.heard(causes(3))  # three of six go on: not below the lower limit of three
    await rig.advance(11)
    assert await rig.breaker.look() == []
    await rig.advance(29)
    assert await rig.breaker.look() == []
    assert await keys(rig.breaker) == [OOM.key]
    await rig.advance(21)  # the three are gone as well: calm begins with this look
    assert await rig.breaker.look() == []
    await rig.advance(29.999)
    assert await rig.breaker.look() == []
    await rig.advance(0.001)
    (change,) = await rig.another_breaker().look()
    assert (change.open, change.stopped.scope, change.by) == (False, OOM, "")
    assert await check_of(rig.gate, request(cause_reason="OOMKilled")) == "permit"


async def test_a_storm_that_comes_back_in_the_calm_goes_on(rig):
    """Calm begins anew, also when the count rose and fell between two looks."""
    await rig.breaker.heard(causes(6))
    await rig.advance(61)
    await rig.breaker.look()
    await rig.advance(20)
    await rig.breaker.heard(causes(3))
    await rig.advance(29)
    assert await rig.breaker.look() == []
    assert await keys(rig.breaker) == [OOM.key]


async def test_a_person_lets_it_go_on(rig):
    """What was counted is forgotten: the next alert alone does not stop it again; all of them do."""
    await rig.breaker.heard(causes(6))
    change = await rig.another_breaker().close(OOM, "ada", "the image is gone")
    assert change is not None
    assert (change.open, change.by, change.reason) == (False, "ada", "the image is gone")
    assert await rig.breaker.close(OOM, "ada", "again") is None
    assert await check_of(rig.gate, request(cause_reason="OOMKilled")) == "permit"
    assert await rig.breaker.heard(causes(5)) == []
    assert [each.stopped.scope for each in await rig.breaker.heard(causes(6))] == [OOM]


async def test_many_processes_that_hear_of_it_at_once_open_it_once(rig):
    """Counting is atomic: one of them says that it opened."""
    breakers = [rig.another_breaker() for _ in range(8)]
    found = await asyncio.gather(*(one.heard(causes(2, start=2 * n)) for n, one in enumerate(breakers)))
    opened = [change.stopped.scope.axis for changes in found for change in changes]
    assert sorted(opened) == [Axis.NAMESPACE, Axis.REASON]


async def test_whoever_asks_first_tells_people_once(rig):
    """One summary for a storm of several scopes, by one process; one at its end."""
    await rig.breaker.heard(causes(9))
    other = rig.another_breaker()
    await rig.breaker.hold_back("acme", {"refusals": 40, "messages on_start": 2})
    (call,) = await rig.breaker.due()
    assert (call.tenant, call.opens, dict(call.held_back)) == ("acme", True, {"refusals": 40, "messages on_start": 2})
    assert await other.due() == []
    await rig.breaker.told(call, reached=True)
    await rig.advance(120)
    assert await other.due() == []
    for _ in range(2):
        await other.look()
        await rig.advance(31)
    await other.look()
    assert await keys(rig.breaker) == []
    (end,) = await other.due()
    assert (end.opens, end.since) == (False, call.since)
    await other.told(end, reached=True)
    await rig.advance(120)
    assert await rig.breaker.due() == []


async def test_people_who_could_not_be_reached_are_called_again(rig):
    """At once when it is known that it did not work, after a while when the caller died."""
    await rig.breaker.heard(causes(6))
    (call,) = await rig.breaker.due()
    await rig.breaker.told(call, reached=False)
    (again,) = await rig.another_breaker().due()
    assert again == call
    assert await rig.breaker.due() == []
    await rig.advance(61)
    assert await rig.breaker.due() == [call]


async def test_a_storm_that_was_over_before_anybody_was_told_is_not_told(rig):
    """Reset at once: there is nothing left to say."""
    await rig.breaker.heard(causes(6))
    await rig.breaker.close(OOM, "ada", "a test")
    assert await rig.breaker.due() == []


async def test_a_second_storm_calls_people_again(rig):
    """Each storm is one call, with what was held back since it began."""
    for _ in range(2):
        await rig.breaker.heard(causes(6))
        (call,) = await rig.breaker.due()
        assert (call.opens, dict(call.held_back)) == (True, {})
        await rig.breaker.told(call, reached=True)
        await rig.breaker.hold_back("acme", {"refusals": 3})
        await rig.breaker.close(OOM, "ada", "on we go")
        (end,) = await rig.breaker.due()
        assert (end.opens, dict(end.held_back)) == (False, {"refusals": 3})
        await rig.breaker.told(end, reached=True)


async def test_an_execution_is_told_whether_a_storm_has_stopped_its_place(rig):
    """Messages about it are then left to the summary."""
    await rig.breaker.heard(causes(6))
    assert await rig.breaker.stops(where_of(request(cause_reason="OOMKilled")))
    assert not await rig.breaker.stops(where_of(request(cause_reason="Other")))


async def test_it_can_be_switched_off(rig):
    """A gate that is told so refuses nothing for a storm."""
    await rig.breaker.heard(causes(6))
    policy = replace(rig.settings, storm_breaker=False)
    off = type(rig.gate)
    gate = off(policy, rig.clock, rig.gate.state) if isinstance(rig, MemoryBreakerRig) else rig.another()
    if not isinstance(rig, MemoryBreakerRig):
        gate = off(rig.redis, policy, rig.clock, prefix=rig.prefix, timeout_seconds=5)
    assert await check_of(gate, request(cause_reason="OOMKilled")) == "permit"
