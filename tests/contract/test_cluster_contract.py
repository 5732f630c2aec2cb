"""What every implementation of the Cluster port does: the one in memory, and the real API server."""

from __future__ import annotations

import base64
import uuid
from dataclasses import replace
from typing import Any

import pytest
from fakes.action_rig import Rig, deployment, facts
from fakes.places import Place, SystemClock, rig, until
from fakes.world import FakeSecrets

from executor.actions.base import Found
from executor.actions.naming import ref_of
from executor.errors import Blocked, Conflict, Invalid, NotFound


async def test_an_object_is_found_under_every_spelling_of_its_kind(place):
    """Authors write deploy, deployments, Deployment or deployment.apps."""
    made = await place.deploy()
    for kind in ("Deployment", "deployments", "deploy", "DEPLOYMENT", "deployment.apps", "deployments.v1.apps"):
        found = await place.cluster.get(kind, "web", place.namespace)
        assert found is not None
        assert found["metadata"]["uid"] == made["metadata"]["uid"]
        assert (found["kind"], found["apiVersion"]) == ("Deployment", "apps/v1")


async def test_what_does_not_exist_is_none_and_an_unknown_kind_is_an_error(place):
    """A misspelt kind must not look like a missing object."""
    assert await place.cluster.get("Deployment", "nope", place.namespace) is None
    with pytest.raises(Invalid, match="did you mean Deployment"):
        await place.cluster.get("Deploymnt", "web", place.namespace)
    with pytest.raises(Invalid, match="needs a namespace"):
        await place.cluster.get("Deployment", "web")


async def test_lists_are_narrowed_by_labels_and_fields_and_name_their_kind(place):
    """Objects in lists say what they are, as single ones do."""
    await place.deploy("web")
    await place.deploy("api")
    found = await place.cluster.list("deploy", place.namespace, labels="app=api")
    assert [item["metadata"]["name"] for item in found] == ["api"]
    assert (found[0]["kind"], found[0]["apiVersion"]) == ("Deployment", "apps/v1")
    named = await place.cluster.list("Deployment", place.namespace, fields="metadata.name=web")
    assert [item["metadata"]["name"] for item in named] == ["web"]


async def test_a_dry_run_answers_what_would_be_and_changes_nothing(place):
    """The plan is made from this answer."""
    ref = ref_of(await place.deploy())
    limits = {"name": "app", "resources": {"limits": {"memory": "512Mi"}}}
    body = {"spec": {"template": {"spec": {"containers": [limits]}}}}
    answer = await place.cluster.patch(ref, body, how="strategic", dry_run=True)
    containers = {item["name"]: item for item in answer["spec"]["template"]["spec"]["containers"]}
    assert containers["app"]["resources"]["limits"]["memory"] == "512Mi"
    assert containers["proxy"]["image"] == "proxy:1"
    now = (await place.live())["spec"]["template"]["spec"]["containers"][0]
    assert now["resources"]["limits"]["memory"] == "256Mi"


async def test_each_form_of_patch_does_what_it_says(place):
    """Strategic merges lists by name, merge replaces them, json follows its operations."""
    ref = ref_of(await place.deploy())
    await place.cluster.patch(ref, {"metadata": {"labels": {"a": "1", "b": "2"}}}, how="merge")
    await place.cluster.patch(ref, {"metadata": {"labels": {"a": None}}}, how="strategic")
    await place.cluster.patch(ref, [{"op": "add", "path": "/metadata/labels/c", "value": "3"}], how="json")
    labels = (await place.live())["metadata"]["labels"]
    assert labels == {"app": "web", "b": "2", "c": "3"}
    only = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "shop/web:2"}]}}}}
    answer = await place.cluster.patch(ref, only, how="merge")
    assert [item["name"] for item in answer["spec"]["template"]["spec"]["containers"]] == ["app"]


@pytest.mark.parametrize("how", ["strategic", "merge", "json"])
@pytest.mark.parametrize("stale", ["uid", "resourceVersion"])
async def test_a_patch_for_another_version_or_object_is_a_conflict(place, how, stale):
    """Nothing is written over what was not seen."""
    made = await place.deploy()
    old = {"uid": str(uuid.uuid4()), "resourceVersion": "1"}[stale]
    body: Any = {"metadata": {stale: old, "labels": {"a": "1"}}}
    if how == "json":
        body = [
            {"op": "replace", "path": f"/metadata/{stale}", "value": old},
            {"op": "add", "path": "/metadata/labels/a", "value": "1"},
        ]
    with pytest.raises(Conflict):
        await place.cluster.patch(ref_of(made), body, how=how)
    assert "a" not in (await place.live())["metadata"]["labels"]


