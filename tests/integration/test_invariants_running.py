"""Invariants 4 and 10 while executions run: two processes, real Neo4j, Redis, Kafka and API server."""

from __future__ import annotations

import asyncio
import json

import pytest
from fakes.served import mark, pause, runbook, served, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

NEVER = {"action": "wait", "params": {"condition": "deployment/not-there available", "timeout": "7s"}, "timeout": "8s"}
ON_CUE = {"action": "wait", "params": {"condition": "deployment/cue available", "timeout": "60s"}, "timeout": "70s"}


@pytest.fixture(scope="module")
async def world(stack, tmp_path_factory):
    async with served(stack, tmp_path_factory.mktemp("running")) as one:
        one.runbook("slow", runbook("TestSlow", mark("one"), pause(6), mark("two")))
        one.runbook("other", runbook("TestOther", mark("three")))
        one.runbook("stop", runbook("TestStop", mark("one"), {"id": "cue", "name": "Wait", **ON_CUE}, mark("two")))
        thaw = {**ON_CUE, "params": {**ON_CUE["params"], "condition": "deployment/thaw available"}}
        one.runbook("frozen", runbook("TestFrozen", mark("one"), {"id": "cue", "name": "Wait", **thaw}, mark("two")))
        failing = {"id": "never", "name": "Wait in vain", "on_failure": "rollback", **NEVER}
        one.runbook("back", runbook("TestBack", mark("one"), failing))
        await one.serve()
        await one.serve()
        yield one


@pytest.fixture(scope="module")
async def namespace(world):
    return await world.namespace()


def event_of(message):
    return json.loads(message[1])["incident_id"]


async def begun(world, app, namespace, reason):
    """An execution whose first change was made."""
    message = world.rca(app, namespace, reason)
    await world.send([message])
    execution = await world.execution(event_of(message), "running")

    async def changed():
        return "one" in await world.annotations(app, namespace)

    await until(changed, "the first step's change")
    return event_of(message), execution


async def test_invariant_4_one_execution_holds_a_target_and_the_other_process_is_told_no(world, namespace):
    """Two problems of one workload at once, two processes: one runs, the other is refused by the lock."""
    await world.app("shared", namespace)
    first, _ = await begun(world, "shared", namespace, "TestSlow")
    second = world.rca("shared", namespace, "TestOther")
    await world.send([second])
    decision = await world.decided(event_of(second))
    assert (decision["kind"], decision["check"]) == ("refusal", "lock")
    done = await world.execution(first, "done")
    assert done["outcome"] == "success"
    assert "three" not in await world.annotations("shared", namespace)


async def test_invariant_4_a_process_that_slept_longer_than_its_lease_writes_nothing_more(world, namespace):
    """A holder that is frozen in the middle is succeeded; woken up, it is fenced out before its successor has moved."""
    await world.app("frozen", namespace)
    event, execution = await begun(world, "frozen", namespace, "TestFrozen")
    holder = next(p for p in world.processes if str(p.pid) == execution["holder"].split("-")[-2])
    holder.freeze()
    try:

        async def succeeded():
            now = await world.execution(event)
            return now if now["epoch"] > execution["epoch"] else None

        taken_over = await until(succeeded, "another process takes over")
    finally:
        holder.thaw()
    successor = next(p for p in world.processes if str(p.pid) == taken_over["holder"].split("-")[-2])
    successor.freeze()
    try:
        # Only the old holder can see now that its wait is over, and its end is no longer its to write.
        await world.app("thaw", namespace)

        async def noticed():
            return [line for line in holder.log("execution.lost") if line["execution_id"] == execution["id"]]

        await until(noticed, "the woken process notices that it lost its target", 5)
        assert (await world.steps(execution["id"]))["step", "cue"] == "intended"
        assert "two" not in await world.annotations("frozen", namespace)
    finally:
        successor.thaw()
    done = await world.execution(event, "done")
    assert (done["outcome"], done["holder"]) == ("success", taken_over["holder"])
    stamps = await world.annotations("frozen", namespace)
    assert "two" in stamps
    assert stamps["rootmend.dev/epoch"] == str(done["epoch"])


async def test_invariant_10_pause_stops_a_running_execution_before_its_next_step(world, namespace):
    """`rb pause` while a step runs: no further step begins; `rb resume` lets it go on to the end."""
    await world.app("paused", namespace)
    event, execution = await begun(world, "paused", namespace, "TestStop")
    assert (await world.rb("pause", "--reason", "hands off", "--by", "alice")).returncode == 0
    try:
        await world.app("cue", namespace)

        async def waits():
            lines = [line for process in world.processes for line in process.log("execution.paused")]
            return [line for line in lines if line.get("execution") == execution["id"]]

        await until(waits, "the execution says that it is paused")
        await asyncio.sleep(2.5)
        assert "two" not in await world.annotations("paused", namespace)
        assert ("step", "two") not in await world.steps(execution["id"])
        fresh = world.rca("paused", namespace, "TestOther")
        await world.send([fresh])
        assert (await world.decided(event_of(fresh)))["check"] in {"pause", "lock"}
    finally:
        assert (await world.rb("resume", "--by", "alice")).returncode == 0
    assert (await world.execution(event, "done"))["outcome"] == "success"
    assert "two" in await world.annotations("paused", namespace)


async def test_invariant_10_pause_does_not_stop_the_way_back(world, namespace):
    """A rollback that becomes due while automation is paused is carried out at once."""
    await world.app("undone", namespace)
    event, execution = await begun(world, "undone", namespace, "TestBack")
    assert (await world.rb("pause", "--reason", "hands off", "--by", "alice")).returncode == 0
    try:
        assert "one" in await world.annotations("undone", namespace)
        done = await world.execution(event, "done", seconds=30)
        assert done["outcome"] == "rollback"
        assert "one" not in await world.annotations("undone", namespace)
        assert (await world.steps(execution["id"]))["undo", "one"] == "succeeded"
        state = await world.rb("pause", "--show", "--json")
        assert json.loads(state.stdout)["paused"] is True
    finally:
        assert (await world.rb("resume", "--by", "alice")).returncode == 0
