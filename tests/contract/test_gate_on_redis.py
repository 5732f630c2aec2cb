"""What only a real Redis can show: lost answers, scripts it never saw, a cut wire, its own clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from fakes.gate_rigs import SETTINGS, RedisRig, Wall, approval, request
from fakes.sick_redis import Wire
from redis.asyncio import Redis

from safety.errors import GateUnavailable
from safety.model import ApprovalNeeded, GateRecord, Permit, Refusal
from safety.redis_gate import RedisGate
from safety.scopes import EVERYTHING, Pause, PauseScope

pytestmark = pytest.mark.stack
TARGET = "prod/shop/Deployment/cart"


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture
async def rig(stack):
    rig = await RedisRig(stack.redis_url).start()
    yield rig
    await rig.close()


@pytest.fixture
async def wired(stack, rig):
    """A gate behind a wire, with the server's own time."""
    parts = urlsplit(stack.redis_url)
    async with Wire(parts.hostname, parts.port) as wire:
        client = Redis.from_url(stack.redis_url.replace(f":{parts.port}", f":{urlsplit(wire.url).port}"))
        gate = RedisGate(client, SETTINGS, WallClock(), prefix=rig.prefix, timeout_seconds=0.3)
        yield wire, gate
        await client.aclose()


async def test_an_answer_that_got_lost_is_asked_for_again(wired, rig):
    """The permit was given and the wire lost it: asking again gives the same one, and one place of the rate is used."""
    wire, gate = wired
    await gate.ask([request("warm", "prod/shop/Deployment/warm", runbook_id="warm")])
    wire.loses_answers = 1
    (answer,) = await gate.ask([request()])
    assert isinstance(answer, Permit)
    counted = await rig.redis.zcard(f"{rig.prefix}{{acme}}:count:runbook:oom")
    assert counted == 1


async def test_a_token_is_the_servers_time(wired):
    """With the scripts as they are shipped the token is the server's clock in milliseconds."""
    _, gate = wired
    (answer,) = await gate.ask([request()])
    assert isinstance(answer, Permit)
    assert abs(answer.token / 1000 - time.time()) < 5
    assert abs((answer.expires_at - datetime.now(UTC)).total_seconds() - 120) < 5


async def test_a_release_with_the_wire_cut_is_done_when_it_is_mended(wired, rig):
    """Target stays locked while the store is away; the cooldown starts as soon as it can be reached."""
    wire, gate = wired
    await gate.ask([request("e1")])
    wire.cut()
    await gate.release("e1", TARGET, 600)
    assert isinstance((await gate.ask([request("e2")]))[0], ApprovalNeeded)
    with pytest.raises(GateUnavailable):
        await gate.paused()
    wire.mend()
    (answer,) = await gate.ask([request("e2")])
    assert isinstance(answer, Refusal)
    assert answer.check == "cooldown"


@pytest.mark.parametrize("jump", [-3600, 3600])
async def test_a_clock_that_jumps_while_a_release_is_owed_neither_ends_nor_prolongs_the_cooldown(stack, rig, jump):
    """The wall clock is set by an hour while the store is away: what is left of ten minutes is some ten minutes."""
    parts = urlsplit(stack.redis_url)
    async with Wire(parts.hostname, parts.port) as wire:
        client = Redis.from_url(stack.redis_url.replace(f":{parts.port}", f":{urlsplit(wire.url).port}"))
        wall = Wall(WallClock())
        gate = RedisGate(client, SETTINGS, wall, prefix=rig.prefix, timeout_seconds=0.3)
        await gate.ask([request("e1")])
        wire.cut()
        await gate.release("e1", TARGET, 600)
        wall.jump(jump)
        wire.mend()
        (answer,) = await gate.ask([request("e2")])
        assert isinstance(answer, Refusal)
        assert answer.check == "cooldown"
        cooling = await rig.redis.hget(f"{rig.prefix}{{acme}}:target:{TARGET}", "cooling")
        assert 500 < int(cooling) / 1000 - time.time() < 601
        await client.aclose()


async def test_a_permit_given_without_the_store_needs_no_confirmation(wired):
    """Approved while away, confirmed when back: nothing was reserved, so nothing is lost."""
    wire, gate = wired
    wire.cut()
    assert isinstance((await gate.ask([request("e1", approval=approval())]))[0], Permit)
    wire.mend()
    assert await gate.confirm([("e1", TARGET)]) == []


class Records:
    """Durable records at hand, or not."""

    def __init__(self, *records: GateRecord, error: Exception | None = None) -> None:
        self.records = records
        self.error = error
        self.asked = 0

    async def gate_records(self):
        self.asked += 1
        if self.error:
            raise self.error
        return self.records


async def test_an_emptied_store_fills_itself_from_the_records(rig):
    """With the records at hand the first question after a loss restores the store, and is answered from it."""
    await rig.empty()
    now = datetime.now(UTC)
    held = GateRecord("e1", "acme", "prod", "oom", TARGET, "hash-1", 7, now, now, holds_target=True)
    gate = RedisGate(rig.redis, SETTINGS, WallClock(), prefix=rig.prefix, history=Records(held))
    (first, second) = await gate.ask([request("e2"), request("e3", "prod/shop/Deployment/api")])
    assert isinstance(first, Refusal)
    assert first.check == "lock"
    assert isinstance(second, Permit)


async def test_invariant_6_without_records_an_emptied_store_stays_approval_only(rig):
    """Store emptied and graph away: nothing runs by itself."""
    await rig.empty()
    history = Records(error=RuntimeError("graph away"))
    gate = RedisGate(rig.redis, SETTINGS, WallClock(), prefix=rig.prefix, history=history)
    (answer,) = await gate.ask([request()])
    assert isinstance(answer, ApprovalNeeded)
    assert "graph away" in answer.reasons[0]


