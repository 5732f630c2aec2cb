"""Growth twice a day is for a human, whichever action does it."""

from __future__ import annotations

import pytest
from fakes.action_rig import NAMESPACE, Rig, deployment, facts
from fakes.world import FakeWorld

from executor.actions.base import Stamp
from executor.actions.stamps import GROWN_AT

WAYS = {
    "patch": lambda value: (
        "kubectl_patch",
        {
            "resource": "deployment",
            "patch": {
                "spec": {
                    "template": {"spec": {"containers": [{"name": "app", "resources": {"limits": {"memory": value}}}]}}
                }
            },
        },
    ),
    "json": lambda value: (
        "kubectl_patch",
        {
            "resource": "deployment",
            "type": "json",
            "patch": [
                {"op": "replace", "path": "/spec/template/spec/containers/0/resources/limits/memory", "value": value}
            ],
        },
    ),
    "set_resources": lambda value: ("kubectl_set_resources", {"container": "app", "limits": {"memory": value}}),
    "apply": lambda value: (
        "kubectl_apply",
        {
            "manifest": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "web"},
                "spec": {
                    "template": {"spec": {"containers": [{"name": "app", "resources": {"limits": {"memory": value}}}]}}
                },
            }
        },
    ),
}


@pytest.fixture
def world():
    fake = FakeWorld()
    fake.cluster.add(deployment())
    return fake


def web(world):
    return world.cluster.look("Deployment", "web", NAMESPACE)


async def reasons(world, action, params) -> tuple[str, ...]:
    one = Rig(world.ports, action, params)
    planned = await one.action.plan(one.action.params_model.model_validate(params), facts(), world.ports)
    return planned.approval_reasons


async def run(world, number, action, params) -> Rig:
    one = Rig(world.ports, action, params, stamp=Stamp(f"execution-{number}", "fix", number))
    await one.run()
    return one


@pytest.mark.parametrize("way", WAYS)
async def test_pitfall_5_the_second_growth_within_a_day_asks_a_human(world, way):
    """The object itself remembers, so nothing else has to be there for it."""
    assert await reasons(world, *WAYS[way]("512Mi")) == ()
    await run(world, 1, *WAYS[way]("512Mi"))
    asked = await reasons(world, *WAYS[way]("1Gi"))
    assert len(asked) == 1
    assert "was made larger at 2026-01-02T03:04:05+00:00 already" in asked[0]
    assert "512Mi -> 1Gi" in asked[0]
    world.clock.advance(24 * 3600)
    assert await reasons(world, *WAYS[way]("1Gi")) == ()


async def test_making_smaller_or_leaving_alone_asks_nobody(world):
    """Only growth counts, and a step that is repeated does not grow."""
    await run(world, 1, *WAYS["set_resources"]("512Mi"))
    for value in ("512Mi", "0.5Gi", "256Mi"):
        assert await reasons(world, *WAYS["set_resources"](value)) == ()
    await run(world, 2, "kubectl_scale", {"resource": "deployment", "replicas": 1})
    assert await reasons(world, "kubectl_scale", {"resource": "deployment", "replicas": 1}) == ()


async def test_replicas_grow_too(world):
    """A second scaling up, by whichever action, is a second growth."""
    await run(world, 1, "kubectl_scale", {"resource": "deployment", "add": 1, "max": 9})
    assert await reasons(world, "kubectl_scale", {"resource": "deployment", "replicas": 4})
    assert await reasons(world, *WAYS["patch"]("512Mi"))


async def test_the_mark_stays_when_the_growth_is_taken_back(world):
    """It did not help, so trying it again is for a human as well; everything else is as it was."""
    before = web(world)["spec"]
    one = await run(world, 1, *WAYS["set_resources"]("512Mi"))
    await one.undo()
    assert web(world)["spec"] == before
    assert GROWN_AT in web(world)["metadata"]["annotations"]
    assert await reasons(world, *WAYS["set_resources"]("512Mi"))


@pytest.mark.parametrize("text", ["yesterday", "", "2026-01-02"])
async def test_a_mark_that_cannot_be_read_counts_as_just_now(world, text):
    """Missing data never permits; a date without a time is read as its midnight."""
    world.cluster.change("Deployment", "web", NAMESPACE, {"metadata": {"annotations": {GROWN_AT: text}}})
    assert await reasons(world, *WAYS["patch"]("512Mi"))


async def test_asking_for_growth_takes_no_fields_over(world):
    """A reason to ask is not a leave to force."""
    await run(world, 1, *WAYS["apply"]("512Mi"))
    one = Rig(world.ports, *WAYS["apply"]("1Gi"))
    assert (await one.plan()).params["force"] is False
