"""Cordon, uncordon and drain."""

from __future__ import annotations

import pytest
from fakes.action_rig import EXECUTION, NAMESPACE, Rig, deployment, facts, workload
from fakes.world import FakeWorld

from executor.actions.base import Found, Stamp
from executor.errors import Blocked, Drifted, PlanError, StepFailed, Unavailable


@pytest.fixture
def world():
    fake = FakeWorld()
    fake.cluster.add(deployment(replicas=4))
    return fake


def node(world, name="node-1"):
    return world.cluster.look("Node", name)


def on_node(world, name="node-1"):
    return [pod for pod in world.cluster.items("Pod") if pod["spec"].get("nodeName") == name]


def drain(world, **params):
    about = facts("Node", "node-1", "", node="node-1")
    return Rig(world.ports, "kubectl_drain", params, about)


def pod(name, *, owner=None, volumes=(), namespace=NAMESPACE, **meta):
    references = [{"kind": owner, "name": "x", "uid": "u", "controller": True}] if owner else []
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": references, **meta},
        "spec": {"nodeName": "node-1", "volumes": list(volumes), "containers": [{"name": "a", "image": "a"}]},
    }


@pytest.fixture
def quiet(world):
    """No controllers, so that pods of invented owners stay."""
    world.cluster.frozen = True
    return world


# Cordon


async def test_cordon_keeps_new_pods_away_and_undo_lets_them_back(world):
    """The node is the incident's when none is named."""
    rig = Rig(world.ports, "kubectl_cordon", {}, facts("Node", "node-1", ""))
    step = await rig.plan()
    assert step.changes[0].summary == "cordon node-1"
    await rig.action.dry_run(step, rig.world)
    await rig.act()
    assert node(world)["spec"]["unschedulable"] is True
    assert node(world)["metadata"]["annotations"]["rootmend.dev/execution"] == EXECUTION
    assert (await rig.recover()).found is Found.DONE
    await rig.undo()
    assert "unschedulable" not in node(world)["spec"]


async def test_undo_leaves_a_node_cordoned_that_was_cordoned_before(world):
    """Somebody else had a reason for it."""
    world.cluster.change("Node", "node-1", "", {"spec": {"unschedulable": True}})
    rig = Rig(world.ports, "kubectl_cordon", {"node": "node-1"})
    assert "already" in (await rig.plan()).changes[0].summary
    await rig.act()
    await rig.undo()
    assert node(world)["spec"]["unschedulable"] is True


async def test_uncordon_is_the_other_way_round(world):
    """And its undo cordons again."""
    world.cluster.change("Node", "node-1", "", {"spec": {"unschedulable": True}})
    rig = Rig(world.ports, "kubectl_uncordon", {"node": "node-1"})
    await rig.run()
    assert "unschedulable" not in node(world)["spec"]
    await rig.undo()
    assert node(world)["spec"]["unschedulable"] is True


async def test_taints_of_the_node_controller_are_no_drift(world):
    """They come and go with the node's health, which is what the incident is about."""
    rig = Rig(world.ports, "kubectl_cordon", {"node": "node-1"})
    await rig.plan()
    world.cluster.change("Node", "node-1", "", {"spec": {"taints": [{"key": "node.kubernetes.io/not-ready"}]}})
    await rig.act()
    assert node(world)["spec"]["unschedulable"] is True


# Drain


async def test_a_drain_cordons_evicts_and_says_what_it_moved(world):
    """Every pod is named in the plan, and in the output with its uid and owner."""
    before = {item["metadata"]["uid"] for item in on_node(world)}
    assert len(before) == 2
    rig = drain(world)
    step = await rig.plan()
    assert [change.verb for change in step.changes] == ["cordon", "evict", "evict"]
    await rig.action.dry_run(step, rig.world)
    assert {item["metadata"]["uid"] for item in on_node(world)} == before
    output = await rig.act()
    assert on_node(world) == []
    assert len(on_node(world, "node-2")) == 4
    assert {item["uid"] for item in output["evicted"]} == before
    assert all(item["owner"].startswith("ReplicaSet web-") for item in output["evicted"])
    assert (await rig.recover()).found is Found.DONE
    await rig.undo()
    assert "unschedulable" not in node(world)["spec"]


@pytest.mark.parametrize(
    ("made", "params", "said"),
    [
        (pod("bare"), {}, "shop/bare has no controller"),
        (pod("agent", owner="DaemonSet"), {}, "belongs to a DaemonSet"),
        (pod("cache", owner="ReplicaSet", volumes=[{"name": "c", "emptyDir": {}}]), {}, "emptyDir"),
    ],
)
async def test_pods_that_would_be_lost_stop_the_plan(quiet, made, params, said):
    """By name, and with the switch that accepts the loss where there is one."""
    quiet.cluster.add(made)
    with pytest.raises(PlanError, match=said):
        await drain(quiet, **params).plan()