async def test_a_running_execution_reads_the_switch_of_an_emptied_store(rig):
    """Its question for the pause restores the store too, and it is restored once for many that ask together."""
    await rig.empty()
    history = Records()
    gate = RedisGate(rig.redis, SETTINGS, WallClock(), prefix=rig.prefix, history=history)
    assert await asyncio.gather(*(gate.paused() for _ in range(10))) == [None] * 10
    assert history.asked == 1


class Pauses:
    """The durable side of the pause switch."""

    def __init__(self) -> None:
        self.now: list[Pause] = []
        self.error: Exception | None = None

    def _reach(self) -> None:
        if self.error:
            raise self.error

    async def paused(self, by, reason, scope=EVERYTHING, until=None):
        self._reach()
        self.now = [*(one for one in self.now if one.scope != scope), Pause(by, reason, scope, None, until)]

    async def resumed(self, by, scope=EVERYTHING):
        self._reach()
        self.now = [one for one in self.now if one.scope != scope]

    async def in_force(self):
        self._reach()
        return self.now


@pytest.fixture
def switched(rig):
    pauses = Pauses()
    gate = RedisGate(rig.redis, SETTINGS, WallClock(), prefix=rig.prefix, history=Records(), pauses=pauses)
    return pauses, gate


async def test_invariant_10_an_emptied_store_does_not_forget_a_pause(rig, switched):
    """The pause is restored with the rest, before anything is permitted."""
    _, gate = switched
    await gate.pause("ada", "stop")
    await rig.empty()
    (answer,) = await gate.ask([request()])
    assert isinstance(answer, Refusal)
    assert answer.check == "pause"
    assert await gate.paused() == "paused by ada: stop"
    await gate.resume("ada")
    await rig.empty()
    assert await gate.paused() is None


async def test_invariant_10_an_emptied_store_does_not_forget_the_pause_of_a_part(rig, switched):
    """Nor until when it was ordered."""
    _, gate = switched
    ends = datetime(2099, 1, 1, tzinfo=UTC)
    await gate.pause("ada", "release", PauseScope(namespace="shop"), ends)
    await rig.empty()
    (answer,) = await gate.ask([request()])
    assert isinstance(answer, Refusal)
    assert answer.check == "pause"
    assert [(one.scope.key, one.until) for one in await gate.pauses()] == [("namespace=shop", ends)]


async def test_invariant_10_a_pause_that_is_not_recorded_is_in_force_and_says_so(switched):
    """Pausing works without the graph; lifting does not, and nobody hears None from a store that cannot know."""
    pauses, gate = switched
    pauses.error = RuntimeError("graph away")
    with pytest.raises(GateUnavailable, match="graph away"):
        await gate.pause("ada", "stop")
    assert await gate.paused() == "paused by ada: stop"
    with pytest.raises(GateUnavailable, match="graph away"):
        await gate.resume("ada")
    assert await gate.paused() == "paused by ada: stop"


async def test_invariant_6_a_store_is_not_restored_without_its_pause(rig, switched):
    """When nobody can say whether automation is paused, the store stays approval only."""
    pauses, gate = switched
    await rig.empty()
    pauses.error = RuntimeError("graph away")
    (answer,) = await gate.ask([request()])
    assert isinstance(answer, ApprovalNeeded)


async def test_keys_of_a_tenant_share_a_hash_tag_and_all_expire(rig):
    """All but the pause switch, the mark of a filled store and a pointer is tagged, and goes away by itself."""
    await rig.gate.ask([request()])
    await rig.gate.confirm([("e1", TARGET)])
    await rig.gate.release("e1", TARGET, 60)
    keys = {key.decode().removeprefix(rig.prefix): value for key, value in (await rig.dump()).items()}
    assert {key for key in keys if not key.startswith("{acme}:")} == {"primed:3", "place:e1"}
    assert all(expiry > 0 for key, (_, expiry) in keys.items() if key != "primed:3")


async def test_a_count_that_is_still_needed_does_not_expire(rig):
    """The end of a key is not moved for each execution, but long before it comes: a limit must not vanish."""
    await rig.gate.ask([request()])
    keys = [key for key in await rig.dump() if b":count:" in key or b":flight:" in key]
    for key in keys:
        await rig.redis.expire(key, 3600)
    (answer,) = await rig.gate.ask([request("e2", "prod/shop/Deployment/api")])
    assert isinstance(answer, Permit)
    day = 24 * 3600 * 1000
    left = {key: await rig.redis.pttl(key) for key in keys}
    of_others = {key for key in keys if key.endswith(b"cart")}
    assert len(of_others) == 2
    assert all(left[key] <= day / 24 for key in of_others), "nothing was added there"
    assert all(left[key] > day for key in set(keys) - of_others)


async def test_a_client_that_decodes_answers_is_fine_too(rig, stack):
    """Text or bytes, the gate reads both."""
    client = Redis.from_url(stack.redis_url, decode_responses=True)
    gate = RedisGate(client, SETTINGS, WallClock(), prefix=rig.prefix)
    assert isinstance((await gate.ask([request()]))[0], Permit)
    await gate.pause("ada", "stop")
    assert await gate.paused() == "paused by ada: stop"
    other = RedisGate(client, SETTINGS, WallClock(), prefix=rig.prefix)
    assert await other.confirm([("e1", TARGET)]) == []
    await client.aclose()
