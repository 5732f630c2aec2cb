"""Invariants 1, 3, 6, 8 and 9 through running processes on the real servers."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import pytest
from fakes.served import mark, runbook, served, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


class Receiver:
    """An HTTP server that keeps each request without ever answering it, and looks at the graph when one comes."""

    def __init__(self, world):
        self._world = world
        self.requests = []
        self.intents = []
        self.port = 0

    @asynccontextmanager
    async def listening(self):
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _take(self, reader, _writer):
        head = await reader.readuntil(b"\r\n\r\n")
        # Looked at before it counts as received: the intent has to be there by now.
        rows = await self._world.query(
            """
            MATCH (e:RunbookExecution)-[:STEP]->(s:StepRun {step_id: 'call'})
            WHERE e.target_key STARTS WITH $name + '/' RETURN s.status AS status
            """
        )
        self.intents.append([row["status"] for row in rows])
        self.requests.append(head.decode())
        await asyncio.sleep(60)


@pytest.fixture(scope="module")
async def world(stack, tmp_path_factory):
    async with served(stack, tmp_path_factory.mktemp("acting")) as one:
        one.receiver = Receiver(one)
        async with one.receiver.listening():
            url = f"http://127.0.0.1:{one.receiver.port}/call"
            call = {"id": "call", "name": "Call", "action": "webhook", "params": {"url": url, "timeout": 30}}
            one.runbook("fix", runbook("TestTrouble", mark("fixed")))
            one.runbook("call", runbook("TestCall", call))
            one.runbook("lasting", runbook("TestLasting", mark("fixed"), {**call, "id": "again"}))
            one.runbook("idle", runbook("TestIdle", mark("fixed"), verification={"settle": "1s", "timeout": "3s"}))
            await one.serve()
            yield one


@pytest.fixture(scope="module")
async def namespace(world):
    return await world.namespace()


async def sent(world, app, namespace, reason="TestTrouble"):
    message = world.rca(app, namespace, reason)
    await world.send([message])
    return json.loads(message[1])["incident_id"]


def request(execution_id, plan_hash, target_key):
    body = {
        "schema": "remediation.request/v1",
        "execution_id": execution_id,
        "plan_hash": plan_hash,
        "target_key": target_key,
        "decision_id": "",
        "requested_at": datetime.now(UTC).isoformat(),
    }
    return "requests", json.dumps(body).encode()


async def test_invariant_1_a_request_without_its_permit_runs_nothing(world, namespace):
    """Forged, changed and repeated requests on the internal topic are told no, whatever they name."""
    for app in ("done", "asked"):
        await world.app(app, namespace)
    done = await world.execution(await sent(world, "done", namespace), "done")
    waiting = await world.execution(await sent(world, "asked", namespace, "TestLasting"), "waiting_approval")
    before = [await world.deployment(app, namespace) for app in ("done", "asked")]
    invented = "00000000-0000-0000-0000-000000000000"
    key = f"{world.name}/{namespace}/Deployment/asked"
    forged = [
        request(invented, done["plan_hash"], key),
        request(done["id"], done["plan_hash"], done["target_key"]),
        request(waiting["id"], waiting["plan_hash"], key),
        request(waiting["id"], done["plan_hash"], key),
    ]

    async def refused(count):
        lines = world.processes[0].log("request.not_run")
        return len([line for line in lines if line["execution_id"] in {invented, done["id"], waiting["id"]}]) == count

    for number, message in enumerate(forged, 1):
        await world.send([("requests", b"not a request"), message])
        await until(partial(refused, number), f"request {number} is told no")
    after = [await world.deployment(app, namespace) for app in ("done", "asked")]
    assert [one["metadata"]["resourceVersion"] for one in after] == [
        one["metadata"]["resourceVersion"] for one in before
    ]
    (still,) = await world.query("MATCH (e:RunbookExecution {id: $id}) RETURN e.status AS status", id=waiting["id"])
    assert still["status"] == "waiting_approval"


async def test_invariant_6_a_blast_radius_that_the_graph_does_not_know_is_a_no(world, namespace):
    """A workload that the graph never saw is not touched."""
    await world.app("unknown", namespace)
    await world.query("MATCH (r:Resource {rid: $rid}) DETACH DELETE r", rid=f"deployment:{namespace}:unknown")
    decision = await world.decided(await sent(world, "unknown", namespace))
    assert (decision["kind"], decision["check"]) == ("refusal", "blast_radius_unknown")
    assert "fixed" not in await world.annotations("unknown", namespace)


async def test_invariant_8_a_workload_without_pods_is_inconclusive_and_no_success(world, namespace):
    """Zero replicas cannot prove anything: the steps were done, and still it is no success."""
    await world.app("idle", namespace, replicas=0)
    done = await world.execution(await sent(world, "idle", namespace, "TestIdle"), "done")
    assert done["verdict"] == "inconclusive"
    assert done["outcome"] != "success"


async def test_invariant_9_what_cannot_be_undone_is_asked_for_whatever_the_runbook_says(world, namespace):
    """`require_approval: false` does not cover a call that nobody can take back."""
    await world.app("lasting", namespace)
    event = await sent(world, "lasting", namespace, "TestLasting")
    decision = await world.decided(event)
    assert decision["kind"] == "approval"
    assert "fixed" not in await world.annotations("lasting", namespace)


async def test_invariant_3_a_killed_process_leaves_its_intent_and_nobody_repeats_the_call(world, namespace):
    """The intent is in the graph before the call arrives; after a kill in the middle of it a human has to look."""
    await world.app("called", namespace)
    event = await sent(world, "called", namespace, "TestCall")
    waiting = await world.execution(event, "waiting_approval")
    answer = await world.rb("approvals", "approve", waiting["id"], "--yes", "--by", "alice")
    assert answer.returncode == 0, answer.stderr

    async def arrived():
        return world.receiver.requests

    await until(arrived, "the call arrives")
    await world.processes[-1].kill()
    assert world.receiver.intents == [["intended"]]
    assert waiting["id"] in world.receiver.requests[0]
    await world.serve()
    done = await world.execution(event, "done")
    assert await world.steps(waiting["id"]) == {("step", "call"): "unknown"}
    assert "a human must look" in done["error"]
    assert done["outcome"] != "success"
    assert len(world.receiver.requests) == 1
