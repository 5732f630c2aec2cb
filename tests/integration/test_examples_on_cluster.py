"""The guide's runbooks, as they stand, through ``rb serve`` on the practice cluster: what each does and how it ends."""

from __future__ import annotations

import asyncio
import base64
import json
from urllib.parse import unquote_plus

import pytest
from fakes.examples import (
    ABSENT,
    EXAMPLES,
    approve,
    deployed,
    expired,
    known,
    limit_of,
    node_is,
    own_node,
    pods,
    prefers,
    put,
    ready,
    remove_node,
    sick,
    workload,
)
from fakes.outside import outside
from fakes.served import served, until
from fakes.web import Told

from compose.demo.workloads import REGISTRY
from compose.practice.bootstrap import KUBELET_LABEL
from executor.model import ObjectRef

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.timeout(280),
    pytest.mark.skipif(not EXAMPLES.is_dir(), reason=ABSENT),
]

MORE_MEMORY = "oomkilled-increase-memory-v1"
CLOUD, SLACK = "cloud-api.example.com", "slack.com"
CREDENTIALS = json.dumps({"auths": {REGISTRY: {"password": "made-up-for-this-test"}}})
FULL = ("guide-oomkilled-full.yaml", "guide-imagepullbackoff.yaml", "guide-nodenotready.yaml")
WINDOW = 2
SETTINGS = {
    "matching": {"window": f"{WINDOW}s"},
    "slack": {"token": "xoxb-test"},
    "runbooks": {
        "paths": ["runbooks"],
        "parameters": {
            MORE_MEMORY: {"current_memory": "300Mi"},
            "imagepullbackoff-fix-auth-v1": {"registry_config": "{{ secrets.registry_config }}"},
        },
    },
}


