"""Each runbook of the catalog through ``rb serve`` on the practice cluster: with its cause, and with another one.

The pipeline runs with its own account, the real gate and journal; what KWOK does not know (probes, volumes, metrics) is
played by ``fakes.practice_controllers``. Settle times are shortened, and that is all that differs from the catalog.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.catalog_cases import CASES
from fakes.catalog_site import Site
from fakes.practice_controllers import Kubelet, prometheus
from fakes.served import WIDE, Served, served

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("catalog")]

CATALOG = Path(__file__).parents[2] / "runbooks" / "catalog"
KEPT = {"pvc-nearly-full-expand", "nodenotready-cordon-drain"}
"""What they change is better kept when it did not help: a volume cannot shrink, a broken node takes no pods."""
QUICK = {"settle": "2s", "timeout": "50s"}
SETTINGS: dict[str, Any] = {
    "gate": WIDE,
    "runbooks": {"parameters": {"high-memory-graduated": {"patience": "6s", "hold": "1s"}}},
}


@dataclass(frozen=True)
class Course:
    """What came of one case; ``trouble`` where it did not come to its end."""

    execution: Mapping[str, Any]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    steps: Mapping[tuple[str, str], str]
    trouble: str = ""


def put_catalog(world: Served) -> None:
    """The runbooks of the catalog, verified sooner."""
    for name in CASES:
        body = yaml.safe_load((CATALOG / name / "runbook.yaml").read_text())["runbook"]
        body["verification"] |= QUICK
        world.runbook(name, body)


async def play(site: Site, name: str) -> Course:
    """Break something, tell the pipeline, and look at what it made of it."""
    world = site.world
    try:
        told = await CASES[name](site)
        await site.known(told)
        before = await site.specs(told)
        execution = await site.remedied(told)
        assert execution["runbook_id"] == name, execution
        after = await taken_back(site, told, before) if site.wrong else await site.specs(told)
        return Course(execution, before, after, await world.steps(execution["id"]))
    except Exception:  # noqa: BLE001 - each case has its own test, which tells
        return Course({}, {}, {}, {}, traceback.format_exc())
    finally:
        await site.close()


async def taken_back(site: Site, told: Any, before: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is there in the end; controllers need a moment to follow, such as the autoscaler the limit put back."""
    for _ in range(40):
        after = await site.specs(told)
        if after == before:
            break
        await asyncio.sleep(0.5)
    return after


async def play_all(stack: Any, folder: Path) -> dict[tuple[str, bool], Course]:
    """Every case at once, each in a namespace of its own."""
    measures: dict[str, Any] = {}
    secret = {"ROOTMEND_SECRET_REGISTRY_CONFIG": '{"auths": {"registry.practice.rootmend.dev": {}}}'}
    async with prometheus(measures) as address:
        settings = {**SETTINGS, "prometheus": {"url": address}}
        async with served(stack, folder, settings=settings, environment=secret) as world:
            put_catalog(world)
            kubelet = Kubelet(world.admin, world.name)
            await kubelet.add(f"{world.name}-main")
            running = asyncio.create_task(kubelet.run())
            try:
                await world.serve()
                wanted = [(name, wrong) for name in CASES for wrong in (False, True)]
                sites = [Site(world, kubelet, await world.namespace(), wrong, measures) for _, wrong in wanted]
                courses = asyncio.gather(*(play(site, name) for site, (name, _) in zip(sites, wanted, strict=True)))
                await asyncio.wait({running, courses}, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    await running  # every course would wait in vain: its failure is the one to tell
                return dict(zip(wanted, await courses, strict=True))
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await kubelet.close()


@pytest.fixture(scope="module")
def courses(stack, tmp_path_factory):
    """What came of every case."""
    return asyncio.run(play_all(stack, tmp_path_factory.mktemp("catalog")))


def test_every_runbook_of_the_catalog_is_tried():
    """A runbook without a case would be shipped untried."""
    assert set(CASES) == {path.name for path in CATALOG.iterdir()}


@pytest.mark.parametrize("name", CASES)
def test_with_its_cause_it_is_verified(courses, name):
    """The workload is well because of what the runbook changed."""
    course = courses[name, False]
    assert not course.trouble, course.trouble
    told = (course.execution["outcome"], course.execution.get("verdict"))
    assert told == ("success", "verified"), (course.execution.get("error"), course.steps)


@pytest.mark.parametrize("name", CASES)
def test_with_another_cause_it_is_not_fixed_and_taken_back(courses, name):
    """Exactly what was there before is there again, where the runbook takes back at all."""
    course = courses[name, True]
    assert not course.trouble, course.trouble
    told = (course.execution["outcome"], course.execution.get("verdict"))
    expected = "failure" if name in KEPT else "rollback"
    assert told == (expected, "not_fixed"), (course.execution.get("error"), course.steps)
    assert course.after == course.before
