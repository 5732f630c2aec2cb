"""Versions of runbooks with rb serve as it is run: rolled back, pinned, and told by the commands."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from fakes.served import mark, runbook, served, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


@pytest.fixture
async def world(stack, tmp_path):
    async with served(stack, tmp_path / "served") as made:
        yield made
        await made.query("MATCH (n:RunbookVersion) WHERE n.id ENDS WITH $name DETACH DELETE n")
        await made.query("MATCH (n:RunbookRollback) WHERE n.runbook_id ENDS WITH $name DETACH DELETE n")


async def _versions(world, name):
    told = await world.rb("versions", name, "--json")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


async def _incident(world, namespace, app, reason):
    await world.app(app, namespace)
    event = str(uuid4())
    await world.send([world.rca(app, namespace, reason, event_id=event)])
    return event


async def test_a_rollback_reaches_a_running_process_and_is_told_everywhere(world):
    """The bad version is replaced within a sweep, in the annotations, the log, explain and versions; then lifted."""
    name = f"versioned-{world.name}"
    namespace = await world.namespace()
    world.runbook("fix", runbook("TestVersions", mark("from", "one"), id=name))
    process = await world.serve()
    done = await world.execution(await _incident(world, namespace, "first", "TestVersions"), "done")
    assert done["outcome"] == "success"
    good = done["runbook_sha"]
    world.runbook("fix", runbook("TestVersions", mark("from", "two"), id=name, version="2.0.0"))

    async def loaded():
        return [line for line in process.log("runbooks.loaded") if name in line.get("changed", ())]

    await until(loaded, "the changed file is in force")
    rolled = await world.rb("rollback-runbook", name, "--reason", "writes the wrong mark", "--by", "ada", "--json")
    assert rolled.returncode == 0, rolled.stderr
    assert json.loads(rolled.stdout)["to_sha"] == good

    async def followed():
        return process.log("runbook.rolled_back")

    (line,) = await until(followed, "the process follows")
    assert (line["runbook"], line["by"], line["reason"]) == (name, "ada", "writes the wrong mark")
    event = await _incident(world, namespace, "second", "TestVersions")
    done = await world.execution(event, "done")
    assert (done["runbook_sha"], (await world.annotations("second", namespace))["from"]) == (good, "one")
    explained = (await world.rb("explain", event)).stdout
    assert f"not taken, rolled back to {good[:12]} by ada: writes the wrong mark" in explained
    standing = {row["version"]: row["standing"] for row in await _versions(world, name)}
    assert standing == {"1.0.0": "in force instead", "2.0.0": "rolled back, in the file"}
    shown = await world.rb("versions", "show", good[:16])
    assert "version: 1.0.0" in shown.stdout
    lifted = await world.rb("rollback-runbook", name, "--lift", "--reason", "corrected", "--by", "ada")
    assert lifted.returncode == 0, lifted.stderr

    async def back():
        return process.log("runbook.rollback_lifted")

    await until(back, "the process follows again")
    done = await world.execution(await _incident(world, namespace, "third", "TestVersions"), "done")
    assert (await world.annotations("third", namespace))["from"] == "two"
    assert done["runbook_version"] == "2.0.0"


async def test_an_approved_plan_runs_although_its_file_is_gone_and_the_process_was_restarted(world):
    """The version is read from the graph, with the hash that was approved."""
    name = f"pinned-{world.name}"
    namespace = await world.namespace()
    asking = runbook("TestPinned", mark("from", "one"), id=name, safety={"require_approval": True})
    file = world.runbook("fix", asking)
    world.runbook("other", runbook("TestOther", mark("x"), id=f"other-{world.name}"))
    process = await world.serve()
    event = await _incident(world, namespace, "waits", "TestPinned")
    waiting = await world.execution(event, "waiting_approval")
    file.unlink()
    await process.kill()
    await world.serve()
    (question,) = await world.query("MATCH (a:Approval {execution_id: $id}) RETURN a.id AS id", id=waiting["id"])
    said = await world.rb("approvals", "approve", question["id"], "--by", "ada", "--reason", "seen", "--yes")
    assert said.returncode == 0, said.stderr
    done = await world.execution(event, "done")
    assert (done["outcome"], done["runbook_sha"]) == ("success", waiting["runbook_sha"])
    assert (await world.annotations("waits", namespace))["from"] == "one"
    (row,) = await _versions(world, name)
    assert (row["in_file"], row["has_text"], row["verified"], row["ended"]) == (False, True, 1, 1)


async def test_a_rollback_to_nothing_or_without_a_reason_is_refused_with_what_is_known(world):
    """A person at 3 a.m. is told what can be typed instead."""
    name = f"refused-{world.name}"
    world.runbook("fix", runbook("TestRefused", mark("x"), id=name))
    silent = await world.rb("rollback-runbook", name)
    assert (silent.returncode, "--reason" in silent.stderr) == (2, True)
    first = await world.rb("rollback-runbook", name, "--reason", "x", "--by", "ada")
    assert first.returncode == 1
    assert "no earlier version is known" in first.stderr
    strange = await world.rb("rollback-runbook", name[:-1], "--reason", "x", "--by", "ada")
    assert f"did you mean {name}" in strange.stderr.lower().replace("'", "").replace('"', "")
    lift = await world.rb("rollback-runbook", name, "--lift", "--reason", "x", "--by", "ada")
    assert (lift.returncode, "is rolled back" in lift.stderr) == (1, True)
    assert (await world.rb("versions", "show", "abc")).returncode == 2


async def test_a_canary_proves_itself_on_real_servers(world):
    """Nine of ten incidents, one proof, promoted, and told by the commands; the next version is on trial again."""
    name = f"canary-{world.name}"
    namespace = await world.namespace()
    world.runbook("fix", runbook("TestCanary", mark("from", "one"), id=name))
    process = await world.serve()
    done = await world.execution(await _incident(world, namespace, "first", "TestCanary"), "done")
    old = done["runbook_sha"]
    trial = {"canary": {"percent": 90}, "min_successes": 1}
    world.runbook("fix", runbook("TestCanary", mark("from", "two"), id=name, version="2.0.0", rollout=trial))
    over = await _tried(world, process, namespace, name, "good")
    assert (over["standing"], over["why"].startswith("1 of 1 executions verified")) == ("promoted", True)
    good = over["sha"]
    world.runbook("fix", runbook("TestCanary", mark("from", "three"), id=name, version="3.0.0", rollout=trial))
    rows = {row["version"]: row for row in await _versions(world, name)}
    assert (rows["1.0.0"]["sha"], rows["2.0.0"]["sha"], rows["2.0.0"]["standing"]) == (old, good, "promoted")
    assert rows["3.0.0"]["standing"] == "in the file, on trial"


async def _tried(world, process, namespace, name, prefix):
    """Incidents, one after the other, until the trial of the version in the file is over."""

    async def loaded():
        return [line for line in process.log("runbooks.loaded") if name in line.get("changed", ())]

    await until(loaded, "the changed file is in force")
    for number in range(5):
        event = await _incident(world, namespace, f"{prefix}-{number}", "TestCanary")
        await world.execution(event, "done")

        async def ended():
            return process.log("runbook.trial_over")

        try:
            return (await until(ended, "the trial is over", 3))[-1]
        except AssertionError:
            explained = (await world.rb("explain", event)).stdout
            assert "is on trial and takes 90 % of incidents" in explained
    raise AssertionError("five incidents, and the trial is not over")


async def test_the_version_of_a_called_runbook_is_kept_too(world):
    """It was used as well: its text can be read from the graph after its file has changed."""
    name, caller = f"called-{world.name}", f"caller-{world.name}"
    namespace = await world.namespace()
    file = world.runbook("called", runbook("TestCalled", mark("from", "called"), id=name))
    step = {"id": "call", "name": "call", "action": "run_runbook", "params": {"runbook": name}}
    world.runbook("caller", runbook("TestCaller", step, id=caller))
    text = file.read_text()
    await world.serve()
    done = await world.execution(await _incident(world, namespace, "calls", "TestCaller"), "done")
    assert (done["outcome"], (await world.annotations("calls", namespace))["from"]) == ("success", "called")
    (row,) = await _versions(world, name)
    assert (row["has_text"], row["executions"], row["in_file"]) == (True, 0, True)
    file.unlink()
    assert (await world.rb("versions", "show", row["sha"])).stdout == text
