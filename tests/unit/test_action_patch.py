"""kubectl_patch and what all changes of one object share."""

from __future__ import annotations

import json

import pytest
from fakes.action_rig import EXECUTION, NAMESPACE, Rig, deployment, facts, workload
from fakes.world import FakeWorld
from hypothesis import given
from hypothesis import strategies as st

from executor.actions.base import Found, Stamp
from executor.errors import Conflict, Drifted, NotFound, PlanError, Unavailable

MEMORY = """
spec:
  template:
    spec:
      containers:
      - name: app
        resources:
          limits:
            memory: 512Mi
"""


@pytest.fixture
def world():
    fake = FakeWorld()
    fake.cluster.add(deployment())
    return fake


def patch(world, **params):
    return Rig(world.ports, "kubectl_patch", {"resource": "deployment", "patch": MEMORY, **params})


def memory(world, name="web"):
    live = world.cluster.look("Deployment", name, NAMESPACE)
    return live["spec"]["template"]["spec"]["containers"][0].get("resources", {}).get("limits", {}).get("memory")


async def test_a_plan_names_the_field_with_its_prior_and_its_new_value(world):
    """People approve what they can read: field by field, and nothing is changed by showing it."""
    step = await patch(world).plan()
    assert step.changes[0].summary == "spec.template.spec.containers[app].resources.limits.memory: 256Mi -> 512Mi"
    assert step.changes[0].undo
    assert step.changes[0].ref.uid
    assert memory(world) == "256Mi"
    assert world.cluster.count("patch") == 0


async def test_a_patch_stamps_the_object_and_never_the_pod_template(world):
    """A stamp in the template would restart every pod just to sign a change."""
    output = await patch(world).run()
    live = world.cluster.look("Deployment", "web", NAMESPACE)
    assert memory(world) == "512Mi"
    assert live["metadata"]["annotations"]["rootmend.dev/execution"] == EXECUTION
    assert live["metadata"]["annotations"]["rootmend.dev/step"] == "fix"
    assert "annotations" not in live["spec"]["template"]["metadata"]
    assert output["changed"].endswith("256Mi -> 512Mi")
    assert output["after"]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "512Mi"


@pytest.mark.parametrize(
    ("params", "about"),
    [
        ({"resource": "deployment"}, facts()),
        ({"resource": "deployment/web"}, facts("Pod", "other")),
        ({"resource": "Deployments", "name": "web"}, facts("Pod", "other")),
        ({"resource": "deploy/web", "name": "web", "namespace": NAMESPACE}, facts("Node", "n", "")),
    ],
)
async def test_every_way_to_name_an_object_means_the_same(world, params, about):
    """Pitfalls 3 and 6: kind and name in one or two parameters, and what is left out is the incident's."""
    rig = patch(world, **params)
    rig.facts = about
    step = await rig.plan()
    assert str(step.changes[0].ref) == f"Deployment/{NAMESPACE}/web"
    assert step.params["name"] == "web"


async def test_a_deployment_patch_for_a_statefulset_names_the_real_kind():
    """Pitfall 6: the owner chain may lead to another kind than the runbook's author thought of."""
    world = FakeWorld()
    world.cluster.add(workload("StatefulSet", "db"))
    rig = patch(world)
    rig.facts = facts("StatefulSet", "db")
    with pytest.raises(PlanError, match="resource: statefulset"):
        await rig.plan()
    named = patch(world, name="db")
    named.facts = facts("StatefulSet", "db")
    with pytest.raises(PlanError, match="owner is StatefulSet/shop/db: write resource: statefulset"):
        await named.plan()


async def test_a_pod_without_a_controller_is_refused_with_the_reason(world):
    """Pitfall 3: a bare pod has nothing that a workload patch could act on."""
    rig = patch(world)
    rig.facts = facts("Pod", "bare")
    with pytest.raises(PlanError, match="bare has no controller"):
        await rig.plan()


async def test_what_the_server_refuses_stops_the_plan(world):
    """A bad quantity is found before anybody is asked."""
    with pytest.raises(PlanError, match="quantities"):
        await patch(world, patch=MEMORY.replace("512Mi", "lots")).plan()


@pytest.mark.parametrize(("kind", "body"), [("json", {"a": 1}), ("merge", [{"op": "add"}])])
async def test_a_patch_of_the_wrong_shape_is_refused(world, kind, body):
    """JSON patches are lists, the others are mappings."""
    with pytest.raises(PlanError, match=f"of type {kind} is a"):
        await patch(world, type=kind, patch=body).plan()


async def test_somebody_elses_change_since_the_plan_is_drift(world):
    """What was approved no longer describes what would happen; the text says what differs."""
    rig = patch(world)
    await rig.plan()
    world.cluster.change("Deployment", "web", NAMESPACE, {"spec": {"template": {"spec": {"nodeName": "x"}}}})
    with pytest.raises(Drifted, match=r"nodeName: \(unset\) -> x"):
        await rig.prepare()


