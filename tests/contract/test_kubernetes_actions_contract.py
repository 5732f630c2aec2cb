"""Each Kubernetes action through its whole life, on the API server in memory and on the real one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes.action_rig import Rig, deployment, facts
from fakes.places import SystemClock, rig, until

from executor.actions.base import Found
from executor.actions.naming import ref_of
from executor.errors import Conflict, Invalid, NotFound, PlanError, StepFailed

APP = {"container": "app"}

WRITES: list[tuple[str, dict[str, Any], Any]] = [
    ("kubectl_label", {"resource": "deployment", "labels": {"tier": "web", "app": None}}, None),
    ("kubectl_annotate", {"resource": "deployment", "annotations": {"example.com/seen": True}}, None),
    ("kubectl_set_image", {**APP, "image": "shop/web:2"}, lambda app: app["image"] == "shop/web:2"),
    (
        "kubectl_set_env",
        {**APP, "env": {"LEVEL": "debug"}},
        lambda app: {"name": "LEVEL", "value": "debug"} in app["env"],
    ),
    (
        "kubectl_set_resources",
        {**APP, "multiply": {"memory": 2}, "max": {"memory": "1Gi"}},
        lambda app: app["resources"]["limits"]["memory"] == "512Mi",
    ),
    ("kubectl_rollout_pause", {}, None),
    ("kubectl_scale", {"resource": "deployment", "add": 1, "max": 5}, None),
    (
        "kubectl_patch",
        {
            "resource": "deployment",
            "type": "apply",
            "field_manager": "sre-team",
            "patch": {"metadata": {"labels": {"owner": "sre"}}},
        },
        None,
    ),
]


def _same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    own = "rootmend.dev/"
    texts = [
        {key: value for key, value in (item["metadata"].get("annotations") or {}).items() if not key.startswith(own)}
        for item in (before, after)
    ]
    revision = "deployment.kubernetes.io/revision"
    old, new = ({key: value for key, value in text.items() if key != revision} for text in texts)
    labels = before["metadata"]["labels"] == after["metadata"]["labels"]
    return old == new and labels and before["spec"] == after["spec"]


@pytest.mark.parametrize(("action", "params", "holds"), WRITES, ids=[name for name, _, _ in WRITES])
async def test_a_write_lives_through_everything(place, action, params, holds):
    """Plan, dry run, intent, question after a crash, effect, question again, undo, undo again."""
    await place.deploy()
    await place.ready(2)
    before = await place.live()
    one = rig(place, action, params)
    step = await one.plan()
    assert step.changes[0].undo
    await one.action.dry_run(step, one.world)
    assert _same(before, await place.live())
    await one.prepare()
    assert (await one.recover()).found is Found.NOT_DONE
    await one.perform()
    assert (await one.recover()).found is Found.DONE
    changed = await place.live()
    assert not _same(before, changed)
    if holds is not None:
        assert holds(changed["spec"]["template"]["spec"]["containers"][0])
    await one.undo()
    assert _same(before, await place.live())
    assert "already" in await one.undo()


async def test_a_value_takes_the_place_of_one_from_elsewhere(place):
    """The server refuses a variable that has both; undo brings the reference back."""
    made = deployment(namespace=place.namespace)
    source = {"name": "TOKEN", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": True}}}
    made["spec"]["template"]["spec"]["containers"][0]["env"] = [source, {"name": "OLD", "value": "1"}]
    await place.admin.create(made)
    before = await place.live()
    one = rig(place, "kubectl_set_env", {**APP, "env": {"TOKEN": "plain", "OLD": None}})
    await one.run()
    env = (await place.live())["spec"]["template"]["spec"]["containers"][0]["env"]
    assert env == [{"name": "TOKEN", "value": "plain"}]
    await one.undo()
    assert _same(before, await place.live())


async def test_a_held_rollout_starts_no_pod_until_it_is_resumed(place):
    """What the words promise, seen on the pods."""
    await place.deploy()
    first = {pod["metadata"]["uid"] for pod in await place.ready(2)}
    await rig(place, "kubectl_rollout_pause", {}, "pause").run()
    await rig(place, "kubectl_set_image", {**APP, "image": "shop/web:2"}, "image").run()
    assert {pod["metadata"]["uid"] for pod in await place.pods()} == first
    resume = rig(place, "kubectl_rollout_resume", {}, "resume")
    await resume.run()

    async def replaced() -> bool:
        return not first & {pod["metadata"]["uid"] for pod in await place.ready(2)}

    await until(replaced)


async def test_an_image_of_a_cronjob_is_set_where_its_template_is(place):
    """One level deeper than in a Deployment."""
    await place.admin.create(cronjob(place.namespace))
    one = rig(place, "kubectl_set_image", {"cronjob": "nightly", "image": "clean:2"})
    await one.run()
    live = await place.cluster.get("CronJob", "nightly", place.namespace)
    assert live["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"] == "clean:2"
    await one.undo()


def cronjob(namespace: str) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "clean", "image": "clean:1"}]}
    template = {"metadata": {"labels": {"job": "nightly"}}, "spec": {"template": {"spec": pod}}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly", "namespace": namespace},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": template},
    }


async def test_a_job_is_started_from_a_cronjob_recognised_and_deleted(place):
    """As kubectl starts one; a second step of the same incident gets a name of its own."""
    await place.admin.create(cronjob(place.namespace))
    one = rig(place, "kubectl_create_job", {"cronjob": "nightly"})
    step = await one.plan()
    assert not step.changes[0].irreversible
    await one.action.dry_run(step, one.world)
    await one.prepare()
    assert (await one.recover()).found is Found.NOT_DONE
    await one.perform()
    assert (await one.recover()).found is Found.DONE
    name = step.changes[0].ref.name
    made = await place.cluster.get("Job", name, place.namespace)
    assert made["metadata"]["ownerReferences"][0]["name"] == "nightly"
    assert made["metadata"]["labels"]["job"] == "nightly"
    again = await rig(place, "kubectl_create_job", {"cronjob": "nightly"}).plan()
    assert again.changes[0].ref.name == f"{name}-2"
    await one.undo()

    async def gone() -> bool:
        found = await place.cluster.get("Job", name, place.namespace)
        return found is None or "deletionTimestamp" in found["metadata"]

    await until(gone)


async def test_lists_and_ready_pods_are_read(place):
    """One field of each object in one order, and a count that fails when there are too few."""
    await place.deploy("web", replicas=2)
    await place.deploy("api", replicas=1)
    await place.ready(2)
    listed = rig(place, "kubernetes/list", {"resource": "deploy", "field": "metadata.name"})
    assert (await listed.plan()).result == ["api", "web"]
    few = rig(place, "kubectl_list", {"resource": "deploy", "limit": 1})
    with pytest.raises(PlanError, match="narrow the selectors"):
        await few.plan()
    check = rig(place, "kubernetes/checkDeploymentReady", {"minReadyReplicas": 2})
    await check.plan()
    assert (await check.perform())["ready"] == 2
    much = rig(place, "kubernetes/checkDeploymentReady", {"minReadyReplicas": 3})
    await much.plan()
    with pytest.raises(StepFailed, match="2 of 2 are ready, and 3 are needed"):
        await much.perform()


async def test_an_apply_of_another_managers_field_is_refused_without_force(place):
    """Server-side apply knows the owners; taking over is said in so many words."""
    await place.deploy()
    if not place.real:
        place.admin.owners[("Deployment", "web")] = "setup"
    patch = {"spec": {"replicas": 3}}
    params = {"resource": "deployment", "type": "apply", "field_manager": "sre-team", "patch": patch}
    if place.real:
        path = f"/apis/apps/v1/namespaces/{place.namespace}/deployments/web"
        headers = {"Content-Type": "application/merge-patch+json"}
        await place.admin._send(
            "PATCH", path, "set up", {"fieldManager": "setup"}, {"spec": {"replicas": 1}}, headers=headers
        )
    with pytest.raises(PlanError, match=r"setup.*force: true"):
        await rig(place, "kubectl_patch", params).plan()
    await rig(place, "kubectl_patch", {**params, "force": True}).run()
    live = await place.live()
    assert live["spec"]["replicas"] == 3
    if place.real:
        owners = {entry["manager"] for entry in live["metadata"]["managedFields"]}
        assert "sre-team" in owners


async def test_rights_are_asked_of_the_server(place):
    """Before a step, not by trying it."""
    ref = ref_of(await place.deploy())
    if not place.real:
        place.cluster.denied.add("delete ")
    assert await place.cluster.allowed("patch", ref)
    assert not await place.cluster.allowed("delete", ref)


async def test_logs_of_both_runs_are_read_and_bounded(place):
    """The end of the log counts; the run before the present one says why a container crashed."""
    await place.deploy()
    pod = (await place.ready(2))[0]
    if not place.real:
        place.cluster.written = {
            ("app", False): "This is the practice cluster\n",
            ("app", True): "This is the run before\n",
        }
    ref = ref_of(pod)
    now = await place.cluster.logs(ref, container="app", limit=1000, tail=10)
    last = await place.cluster.logs(ref, container="app", limit=1000, previous=True)
    assert now.startswith("This is the practice cluster")
    assert last.startswith("This is the run before")
    assert await place.cluster.logs(ref, container="app", limit=8) == now[-8:]
    with pytest.raises(Invalid, match="nope"):
        await place.cluster.logs(ref, container="nope", limit=8)
    with pytest.raises(NotFound):
        await place.cluster.logs(ref.model_copy(update={"name": "nope"}), container="app", limit=8)
    step = Rig(
        place.world(), "kubernetes/logs", {"previous": True}, replace(facts(namespace=place.namespace), container="app")
    )
    await step.plan()
    given = await step.perform()
    assert (given["log"], given["lines"], given["container"]) == (last, 1, "app")


async def test_waiting_for_a_job_ends_with_it(place):
    """It is started, ends well, and a crash in between finds it."""
    await place.admin.create(cronjob(place.namespace))
    one = rig(place, "kubectl_create_job", {"cronjob": "nightly", "wait": True, "timeout": "20s"})
    await one.plan()
    await one.prepare()
    if place.real:
        one.world = replace(one.world, clock=SystemClock())
    await one.perform()
    assert (await one.recover()).found is Found.DONE


async def test_a_job_of_the_same_name_is_never_adopted(place):
    """Somebody else's work is not ours to wait for or to delete."""
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "fix"},
        "spec": cronjob("")["spec"]["jobTemplate"]["spec"],
    }
    one = rig(place, "kubectl_create_job", {"manifest": manifest})
    step = await one.plan()
    assert step.changes[0].irreversible
    body = {**manifest, "metadata": {"name": "fix", "namespace": place.namespace}}
    await place.admin.create(body)
    with pytest.raises(Conflict):
        await one.action.dry_run(step, one.world)
    with pytest.raises(PlanError, match="already"):
        await one.plan()
