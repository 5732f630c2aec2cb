"""Reading, waiting, calculating, checking."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from fakes.action_rig import NAMESPACE, Rig, deployment, facts, workload
from fakes.world import FakeWorld

from executor.errors import PlanError, StepFailed, Unavailable


@pytest.fixture
def world():
    fake = FakeWorld()
    fake.cluster.add(deployment())
    return fake


def some_pod(world):
    return world.cluster.items("Pod", NAMESPACE)[0]["metadata"]["name"]


# kubectl_get


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("spec.replicas", 2),
        ("spec.template.spec.containers[0].resources.limits.memory", "256Mi"),
        ("spec.template.spec.containers[name=proxy].image", "proxy:1"),
        ("spec.template.spec.containers[-1].name", "proxy"),
        ("{.spec.template.metadata.labels['app']}", "web"),
        ("metadata.name", "web"),
    ],
)
async def test_a_field_is_read_by_its_path(world, field, value):
    """Positions, names, quoted keys, and kubectl's own spelling."""
    step = await Rig(world.ports, "kubectl_get", {"resource": "deployment", "field": field}).plan()
    assert step.result == value


async def test_a_missing_field_stops_with_the_part_that_is_missing():
    """Pitfall 4: no limit is set; the plan stops before any change and says what is there."""
    world = FakeWorld()
    world.cluster.add(deployment(memory=None))
    field = "spec.containers[0].resources.limits.memory"
    rig = Rig(world.ports, "kubectl_get", {"resource": "pod", "name": some_pod(world), "field": field})
    with pytest.raises(PlanError, match=r"has no spec.containers\[0\].resources: spec.containers\[0\] has name, image"):
        await rig.plan()


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("spec.templat.spec", "did you mean template"),
        ("spec.template.spec.containers[5].image", r"a list of 2 \(app, proxy\)"),
        ("spec.template.spec.containers[name=nope].image", r"a list of 2 \(app, proxy\)"),
        ("spec.replicas.x", "spec.replicas is 2"),
        ("spec..x", "cannot be read"),
    ],
)
async def test_a_wrong_path_says_what_is_there_instead(world, field, said):
    """Advice instead of a crash."""
    with pytest.raises(PlanError, match=said):
        await Rig(world.ports, "kubectl_get", {"resource": "deployment", "field": field}).plan()


async def test_the_incidents_pod_that_is_gone_is_read_from_its_successor(world):
    """A crash-looping pod may be replaced before anybody looks; its owner has another of the same template."""
    params = {"resource": "pod", "name": "web-gone", "field": "spec.containers[0].resources.limits.memory"}
    rig = Rig(world.ports, "kubectl_get", params, facts(pod="web-gone"))
    assert (await rig.plan()).result == "256Mi"
    other = Rig(world.ports, "kubectl_get", {**params, "name": "web-other"}, facts(pod="web-gone"))
    with pytest.raises(PlanError, match="there is no Pod/shop/web-other"):
        await other.plan()


async def test_a_read_can_run_again_when_its_turn_comes(world):
    """After a write the runner reads again, with the parameters that planning completed."""
    rig = Rig(world.ports, "kubectl_get", {"resource": "deploy/web", "namespace": NAMESPACE, "field": "spec.replicas"})
    await rig.plan()
    assert await rig.perform() == 2


# wait


async def test_waiting_for_the_incidents_pod_follows_its_owner(world):
    """Pitfall 1: the fix replaces the pod, so waiting for its name would wait for ever."""
    old = some_pod(world)
    rig = Rig(world.ports, "wait", {"condition": f"pod/{old} ready", "timeout": "5m"}, facts(pod=old))
    step = await rig.plan()
    assert step.result is None
    assert step.params["condition"] == "Deployment/web ready"
    world.cluster.change(
        "Deployment", "web", NAMESPACE, {"spec": {"template": {"metadata": {"labels": {"new": "yes"}}}}}
    )
    assert world.cluster.look("Pod", old, NAMESPACE) is None
    output = await rig.perform()
    assert output["condition"] == "Deployment/web ready"


async def test_a_pod_that_is_gone_follows_the_owner_and_one_that_lives_is_itself(world):
    """Any name that no longer exists can only mean the workload."""
    gone = Rig(world.ports, "wait", {"condition": "pod/ghost ready"}, facts())
    assert (await gone.plan()).params["condition"] == "Deployment/web ready"
    name = some_pod(world)
    alive = Rig(world.ports, "wait", {"condition": f"pod/{name} ready"}, facts())
    assert (await alive.plan()).params["condition"] == f"Pod/{name} ready"
    await alive.perform()


@pytest.mark.parametrize(
    ("condition", "completed"),
    [
        ("rollout complete", "Deployment/web complete"),
        ("rollout/web complete", "Deployment/web complete"),
        ("deployment/web available", "Deployment/web available"),
        ("deploy available", "Deployment/web available"),
        ("node/node-1 ready", "Node/node-1 ready"),
        ("pod ready", "Deployment/web ready"),
    ],
)
async def test_every_condition_is_completed_and_reached(world, condition, completed):
    """What is left out is the incident's."""
    rig = Rig(world.ports, "wait", {"condition": condition}, facts(pod="web-x"))
    assert (await rig.plan()).params["condition"] == completed
    await rig.perform()


