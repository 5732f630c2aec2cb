"""Pauses of a part; the same suite runs on the gate in memory and on Redis."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.gate_rigs import MemoryRig, RedisRig, approval, request

from safety.model import Permit, Refusal
from safety.policy import where_of
from safety.scopes import EVERYTHING, Pause, PauseScope

SCOPES = [
    PauseScope(namespace="shop"),
    PauseScope(cluster="prod"),
    PauseScope(tenant="acme"),
    PauseScope(runbook="oom"),
    PauseScope(target="shop/Deployment/cart"),
    PauseScope(tenant="acme", cluster="prod", namespace="shop"),
]
OUTSIDE = {
    "namespace": request("e2", "prod/web/Deployment/cart", namespaces=("web",)),
    "cluster": request("e2", "test/shop/Deployment/cart"),
    "tenant": request("e2", tenant="globex"),
    "runbook": request("e2", runbook_id="other"),
    "target": request("e2", "prod/shop/Deployment/checkout"),
}


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.stack)])
async def rig(request):
    """The gate in memory, and the one on a real Redis with the same hand-moved time."""
    rig = (
        MemoryRig() if request.param == "memory" else await RedisRig(request.getfixturevalue("stack").redis_url).start()
    )
    yield rig
    await rig.close()


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.key)
async def test_a_pause_of_a_part_stops_that_part_alone(rig, scope):
    """New permits and further steps inside of it; everything outside goes on."""
    await rig.gate.pause("ada", "release", scope)
    (answer,) = await rig.another().ask([request(approval=approval())])
    assert isinstance(answer, Refusal)
    assert (answer.check, answer.message) == ("pause", f"{scope} is paused by ada: release")
    assert answer.numbers == {"by": "ada", "reason": "release", "scope": str(scope)}
    assert await rig.another().paused(where_of(request())) == f"{scope} is paused by ada: release"
    assert await rig.gate.paused() is None
    for name in scope.parts:
        outside = OUTSIDE[name]
        (free,) = await rig.gate.ask([outside])
        assert isinstance(free, Permit), free
        await rig.gate.cancel("e2", outside.target_key)
        assert await rig.gate.paused(where_of(outside)) is None
    await rig.gate.resume("ada", scope)
    assert await rig.gate.paused(where_of(request())) is None
    assert isinstance((await rig.gate.ask([request()]))[0], Permit)


async def test_a_namespace_is_paused_for_whatever_writes_into_it(rig):
    """Also when the target is elsewhere."""
    await rig.gate.pause("ada", "release", PauseScope(namespace="db"))
    (answer,) = await rig.gate.ask([request(namespaces=("shop", "db"))])
    assert isinstance(answer, Refusal)
    assert answer.check == "pause"


async def test_each_pause_is_lifted_by_its_own_scope(rig):
    """Two people who paused different parts do not lift each other's, and the brake is one more."""
    await rig.gate.pause("ada", "release", SCOPES[0])
    await rig.gate.pause("bob", "audit", SCOPES[1])
    await rig.gate.pause("eve", "fire")
    assert [pause.scope for pause in await rig.gate.pauses()] == [EVERYTHING, SCOPES[1], SCOPES[0]]
    await rig.gate.resume("eve")
    await rig.gate.resume("bob", SCOPES[1])
    (left,) = await rig.another().pauses()
    assert (left.by, left.reason, left.scope, left.until) == ("ada", "release", SCOPES[0], None)


@pytest.mark.parametrize("scope", [EVERYTHING, SCOPES[0]], ids=["everything", "namespace"])
async def test_a_pause_ends_by_itself_when_it_was_ordered_so(rig, scope):
    """To the second, by the clock of the store."""
    ends = rig.clock.now() + timedelta(seconds=60)
    await rig.gate.pause("ada", "release", scope, ends)
    await rig.advance(59)
    assert await rig.gate.paused(where_of(request())) is not None
    assert [pause.until for pause in await rig.gate.pauses()] == [ends]
    await rig.advance(1)
    assert await rig.gate.paused(where_of(request())) is None
    assert list(await rig.gate.pauses()) == []
    assert isinstance((await rig.gate.ask([request()]))[0], Permit)


async def test_a_second_pause_of_one_scope_takes_the_place_of_the_first(rig):
    """Who prolongs a pause does not have to lift it in between."""
    await rig.gate.pause("ada", "release", SCOPES[0], rig.clock.now() + timedelta(seconds=60))
    await rig.gate.pause("bob", "it takes longer", SCOPES[0])
    await rig.advance(3600)
    assert list(await rig.gate.pauses()) == [
        Pause("bob", "it takes longer", SCOPES[0], rig.clock.now() - timedelta(hours=1))
    ]