async def test_a_json_patch_whose_test_fails_is_invalid(place):
    """Undo relies on it: a value that is no longer ours is not put back."""
    ref = ref_of(await place.deploy())
    body = [
        {"op": "test", "path": "/spec/replicas", "value": 99},
        {"op": "replace", "path": "/spec/replicas", "value": 1},
    ]
    with pytest.raises(Invalid):
        await place.cluster.patch(ref, body, how="json")


async def test_nonsense_is_invalid_with_the_servers_reason(place):
    """The text goes to people."""
    ref = ref_of(await place.deploy())
    limits = {"name": "app", "resources": {"limits": {"memory": "lots"}}}
    with pytest.raises(Invalid, match="quantities must match"):
        await place.cluster.patch(
            ref, {"spec": {"template": {"spec": {"containers": [limits]}}}}, how="strategic", dry_run=True
        )
    with pytest.raises(Invalid, match="immutable"):
        await place.cluster.patch(ref, {"spec": {"selector": {"matchLabels": {"app": "x"}}}}, how="merge")


async def test_patching_and_deleting_what_is_gone_is_not_found(place):
    """Not a success."""
    ref = ref_of(await place.deploy())
    await place.admin.delete(ref)
    await until(lambda: _gone(place, "web"))
    with pytest.raises(NotFound):
        await place.cluster.patch(ref, {"metadata": {"labels": {"a": "1"}}}, how="merge")
    with pytest.raises(NotFound):
        await place.admin.delete(ref)


async def _gone(place: Place, name: str) -> bool:
    return await place.cluster.get("Deployment", name, place.namespace) is None


