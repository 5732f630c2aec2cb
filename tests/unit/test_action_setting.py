"""Labels, annotations, image, environment, resources, scale and held rollouts, on the API server in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.action_rig import NAMESPACE, Rig, deployment, facts, workload
from fakes.world import FakeWorld
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from executor.actions.base import Found
from executor.actions.resources import grown
from executor.actions.scale import ScaleParams, replicas
from executor.errors import Drifted, PlanError
from runbooks.quantities import Quantity


@pytest.fixture
def world():
    fake = FakeWorld()
    fake.cluster.add(deployment())
    return fake


def web(world):
    return world.cluster.look("Deployment", "web", NAMESPACE)


def app(world, name="app"):
    return {entry["name"]: entry for entry in web(world)["spec"]["template"]["spec"]["containers"]}[name]


def inside(container):
    return replace(facts(), container=container)


def rig(world, action, about=None, **params):
    return Rig(world.ports, action, params, about or inside("app"))


async def lives(one, world):
    """From plan to undo; the deployment is what it was."""
    before = web(world)["spec"]
    await one.run()
    assert (await one.recover()).found is Found.DONE
    changed = web(world)
    await one.undo()
    assert web(world)["spec"] == before
    return changed


# Labels and annotations


async def test_labels_are_set_and_taken_away_and_put_back(world):
    """Null takes one away; numbers and booleans of YAML are texts."""
    one = rig(world, "kubectl_label", resource="deployment", labels={"app": None, "tier": True, "team": "sre"})
    changed = await lives(one, world)
    assert changed["metadata"]["labels"] == {"tier": "true", "team": "sre"}
    assert web(world)["metadata"]["labels"] == {"app": "web"}


async def test_a_label_with_another_value_is_changed_with_leave_only(world):
    """As kubectl does; the text names the value that would be lost."""
    with pytest.raises(PlanError, match=r"has app=web: overwrite: true"):
        await rig(world, "kubectl_label", resource="deployment", labels={"app": "api"}).plan()
    step = await rig(world, "kubernetes/label", deployment="web", labels={"app": "api"}, overwrite=True).plan()
    assert "app: web -> api" in step.changes[0].summary


async def test_annotations_leave_our_stamps_alone(world):
    """Who could write a stamp could make Rootmend believe that it made a change."""
    one = rig(world, "kubectl_annotate", resource="deployment", annotations={"note": "seen"})
    changed = await lives(one, world)
    assert changed["metadata"]["annotations"]["note"] == "seen"
    assert "note" not in web(world)["metadata"]["annotations"]
    with pytest.raises(PlanError, match="own stamps"):
        await rig(world, "kubectl_annotate", resource="deployment", annotations={"rootmend.dev/epoch": "9"}).plan()


# Image and environment


async def test_set_image_changes_one_container_and_no_other(world):
    """The incident's container when none is named."""
    changed = await lives(rig(world, "kubectl_set_image", image="shop/web:2"), world)
    images = [entry["image"] for entry in changed["spec"]["template"]["spec"]["containers"]]
    assert images == ["shop/web:2", "proxy:1"]


async def test_set_image_of_several_and_of_an_init_container(world):
    """Each is looked up in the list that it is in."""
    first = {"name": "migrate", "image": "m:1"}
    patch = {"spec": {"template": {"spec": {"initContainers": [first]}}}}
    world.cluster.change("Deployment", "web", NAMESPACE, patch)
    changed = await lives(rig(world, "kubectl_set_image", images={"migrate": "m:2", "proxy": "proxy:2"}), world)
    spec = changed["spec"]["template"]["spec"]
    assert spec["initContainers"] == [{"name": "migrate", "image": "m:2"}]
    assert [entry["image"] for entry in spec["containers"]] == ["shop/web:1", "proxy:2"]


@pytest.mark.parametrize(
    ("params", "about", "said"),
    [
        ({"container": "ap"}, facts(), "no container 'ap'; did you mean app"),
        ({}, facts(), "the containers app, proxy: give container"),
        ({"resource": "configmap/limits"}, facts(), "there is no ConfigMap"),
        ({"resource": "pod/web-1"}, facts(), "there is no Pod"),
    ],
)
async def test_a_container_is_never_guessed(world, params, about, said):
    """Several containers and no word which: nothing is changed."""
    with pytest.raises(PlanError, match=said):
        await rig(world, "kubectl_set_image", about, image="x:1", **params).plan()


