"""Apply, delete, scale, restart and undo of rollouts."""

from __future__ import annotations

import pytest
from fakes.action_rig import EXECUTION, NAMESPACE, Rig, deployment, facts, workload
from fakes.world import FakeWorld

from executor.actions.base import Found, Stamp
from executor.errors import Drifted, PlanError, Unavailable

MANIFESTS = """
# two objects
apiVersion: v1
kind: ConfigMap
metadata: {name: limits}
data: {mode: careful}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: fresh}
data: {a: "1"}
"""


@pytest.fixture
def world():
    fake = FakeWorld()
    fake.cluster.add(deployment())
    meta = {"name": "limits", "namespace": NAMESPACE}
    fake.cluster.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"mode": "bold", "x": "y"}})
    return fake


def web(world):
    return world.cluster.look("Deployment", "web", NAMESPACE)


def config(world, name):
    return (world.cluster.look("ConfigMap", name, NAMESPACE) or {}).get("data")


# Apply


async def test_apply_changes_what_exists_and_creates_what_does_not(world):
    """Several documents, each placed in the incident's namespace, each shown for itself."""
    rig = Rig(world.ports, "kubectl_apply", {"manifest": MANIFESTS})
    step = await rig.plan()
    assert [change.verb for change in step.changes] == ["apply", "create"]
    assert step.changes[0].summary == "data.mode: bold -> careful"
    await rig.action.dry_run(step, rig.world)
    await rig.act()
    assert config(world, "limits") == {"mode": "careful", "x": "y"}
    assert config(world, "fresh") == {"a": "1"}
    assert (await rig.recover()).found is Found.DONE


async def test_undo_of_apply_restores_the_one_and_deletes_the_other(world):
    """Each object in its own way, last first."""
    rig = Rig(world.ports, "kubectl_apply", {"manifest": MANIFESTS})
    await rig.run()
    await rig.undo()
    assert config(world, "limits") == {"mode": "bold", "x": "y"}
    assert config(world, "fresh") is None
    assert "already" in await rig.undo()


async def test_apply_that_crashed_half_way_goes_on(world):
    """Not done as a whole, and what is done is not done again."""
    rig = Rig(world.ports, "kubectl_apply", {"manifest": MANIFESTS})
    await rig.plan()
    first = await rig.prepare()
    world.cluster.fail("create", Unavailable("away"))
    with pytest.raises(Unavailable):
        await rig.perform()
    assert (await rig.recover()).found is Found.NOT_DONE
    await rig.act()
    assert config(world, "fresh") == {"a": "1"}
    rig.saved = first
    await rig.undo()
    assert config(world, "limits") == {"mode": "bold", "x": "y"}


async def test_an_object_that_somebody_created_meanwhile_is_drift(world):
    """It is theirs, whatever it holds."""
    rig = Rig(world.ports, "kubectl_apply", {"manifest": MANIFESTS})
    await rig.plan()
    meta = {"name": "fresh", "namespace": NAMESPACE}
    world.cluster.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
    with pytest.raises(Drifted, match="created by somebody else"):
        await rig.prepare()


async def test_undo_never_deletes_an_object_that_is_not_ours(world):
    """Somebody deleted ours and made their own."""
    rig = Rig(world.ports, "kubectl_apply", {"manifest": MANIFESTS})
    await rig.run()
    meta = {"name": "fresh", "namespace": NAMESPACE}
    world.cluster.remove(world.cluster._items[("ConfigMap", NAMESPACE, "fresh")])
    world.cluster.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"theirs": "yes"}})
    with pytest.raises(Drifted, match="so it stays"):
        await rig.undo()
    assert config(world, "fresh") == {"theirs": "yes"}
    assert config(world, "limits") == {"mode": "bold", "x": "y"}


@pytest.mark.parametrize(("force", "reasons"), [(None, 1), (True, 0)])
async def test_fields_of_another_manager_are_taken_over_with_a_humans_yes_or_the_authors_word(world, force, reasons):
    """Somebody else looks after these fields; whoever overwrites them must mean it."""
    world.cluster.owners[("ConfigMap", "limits")] = "kubectl-create"
    rig = Rig(world.ports, "kubectl_apply", {"manifest": MANIFESTS, "force": force})
    params = rig.action.params_model.model_validate(rig.params)
    planned = await rig.action.plan(params, rig.facts, rig.world)
    assert len(planned.approval_reasons) == reasons
    assert all("kubectl-create" in reason for reason in planned.approval_reasons)
    await rig.run()
    assert config(world, "limits")["mode"] == "careful"


async def test_fields_of_another_manager_can_be_left_alone(world):
    """force: false refuses while planning."""
    world.cluster.owners[("ConfigMap", "limits")] = "kubectl-create"
    with pytest.raises(PlanError, match=r"kubectl-create.*force: true"):
        await Rig(world.ports, "kubectl_apply", {"manifest": MANIFESTS, "force": False}).plan()


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("kind: ConfigMap", "lacks apiVersion"),
        ("{apiVersion: v1, kind: ConfigMap}", "lacks metadata.name"),
        ("# nothing", "empty"),
        ("a: 1\na: 2", "line 2"),
    ],
)
async def test_a_manifest_that_is_none_is_refused_with_the_place(world, manifest, said):
    """Read when the parameters are checked, long before anything is asked of the cluster."""
    with pytest.raises(ValueError, match=said):
        await Rig(world.ports, "kubectl_apply", {"manifest": manifest}).plan()


