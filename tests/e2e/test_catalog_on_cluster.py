"""Each runbook of the catalog through ``rb serve`` on the practice cluster: with its cause, and with another one.

The pipeline runs with its own account, the real gate and journal; what KWOK does not know (probes, volumes, metrics) is
played by ``fakes.practice_controllers``. Settle times are shortened, and that is all that differs from the catalog.
"""

from __future__ import annotations

import asyncio
import base64
import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.canaries import Canaries, Slack, leaks
from fakes.catalog_cases import CASES
from fakes.catalog_site import Site
from fakes.practice_controllers import Kubelet, prometheus
from fakes.served import WIDE, Served, served
from fakes.web import web

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.xdist_group("catalog")]

CATALOG = Path(__file__).parents[2] / "runbooks" / "catalog"
KEPT = {"pvc-nearly-full-expand", "nodenotready-cordon-drain"}
"""What they change is better kept when it did not help: a volume cannot shrink, a broken node takes no pods."""
SEALED = """
MATCH (n:RunbookExecution) WHERE n.target_key STARTS WITH $name + '/' AND n.plan_sealed IS NOT NULL
RETURN count(n) AS count
"""
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


@dataclass(frozen=True)
class Played:
    """What came of everything.

    Attributes:
        leaks: where a canary was found.
        sealed: records that hold something encrypted.
        said: messages in the chat.
    """

    courses: Mapping[tuple[str, bool], Course]
    leaks: list[str]
    sealed: int
    said: int


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


async def play_all(stack: Any, folder: Path) -> Played:
    """Every case at once, each in a namespace of its own."""
    measures: dict[str, Any] = {}
    canaries, chat = Canaries(), Slack()
    secret = {
        "ROOTMEND_SECRET_REGISTRY_CONFIG": canaries.registry,
        "SEALING_KEY": base64.b64encode(os.urandom(32)).decode(),
    }
    async with prometheus(measures) as address, web(chat) as slack:
        settings = {
            **SETTINGS,
            "prometheus": {"url": address},
            "api": {"enabled": True, "port": 0},
            "slack": {
                "mode": "http",
                "token": "xoxb-of-a-fake",
                "signing_secret": "of-a-fake",
                "base_url": f"{slack.url}/api/",
                "channel": "#ops",
            },
            "secrets": {"encryption": {"active": "k1", "keys": {"k1": "env:SEALING_KEY"}}},
        }
        async with served(stack, folder, settings=settings, environment=secret) as world:
            put_catalog(world)
            kubelet = Kubelet(world.admin, world.name)
            await kubelet.add(f"{world.name}-main")
            running = asyncio.create_task(kubelet.run())
            try:
                await world.serve()
                wanted = [(name, wrong) for name in CASES for wrong in (False, True)]
                sites = [
                    Site(world, kubelet, await world.namespace(), wrong, measures, canaries) for _, wrong in wanted
                ]
                courses = asyncio.gather(*(play(site, name) for site, (name, _) in zip(sites, wanted, strict=True)))
                await asyncio.wait({running, courses}, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    await running  # every course would wait in vain: its failure is the one to tell
                ended = dict(zip(wanted, await courses, strict=True))
                ids = [course.execution["id"] for course in ended.values() if course.execution]
                found = await leaks(world, canaries, chat.said, ids[:: max(1, len(ids) // 4)])
                (kept,) = await world.query(SEALED, name=world.name)
                return Played(ended, found, kept["count"], len(chat.said))
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await kubelet.close()


@pytest.fixture(scope="module")
def played(stack, tmp_path_factory):
    """The one run of everything."""
    return asyncio.run(play_all(stack, tmp_path_factory.mktemp("catalog")))


@pytest.fixture(scope="module")
def courses(played):
    """What came of every case."""
    return played.courses


def test_invariant_12_no_runbook_of_the_catalog_leaks_a_secret(played):
    """Read as a secret, or a password in alerts, workloads and Secrets: no store, topic, log, message or export has it.

    ``test_canaries_on_real_servers`` shows that this search finds them when nothing is masked.
    """
    untried = [case for case, course in played.courses.items() if not course.execution]
    assert untried == [], "what did not run to its end leaked nothing yet"
    assert played.leaks == []
    assert played.sealed > 0, "the prior content of a Secret is kept, and encrypted"
    assert played.said > 0, "questions were asked in the chat"


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
