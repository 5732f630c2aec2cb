"""Targets on a real API server: owner references that the real controllers wrote, pods that are really gone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import yaml
from fakes.graph_causes import FakeCausalGraph

from executor.model import ObjectRef
from matcher.model import Cause, Origin, Signal, SignalStatus, Subject, Target
from matcher.target import NoTarget, TargetResolver
from services.kubernetes.connect import connect

pytestmark = pytest.mark.stack

T0 = datetime(2025, 10, 6, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
async def admin(stack):
    with open(stack.admin_kubeconfig) as file:  # noqa: ASYNC230, PTH123 - a small file, before anything runs
        context = yaml.safe_load(file)["current-context"]
    cluster = await connect(stack.admin_kubeconfig, context, allow_context=True)
    yield cluster
    await cluster.close()


@pytest.fixture(scope="module")
async def resolver(stack):
    cluster = await connect(stack.kubeconfig, stack.context, allow_context=True)
    yield TargetResolver(cluster, FakeCausalGraph(), cache_seconds=0)
    await cluster.close()


@pytest.fixture(scope="module")
async def namespace(admin):
    name = f"targets-{uuid4().hex[:8]}"
    await admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await admin.delete(ObjectRef(kind="Namespace", name=name))


def workload(kind, name, namespace):
    pod = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "app", "image": "example.com/app:1"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": pod}
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


async def pod_of(admin, name, namespace):
    for _ in range(100):
        pods = await admin.list("Pod", namespace, labels=f"app={name}")
        living = [p for p in pods if not p["metadata"].get("deletionTimestamp")]
        if living:
            return living[0]["metadata"]
        await asyncio.sleep(0.2)
    pytest.fail(f"no pod of {name} appeared")


async def gone(admin, kind, name, namespace):
    for _ in range(100):
        if await admin.get(kind, name, namespace) is None:
            return
        await asyncio.sleep(0.2)
    pytest.fail(f"{kind} {name} did not go away")


async def resolve(resolver, subject):
    cause = Cause("c", "OOMKilled", subject, 0.8, "w", 0.8)
    signal = Signal(
        "s", "t", "prod", "BackOff", "ERROR", SignalStatus.FIRING, subject, T0, "raw_event", "k", Origin("a", 0, 0)
    )
    return await resolver.resolve(cause, signal)


async def test_a_deployments_pod_leads_to_it_alive_and_gone(admin, resolver, namespace):
    """By name, by uid, and after the pod was deleted: the same Deployment, with its one container."""
    made = await admin.create(workload("Deployment", "cart", namespace))
    pod = await pod_of(admin, "cart", namespace)
    by_name = await resolve(resolver, Subject("Pod", pod["name"], namespace))
    assert isinstance(by_name, Target), by_name
    assert (by_name.kind, by_name.name, by_name.uid) == ("Deployment", "cart", made["metadata"]["uid"])
    assert (by_name.container, by_name.pod, by_name.resolved_by) == ("app", pod["name"], "owner")
    assert await resolve(resolver, Subject("Pod", pod["uid"], namespace)) == by_name
    await admin.delete(ObjectRef(kind="Pod", name=pod["name"], namespace=namespace), grace_seconds=0)
    await gone(admin, "Pod", pod["name"], namespace)
    after = await resolve(resolver, Subject("Pod", pod["name"], namespace))
    assert isinstance(after, Target), after
    assert (after.key, after.uid, after.resolved_by) == (by_name.key, by_name.uid, "replicaset-name")


async def test_a_stateful_pod_leads_to_its_set(admin, resolver, namespace):
    """There is no set between, and the name comes back."""
    await admin.create(workload("StatefulSet", "db", namespace))
    pod = await pod_of(admin, "db", namespace)
    target = await resolve(resolver, Subject("Pod", pod["name"], namespace))
    assert isinstance(target, Target), target
    assert (target.kind, target.name, target.pod) == ("StatefulSet", "db", "db-0")


async def test_nothing_is_made_up_for_what_does_not_exist(admin, resolver, namespace):
    """A pod that nobody knows, and a bare one."""
    assert isinstance(await resolve(resolver, Subject("Pod", "never-7d9f-zzzzz", namespace)), NoTarget)
    bare = workload("Deployment", "bare", namespace)["spec"]["template"]["spec"]
    meta = {"name": "bare", "namespace": namespace}
    await admin.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": bare})
    answer = await resolve(resolver, Subject("Pod", "bare", namespace))
    assert answer == NoTarget(f"pod {namespace}/bare has no controller, nothing would bring it back")


async def test_a_node_is_found_by_name_and_uid(admin, resolver):
    """The graph knows nodes in several forms."""
    node = (await admin.list("Node"))[0]["metadata"]
    by_name, by_uid = [await resolve(resolver, Subject("Node", n)) for n in (node["name"], node["uid"])]
    assert by_name == by_uid
    assert (by_name.kind, by_name.name, by_name.uid) == ("Node", node["name"], node["uid"])