# Delete


async def test_deleting_a_pod_of_a_controller_needs_no_way_back(world):
    """Its controller makes a new one; nothing is lost."""
    pod = world.cluster.items("Pod", NAMESPACE)[0]["metadata"]
    rig = Rig(world.ports, "kubectl_delete", {"resource": "pod", "name": pod["name"]})
    step = await rig.plan()
    assert not step.changes[0].irreversible
    assert "makes a new one" in step.changes[0].undo
    await rig.act()
    left = world.cluster.items("Pod", NAMESPACE)
    assert len(left) == 2
    assert pod["uid"] not in {item["metadata"]["uid"] for item in left}
    assert (await rig.recover()).found is Found.DONE
    assert "nothing to put back" in await rig.undo()


async def test_a_pod_that_does_not_end_can_be_deleted_without_waiting(world):
    """Only a deletion that does not wait is made of a pod on its way out; on its way is not done then."""
    pod = world.cluster.items("Pod")[0]["metadata"]["name"]
    world.cluster.stuck_pods = True
    patient = Rig(world.ports, "kubectl_delete", {"resource": "pod", "name": pod})
    await patient.plan()
    await patient.act()
    assert (await patient.recover()).found is Found.DONE
    forced = Rig(world.ports, "kubectl_delete", {"resource": "pod", "name": pod, "grace_seconds": 0})
    await forced.plan()
    saved = await forced.prepare()
    assert (await forced.recover()).found is Found.NOT_DONE
    assert saved["before"] is None
    again = Rig(world.ports, "kubectl_delete", {"resource": "pod", "name": pod})
    await again.plan()
    with pytest.raises(Drifted, match="is being deleted"):
        await again.act()


async def test_a_deleted_workload_is_created_again(world):
    """Saved whole with the intent."""
    before = web(world)
    rig = Rig(world.ports, "kubectl_delete", {"resource": "deploy/web", "grace_seconds": "5"})
    step = await rig.plan()
    assert not step.changes[0].irreversible
    await rig.act()
    assert web(world) is None
    await rig.undo()
    assert web(world)["spec"] == before["spec"]
    assert web(world)["metadata"]["uid"] != before["metadata"]["uid"]
    assert "is there" in await rig.undo()


@pytest.mark.parametrize("kind", ["PersistentVolumeClaim", "Service", "Widget", "Pod"])
async def test_deleting_what_cannot_come_back_is_irreversible(world, kind):
    """Data, addresses, runs, and what nobody knows: a human says yes first."""
    world.cluster.add({"kind": kind, "metadata": {"name": "x", "namespace": NAMESPACE}, "spec": {}})
    rig = Rig(world.ports, "kubectl_delete", {"resource": kind, "name": "x"})
    step = await rig.plan()
    assert step.changes[0].irreversible
    assert step.changes[0].undo == ""


async def test_a_delete_meant_for_an_older_object_spares_the_new_one(world):
    """The uid is the condition; after a crash the newcomer means that ours is gone."""
    rig = Rig(world.ports, "kubectl_delete", {"resource": "configmap", "name": "limits"})
    await rig.plan()
    await rig.prepare()
    world.cluster.remove(world.cluster._items[("ConfigMap", NAMESPACE, "limits")])
    world.cluster.add({"kind": "ConfigMap", "metadata": {"name": "limits", "namespace": NAMESPACE}, "data": {"n": "1"}})
    assert (await rig.recover()).found is Found.DONE
    with pytest.raises(Drifted, match="created anew"):
        await rig.perform()
    assert config(world, "limits") == {"n": "1"}


# Scale


async def test_scale_says_from_how_many_and_goes_back_there(world):
    """Numbers may arrive as text: templates render texts."""
    rig = Rig(world.ports, "kubectl_scale", {"resource": "deployment", "replicas": "3"})
    step = await rig.plan()
    assert step.changes[0].summary == "replicas of Deployment web: 2 -> 3"
    await rig.act()
    assert web(world)["spec"]["replicas"] == 3
    assert len(world.cluster.items("Pod", NAMESPACE)) == 3
    await rig.undo()
    assert web(world)["spec"]["replicas"] == 2


async def test_scale_notices_that_somebody_else_scaled(world):
    """For this step the replicas are the point."""
    rig = Rig(world.ports, "kubectl_scale", {"resource": "deployment", "replicas": 3})
    await rig.plan()
    world.cluster.change("Deployment", "web", NAMESPACE, {"spec": {"replicas": 9}})
    with pytest.raises(Drifted, match="2 -> 9"):
        await rig.prepare()


