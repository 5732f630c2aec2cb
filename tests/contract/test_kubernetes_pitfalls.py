"""The pitfalls of the runbook language that Kubernetes brings, on the fake and on the practice cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes.action_rig import Rig, facts, workload
from fakes.actions import match_for
from fakes.graph_causes import FakeCausalGraph
from fakes.places import Place, SystemClock, until

from executor.actions import default_actions
from executor.actions.base import Stamp
from executor.errors import PlanError
from executor.model import ObjectRef, Plan
from executor.planner import Planner
from matcher.model import Cause, Origin, Signal, SignalStatus, Subject, Target
from matcher.target import NoTarget, TargetResolver
from runbooks.quantities import parse_memory

T0 = datetime(2025, 10, 6, 10, 0, tzinfo=UTC)
GROWTH = {"multiply": {"memory": 2}, "max": {"memory": "600Mi"}}
READ = {
    "name": "read the limit",
    "action": "kubectl_get",
    "params": {"resource": "pod", "field": "spec.containers[0].resources.limits.memory"},
    "output_var": "current",
}
RAISE = {
    "name": "raise the limit",
    "action": "kubectl_patch",
    "params": {
        "resource": "deployment",
        "patch": {
            "spec": {
                "template": {
                    "spec": {"containers": [{"name": "app", "resources": {"limits": {"memory": "{{ current * 2 }}"}}}]}
                }
            }
        },
    },
}


async def resolved(place: Place, name: str) -> Target | NoTarget:
    """What the pipeline would act on for an incident about this pod."""
    subject = Subject("Pod", name, place.namespace)
    cause = Cause("c", "OOMKilled", subject, 0.8, "w", 0.8)
    signal = Signal(
        "s", "t", "kind", "BackOff", "ERROR", SignalStatus.FIRING, subject, T0, "raw_event", "k", Origin("a", 0, 0)
    )
    return await TargetResolver(place.cluster, FakeCausalGraph(), cache_seconds=0).resolve(cause, signal)


async def planned(place: Place, steps: list[dict[str, Any]], pod: str) -> Plan:
    """A plan for an incident about this pod, with the target that the pipeline finds for it."""
    target = await resolved(place, pod)
    assert isinstance(target, Target), target
    fields = {name: getattr(target, name) for name in ("kind", "name", "namespace", "uid", "container", "pod", "node")}
    match = match_for({"steps": steps}, **fields)
    return await Planner(default_actions(), place.world(), {}).plan(match, "x1234567")


def rig(place: Place, action: str, params: dict[str, Any], pod: str = "", number: int = 1) -> Rig:
    about = replace(facts(namespace=place.namespace, pod=pod), container="app")
    return Rig(place.world(), action, params, about, Stamp(f"execution-{number}", f"step-{number}", number))


async def bare_pod(place: Place, name: str) -> None:
    spec = {"containers": [{"name": "app", "image": "app:1"}]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": place.namespace}, "spec": spec}
    await place.admin.create(body)


async def test_pitfall_1_waiting_for_a_pod_that_the_patch_replaced_follows_its_owner(place):
    """The pod of the incident is gone after the fix; its workload is what gets ready."""
    await place.deploy()
    pod = (await place.ready(2))[0]["metadata"]
    wait = {"condition": f"pod/{pod['name']} ready", "timeout": "30s"}
    change = rig(place, "kubectl_set_resources", {"multiply": {"memory": 2}, "max": {"memory": "1Gi"}}, pod["name"])
    await change.run()

    async def replaced() -> bool:
        return pod["uid"] not in {item["metadata"]["uid"] for item in await place.pods()}

    await until(replaced)
    waiting = rig(place, "wait", wait, pod["name"])
    if place.real:
        waiting.world = replace(waiting.world, clock=SystemClock())
    step = await waiting.plan()
    assert step.params["condition"] == "Deployment/web ready"
    assert (await waiting.perform())["condition"] == "Deployment/web ready"


async def test_pitfall_3_what_a_patch_leaves_out_is_the_incidents(place):
    """Namespace and name of the controller, found from the pod."""
    await place.deploy()
    pod = (await place.ready(2))[0]["metadata"]["name"]
    plan = await planned(place, [READ, RAISE], pod)
    assert str(plan.steps[1].changes[0].ref) == f"Deployment/{place.namespace}/web"
    assert plan.steps[1].changes[0].summary.endswith("resources.limits.memory: 256Mi -> 512Mi")


async def test_pitfall_3_a_pod_without_a_controller_is_refused_with_the_reason(place):
    """By the search for the target, and by the action, should one be planned for it all the same."""
    await bare_pod(place, "lonely")
    answer = await resolved(place, "lonely")
    assert isinstance(answer, NoTarget)
    assert "has no controller, nothing would bring it back" in answer.reason
    about = replace(facts("Pod", "lonely", place.namespace), pod="lonely")
    patch = {"metadata": {"labels": {"a": "b"}}}
    one = Rig(place.world(), "kubectl_patch", {"resource": "deployment", "patch": patch}, about)
    with pytest.raises(PlanError, match="the pod lonely has no controller"):
        await one.plan()


async def test_pitfall_4_a_missing_limit_stops_before_any_change(place):
    """Both ways of doubling it say what is missing; the workload is untouched."""
    made = await place.deploy(memory=None)
    pod = (await place.ready(2))[0]["metadata"]["name"]
    with pytest.raises(PlanError, match=r"step 'read the limit': .* has no spec\.containers\[0\]\.resources"):
        await planned(place, [READ, RAISE], pod)
    factor = rig(place, "kubectl_set_resources", {"multiply": {"memory": 2}, "max": {"memory": "1Gi"}})
    with pytest.raises(PlanError, match="has no memory limit, so there is nothing to multiply"):
        await factor.plan()
    assert (await place.live())["metadata"]["generation"] == made["metadata"]["generation"]


async def test_pitfall_5_growth_has_a_ceiling(place):
    """256Mi, 512Mi, 600Mi, and no further."""
    await place.deploy()
    seen = []
    for number in (1, 2):
        one = rig(place, "kubectl_set_resources", GROWTH, number=number)
        await one.run()
        limit = (await place.live())["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
        seen.append(str(parse_memory(limit)))
    assert seen == ["512Mi", "600Mi"]
    with pytest.raises(PlanError, match="its ceiling is 600Mi: growing further is for a human to decide"):
        await rig(place, "kubectl_set_resources", GROWTH, number=3).plan()


@pytest.mark.parametrize(
    "params",
    [{"resource": "deployment/web"}, {"resource": "deployment", "name": "web"}, {"deployment": "web"}, {}],
    ids=["kind and name", "apart", "as in v1", "left out"],
)
async def test_pitfall_6_each_way_to_name_the_object_is_the_same(place, params):
    """One object, one plan."""
    await place.deploy()
    one = rig(place, "kubectl_rollout_restart", params)
    change = (await one.plan()).changes[0]
    assert str(change.ref) == f"Deployment/{place.namespace}/web"


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "Deployment"])
async def test_pitfall_6_the_owner_chain_finds_every_kind_of_workload(place, kind):
    """From the pod of the incident; a step that names another kind is told the right one."""
    body = workload(kind, "web", place.namespace)
    if kind == "DaemonSet":
        body["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "practice-node-1"}
    await place.admin.create(body)
    await until(lambda: _has_pods(place))
    pod = (await place.pods())[0]["metadata"]["name"]
    restart = {"name": "restart", "action": "kubectl_rollout_restart", "params": {}}
    plan = await planned(place, [restart], pod)
    assert plan.steps[0].changes[0].ref.kind == kind
    if kind != "Deployment":
        with pytest.raises(PlanError, match=f"write resource: {kind.lower()}"):
            await planned(place, [{**restart, "params": {"resource": "deployment"}}], pod)


async def _has_pods(place: Place) -> bool:
    return bool(await place.pods())


async def test_pitfall_7_undo_uses_what_was_there_before_the_change(place):
    """Not what is there when it is undone: somebody scaled meanwhile, and that stays."""
    await place.deploy(replicas=2)
    one = rig(place, "kubectl_set_resources", {"limits": {"memory": "512Mi"}})
    await one.run()
    ref = ObjectRef(kind="Deployment", name="web", namespace=place.namespace)
    await place.admin.patch(ref, {"spec": {"replicas": 3}}, how="merge")
    await one.undo()
    spec = (await place.live())["spec"]
    assert spec["template"]["spec"]["containers"][0]["resources"]["limits"] == {"memory": "256Mi"}
    assert spec["replicas"] == 3