async def test_what_may_stay_stays_and_what_may_be_lost_is_moved(quiet):
    """Static pods, pods of DaemonSets and pods that are leaving are no business of a drain."""
    mirror = {"kubernetes.io/config.mirror": "x"}
    quiet.cluster.add(pod("static", annotations=mirror))
    quiet.cluster.add(pod("agent", owner="DaemonSet"))
    quiet.cluster.add(pod("leaving", owner="ReplicaSet", deletionTimestamp="2026-01-01T00:00:00Z"))
    quiet.cluster.add(pod("cache", owner="ReplicaSet", volumes=[{"name": "c", "emptyDir": {}}]))
    ended = quiet.cluster.add(pod("ended"))
    quiet.cluster._items[("Pod", NAMESPACE, "ended")]["status"] = {"phase": "Succeeded"}
    step = await drain(quiet, ignore_daemonsets=True, delete_emptydir_data=True).plan()
    moved = {change.ref.name for change in step.changes if change.verb == "evict"}
    assert {"cache", ended["metadata"]["name"]} <= moved
    assert not moved & {"static", "agent", "leaving"}


def budget(least):
    return {
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": "web"}}},
    }


async def test_a_budget_slows_the_drain_and_is_never_broken(world):
    """Blocked evictions are tried again, with pauses."""
    rig = drain(world)
    await rig.plan()
    await rig.prepare()
    world.cluster.fail("evict", Blocked("not now"), times=4)
    await rig.perform()
    assert on_node(world) == []
    assert world.clock.slept


async def test_a_budget_that_never_gives_way_fails_the_step_in_time(world):
    """The text names the budget; the pods still run."""
    world.cluster.add(budget(4))
    rig = drain(world, timeout="20s")
    await rig.plan()
    await rig.prepare()
    with pytest.raises(StepFailed, match=r"2 pods could not be evicted in time.*budget web"):
        await rig.perform()
    assert len(on_node(world)) == 2
    assert 15 < world.clock.monotonic() < 40


async def test_a_crash_half_way_evicts_nothing_twice(world):
    """Pods are known by their uid."""
    rig = drain(world)
    await rig.plan()
    first = await rig.prepare()
    world.cluster.fail("evict", Unavailable("away"), times=1)
    with pytest.raises(Unavailable):
        await rig.perform()
    assert (await rig.recover()).found is Found.NOT_DONE
    evicted = world.cluster.count("evict")
    assert evicted == 2
    await rig.act()
    assert on_node(world) == []
    assert world.cluster.count("evict") == evicted + 1
    rig.saved = first
    assert (await rig.recover()).found is Found.DONE
    await rig.undo()
    assert "unschedulable" not in node(world)["spec"]


async def test_on_a_dead_node_a_marked_pod_counts_as_gone(world):
    """A dead kubelet never confirms that a pod has ended."""
    world.cluster.stuck_pods = True
    rig = drain(world, timeout=10)
    await rig.plan()
    await rig.prepare()
    with pytest.raises(StepFailed, match="2 evicted pods have not ended"):
        await rig.perform()
    world.cluster._items[("Node", "", "node-1")]["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    assert (await rig.recover()).found is Found.DONE


async def test_more_pods_than_planned_is_drift(world):
    """People approved so many; fewer are fine."""
    rig = drain(world)
    await rig.plan()
    world.cluster.add(workload("ReplicaSet", "more", replicas=2))
    with pytest.raises(Drifted, match="3 pods are on node-1 now, and 2 were planned"):
        await rig.prepare()
    world.cluster.change("Deployment", "web", NAMESPACE, {"spec": {"replicas": 2}})
    await rig.act()
    assert on_node(world) == []


async def test_a_pod_that_would_be_lost_and_came_later_is_drift(quiet):
    """The rules hold at the moment of acting, too."""
    rig = drain(quiet)
    await rig.plan()
    quiet.cluster.add(pod("bare"))
    with pytest.raises(Drifted, match="bare has no controller"):
        await rig.prepare()


async def test_a_drain_after_a_cordon_of_the_same_execution_is_planned_before_it(world):
    """The guide's runbook: cordon, then drain; both plans are made before either runs."""
    cordon = Rig(world.ports, "kubectl_cordon", {"node": "node-1"}, stamp=Stamp(EXECUTION, "cordon", 7))
    rest = drain(world)
    await cordon.plan()
    await rest.plan()
    await cordon.act()
    await rest.act()
    assert on_node(world) == []
    await rest.undo()
    assert node(world)["spec"]["unschedulable"] is True
    await cordon.undo()
    assert "unschedulable" not in node(world)["spec"]