async def test_what_has_no_template_is_refused_with_the_kinds_that_have(world):
    """The containers of a pod or a job cannot be changed."""
    pod = next(item["metadata"]["name"] for item in world.cluster.items("Pod"))
    with pytest.raises(PlanError, match="cannot be changed once it is made; one of Deployment"):
        await rig(world, "kubectl_set_env", resource=f"pod/{pod}", env={"A": "1"}).plan()


async def test_environment_is_set_replaced_and_taken_away(world):
    """A plain value takes the place of one from a Secret; the others stay."""
    given = [
        {"name": "OLD", "value": "1"},
        {"name": "KEEP", "value": "k"},
        {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "env": given}]}}}}
    world.cluster.change("Deployment", "web", NAMESPACE, patch)
    env = {"OLD": None, "FROM": "plain", "NEW": 5, "GONE": None}
    changed = await lives(rig(world, "kubectl_set_env", resource="deploy/web", env=env), world)
    found = changed["spec"]["template"]["spec"]["containers"][0]["env"]
    assert sorted(found, key=lambda entry: entry["name"]) == [
        {"name": "FROM", "value": "plain"},
        {"name": "KEEP", "value": "k"},
        {"name": "NEW", "value": "5"},
    ]
    with pytest.raises(PlanError, match="has no variable NOPE"):
        await rig(world, "kubectl_set_env", env={"NOPE": None}).plan()


# Resources


async def test_resources_are_set_by_value(world):
    """Limits and requests, of one container only."""
    one = rig(world, "kubernetes/setResources", limits={"memory": "512Mi", "cpu": 1}, requests={"memory": "256Mi"})
    changed = await lives(one, world)
    containers = changed["spec"]["template"]["spec"]["containers"]
    assert containers[0]["resources"] == {"limits": {"memory": "512Mi", "cpu": "1"}, "requests": {"memory": "256Mi"}}
    assert "resources" not in containers[1]


async def test_a_factor_is_worked_out_once_and_a_second_try_does_not_grow_again(world):
    """Pitfall 5: what was planned is a value, so a repeated step leaves it at that."""
    one = rig(world, "kubectl_set_resources", multiply={"memory": 2}, max={"memory": "4Gi"})
    step = await one.plan()
    assert step.params["limits"] == {"memory": "512Mi"}
    await one.act()
    await one.act()
    assert app(world)["resources"]["limits"]["memory"] == "512Mi"


async def test_growth_stops_at_its_ceiling_and_then_a_human_decides(world):
    """Pitfall 5: however often it runs, the limit never passes the ceiling."""
    seen = []
    for number in range(3):
        one = rig(world, "kubectl_set_resources", multiply={"memory": 3}, max={"memory": "1Gi"})
        one.stamp = type(one.stamp)(f"execution-{number}", "fix", number + 1)
        if number == 2:
            with pytest.raises(PlanError, match="its ceiling is 1Gi"):
                await one.plan()
            break
        await one.run()
        seen.append(app(world)["resources"]["limits"]["memory"])
    assert seen == ["768Mi", "1Gi"]


async def test_without_a_limit_nothing_can_be_multiplied(world):
    """Pitfall 4: a clear stop before any change, not a crash."""
    about = inside("proxy")
    with pytest.raises(PlanError, match="container proxy of Deployment web has no memory limit"):
        await rig(world, "kubectl_set_resources", about, multiply={"memory": 2}, max={"memory": "1Gi"}).plan()
    assert world.cluster.count("patch") == 0


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"multiply": {"memory": 2}}, "would grow with every run: give max"),
        (
            {"limits": {"memory": "1Gi"}, "multiply": {"memory": 2}, "max": {"memory": "2Gi"}},
            "in limits and in multiply",
        ),
        ({"limits": {"memory": "lots"}}, "not a Kubernetes quantity"),
        ({"limits": {"memory": "1Gi"}, "max": {"memory": None}}, "a ceiling cannot be empty"),
        ({}, "give limits, requests or multiply"),
        ({"multiply": {"memory": 0}, "max": {"memory": "1Gi"}}, "greater than 0"),
    ],
)
def test_resources_that_make_no_sense_are_refused(world, params, said):
    """Before anything is read."""
    with pytest.raises(ValidationError, match=said):
        rig(world, "kubectl_set_resources").action.params_model.model_validate(params)


