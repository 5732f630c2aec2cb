"""Each server away, hanging, slow, or cut in the middle of an answer, while a process runs and a plan is in progress.

One combination for each server but Slack always runs, and each fault is among them; LONG_TESTS=1 runs all.
"""

from __future__ import annotations

import asyncio
import json
import os

import pytest
from fakes.faults import FAULTS, faulty
from fakes.served import mark, runbook, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]

PATIENCE = 120
"""Seconds until all is as it should be; on an idle machine it takes a tenth."""
ALWAYS = {("kafka", "away"), ("neo4j", "hanging"), ("redis", "slow"), ("kubernetes", "cut")}
SERVERS = ("kafka", "neo4j", "redis", "kubernetes", "slack")
LONG = bool(os.environ.get("LONG_TESTS"))
WATCHED = 5.0
"""Seconds over which the lines of the log and the connections are counted."""
LINES = CONNECTIONS = 20
"""The most of each, a second. A loop without a pause makes thousands."""


def combinations():
    for server in SERVERS:
        for fault in FAULTS:
            rare = pytest.mark.skipif((server, fault) not in ALWAYS and not LONG, reason="set LONG_TESTS=1")
            yield pytest.param(server, fault, id=f"{server}-{fault}", marks=rare)


def counted(key):
    """A step that changes the pod template: each time that it happens is one more generation."""
    made = mark(key)
    made["params"]["patch"] = {"spec": {"template": {"metadata": {"annotations": {key: "{{ execution.id }}"}}}}}
    return made


def on_cue():
    """A step that ends when the test says so."""
    params = {"condition": "deployment/cue-{{ target.name }} available", "timeout": "110s"}
    return {"id": "cue", "name": "Wait", "action": "wait", "params": params, "timeout": "115s"}


@pytest.fixture(scope="module")
async def site(stack, tmp_path_factory):
    # Heartbeats through a way that takes 2 s for each answer need the lease of an installation, not that of a test.
    own = {"execution": {"lease_seconds": 15, "heartbeat_seconds": 3, "sweep_seconds": 0.5}}
    async with faulty(stack, tmp_path_factory.mktemp("faults"), settings=own) as one:
        one.world.runbook("slow", runbook("TestSlow", counted("one"), on_cue(), counted("two")))
        one.world.runbook("fix", runbook("TestTrouble", counted("fixed")))
        one.world.runbook("ask", runbook("TestAsk", counted("fixed"), safety={"require_approval": True}))
        one.process = await one.world.serve()
        one.namespace = await one.world.namespace()
        yield one


async def sent(site, app, reason="TestTrouble"):
    """A problem of a workload; the id of its event."""
    message = site.world.rca(app, site.namespace, reason)
    await site.world.send([message])
    return json.loads(message[1])["incident_id"]


async def changes(site, app):
    """What was written into the pod template, and how often anything was changed there."""
    found = await site.world.deployment(app, site.namespace)
    written = set(found["spec"]["template"]["metadata"].get("annotations") or {})
    return written, found["metadata"]["generation"] - 1


async def begun(site, app):
    """A plan whose first change was made, and which waits for its cue."""
    event = await sent(site, app, "TestSlow")

    async def changed():
        return "one" in (await changes(site, app))[0]

    await until(changed, "the first step's change", PATIENCE)
    return event


async def told(site, server):
    """What the process says of a server that is not well."""
    if server == "slack":
        return  # It is not asked for: nothing waits for it.

    async def down():
        said = await site.readiness(site.process)
        if said["dependencies"][server]["up"]:
            return None
        needed = server != "redis"
        assert (said["code"], said["ready"]) == ((503, False) if needed else (200, True))
        return said

    await until(down, f"{server} is told of as away", PATIENCE)


async def well(site):
    """All servers are told of as well, by the same process as before."""

    async def ready():
        said = await site.readiness(site.process)
        return said["ready"] and said["status"] == "ready"

    await until(ready, "the pipeline is ready again", PATIENCE)
    assert not site.process.ended


async def calm(site, server):
    """No loop without a pause: neither the log nor the connections grow by more than some a second."""
    lines, taken = len(site.process.log()), site.ways.connections(server)
    await asyncio.sleep(WATCHED)
    assert len(site.process.log()) - lines <= LINES * WATCHED
    assert site.ways.connections(server) - taken <= CONNECTIONS * WATCHED


async def ended(site, event):
    """The one execution of an event, at its end."""
    done = await site.world.execution(event, "done", seconds=PATIENCE)
    rows = await site.world.query(
        "MATCH (e:RunbookExecution {decision_id: $id}) RETURN e.id AS id", id=done["decision_id"]
    )
    assert len(rows) == 1
    return done


@pytest.mark.parametrize(("server", "fault"), list(combinations()))
async def test_a_fault_of_a_server_loses_nothing_doubles_nothing_and_passes(site, server, fault):
    """One decision for each input, each change once, every plan ends, readiness is true, no restart is needed."""
    world, name = site.world, f"{server}-{fault}"
    apps = [f"{name}-{number}" for number in range(3)]
    await asyncio.gather(*(world.app(app, site.namespace) for app in (name, *apps)))
    running = await begun(site, name)
    await site.ways.spoil(server, fault)
    try:
        events = [await sent(site, app, "TestAsk" if server == "slack" else "TestTrouble") for app in apps]
        await world.app(f"cue-{name}", site.namespace)
        await told(site, server)
        await calm(site, server)
    finally:
        await site.ways.mend()
    await well(site)
    done = await ended(site, running)
    written, times = await changes(site, name)
    assert (done["outcome"], written, times) == ("success", {"one", "two"}, 2), done.get("error")
    for app, event in zip(apps, events, strict=True):
        await decided_once(site, app, event)
    await automatic_again(site, f"{name}-after")


async def decided_once(site, app, event):
    """A question is answered with yes; then the change is there, once."""
    await site.world.decided(event, "permit", "approval", seconds=PATIENCE)
    waiting = await site.world.execution(event)
    if waiting["status"] == "waiting_approval":
        assert (await changes(site, app))[1] == 0
        answer = await site.world.rb("approvals", "approve", waiting["id"], "--yes", "--by", "alice")
        assert answer.returncode == 0, answer.stderr
    done = await ended(site, event)
    assert (done["outcome"], *(await changes(site, app))) == ("success", {"fixed"}, 1), done.get("error")
    assert len(await site.world.decisions(event)) == 1


async def automatic_again(site, app):
    """A new problem is mended without anybody being asked."""
    await site.world.app(app, site.namespace)
    done = await ended(site, await sent(site, app))
    assert (done["outcome"], *(await changes(site, app))) == ("success", {"fixed"}, 1), done.get("error")
