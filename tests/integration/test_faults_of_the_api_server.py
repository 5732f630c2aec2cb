"""What an API server answers on a bad day: 409, 410, 429, 500 and 503, before and after it did what was asked."""

from __future__ import annotations

import asyncio
import json

import pytest
from fakes.answering_api import AnsweringApi
from fakes.served import mark, runbook, served

from executor.actions.naming import ref_of
from executor.errors import Unavailable
from services.kubernetes.connect import connect

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

PATIENCE = 120


@pytest.fixture(scope="module")
async def api(stack):
    async with AnsweringApi(stack.kubeconfig, asyncio.get_running_loop().time) as one:
        yield one


@pytest.fixture(scope="module")
async def world(stack, api, tmp_path_factory):
    folder = tmp_path_factory.mktemp("api-answers")
    settings = {"kubernetes": {"kubeconfig": str(api.kubeconfig(folder / "kubeconfig"))}}
    async with served(stack, folder / "world", settings=settings) as one:
        step = mark("fixed")
        step["params"]["patch"] = {"spec": {"template": {"metadata": {"annotations": {"fixed": "yes"}}}}}
        one.runbook("fix", runbook("TestTrouble", step))
        one.space = await one.namespace()
        yield one


@pytest.fixture(scope="module")
async def serving(world):
    """The same with a process."""
    await world.serve()
    return world


@pytest.fixture
async def cluster(api, world):
    settings = world.settings["kubernetes"]
    made = await connect(settings["kubeconfig"], settings["context"], allow_context=True)
    yield made
    api.page = 0
    await made.close()


def reads_of(kind, space):
    return lambda method, path: method == "GET" and f"/{space}/{kind}" in path


async def test_a_list_whose_state_is_forgotten_in_the_middle_is_read_anew(api, world, cluster):
    """410 for the second page: the list begins again, and each object is in it once."""
    names = [f"page-{number}" for number in range(5)]
    for name in names:
        await world.app(name, world.space, replicas=0)
    api.page = 2
    expired = api.answer(410, lambda _, path: f"/{world.space}/deployments" in path and "continue=" in path)
    found = await cluster.list("Deployment", world.space)
    assert [one["metadata"]["name"] for one in found if one["metadata"]["name"] in names] == names
    assert len(expired.given) == 1


async def test_a_list_that_is_always_forgotten_is_told_of_and_not_read_for_ever(api, world, cluster):
    """A server that answers 410 again and again is away: an error after three tries, never half a list."""
    for number in range(3):
        await world.app(f"forgotten-{number}", world.space, replicas=0)
    api.page = 2
    expired = api.answer(410, lambda _, path: f"/{world.space}/deployments" in path and "continue=" in path, times=99)
    try:
        with pytest.raises(Unavailable, match="not today"):
            await cluster.list("Deployment", world.space)
        assert len(expired.given) == 3
    finally:
        expired.times = 0


@pytest.mark.parametrize(("method", "status"), [("GET", 429), ("GET", 503), ("PATCH", 429)])
async def test_a_server_that_asks_for_time_is_given_it(api, world, cluster, method, status):
    """`Retry-After` is waited for before the next request, then the request succeeds."""
    await world.app(f"patient-{method.lower()}-{status}", world.space)
    path = f"/deployments/patient-{method.lower()}-{status}"
    busy = api.answer(status, lambda how, where: how == method and path in where, headers={"Retry-After": "2"})
    before = len(api.asked)
    ref = f"patient-{method.lower()}-{status}"
    found = await world.admin.get("Deployment", ref, world.space)
    assert found is not None
    if method == "GET":
        assert await cluster.get("Deployment", ref, world.space) is not None
    else:
        await cluster.patch(ref_of(found), {"metadata": {"annotations": {"patient": "yes"}}}, how="merge")
        assert (await world.annotations(ref, world.space))["patient"] == "yes"
    now = asyncio.get_running_loop().time()
    assert now - busy.given[0] >= 2
    assert sum(path in where for _, where in api.asked[before:]) == 2


async def test_a_read_that_fails_again_and_again_ends_after_three(api, world, cluster):
    """No endless loop against a server that answers 500."""
    broken = api.answer(500, reads_of("services", world.space), times=99)
    try:
        with pytest.raises(Unavailable, match="not today"):
            await cluster.list("Service", world.space)
        assert len(broken.given) == 3
    finally:
        broken.times = 0


@pytest.mark.parametrize(
    ("status", "done"), [(409, False), (429, False), (500, False), (500, True), (503, False), (503, True)]
)
async def test_a_change_that_was_answered_with_an_error_is_there_once(api, serving, status, done):
    """Whether the server did it before it answered so or not: the plan succeeds, and the change is made once."""
    world, app = serving, f"change-{status}-{'done' if done else 'not'}"
    await world.app(app, world.space)
    given = api.answer(
        status,
        lambda method, path: method == "PATCH" and f"/deployments/{app}" in path and "dryRun" not in path,
        done=done,
        headers={"Retry-After": "1"} if status == 429 else {},
    )
    message = world.rca(app, world.space)
    await world.send([message])
    event = json.loads(message[1])["incident_id"]
    ended = await world.execution(event, "done", seconds=PATIENCE)
    found = await world.deployment(app, world.space)
    assert len(given.given) == 1
    assert (ended["outcome"], found["metadata"]["generation"]) == ("success", 2), ended.get("error")
    assert found["spec"]["template"]["metadata"]["annotations"]["fixed"] == "yes"
    assert len(await world.decisions(event)) == 1