@pytest.mark.parametrize(
    ("limits", "said"), [({"memory": "2Gi"}, "would be 2Gi, and its ceiling is 1Gi"), ({"memory": None}, "taken away")]
)
async def test_a_value_above_the_ceiling_is_refused(world, limits, said):
    """A calculation that went wrong must not become a limit; no limit is above every ceiling."""
    with pytest.raises(PlanError, match=said):
        await rig(world, "kubectl_set_resources", limits=limits, max={"memory": "1Gi"}).plan()


@given(now=st.integers(1, 4096), factor=st.floats(1.01, 50), ceiling=st.integers(1, 4096), runs=st.integers(1, 12))
def test_no_number_of_runs_grows_beyond_the_ceiling(now, factor, ceiling, runs):
    """Each run grows and never beyond; at the ceiling it stops."""
    has = f"{now}Mi"
    for _ in range(runs):
        before = Quantity(has)
        if before >= Quantity(f"{ceiling}Mi"):
            with pytest.raises(PlanError, match="for a human to decide"):
                grown("memory", has, factor, f"{ceiling}Mi", "app")
            return
        has = grown("memory", has, factor, f"{ceiling}Mi", "app")
        assert before < Quantity(has) <= Quantity(f"{ceiling}Mi")


# Scale


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"add": 2, "max": 10}, 4),
        ({"add": 20, "max": 3}, 3),
        ({"multiply": 1.5, "max": 9}, 3),
        ({"add": -1}, 1),
        ({"add": -5}, 1),
        ({"multiply": 0.1, "min": 0}, 1),
        ({"replicas": 0}, 0),
    ],
)
async def test_scale_by_number_by_difference_and_by_factor(world, params, expected):
    """Up to the ceiling, down to the floor."""
    one = rig(world, "kubernetes/scale", deployment="web", **params)
    step = await one.plan()
    assert step.changes[0].summary.endswith(f"2 -> {expected}")
    changed = await lives(one, world)
    assert changed["spec"]["replicas"] == expected


async def test_a_second_try_of_scaling_up_adds_nothing(world):
    """The number is fixed in the plan."""
    one = rig(world, "kubectl_scale", resource="deployment", add=2, max=10)
    await one.run()
    await one.act()
    assert web(world)["spec"]["replicas"] == 4


@given(now=st.integers(0, 60), add=st.integers(-60, 60), most=st.integers(1, 60), least=st.integers(0, 60))
def test_relative_scaling_stays_within_its_bounds(now, add, most, least):
    """Growth ends at the ceiling, reduction at the floor, and neither turns into the other."""
    params = ScaleParams(resource="deployment", add=add, max=most, min=least)
    if add > 0 and now >= most:
        with pytest.raises(PlanError, match="for a human to decide"):
            replicas(params, now, "web")
        return
    wanted = replicas(params, now, "web")
    assert (now < wanted <= most) if add > 0 else (min(now, least) <= wanted <= now)


@pytest.mark.parametrize(
    "params", [{}, {"replicas": 2, "add": 1}, {"add": 1}, {"multiply": 2}, {"replicas": -1}, {"replicas": 2, "max": 0}]
)
def test_scaling_without_a_number_or_without_a_ceiling_is_refused(params):
    """Growth needs an end."""
    with pytest.raises(ValidationError):
        ScaleParams(resource="deployment", **params)


async def test_more_than_the_ceiling_is_refused_and_nothing_can_be_a_multiple_of_nothing(world):
    """Both are mistakes of the author, found while planning."""
    with pytest.raises(PlanError, match="the ceiling is 5"):
        await rig(world, "kubectl_scale", resource="deployment", replicas=6, max=5).plan()
    world.cluster.change("Deployment", "web", NAMESPACE, {"spec": {"replicas": 0}})
    with pytest.raises(PlanError, match="nothing to multiply"):
        await rig(world, "kubectl_scale", resource="deployment", multiply=2, max=5).plan()