async def test_creating_twice_is_a_conflict(place):
    """Whoever was first owns the name."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": place.namespace}}
    await place.admin.create(body)
    with pytest.raises(Conflict):
        await place.admin.create(body)


async def test_replace_is_conditional_on_the_version(place):
    """The version in the body is the one that was read."""
    made = await place.deploy()
    body = {**made, "spec": {**made["spec"], "replicas": 1}}
    await place.admin.patch(ref_of(made), {"metadata": {"labels": {"a": "1"}}}, how="merge")
    with pytest.raises(Conflict):
        await place.admin.replace(ref_of(made), body)


async def test_a_delete_for_another_uid_is_a_conflict(place):
    """An object of the same name is another object."""
    ref = ref_of(await place.deploy())
    with pytest.raises(Conflict):
        await place.admin.delete(ref.model_copy(update={"uid": str(uuid.uuid4())}))
    await place.admin.delete(ref, dry_run=True)
    assert await place.cluster.get("Deployment", "web", place.namespace) is not None


async def test_eviction_honours_the_budget_and_the_uid(place):
    """A pod that a budget protects is blocked for now; a pod of another uid is a conflict."""
    await place.deploy(replicas=2)
    pods = await place.ready(2)
    selector = {"matchLabels": {"app": "web"}}
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": place.namespace},
        "spec": {"minAvailable": 2, "selector": selector},
    }
    made = await place.admin.create(budget)

    async def seen() -> bool:
        found = await place.cluster.get("pdb", "web", place.namespace)
        status = (found or {}).get("status", {})
        return not place.real or status.get("currentHealthy") == 2

    await until(seen)
    with pytest.raises(Blocked, match="budget"):
        await place.cluster.evict(ref_of(pods[0]))
    await place.admin.delete(ref_of(made))
    with pytest.raises(Conflict):
        await place.cluster.evict(ref_of(pods[0]).model_copy(update={"uid": str(uuid.uuid4())}))
    await place.cluster.evict(ref_of(pods[0]), dry_run=True)
    still = await place.cluster.get("Pod", pods[0]["metadata"]["name"], place.namespace)
    assert still is not None
    assert "deletionTimestamp" not in still["metadata"]
    await place.cluster.evict(ref_of(pods[0]), grace_seconds=0)

    async def replaced() -> bool:
        uids = {pod["metadata"]["uid"] for pod in await place.pods()}
        return pods[0]["metadata"]["uid"] not in uids

    await until(replaced)


async def test_generation_counts_changes_of_the_spec_only(place):
    """Rollouts are followed by it."""
    ref = ref_of(await place.deploy())
    before = (await place.live())["metadata"]["generation"]
    await place.cluster.patch(ref, {"metadata": {"labels": {"a": "1"}}}, how="merge")
    assert (await place.live())["metadata"]["generation"] == before
    await place.cluster.patch(ref, {"spec": {"replicas": 1}}, how="merge")
    assert (await place.live())["metadata"]["generation"] == before + 1


async def test_server_side_apply_merges_and_can_be_repeated(place):
    """A manifest names what it wants; the rest stays, and a second apply of ours is no conflict with ourselves."""
    meta = {"name": "cfg", "namespace": place.namespace}
    made = await place.admin.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"x": "y"}})
    for value in ("1", "2"):
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": value}}
        await place.admin.patch(ref_of(made), manifest, how="apply")
        # A plain patch of the same field makes another manager of it, which is us again.
        await place.admin.patch(ref_of(made), {"data": {"a": f"{value}!"}}, how="merge")
    found = await place.admin.get("cm", "cfg", place.namespace)
    assert found is not None
    assert found["data"] == {"x": "y", "a": "2!"}


# Whole actions on both.


async def test_a_patch_lives_through_everything(place):
    """Plan, dry run, intent, effect, question after a crash, undo: the spec is byte for byte what it was."""
    await place.deploy()
    await place.ready(2)
    before = (await place.live())["spec"]
    limits = {"name": "app", "resources": {"limits": {"memory": "512Mi", "cpu": "0.5"}}}
    one = rig(
        place,
        "kubectl_patch",
        {"resource": "deploy", "patch": {"spec": {"template": {"spec": {"containers": [limits]}}}}},
    )
    step = await one.plan()
    assert "limits.memory: 256Mi -> 512Mi" in step.changes[0].summary
    assert "app" in step.changes[0].summary
    await one.action.dry_run(step, one.world)
    await one.prepare()
    assert (await one.recover()).found is Found.NOT_DONE
    output = await one.perform()
    assert output["generation"] == 2
    assert (await one.recover()).found is Found.DONE
    after = (await place.live())["spec"]
    assert after["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "512Mi"
    assert "annotations" not in after["template"]["metadata"]
    await place.ready(2)
    await one.undo()
    assert (await place.live())["spec"] == before
    assert "already" in await one.undo()


async def test_a_json_patch_lives_through_everything(place):
    """The form whose conditions and stamps are operations themselves."""
    await place.deploy()
    before = (await place.live())["spec"]
    body = [{"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "x", "image": "x:1"}}]
    one = rig(place, "kubectl_patch", {"resource": "deploy", "patch": body, "type": "json"})
    await one.run()
    await one.act()
    assert len((await place.live())["spec"]["template"]["spec"]["containers"]) == 3
    await one.undo()
    assert (await place.live())["spec"] == before


async def test_scale_restart_and_rollout_undo_on_one_workload(place):
    """Three rollouts in a row, each recognised and each taken back where there is something to take back."""
    await place.deploy()
    first = {pod["metadata"]["uid"] for pod in await place.ready(2)}
    scale = rig(place, "kubectl_scale", {"resource": "deploy", "replicas": "3"})
    await scale.run()
    await place.ready(3)
    assert (await scale.recover()).found is Found.DONE
    await scale.undo()
    await place.ready(2)
    restart = rig(place, "kubectl_rollout_restart", {"resource": "deploy"}, "restart")
    await restart.run()

    async def replaced() -> bool:
        pods = await place.pods()
        return len(pods) == 2 and not first & {pod["metadata"]["uid"] for pod in pods}

    await until(replaced)
    annotation = "kubectl.kubernetes.io/restartedAt"
    assert annotation in (await place.live())["spec"]["template"]["metadata"]["annotations"]
    back = rig(place, "kubectl_rollout_undo", {"resource": "deploy"}, "back")
    await back.run()
    assert annotation not in ((await place.live())["spec"]["template"]["metadata"].get("annotations") or {})
    await back.undo()
    assert annotation in (await place.live())["spec"]["template"]["metadata"]["annotations"]


async def test_a_secret_of_another_manager_is_renewed_and_restored(place):
    """With a human's yes, a backup beside it, and its data in no record."""
    meta = {"name": "regcred", "namespace": place.namespace}
    await place.admin.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"a": "old", "b": "2"}}
    )
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "regcred"},
        "data": {"a": "__secret:fresh|base64__"},
    }
    await _managed_by_another(place)
    one = rig(place, "kubectl_apply", {"manifest": manifest})
    one.world = replace(one.world, secrets=FakeSecrets({"fresh": "new"}))
    planned = await one.action.plan(one.action.params_model.model_validate(one.params), one.facts, one.world)
    assert "kubectl-create" in planned.approval_reasons[0]
    await one.run()
    found = await place.cluster.get("Secret", "regcred", place.namespace)
    assert found is not None
    assert found["data"] == {"a": "bmV3", "b": "Mg=="}
    records = one.planned.model_dump_json() + str(one.saved)
    assert "bmV3" not in records
    assert "b2xk" not in records
    await one.undo()
    restored = await place.cluster.get("Secret", "regcred", place.namespace)
    assert restored is not None
    assert restored["data"] == {"a": "b2xk", "b": "Mg=="}