async def test_an_autoscaler_that_moved_the_replicas_is_no_drift(world):
    """Replicas move by themselves all day; only a step that sets them cares."""
    rig = patch(world)
    await rig.plan()
    world.cluster.change("Deployment", "web", NAMESPACE, {"spec": {"replicas": 5}})
    await rig.act()
    assert memory(world) == "512Mi"
    assert world.cluster.look("Deployment", "web", NAMESPACE)["spec"]["replicas"] == 5


async def test_an_object_of_the_same_name_created_anew_is_drift(world):
    """The uid tells them apart."""
    rig = patch(world)
    await rig.plan()
    await world.cluster.delete(rig.planned.changes[0].ref)
    with pytest.raises(Drifted, match="gone"):
        await rig.prepare()
    world.cluster.add(deployment())
    with pytest.raises(Drifted, match="created anew"):
        await rig.prepare()


async def test_an_object_stamped_by_a_newer_epoch_is_drift(world):
    """A holder that was replaced must not write over its successor."""
    rig = patch(world)
    await rig.plan()
    newer = Stamp("another", "fix", 8).annotations()
    world.cluster.change("Deployment", "web", NAMESPACE, {"metadata": {"annotations": newer}})
    with pytest.raises(Drifted, match="newer execution"):
        await rig.prepare()


async def test_two_steps_of_one_execution_may_change_one_object(world):
    """The second step's plan was made before the first one changed the object; its own stamp explains that."""
    first, second = patch(world), Rig(world.ports, "kubectl_scale", {"resource": "deployment", "replicas": 4})
    second.stamp = Stamp(EXECUTION, "scale", 7)
    await first.plan()
    await second.plan()
    await first.act()
    await second.act()
    assert memory(world) == "512Mi"
    assert await second.undo()
    assert await first.undo()
    live = world.cluster.look("Deployment", "web", NAMESPACE)
    assert (memory(world), live["spec"]["replicas"]) == ("256Mi", 2)


async def test_status_that_moved_meanwhile_is_no_reason_to_stop(world):
    """Controllers write status all the time: the patch is made again on the newer version."""
    rig = patch(world)
    await rig.plan()
    await rig.prepare()
    world.cluster.change("Deployment", "web", NAMESPACE, {"metadata": {"labels": {"seen": "yes"}}})
    await rig.perform()
    assert memory(world) == "512Mi"


async def test_a_spec_that_changed_between_prepare_and_perform_is_drift(world):
    """The version in the patch catches what came after the last look."""
    rig = patch(world)
    await rig.plan()
    await rig.prepare()
    world.cluster.change("Deployment", "web", NAMESPACE, {"spec": {"minReadySeconds": 5}})
    with pytest.raises(Drifted, match="minReadySeconds"):
        await rig.perform()
    assert memory(world) == "256Mi"


async def test_a_conflict_that_never_ends_is_given_up(world):
    """Tries are bounded; the runner decides about more."""
    rig = patch(world)
    await rig.plan()
    await rig.prepare()
    world.cluster.fail("patch", Conflict("moved"), times=50)
    with pytest.raises(Conflict, match="kept changing"):
        await rig.perform()


@pytest.mark.parametrize("kind", ["strategic", "merge", "json"])
async def test_after_a_lost_answer_the_stamp_says_that_it_happened(world, kind):
    """A crash between effect and outcome: the target knows."""
    body = MEMORY if kind != "json" else [{"op": "replace", "path": "/spec/replicas", "value": 3}]
    rig = patch(world, type=kind, patch=body)
    await rig.plan()
    await rig.prepare()
    assert (await rig.recover()).found is Found.NOT_DONE
    world.cluster.fail("patch", Unavailable("lost"), after=True)
    with pytest.raises(Unavailable):
        await rig.perform()
    recovery = await rig.recover()
    assert recovery.found is Found.DONE
    assert recovery.output["changed"]


