"""Pauses of a part on real servers: two processes, many short steps, and the commands that people use."""

from __future__ import annotations

import json
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import pytest
from fakes.served import mark, pause, runbook, served, until

from safety.scopes import PauseScope
from services.clock import SystemClock
from services.connections import open_gate, open_graph
from services.settings import load_settings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

STEPS = 12
ON_CUE = {"action": "wait", "params": {"condition": "deployment/cue available", "timeout": "150s"}, "timeout": "160s"}
"""On a busy machine one begins long before the other: all wait for this before they take their many short steps."""


@pytest.fixture(scope="module")
async def world(stack, tmp_path_factory):
    async with served(stack, tmp_path_factory.mktemp("pauses")) as one:
        steps = [step for n in range(STEPS) for step in (mark(f"m{n:02}"), pause(1, f"breathe{n:02}"))]
        one.runbook("long", runbook("TestLong", mark("ready"), {"id": "cue", "name": "Wait", **ON_CUE}, *steps))
        one.runbook("quick", runbook("TestQuick", mark("quick")))
        await one.serve()
        await one.serve()
        yield one


async def started(world, event):
    """When each step of an execution began, oldest first; milliseconds since 1970 by the clock of its process."""
    rows = await world.query(
        """
        MATCH (d:Decision {cluster: $name, event_id: $event})
        MATCH (e:RunbookExecution {decision_id: d.id})-[:STEP]->(s:StepRun)
        RETURN s.started_at.epochMillis AS at ORDER BY at
        """,
        event=event,
    )
    return [row["at"] for row in rows]


async def begin(world, app, namespace, reason="TestLong"):
    message = world.rca(app, namespace, reason)
    await world.send([message])
    return json.loads(message[1])["incident_id"]


@asynccontextmanager
async def gate_of(world):
    """The gate as a command would open it, in this process: starting a command takes longer than what is measured."""
    settings = load_settings(world.config)
    graph = open_graph(settings)
    try:
        yield open_gate(settings, world.redis, graph, SystemClock(), command=True)
    finally:
        await graph.close()


async def test_invariant_10_a_pause_of_a_namespace_holds_within_a_second_on_every_process(world, record_property):
    """No step there starts later than a second after it was ordered; what runs elsewhere goes on, and resume works."""
    inside, outside = await world.namespace(), await world.namespace()
    places = [("one", inside), ("two", inside), ("free", outside)]
    for app, namespace in places:
        await world.app(app, namespace)
    *stopped, free = [await begin(world, app, namespace) for app, namespace in places]

    async def all_have(count):
        return all([len(await started(world, event)) >= count for event in (*stopped, free)])

    async with gate_of(world) as gate:
        await until(partial(all_have, 2), "every execution waits for its cue", 120)
        for namespace in (inside, outside):
            await world.app("cue", namespace)
        await until(partial(all_have, 4), "every execution takes its steps", 120)
        scope = PauseScope(namespace=inside)
        await gate.pause("alice", "hands off", scope)
        paused = time.time() * 1000
        try:
            ids = {(await world.execution(event))["id"] for event in stopped}

            async def rests():
                lines = [line for process in world.processes for line in process.log("execution.paused")]
                return ids <= {line.get("execution") for line in lines}

            await until(rests, "both executions of the namespace say that they are paused", 120)
            assert (await world.execution(free, "done", seconds=180))["outcome"] == "success"
            late = [at - paused for event in stopped for at in await started(world, event) if at > paused]
            record_property("latest_step_after_pause_ms", max(late, default=0))
            assert max(late, default=0) <= 1000
            fresh = await begin(world, "one", inside, "TestQuick")
            assert (await world.decided(fresh))["check"] == "pause"
        finally:
            await gate.resume("alice", scope)
        for event in stopped:
            assert (await world.execution(event, "done", seconds=180))["outcome"] == "success"


async def test_an_emptied_redis_does_not_forget_the_pause_of_a_runbook(world):
    """It is kept in the graph, shown by rb pause list, and lifted by its own scope."""
    namespace = await world.namespace()
    await world.app("kept", namespace)
    assert (await world.rb("pause", "--runbook", "fix-testquick", "--reason", "it is wrong")).returncode == 0
    async for key in world.redis.scan_iter(match=f"{world.name}:*", count=1000):
        await world.redis.delete(key)
    event = await begin(world, "kept", namespace, "TestQuick")
    decision = await world.decided(event)
    assert (decision["kind"], decision["check"]) == ("refusal", "pause")
    assert "runbook fix-testquick is paused by" in decision["message"]
    (listed,) = json.loads((await world.rb("pause", "list", "--json")).stdout)
    assert (listed["scope"], listed["reason"]) == ({"runbook": "fix-testquick"}, "it is wrong")
    wrong = await world.rb("resume")
    assert "was not paused by itself. Paused: runbook fix-testquick" in wrong.stderr
    assert len(json.loads((await world.rb("pause", "list", "--json")).stdout)) == 1
    assert (await world.rb("resume", "--runbook", "fix-testquick")).returncode == 0
    assert json.loads((await world.rb("pause", "list", "--json")).stdout) == []


async def test_a_pause_of_a_target_until_a_time_is_shown_with_it(world):
    """As it was ordered, for whoever looks."""
    later = datetime(2099, 5, 1, 18, tzinfo=UTC)
    words = ("--target", "Deployment/shop/cart", "--cluster", world.name, "--until", later.isoformat())
    try:
        told = await world.rb("pause", *words, "--reason", "hands off")
        assert told.returncode == 0, told.stderr
        (listed,) = json.loads((await world.rb("pause", "list", "--json")).stdout)
        assert listed["scope"] == {"cluster": world.name, "target": "shop/Deployment/cart"}
        assert datetime.fromisoformat(listed["until"]) == later
    finally:
        await world.rb("resume", "--target", "Deployment/shop/cart", "--cluster", world.name)