async def _managed_by_another(place: Place) -> None:
    """Somebody else set the very field that will be changed."""
    if not place.real:
        place.admin.owners[("Secret", "regcred")] = "kubectl-create"
        return
    path = f"/api/v1/namespaces/{place.namespace}/secrets/regcred"
    headers = {"Content-Type": "application/merge-patch+json"}
    for value in ("older", "old"):
        body = {"data": {"a": base64.b64encode(value.encode()).decode()}}
        await place.admin._send("PATCH", path, "set up", {"fieldManager": "kubectl-create"}, body, headers=headers)


async def test_a_created_secret_is_deleted_by_undo(place):
    """There was none before."""
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "fresh"}, "stringData": {"a": "new"}}
    one = rig(place, "kubectl_apply", {"manifest": manifest})
    await one.run()
    assert (await one.recover()).found is Found.DONE
    await one.undo()
    assert await place.cluster.get("Secret", "fresh", place.namespace) is None


async def test_a_pod_that_is_deleted_comes_back_as_another(place):
    """Recovery sees that the one with our uid is gone."""
    await place.deploy()
    pod = (await place.ready(2))[0]["metadata"]
    one = rig(place, "kubectl_delete", {"resource": "pod", "name": pod["name"], "grace_seconds": 0})
    step = await one.plan()
    assert not step.changes[0].irreversible
    await one.action.dry_run(step, one.world)
    await one.act()
    assert (await one.recover()).found is Found.DONE
    pods = await place.ready(2)
    assert pod["uid"] not in {item["metadata"]["uid"] for item in pods}


@pytest.fixture
async def own_node(place):
    """A node that takes nothing but this test's pods: on a shared cluster a drain must disturb nobody."""
    name = f"drain-{uuid.uuid4().hex[:8]}"
    labels = {"kubernetes.io/hostname": name, "type": "kwok", "practice.rootmend.dev/kubelet": "running"}
    taint = {"key": name, "value": "only", "effect": "NoSchedule"}
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [taint]},
    }
    if not place.real:
        for item in place.admin.items("Node"):
            place.admin.remove(item)
        body["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    made = await place.admin.create(body)
    yield name
    await place.admin.delete(ref_of(made))


async def test_a_drain_moves_the_pods_of_a_node_within_their_budget(place, own_node):
    """Pod by pod where a budget says so; the node is open again after undo."""
    made = deployment(namespace=place.namespace, replicas=3)
    made["spec"]["template"]["spec"] |= {
        "nodeSelector": {"kubernetes.io/hostname": own_node},
        "tolerations": [{"key": own_node, "operator": "Exists"}],
    }
    await place.admin.create(made)
    pods = await place.ready(3)
    assert {pod["spec"]["nodeName"] for pod in pods} == {own_node}
    selector = {"matchLabels": {"app": "web"}}
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": place.namespace},
        "spec": {"maxUnavailable": 3, "selector": selector},
    }
    await place.admin.create(budget)
    one = Rig(place.world(), "kubectl_drain", {"node": own_node}, facts("Node", own_node, ""))
    step = await one.plan()
    assert len(step.changes) == 4
    await one.action.dry_run(step, one.world)
    await one.prepare()
    if place.real:
        one.world = replace(one.world, clock=SystemClock())
    output = await one.perform()
    assert {item["uid"] for item in output["evicted"]} == {pod["metadata"]["uid"] for pod in pods}
    assert (await one.recover()).found is Found.DONE
    left = await place.cluster.list("Pod", fields=f"spec.nodeName={own_node}")
    assert {pod["metadata"]["uid"] for pod in left} & {pod["metadata"]["uid"] for pod in pods} == set()
    await one.undo()
    node = await place.cluster.get("Node", own_node)
    assert node is not None
    assert not node["spec"].get("unschedulable")