async def test_a_repeated_step_changes_nothing_twice(world):
    """A second try that finds its own stamp is done; appending to a list again would not be the same."""
    add = [{"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "x", "image": "x:1"}}]
    rig = patch(world, type="json", patch=add)
    await rig.plan()
    await rig.act()
    await rig.act()
    names = [
        c["name"] for c in world.cluster.look("Deployment", "web", NAMESPACE)["spec"]["template"]["spec"]["containers"]
    ]
    assert names == ["app", "proxy", "x"]


async def test_undo_restores_exactly_the_prior_spec(world):
    """The inverse of the patch, also where a whole part was not there before."""
    world.cluster.add(deployment("bare", memory=None))
    before = world.cluster.look("Deployment", "bare", NAMESPACE)["spec"]
    rig = patch(world, name="bare")
    await rig.run()
    assert memory(world, "bare") == "512Mi"
    assert "is as it was before" in await rig.undo()
    live = world.cluster.look("Deployment", "bare", NAMESPACE)
    assert live["spec"] == before
    assert live["metadata"]["annotations"]["rootmend.dev/step"] == "undo-fix"


async def test_undo_twice_is_undo_once(world):
    """A crashed undo is done again."""
    rig = patch(world)
    await rig.run()
    await rig.undo()
    version = world.cluster.look("Deployment", "web", NAMESPACE)["metadata"]["resourceVersion"]
    assert "already as it was" in await rig.undo()
    assert world.cluster.look("Deployment", "web", NAMESPACE)["metadata"]["resourceVersion"] == version


async def test_undo_of_a_step_that_never_happened_changes_nothing(world):
    """A step can fail between intent and effect."""
    rig = patch(world)
    await rig.plan()
    await rig.prepare()
    assert "already as it was" in await rig.undo()


async def test_undo_leaves_what_others_changed(world):
    """Only our own fields go back, wherever they stand now."""
    rig = patch(world)
    await rig.run()
    sidecar = {"name": "aaa", "image": "aaa:1"}
    live = world.cluster.look("Deployment", "web", NAMESPACE)
    containers = [sidecar, *live["spec"]["template"]["spec"]["containers"]]
    ref = rig.planned.changes[0].ref
    insert = {"op": "add", "path": "/spec/template/spec/containers", "value": containers}
    await world.cluster.patch(ref, [insert], how="json")
    await rig.undo()
    names = {
        c["name"]: c
        for c in world.cluster.look("Deployment", "web", NAMESPACE)["spec"]["template"]["spec"]["containers"]
    }
    assert list(names) == ["aaa", "app", "proxy"]
    assert names["app"]["resources"]["limits"]["memory"] == "256Mi"


async def test_undo_stops_where_somebody_changed_our_field(world):
    """Two wills about one field: a human decides."""
    rig = patch(world)
    await rig.run()
    theirs = json.loads(json.dumps({"name": "app", "resources": {"limits": {"memory": "1Gi"}}}))
    world.cluster.change("Deployment", "web", NAMESPACE, {"spec": {"template": {"spec": {"containers": [theirs]}}}})
    with pytest.raises(Drifted, match="is 1Gi now, and was set to 512Mi"):
        await rig.undo()
    assert memory(world) == "1Gi"


async def test_undo_of_an_object_that_is_gone_is_a_humans_question(world):
    """There is nothing to put values back into."""
    rig = patch(world)
    await rig.run()
    await world.cluster.delete(rig.planned.changes[0].ref)
    with pytest.raises(Drifted, match="gone"):
        await rig.undo()


async def test_a_secret_reference_reaches_the_server_and_no_record(world):
    """Values are put in at the moment of use; plan, intent and output hold references or masks."""
    world.secrets.values["token"] = "s3cr3t-value"
    env = {"name": "app", "env": [{"name": "TOKEN", "value": "__secret:token__"}]}
    rig = patch(world, patch={"spec": {"template": {"spec": {"containers": [env]}}}})
    output = await rig.run()
    container = world.cluster.look("Deployment", "web", NAMESPACE)["spec"]["template"]["spec"]["containers"][0]
    assert container["env"][0]["value"] == "s3cr3t-value"
    recovery = await rig.recover()
    for record in (
        rig.planned.model_dump_json(),
        json.dumps(rig.saved),
        json.dumps(output),
        json.dumps(recovery.output),
    ):
        assert "s3cr3t-value" not in record
    assert "s3cr3t-value" not in await rig.undo()
    assert "env" not in world.cluster.look("Deployment", "web", NAMESPACE)["spec"]["template"]["spec"]["containers"][0]


async def test_a_secret_in_a_servers_refusal_is_masked(world):
    """Servers quote what they refuse."""
    world.secrets.values["amount"] = "not-a-quantity"
    rig = patch(world, patch={"metadata": {"labels": {"a": "__secret:amount__"}}})
    await rig.plan()
    await rig.prepare()
    world.cluster.fail("patch", NotFound("value not-a-quantity is odd"))
    with pytest.raises(NotFound, match=r"value \*\*\* is odd"):
        await rig.perform()


async def test_a_missing_object_is_said_by_name(world):
    """Not a crash, and not an empty patch."""
    with pytest.raises(PlanError, match="there is no Deployment/shop/nope"):
        await patch(world, name="nope").plan()


PLACES = st.sampled_from(["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"])
SPECS = st.dictionaries(PLACES, st.integers(1, 9), max_size=4)


@given(prior=SPECS, ours=SPECS, theirs=SPECS)
async def test_undo_gives_back_ours_and_keeps_theirs_whatever_the_fields(prior, ours, theirs):
    """For any fields: ours go back to their prior values, fields that only others touched keep theirs."""
    world = FakeWorld()
    made = deployment()
    made["spec"] |= prior
    before = world.cluster.add(made)["spec"]
    rig = patch(world, type="merge", patch={"spec": ours})
    await rig.run()
    foreign = {key: value for key, value in theirs.items() if key not in ours}
    world.cluster.change("Deployment", "web", NAMESPACE, {"spec": foreign})
    await rig.undo()
    assert world.cluster.look("Deployment", "web", NAMESPACE)["spec"] == {**before, **foreign}
