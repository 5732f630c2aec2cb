"""Redis away, frozen or emptied while the pipeline runs: approval only, then automation again, nothing forgotten."""

from __future__ import annotations

import json
import os
import signal
import socket
from functools import partial

import pytest
from fakes.served import mark, pause, runbook, served, until
from redis.exceptions import RedisError

from compose import processes
from compose.paths import folders
from compose.servers.base import Site
from compose.servers.redis import Redis as RedisServer
from compose.state import Secrets

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


class OwnRedis:
    """A Redis server that the test may do anything to."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        state = folders(folder)
        state.create()
        self._site = Site(state, Secrets(), {"redis": {"redis": port}})
        self.url = f"redis://127.0.0.1:{port}/0"
        self._server = RedisServer()
        self._server.prepare(self._site)
        self.start()

    def start(self):
        launch = self._server.launch(self._site)
        state = self._site.folders
        self.process = processes.spawn(
            launch.argv, log=state.log("redis"), cwd=state.data, stack=state.stack, server="redis"
        )

    def stop(self):
        processes.stop([self.process])

    def signal(self, number):
        os.kill(self.process.pid, number)


@pytest.fixture(scope="module")
async def world(stack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("redis-away")
    own = OwnRedis(folder / "state")
    settings = {"redis": {"url": own.url}, "execution": {"lease_seconds": 6, "heartbeat_seconds": 1}}
    try:
        async with served(stack, folder / "world", settings=settings) as one:
            one.own = own
            one.runbook("fix", runbook("TestTrouble", mark("fixed")))
            one.runbook("cool", runbook("TestCool", mark("fixed"), safety={"cooldown": "10m"}))
            one.runbook("slow", runbook("TestSlow", mark("one"), pause(2), mark("two")))
            await one.serve()
            yield one
    finally:
        own.stop()


@pytest.fixture(scope="module")
async def namespace(world):
    return await world.namespace()


async def answers(world):
    try:
        return await world.redis.ping()
    except RedisError:
        return False


async def sent(world, app, namespace, reason="TestTrouble"):
    message = world.rca(app, namespace, reason)
    await world.send([message])
    return json.loads(message[1])["incident_id"]


async def automatic(world, app, namespace):
    """A problem is mended without anybody being asked."""
    await world.app(app, namespace)
    event = await sent(world, app, namespace)
    done = await world.execution(event, "done")
    assert done["outcome"] == "success", done["error"]


async def only_asked(world, app, namespace):
    """A problem leads to a question, and nothing is done."""
    await world.app(app, namespace)
    event = await sent(world, app, namespace)
    decision = await world.decided(event)
    assert decision["kind"] == "approval"
    assert "gate store away" in decision["message"]
    assert "fixed" not in await world.annotations(app, namespace)
    return event


@pytest.mark.parametrize("how", ["ended", "frozen"])
async def test_redis_away_means_approval_only_until_it_is_back(world, namespace, how):
    """Nothing runs by itself without Redis, a human's yes still counts, and automation returns with it."""
    await automatic(world, f"before-{how}", namespace)
    if how == "ended":
        world.own.stop()
    else:
        world.own.signal(signal.SIGSTOP)
    try:
        event = await only_asked(world, f"during-{how}", namespace)
        waiting = await world.execution(event, "waiting_approval")
        answer = await world.rb("approvals", "approve", waiting["id"], "--yes", "--by", "alice")
        assert answer.returncode == 0, answer.stderr
        done = await world.execution(event, "done")
        assert done["outcome"] == "success", done["error"]
        assert (await world.annotations(f"during-{how}", namespace))["fixed"] == waiting["id"]
    finally:
        if how == "ended":
            world.own.start()
        else:
            world.own.signal(signal.SIGCONT)
    await until(partial(answers, world), "redis is back")
    await automatic(world, f"after-{how}", namespace)
    assert not world.processes[0].ended


async def test_a_process_starts_without_redis(world):
    """Redis away is no reason not to start: what needs it is asked for."""
    world.own.stop()
    try:
        process = await world.serve("--role", "approvals")
        assert not process.ended
        await process.stop()
    finally:
        world.own.start()
    await until(partial(answers, world), "redis is back")


async def test_redis_going_away_under_a_running_execution_holds_its_next_step(world, namespace):
    """What runs by itself cannot read the pause switch, so it waits; with Redis back it goes on to the end."""
    await world.app("held", namespace)
    event = await sent(world, "held", namespace, "TestSlow")
    execution = await world.execution(event, "running")

    async def changed():
        return "one" in await world.annotations("held", namespace)

    await until(changed, "the first change")
    world.own.signal(signal.SIGSTOP)
    try:

        async def waits():
            return [x for x in world.processes[0].log("execution.paused") if x.get("execution") == execution["id"]]

        await until(waits, "the execution waits")
        assert "two" not in await world.annotations("held", namespace)
    finally:
        world.own.signal(signal.SIGCONT)
    done = await world.execution(event, "done")
    assert done["outcome"] == "success", done["error"]
    assert "two" in await world.annotations("held", namespace)


async def test_an_emptied_redis_is_refilled_from_the_graph(world, namespace):
    """Cooldowns and rates are there again after FLUSHALL, without anybody doing anything."""
    await world.app("chilled", namespace)
    first = await sent(world, "chilled", namespace, "TestCool")
    await world.execution(first, "done")

    async def cooling():
        return [k for k, v in (await world.dump()).items() if b"}:target:" in k and v.get(b"cooling")]

    await until(cooling, "the target cools down")
    await world.redis.flushall()
    second = await sent(world, "chilled", namespace)
    decision = await world.decided(second)
    assert (decision["kind"], decision["check"]) == ("refusal", "cooldown")
    dump = await world.dump()
    assert f"{world.name}:primed:3".encode() in dump
    assert any(b":count:runbook:fix-testcool" in key for key in dump)
    await automatic(world, "another", namespace)


async def test_invariant_10_an_emptied_redis_does_not_forget_the_pause(world, namespace):
    """Paused, flushed: still paused, for new problems and for those who ask."""
    assert (await world.rb("pause", "--reason", "hands off", "--by", "alice")).returncode == 0
    await world.redis.flushall()
    await world.app("quiet", namespace)
    decision = await world.decided(await sent(world, "quiet", namespace))
    assert (decision["kind"], decision["check"]) == ("refusal", "pause")
    assert "hands off" in decision["message"]
    state = json.loads((await world.rb("pause", "--show", "--json")).stdout)
    assert state["paused"] is True
    assert (await world.rb("resume", "--by", "alice")).returncode == 0
    await automatic(world, "mended", namespace)