async def test_what_has_no_replicas_cannot_be_scaled(world):
    """A clear no instead of a field that nobody reads."""
    with pytest.raises(PlanError, match="no replicas"):
        await Rig(world.ports, "kubectl_scale", {"resource": "cm/limits", "replicas": 3}).plan()


# Rollouts


async def test_restart_replaces_every_pod_and_is_recognised_later(world):
    """The time of the restart stays out of what people approve, since it differs at every planning."""
    before = {pod["metadata"]["uid"] for pod in world.cluster.items("Pod", NAMESPACE)}
    rig = Rig(world.ports, "kubectl_rollout_restart", {"resource": "deployment"})
    first = await rig.plan()
    world.clock.advance(60)
    assert (await rig.plan()).changes[0].summary == first.changes[0].summary
    await rig.act()
    after = {pod["metadata"]["uid"] for pod in world.cluster.items("Pod", NAMESPACE)}
    assert len(after) == 2
    assert not before & after
    assert (await rig.recover()).found is Found.DONE
    assert "nothing to put back" in await rig.undo()
    assert after == {pod["metadata"]["uid"] for pod in world.cluster.items("Pod", NAMESPACE)}


async def test_a_restart_finds_the_workload_by_itself(world):
    """The incident says which one."""
    world.cluster.add(workload("StatefulSet", "db"))
    rig = Rig(world.ports, "kubectl_rollout_restart", {}, facts=facts("StatefulSet", "db"))
    assert str((await rig.plan()).changes[0].ref) == f"StatefulSet/{NAMESPACE}/db"


async def test_a_paused_or_unfit_object_is_not_restarted(world):
    """A paused rollout would swallow the restart until somebody resumes it."""
    with pytest.raises(PlanError, match="no rollout"):
        await Rig(world.ports, "kubectl_rollout_restart", {"resource": "cm/limits"}).plan()
    world.cluster.change("Deployment", "web", NAMESPACE, {"spec": {"paused": True}})
    with pytest.raises(PlanError, match="paused"):
        await Rig(world.ports, "kubectl_rollout_restart", {"resource": "deployment"}).plan()


def image(world):
    return web(world)["spec"]["template"]["spec"]["containers"][0]["image"]


async def test_rollout_undo_takes_the_revision_before_and_can_be_undone(world):
    """The ReplicaSet keeps the earlier template; its own label stays out of it."""
    change = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "shop/web:2"}]}}}}
    world.cluster.change("Deployment", "web", NAMESPACE, change)
    rig = Rig(world.ports, "kubectl_rollout_undo", {"resource": "deployment"})
    step = await rig.plan()
    assert step.changes[0].summary == (
        "back to revision 1: template.spec.containers[app].image: shop/web:2 -> shop/web:1"
    )
    assert step.params["to_revision"] == 1
    await rig.act()
    assert image(world) == "shop/web:1"
    assert "pod-template-hash" not in web(world)["spec"]["template"]["metadata"]["labels"]
    assert (await rig.recover()).found is Found.DONE
    await rig.undo()
    assert image(world) == "shop/web:2"


async def test_a_revision_that_is_not_there_is_said_with_those_that_are(world):
    """Also when there is just one."""
    with pytest.raises(PlanError, match="no earlier revision"):
        await Rig(world.ports, "kubectl_rollout_undo", {"resource": "deployment"}).plan()
    with pytest.raises(PlanError, match="no revision 9; known: 1"):
        await Rig(world.ports, "kubectl_rollout_undo", {"resource": "deployment", "to_revision": 9}).plan()


async def test_rollout_undo_of_a_statefulset_reads_its_controller_revisions(world):
    """Only Deployments keep revisions in ReplicaSets."""
    owner = world.cluster.add(workload("StatefulSet", "db"))["metadata"]
    for number in (1, 2):
        template = {
            "metadata": {"labels": {"app": "db"}},
            "spec": {"containers": [{"name": "app", "image": f"a:{number}"}]},
        }
        world.cluster.add(
            {
                "kind": "ControllerRevision",
                "metadata": {
                    "name": f"db-{number}",
                    "namespace": NAMESPACE,
                    "ownerReferences": [{"uid": owner["uid"], "controller": True}],
                },
                "revision": number,
                "data": {"spec": {"template": {**template, "$patch": "replace"}}},
            }
        )
    world.cluster.change(
        "StatefulSet",
        "db",
        NAMESPACE,
        {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "a:2"}]}}}},
    )
    rig = Rig(world.ports, "kubectl_rollout_undo", {"resource": "sts/db"})
    await rig.run()
    live = world.cluster.look("StatefulSet", "db", NAMESPACE)["spec"]["template"]
    assert live["spec"]["containers"][0]["image"] == "a:1"
    assert "$patch" not in live


async def test_undo_carries_its_own_stamp(world):
    """Whoever asks the object later sees that the last change was an undo."""
    rig = Rig(world.ports, "kubectl_scale", {"resource": "deployment", "replicas": 3}, stamp=Stamp(EXECUTION, "up", 7))
    await rig.run()
    await rig.undo()
    assert web(world)["metadata"]["annotations"]["rootmend.dev/step"] == "undo-up"