@pytest.fixture(scope="module")
async def world(stack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("guide")
    async with outside(folder, lambda _: Told(200, {"ok": True, "ts": "1.2"}), CLOUD, SLACK) as away:
        environment = {**away.environment, "ROOTMEND_SECRET_REGISTRY_CONFIG": CREDENTIALS}
        async with served(stack, folder / "data", settings=SETTINGS, environment=environment) as one:
            for name in FULL:
                put(one, name)
            one.away = away
            await one.serve()
            yield one


@pytest.fixture(scope="module")
async def namespace(world):
    return await world.namespace()


@pytest.fixture(scope="module")
async def node(world):
    name = f"{world.name}-node"
    await world.admin.create(own_node(name))
    yield name
    await remove_node(world, name)


@pytest.fixture(scope="module")
async def events(world, namespace, node):
    """Everything breaks at once, is told, and approved; by workload, what each test then follows to its end."""
    begun = (
        killed(world, "checkout", namespace, needs="400Mi"),
        killed(world, "hungry", namespace, needs="2Gi", deadline=5),
        unpulled(world, "payments", namespace),
        stranded(world, "gateway", namespace, node),
    )
    return dict(zip(("checkout", "hungry", "payments", "gateway"), await asyncio.gather(*begun), strict=True))


async def told(world, about, reason, symptom):
    """Send a result of root cause analysis; the event that it is about."""
    kind, name, namespace = about
    topic, value = world.rca(name, namespace, reason, kind=kind, confidence=0.9)
    body = {**json.loads(value), "reason": symptom}
    await world.send([(topic, json.dumps(body).encode())])
    return body["incident_id"]


async def out_of_memory(world, pod, namespace):
    return await told(world, ("Pod", pod, namespace), "OOMKilled", "CrashLoopBackOff")


async def killed(world, app, namespace, **parts):
    """A Deployment is OOM-killed; the name of one of its pods, and the event about it."""
    await deployed(world, workload(app, namespace, **parts))
    pod = await sick(world, app, namespace, "OOMKilled")
    return pod, await out_of_memory(world, pod, namespace)


async def unpulled(world, app, namespace):
    """The credentials of a Deployment's private image have expired; what a human was shown, and the event."""
    await world.admin.create(expired(namespace))
    image = f"{REGISTRY}/billing/{app}:2"
    await deployed(world, workload(app, namespace, image=image, imagePullSecrets=[{"name": "regcred"}]))
    pod = await sick(world, app, namespace, "ImagePullBackOff")
    event = await told(world, ("Pod", pod, namespace), "ImagePullBackOff", "RolloutStuck")
    return await approved(world, event), event


async def stranded(world, app, namespace, node):
    """The kubelet under all pods of a Deployment dies; what a human was shown, and the event."""
    await node_is(world, node, well=True)
    await deployed(world, workload(app, namespace, **prefers(node)))
    await known(world, "Node", node)

    async def settled():
        found = await ready(world, app, namespace, 2)
        away = [pod["metadata"]["name"] for pod in found if pod["spec"]["nodeName"] != node]
        for name in away:
            await world.admin.delete(ObjectRef(kind="Pod", name=name, namespace=namespace))
        return not away

    await until(settled, f"all pods are on {node}")
    dead = {"metadata": {"labels": {KUBELET_LABEL: None}}}
    await world.admin.patch(ObjectRef(kind="Node", name=node), dead, how="merge")
    await node_is(world, node, well=False)
    for pod in await pods(world, app, namespace):
        await known(world, "Pod", pod["metadata"]["name"], namespace)
    event = await told(world, ("Node", node, ""), "NodeNotReady", "NodeNotReady")
    assert world.away.of(CLOUD) == []
    return await approved(world, event), event


async def approved(world, event):
    """Say yes to the plan about an event; what a human was shown."""
    decision = await world.decided(event)
    assert decision["kind"] == "approval", decision["message"]
    waiting = await world.execution(event, "waiting_approval")
    shown = (await world.rb("approvals", "show", waiting["id"])).stdout
    await approve(world, waiting["id"])
    return shown


async def ended(world, event, verdict, outcome):
    """The execution about an event, which ended so."""
    done = await world.execution(event, "done", seconds=150)
    assert (done.get("verdict"), done["outcome"]) == (verdict, outcome), done.get("error")
    return done


async def said(world, *words):
    """The message in Slack that has all these words."""

    async def look():
        texts = [unquote_plus(one.body) for one in world.away.of(SLACK)]
        return [text for text in texts if all(word in text for word in words)]

    return (await until(look, f"{words} in Slack"))[0]


async def later(world, app):
    """As if the quiet time of a target were over; its incident has had the time to close."""
    await asyncio.sleep(WINDOW + 1)
    keys = [key async for key in world.redis.scan_iter(match=f"{world.name}:{{*}}:target:*{app}*")]
    assert keys
    for key in keys:
        await world.redis.hset(key, "cooling", 0)


async def limit(world, app, namespace):
    return limit_of(await world.deployment(app, namespace))


async def test_pitfall_4_without_a_limit_nothing_is_changed(world, namespace, events):
    """There is no number to double: the plan says so, and the Deployment is as it was."""
    await deployed(world, workload("unlimited", namespace, limit=""))
    pod = (await ready(world, "unlimited", namespace, 2))[0]["metadata"]["name"]
    decision = await world.decided(await out_of_memory(world, pod, namespace))
    assert decision["kind"] == "plan_failed"
    assert "limits" in decision["message"]
    assert await limit(world, "unlimited", namespace) == ""


async def test_a_pull_secret_is_renewed_once_a_human_agrees_and_nobody_reads_it(world, namespace, events):
    """The parameter that the file declares nowhere is a secret of the settings; records hold its name only."""
    shown, event = events["payments"]
    done = await ended(world, event, "verified", "success")
    stored = await world.admin.get("Secret", "regcred", namespace)
    assert base64.b64decode(stored["data"][".dockerconfigjson"]).decode() == CREDENTIALS
    await ready(world, "payments", namespace, 2)
    nodes = await world.query(
        "MATCH (e {id: $id}) OPTIONAL MATCH (e)--(o) RETURN properties(e) AS e, properties(o) AS o", id=done["id"]
    )
    topics = [b"\n".join(await world.raw(short)).decode() for short in ("decisions", "requests", "executions")]
    everything = [shown, json.dumps(nodes, default=str), *topics, world.processes[0].log_file.read_text()]
    for secret in ("made-up-for-this-test", base64.b64encode(CREDENTIALS.encode()).decode()):
        assert [text for text in everything if secret in text] == []


async def test_a_dead_node_is_cordoned_drained_and_replaced(world, namespace, node, events):
    """A human agrees, its pods run elsewhere, and the cloud is asked once, over TLS, with the node's name."""
    shown, event = events["gateway"]
    assert f"https://{CLOUD}/replace-node" in shown
    done = await ended(world, event, "verified", "success")
    (asked,) = world.away.of(CLOUD)
    assert asked.data == {"node_name": node, "cluster": world.name}
    assert asked.headers["idempotency-key"].startswith(done["id"])
    found = await world.admin.get("Node", node)
    assert found["spec"]["unschedulable"] is True
    elsewhere = {pod["spec"]["nodeName"] for pod in await ready(world, "gateway", namespace, 2)}
    assert node not in elsewhere


async def test_out_of_memory_is_fixed_proven_and_told_and_the_next_time_asks(world, namespace, events):
    """Read, double, patch, wait, ask the graph; the owner is well, people read the numbers. Pitfall 5: not twice."""
    pod, event = events["checkout"]
    assert (await world.decided(event))["kind"] == "permit"
    done = await ended(world, event, "verified", "success")
    assert await limit(world, "checkout", namespace) == "512Mi"
    fresh = await ready(world, "checkout", namespace, 2)
    assert pod not in {one["metadata"]["name"] for one in fresh}
    assert set((await world.steps(done["id"])).values()) == {"succeeded"}
    assert "Increased memory 256Mi \\u2192 512Mi" in await said(world, pod, "Auto-remediated")
    again = fresh[0]["metadata"]["name"]
    decision = await world.decided(await out_of_memory(world, again, namespace))
    assert (decision["kind"], decision["check"]) == ("refusal", "cooldown")
    await later(world, "checkout")
    decision = await world.decided(await out_of_memory(world, again, namespace))
    assert decision["kind"] == "approval", decision["message"]
    assert "ran for this target once in the last 1d already" in decision["message"]


async def test_pitfalls_1_3_and_7_a_fix_that_does_not_help_is_taken_back(world, namespace, events):
    """The wait follows the owner and sees its rollout give up; the rollback names no namespace and writes what was."""
    pod, event = events["hungry"]
    done = await ended(world, event, None, "rollback")
    steps = await world.steps(done["id"])
    assert steps["step", "update_deployment_memory_limit"] == "succeeded"
    assert steps["step", "wait_for_pod_to_restart"] == "failed"
    assert steps["rollback", "revert_memory_change"] == "succeeded"
    assert "progress deadline" in done["error"]
    assert await limit(world, "hungry", namespace) == "256Mi"
    assert "progress deadline" in await said(world, pod, "Runbook failed")


async def test_the_short_form_takes_its_number_from_the_settings(world, namespace, events):
    """Put in the place of the long one while the pipeline runs: no names, no namespace, and a human is asked."""
    put(world, "guide-oomkilled-short.yaml", FULL[0])

    async def taken():
        return any(MORE_MEMORY in line.get("changed", ()) for line in world.processes[0].log("runbooks.loaded"))

    await until(taken, "the short form is in force")
    _, event = await killed(world, "search", namespace, needs="400Mi", limit="300Mi")
    await approved(world, event)
    await ended(world, event, "verified", "success")
    assert await limit(world, "search", namespace) == "600Mi"
