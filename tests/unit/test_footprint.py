"""What a plan does to the cluster in the words of the gate, on the real actions and the API server in memory."""

from __future__ import annotations

import pytest
import yaml
from fakes.action_rig import deployment
from fakes.actions import match_for
from fakes.world import FakeWorld

from executor.actions import default_actions
from executor.footprint import footprint_of
from executor.planner import Planner
from safety.surroundings import DISABLED, Disabled
from services.pipeline.around import LookAround

WEB = "Deployment/shop/web"
TRACKED = {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"}


class Site:
    """One Deployment ``shop/web``, and what is planned for it."""

    def __init__(self, *, annotations=None, labels=None, replicas=4):
        self.world = FakeWorld()
        item = deployment(replicas=replicas)
        item["metadata"] |= {"annotations": annotations or {}, "labels": {"app": "web", **(labels or {})}}
        self.made = self.world.cluster.add(item)

    async def footprint(self, *steps, **raw):
        target = {"kind": "Deployment", "name": "web", "namespace": "shop", "uid": self.made["metadata"]["uid"]}
        given = {"safety": {"require_approval": False}, "steps": list(steps), **raw}
        plan = await Planner(default_actions(), self.world.ports, {}).plan(match_for(given, **target), "x1")
        return footprint_of(plan)

    async def around(self, *steps, **raw):
        return await LookAround(self.world.cluster).around(await self.footprint(*steps, **raw))


def step(action, **params):
    return {"name": action, "action": action, "params": {"resource": "deployment", **params}}


RESTART = step("kubectl_rollout_restart")
DOWN = step("kubectl_scale", replicas=1)
MEMORY = step(
    "kubectl_patch",
    type="strategic",
    patch={
        "spec": {"template": {"spec": {"containers": [{"name": "app", "resources": {"limits": {"memory": "1Gi"}}}]}}}
    },
)
MARK = step("kubectl_annotate", annotations={"seen": "yes"})


@pytest.mark.parametrize(
    ("made", "rolls", "replicas", "declared"),
    [(RESTART, True, None, False), (DOWN, False, 1, True), (MEMORY, True, None, True), (MARK, False, None, False)],
)
async def test_a_change_says_what_it_rolls_scales_and_whether_a_manifest_says_otherwise(
    made, rolls, replicas, declared
):
    """Restarts and new annotations are left alone by those who keep the manifest."""
    (write,) = (await Site().footprint(made)).writes
    assert (write.resource, write.rolls, write.replicas, write.declared) == (WEB, rolls, replicas, declared)


async def test_a_change_is_told_as_a_part_of_the_manifest():
    """Ready for a pull request: elements of lists by their name."""
    (write,) = (await Site().footprint(MEMORY)).writes
    told = yaml.safe_load(write.patch)
    assert (told["kind"], told["metadata"]) == ("Deployment", {"name": "web", "namespace": "shop"})
    (container,) = told["spec"]["template"]["spec"]["containers"]
    assert container == {"name": "app", "resources": {"limits": {"memory": "1Gi"}}}


async def test_a_change_that_is_known_only_in_its_turn_counts_as_the_worst():
    """Nobody can say that it leaves the pods alone."""
    read = {
        "name": "look",
        "action": "http_request",
        "params": {"url": "http://x", "method": "POST"},
        "output_var": "o",
    }
    late = {**step("kubectl_scale", replicas="{{ o.body }}"), "name": "late"}
    found = (await Site().footprint(read, late)).writes
    assert [(write.resource, write.verb, write.rolls) for write in found] == [(WEB, "unknown", True)]


async def test_a_rollback_of_the_runbooks_own_is_looked_at_too():
    """What GitOps puts back would also undo the way back."""
    found = (await Site().footprint(MARK, rollback=[DOWN])).writes
    assert [write.verb for write in found] == ["annotate", "scale"]


@pytest.mark.parametrize(
    ("annotations", "application", "managed"),
    [
        (TRACKED, None, (True,)),
        (TRACKED, {"syncPolicy": {"automated": {"selfHeal": True}}}, (True,)),
        (TRACKED, {"syncPolicy": {"automated": {}}}, (False,)),
        ({}, None, ()),
    ],
)
async def test_argo_cd_puts_back_what_its_application_heals_and_what_nobody_can_read(annotations, application, managed):
    """An application that cannot be found counts as one that heals itself."""
    site = Site(annotations=annotations)
    listed = site.world.cluster.list

    async def list_(kind, namespace="", *, labels="", fields=""):
        if kind != "applications.argoproj.io":
            return await listed(kind, namespace, labels=labels, fields=fields)
        assert fields == "metadata.name=shop"
        return [{"spec": application}] if application else []

    site.world.cluster.list = list_
    found = await site.around(MEMORY)
    assert tuple(one.reverted for one in found.managed) == managed
    assert (await site.around(RESTART)).managed == ()


async def test_replicas_that_an_autoscaler_sets_are_in_no_manifest():
    """Scaling is then the autoscaler's business, and not Git's."""
    site = Site(annotations=TRACKED)
    assert len((await site.around(DOWN)).managed) == 1
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    scaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    meta = {"metadata": {"name": "web", "namespace": "shop"}}
    site.world.cluster.add({**scaler, **meta, "spec": {"scaleTargetRef": target, "maxReplicas": 5}})
    assert (await site.around(DOWN)).managed == ()
    assert len((await site.around(MEMORY)).managed) == 1


@pytest.mark.parametrize("place", ["target", "namespace"])
async def test_a_mark_on_the_target_or_its_namespace_keeps_automation_away(place):
    """The value is the reason."""
    site = Site(annotations={DISABLED: "migration"} if place == "target" else {})
    if place == "namespace":
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {DISABLED: "true"}}}
        site.world.cluster.add(space)
    expected = Disabled(WEB, "migration") if place == "target" else Disabled("Namespace/shop")
    assert (await site.around(MARK)).disabled == (expected,)


