"""What surrounds a plan, read from the API server in memory and from the real one; and what admission says there."""

from __future__ import annotations

import pytest
from fakes.places import rig, until

from executor.errors import NotAdmitted
from executor.model import ObjectRef
from safety.surroundings import DISABLED, Disabled, Footprint, Write
from services.pipeline.around import LookAround

BOTH = pytest.mark.parametrize("place", ["fake", pytest.param("real", marks=pytest.mark.stack)], indirect=True)
REAL = pytest.mark.parametrize("place", [pytest.param("real", marks=pytest.mark.stack)], indirect=True)


def web(place):
    return f"Deployment/{place.namespace}/web"


async def around(place, resource, *writes):
    footprint = Footprint(web(place), (resource,), (place.namespace,), writes)
    return await LookAround(place.cluster).around(footprint)


def budget(place, least):
    meta = {"name": "web", "namespace": place.namespace}
    spec = {"minAvailable": least, "selector": {"matchLabels": {"app": "web"}}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec}


@BOTH
async def test_marks_on_the_target_and_its_namespace_are_read(place):
    """The service account may read both."""
    await place.deploy(replicas=1)
    assert (await around(place, web(place))).disabled == ()
    ref = ObjectRef(kind="Deployment", name="web", namespace=place.namespace)
    await place.admin.patch(ref, {"metadata": {"annotations": {DISABLED: "migration"}}}, how="merge")
    assert (await around(place, web(place))).disabled == (Disabled(web(place), "migration"),)
    if place.real:
        space = ObjectRef(kind="Namespace", name=place.namespace)
        await place.admin.patch(space, {"metadata": {"labels": {DISABLED: "true"}}}, how="merge")
        assert Disabled(f"Namespace/{place.namespace}") in (await around(place, web(place))).disabled


@BOTH
async def test_a_pod_leads_to_its_deployment_and_its_node(place):
    """Through the ReplicaSet in between; both may keep automation away."""
    await place.deploy(replicas=1)
    (pod,) = await place.ready(1)
    ref = ObjectRef(kind="Deployment", name="web", namespace=place.namespace)
    await place.admin.patch(ref, {"metadata": {"labels": {DISABLED: "true"}}}, how="merge")
    name = f"Pod/{place.namespace}/{pod['metadata']['name']}"
    footprint = Footprint(name, (name,), (place.namespace,), (Write(name, "delete"),))
    found = await LookAround(place.cluster).around(footprint)
    assert found.disabled == (Disabled(web(place)),)
    assert (found.managed, found.budgets, found.workload_percent, found.problems) == ((), (), 100.0, {})


@REAL
async def test_a_budget_says_how_many_disruptions_it_allows(place):
    """As its controller has worked it out: both pods are needed, so that none may go."""
    await place.deploy(replicas=2)
    pods = await place.ready(2)
    await place.admin.create(budget(place, 2))
    name = f"Pod/{place.namespace}/{pods[0]['metadata']['name']}"

    async def known():
        (found,) = (await around(place, name, Write(name, "delete"))).budgets
        assert (found.name, found.disruptions) == (f"{place.namespace}/web", 1)
        return found.allowed == 0

    await until(known, 60)
    found = await around(place, web(place), Write(web(place), "scale", replicas=0))
    assert [(one.allowed, one.disruptions) for one in found.budgets] == [(0, 2)]
    assert found.workload_percent == 100
    assert (await around(place, web(place), Write(web(place), "annotate"))).budgets == ()


@REAL
async def test_autoscalers_and_applications_can_be_asked_for(place):
    """Argo CD is not installed here: what it keeps counts as healed, and nothing fails."""
    await place.deploy(replicas=1)
    ref = ObjectRef(kind="Deployment", name="web", namespace=place.namespace)
    mark = {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:x/web"}
    await place.admin.patch(ref, {"metadata": {"annotations": mark}}, how="merge")
    found = await around(place, web(place), Write(web(place), "patch", patch="x"))
    assert [(one.tool, one.owner, one.reverted) for one in found.managed] == [("Argo CD", "shop", True)]


def policy(name):
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy"}
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"]}
    check = {"expression": "object.spec.replicas <= 5", "message": "this team gets five replicas"}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [check], "failurePolicy": "Fail"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def binding(name, namespace):
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding"}
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    spec = {"policyName": name, "validationActions": ["Deny"], "matchResources": where}
    return {**kind, "metadata": {"name": name}, "spec": spec}


@REAL
async def test_a_real_admission_policys_refusal_is_explained(place):
    """Which policy, its own message, and what to do; found while planning, before anybody is asked."""
    name = f"five-{place.namespace}"
    await place.deploy(replicas=1)
    made = [await place.admin.create(policy(name)), await place.admin.create(binding(name, place.namespace))]
    ref = ObjectRef(kind="Deployment", name="web", namespace=place.namespace)
    told = []

    async def refused():
        try:
            await place.cluster.patch(ref, {"spec": {"replicas": 6}}, how="merge", dry_run=True)
        except NotAdmitted as error:
            told.append(str(error))
        return bool(told)

    try:
        await until(refused, 60)
        assert f"ValidatingAdmissionPolicy {name} (binding {name}) refused it: this team gets five replicas" in told[0]
        assert told[0].endswith("ask its owner for an exception")
        scale = rig(place, "kubectl_scale", {"resource": "deployment/web", "replicas": 6})
        with pytest.raises(Exception, match="this team gets five replicas"):
            await scale.plan()
        await place.cluster.patch(ref, {"spec": {"replicas": 5}}, how="merge", dry_run=True)
    finally:
        for item in reversed(made):
            kind, meta = item["kind"], item["metadata"]
            api = "admissionregistration.k8s.io/v1"
            await place.admin.delete(ObjectRef(kind=kind, name=meta["name"], uid=meta["uid"], api_version=api))