# Held rollouts


async def test_a_held_rollout_waits_and_goes_on(world):
    """Pause and resume are each other's inverse; a second pause changes nothing."""
    pause = rig(world, "kubectl_rollout_pause")
    await pause.run()
    assert web(world)["spec"]["paused"] is True
    again = await rig(world, "kubernetes/rolloutPause", deployment="web").plan()
    assert "(it is paused already)" in again.changes[0].summary
    resume = rig(world, "kubernetes/rolloutResume", deployment="web")
    resume.stamp = type(pause.stamp)(pause.stamp.execution, "resume", 7)
    await resume.run()
    assert "paused" not in web(world)["spec"]
    await resume.undo()
    assert web(world)["spec"]["paused"] is True
    assert "(it is not paused)" not in (await resume.plan()).changes[0].summary


async def test_only_a_deployment_can_be_paused(world):
    """StatefulSets have no such field; the server would drop it in silence."""
    world.cluster.add(workload("StatefulSet", "db"))
    with pytest.raises(PlanError, match="only a Deployment has"):
        await rig(world, "kubectl_rollout_pause", resource="sts/db").plan()


# Server-side apply as a patch


async def test_a_patch_can_be_applied_by_the_server_under_a_managers_name(world):
    """The object is filled in; another manager's fields are refused unless force takes them over."""
    patch = {"spec": {"replicas": 4}}
    one = rig(world, "kubectl_patch", resource="deployment", patch=patch, type="apply", field_manager="sre")
    step = await one.plan()
    assert step.params["patch"]["metadata"] == {"name": "web", "namespace": NAMESPACE}
    changed = await lives(one, world)
    assert changed["spec"]["replicas"] == 4
    world.cluster.owners[("Deployment", "web")] = "helm"
    with pytest.raises(PlanError, match=r'conflict with "helm"; force: true'):
        await rig(world, "kubectl_patch", resource="deployment", patch=patch, type="apply").plan()
    await rig(world, "kubectl_patch", resource="deployment", patch=patch, type="apply", force=True).run()


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"type": "merge", "field_manager": "sre"}, ValidationError),
        ({"type": "strategic", "force": True}, ValidationError),
        ({"type": "apply", "patch": {"metadata": {"name": "other"}}}, PlanError),
    ],
)
async def test_what_an_apply_cannot_mean_is_refused(world, params, error):
    """A manager where there is none, or another object than the step's."""
    with pytest.raises(error):
        await rig(world, "kubectl_patch", **{"resource": "deployment", "patch": {"spec": {}}, **params}).plan()


# Spelling


@pytest.mark.parametrize("word", ["deployment", "statefulset", "daemonset"])
async def test_the_kind_as_parameter_names_the_object(world, word):
    """As runbooks/v1 writes it; pitfall 6."""
    kind = {"deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet"}[word]
    world.cluster.add(workload(kind, "other"))
    step = await rig(world, "kubernetes/rolloutRestart", **{word: "other"}).plan()
    assert str(step.changes[0].ref) == f"{kind}/{NAMESPACE}/other"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"deployment": "a", "pod": "b"}, "name two objects"),
        ({"deployment": "a", "name": "b"}, "name is one too many"),
        ({"deployment": ""}, "deployment is empty"),
        ({"deployment": None}, "deployment is empty"),
        ({"deployment": "a", "to_revision": 1, "toRevision": 2}, "given twice"),
    ],
)
def test_an_object_that_is_not_clear_is_refused(world, params, said):
    """An empty name must not become the incident's workload."""
    with pytest.raises(ValidationError, match=said):
        rig(world, "kubectl_rollout_undo").action.params_model.model_validate(params)


async def test_somebody_elses_change_between_plan_and_step_stops_it(world):
    """What was approved is no longer what would happen."""
    one = rig(world, "kubectl_set_image", image="shop/web:2")
    await one.plan()
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "shop/web:9"}]}}}}
    world.cluster.change("Deployment", "web", NAMESPACE, patch)
    with pytest.raises(Drifted, match="shop/web:1 -> shop/web:9"):
        await one.prepare()