async def test_a_mark_on_a_pods_owner_or_node_keeps_automation_away():
    """A pod that is deleted belongs to its Deployment and runs on its node."""
    site = Site(annotations={DISABLED: "true"})
    pod = (await site.world.cluster.list("Pod", "shop"))[0]
    delete = {"name": "d", "action": "kubectl_delete", "params": {"resource": f"pod/{pod['metadata']['name']}"}}
    assert Disabled(WEB) in (await site.around(delete)).disabled
    node = pod["spec"]["nodeName"]
    site.world.cluster.change("Node", node, "", {"metadata": {"annotations": {DISABLED: "disk is being swapped"}}})
    assert Disabled(f"Node/{node}", "disk is being swapped") in (await site.around(delete)).disabled


async def test_invariant_6_what_cannot_be_read_is_unknown_with_the_reason():
    """An API server that does not answer has not said yes."""
    site = Site()
    footprint = await site.footprint(RESTART)

    async def away(*_, **__):
        raise RuntimeError("the API server is away")

    site.world.cluster.list = away
    found = await LookAround(site.world.cluster).around(footprint)
    assert found.disabled == ()
    site.world.cluster.get = away
    found = await LookAround(site.world.cluster).around(footprint)
    assert (found.disabled, found.managed, found.budgets, found.workload_percent) == (None, None, None, None)
    assert found.why("budgets") == "the API server is away"


async def test_a_disruption_budget_is_found_for_what_disrupts_and_for_nothing_else():
    """With what the plan needs of it at the same time, and the share of the workload that is down."""
    site = Site()
    meta = {"metadata": {"name": "web", "namespace": "shop"}}
    spec = {"minAvailable": 3, "selector": {"matchLabels": {"app": "web"}}}
    site.world.cluster.add({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", **meta, "spec": spec})
    budgets = await site.world.cluster.list("PodDisruptionBudget", "shop")
    for action, needed in ((RESTART, 1), (DOWN, 3), (MARK, None)):
        found = await site.around(action)
        assert [one.disruptions for one in found.budgets] == ([needed] if needed else []), budgets
        assert found.workload_percent == 25 * (needed or 0)


async def test_the_plan_knows_whether_its_target_was_unwell():
    """What was well when it was decided cannot recover."""
    site = Site()
    assert (await site.around(MARK)).unwell == ""
    site.world.cluster.frozen = True
    site.world.cluster.change("Deployment", "web", "shop", {"status": {"availableReplicas": 0}})
    assert "available" in (await site.around(MARK)).unwell