@pytest.mark.parametrize("condition", ["pod/web is fine", "ready", "node/n available now", "service/x complete"])
async def test_an_unknown_condition_is_refused_with_the_known_ones(world, condition):
    """While planning, not after five minutes."""
    with pytest.raises(PlanError, match="known: pod/NAME ready"):
        await Rig(world.ports, "wait", {"condition": condition}).plan()


async def test_a_condition_that_does_not_come_fails_with_what_was_seen(world):
    """The last look says why."""
    world.cluster.health = lambda _: "OOMKilled"
    world.cluster.change("Deployment", "web", NAMESPACE, {"metadata": {"labels": {"a": "b"}}})
    rig = Rig(world.ports, "wait", {"condition": "rollout complete", "timeout": 30})
    await rig.plan()
    with pytest.raises(StepFailed, match="not reached within 30 s: 0 of 2 available"):
        await rig.perform()
    assert 30 <= world.clock.monotonic() < 33


async def test_waiting_outlasts_a_server_that_is_away_for_a_moment(world):
    """One failed look is not an answer."""
    rig = Rig(world.ports, "wait", {"condition": "rollout complete"})
    await rig.plan()
    world.cluster.fail("get", Unavailable("restarting"), times=3)
    await rig.perform()


async def test_waiting_for_a_time_waits_that_long(world):
    """Seconds or a text with a unit."""
    rig = Rig(world.ports, "wait", {"seconds": "1m30s"})
    await rig.plan()
    await rig.perform()
    assert world.clock.monotonic() == 90


@pytest.mark.parametrize("params", [{}, {"seconds": 1, "condition": "rollout complete"}])
def test_wait_takes_either_a_time_or_a_condition(world, params):
    """Both or none would be a guess."""
    with pytest.raises(ValueError, match="one of seconds, condition, until and metric"):
        Rig(world.ports, "wait", params).action.params_model.model_validate(params)


# kubectl_rollout_status


async def test_rollout_status_waits_until_the_rollout_is_complete(world):
    """Like kubectl: it waits, and the step's own timeout is the limit."""
    reports = iter(["OOMKilled"] * 3 + [""] * 1000)
    world.cluster.health = lambda _: "OOMKilled"
    world.cluster.change("Deployment", "web", NAMESPACE, {"metadata": {"labels": {"a": "b"}}})

    def heal():
        why = next(reports)
        world.cluster.health = lambda _: why
        world.cluster._settle()

    world.clock.on_sleep = heal
    rig = Rig(world.ports, "kubectl_rollout_status", {})
    assert (await rig.plan()).result is None
    assert (await rig.perform())["complete"] is True
    assert len(world.clock.slept) == 4


async def test_rollout_status_of_something_else_is_refused(world):
    """A clear no."""
    world.cluster.add(workload("ReplicaSet", "rs"))
    with pytest.raises(PlanError, match="no rollout"):
        await Rig(world.ports, "kubectl_rollout_status", {"resource": "rs/rs"}).plan()


# calculate


async def test_calculate_gives_its_value_on(world):
    """The template engine has done the work."""
    rig = Rig(world.ports, "calculate", {"expression": "512Mi"})
    assert (await rig.plan()).result == "512Mi"
    assert await rig.perform() == "512Mi"
    with pytest.raises(PlanError, match="no value"):
        await Rig(world.ports, "calculate", {"expression": None}).plan()


# check_neo4j


def check(world, expect="new_failures == 0", **given):
    about = facts(incident_id="e1", incident_time="2026-01-02T03:04:05Z", tenant="t")
    params = {"query": "MATCH (n) RETURN count(n) AS new_failures", "expect": expect, "parameters": given}
    return Rig(world.ports, "check_neo4j", params, about)


async def test_a_check_passes_when_every_row_is_as_expected(world):
    """The incident's parameters come along, its time as a time."""
    world.graph.rows = [{"new_failures": 0}]
    rig = check(world, minutes=5)
    await rig.plan()
    assert (await rig.perform())["rows"] == 1
    _, parameters = world.graph.asked[0]
    assert parameters["incident_time"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (parameters["incident_id"], parameters["minutes"]) == ("e1", 5)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no rows"),
        ([{"new_failures": 0}, {"new_failures": 2}], "found new_failures = 2"),
    ],
)
async def test_a_check_fails_on_missing_or_wrong_rows(world, rows, said):
    """Missing evidence is not success."""
    world.graph.rows = rows
    rig = check(world)
    await rig.plan()
    with pytest.raises(StepFailed, match=said):
        await rig.perform()


@pytest.mark.parametrize(("expect", "said"), [("nope == 0", "cannot be read"), ("new_failures + 1", "neither true")])
async def test_an_expectation_that_says_nothing_is_an_error(world, expect, said):
    """An unknown column, or a number where yes or no is meant."""
    world.graph.rows = [{"new_failures": 0}]
    rig = check(world, expect)
    await rig.plan()
    with pytest.raises(PlanError, match=said):
        await rig.perform()
