"""Waiting for expressions over live objects: on the API server in memory, and on the real one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from fakes.places import SystemClock, rig

from executor.actions.naming import ref_of
from executor.errors import StepFailed

READY = "deployment.status.readyReplicas == deployment.spec.replicas"


def waiting(at, **params):
    """A wait in real time on either side."""
    made = rig(at, "wait", params)
    made.world = replace(made.world, clock=SystemClock())
    return made


async def test_replicas_are_waited_for_by_their_own_numbers(place):
    """The status is read again and again until it holds; a count that is left out while it is zero does not."""
    await place.deploy(replicas=2)
    one = waiting(place, condition=READY, pollInterval="200ms", timeout="40s")
    await one.plan()
    assert (await one.act())["detail"].startswith(READY)
    assert len(await place.pods()) == 2


async def test_what_does_not_come_true_fails_in_time(place):
    """With what was seen last."""
    await place.deploy(replicas=1)
    one = waiting(place, until="workload.spec.replicas == 7", poll="100ms", timeout="500ms")
    await one.plan()
    with pytest.raises(StepFailed, match=r"not reached within 0\.5 s: .* is false"):
        await one.act()


async def test_a_change_of_somebody_else_is_seen(place):
    """Each look reads the live object."""
    made = await place.deploy(replicas=1)
    one = waiting(place, until="deployment.metadata.labels.warm == 'yes'", poll="100ms", timeout="20s")
    await one.plan()
    work = asyncio.create_task(one.act())
    await asyncio.sleep(0.3)
    assert not work.done()
    await place.admin.patch(ref_of(made), {"metadata": {"labels": {"warm": "yes"}}}, how="merge")
    assert (await work)["waited_seconds"] < 20


async def test_an_object_that_is_not_there_does_not_hold(place):
    """It may still come."""
    one = waiting(place, until="deployment.spec.replicas == 1", poll="100ms", timeout="300ms")
    await one.plan()
    with pytest.raises(StepFailed, match="Deployment/web does not exist"):
        await one.act()
