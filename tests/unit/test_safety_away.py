"""Redis away: approval only. Nothing runs by itself, and nothing waits for long."""

from __future__ import annotations

import time

import pytest
from fakes.gate_rigs import SETTINGS, approval, request
from fakes.memory_gate import HandClock
from fakes.sick_redis import SickRedis
from redis.asyncio import Redis

from safety.errors import GateUnavailable
from safety.model import ApprovalNeeded, Permit, Refusal
from safety.redis_gate import RedisGate

TARGET = "prod/shop/Deployment/cart"
ERRORS = [
    "",
    "-OOM command not allowed when used memory > 'maxmemory'.",
    "-READONLY You can't write against a read only replica.",
    "-LOADING Redis is loading the dataset in memory",
    "-NOAUTH Authentication required.",
    "-NOPERM this user has no permissions to run the 'evalsha' command",
    "-MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk.",
    "-CLUSTERDOWN The cluster is down",
    "not the protocol of Redis",
]


@pytest.fixture(params=ERRORS, ids=lambda error: error[:12] or "silent")
async def sick(request):
    """A gate on a Redis with one ailment."""
    async with SickRedis(request.param) as server:
        client = Redis.from_url(server.url)
        yield RedisGate(client, SETTINGS, HandClock(), timeout_seconds=0.1)
        await client.aclose()


@pytest.fixture
async def nowhere():
    """A gate whose Redis does not listen at all."""
    async with SickRedis() as server:
        url = server.url
    client = Redis.from_url(url)
    yield RedisGate(client, SETTINGS, HandClock(), timeout_seconds=0.1)
    await client.aclose()


async def test_invariant_6_a_sick_store_permits_nothing_by_itself(sick):
    """Whatever ails the store, the answer is to ask a human, with the ailment among the reasons."""
    (answer,) = await sick.ask([request(approval_reasons=("careful",))])
    assert isinstance(answer, ApprovalNeeded)
    assert answer.reasons[0].startswith("gate store away: ")
    assert answer.reasons[1:] == ("careful",)


@pytest.mark.parametrize("nonsense", ["+what is this", "*1\r\n$5\r\nmaybe", "*2\r\n$6\r\npermit\r\n$1\r\nx", ":1"])
async def test_invariant_6_an_answer_that_is_none_permits_nothing(nonsense):
    """Something else answers than the gate's script: ask a human."""
    async with SickRedis(nonsense) as server:
        client = Redis.from_url(server.url)
        (answer,) = await RedisGate(client, SETTINGS, HandClock(), timeout_seconds=0.1).ask([request()])
        assert isinstance(answer, ApprovalNeeded)
        await client.aclose()


async def test_invariant_6_a_store_that_is_not_there_permits_nothing_by_itself(nowhere):
    """Nobody listens: ask a human."""
    (answer,) = await nowhere.ask([request()])
    assert isinstance(answer, ApprovalNeeded)


async def test_what_a_human_approved_runs_without_the_store(nowhere):
    """An approved plan gets a permit whose token is the wall clock, growing within a batch."""
    first, second = await nowhere.ask([request("e1", approval=approval()), request("e2", approval=approval())])
    assert isinstance(first, Permit)
    assert isinstance(second, Permit)
    assert first.token == int(HandClock().now().timestamp() * 1000)
    assert second.token == first.token + 1


async def test_an_approval_of_another_plan_is_worth_nothing_without_the_store(nowhere):
    """The store being away opens no door."""
    (answer,) = await nowhere.ask([request(approval=approval("hash-0"))])
    assert isinstance(answer, ApprovalNeeded)


async def test_the_checks_that_need_no_store_still_refuse(nowhere):
    """Protected namespaces, confidence and blast radius hold, for approved plans too."""
    answers = await nowhere.ask(
        [request(namespaces=("kube-system",), approval=approval()), request(confidence=0.2, approval=approval())]
    )
    assert [answer.check for answer in answers if isinstance(answer, Refusal)] == ["protected_namespace", "confidence"]


async def test_nobody_waits_long_for_a_silent_store():
    """Two tries of the time-out for a whole batch, not for each request."""
    async with SickRedis() as server:
        client = Redis.from_url(server.url)
        gate = RedisGate(client, SETTINGS, HandClock(), timeout_seconds=0.1)
        start = time.monotonic()
        await gate.ask([request(f"e{i}") for i in range(100)])
        assert time.monotonic() - start < 1
        await client.aclose()


async def test_invariant_10_an_unreadable_pause_is_not_no_pause(sick):
    """Whoever cannot read the switch is told so, and never gets None."""
    with pytest.raises(GateUnavailable) as caught:
        await sick.paused()
    assert caught.value.__cause__ is not None


async def test_a_pause_that_did_not_work_says_so(nowhere):
    """Setting and lifting the pause fail loudly."""
    for attempt in (nowhere.pause("ada", "stop"), nowhere.resume("ada"), nowhere.restore([])):
        with pytest.raises(GateUnavailable):
            await attempt


async def test_running_executions_lose_nothing(nowhere):
    """Renewing, confirming, cancelling and releasing carry on; the graph's lease is the truth meanwhile."""
    await nowhere.ask([request("e1", approval=approval())])
    assert await nowhere.confirm([("e1", TARGET)]) == []
    assert await nowhere.renew("e1", TARGET, 5)
    await nowhere.cancel("e1", TARGET)
    await nowhere.release("e1", TARGET, 60)
