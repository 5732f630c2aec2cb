"""Failpoints: one table for the code, the page and the crashes; and nothing of them in the product's way."""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes.journal import Crash
from fakes.pipeline_rig import Rig, runbook
from fakes.recording_publisher import RecordingPublisher
from fakes.schedules import MemoryScheduleState
from fakes.world import FakeClock

from executor.failpoints import BOUNDARIES, Failpoint, arm, reach
from services.schedule import Scheduler
from tests.chaos.kinds import KINDS
from tests.chaos.matrix import ELSEWHERE, MATRIX

ROOT = Path(__file__).parents[2]
PRODUCT = ("services", "executor", "safety", "matcher", "runbooks", "cypher", "compose")


def trees():
    for package in PRODUCT:
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "failpoints" in text:
                yield str(path.relative_to(ROOT)), ast.parse(text)


def calls(tree, name):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def test_the_table_names_each_failpoint_of_the_code_and_no_other():
    """Whoever adds a boundary adds its row; a row without a place in the code would be a crash that nobody tries."""
    found = defaultdict(set)
    for path, tree in trees():
        for call in calls(tree, "reach"):
            point = call.args[0]
            assert isinstance(point, ast.Attribute), f"{path}:{call.lineno} names its failpoint by a constant"
            found[Failpoint[point.attr]].add(path)
    assert dict(found) == {point: {boundary.module} for point, boundary in BOUNDARIES.items()}
    assert set(BOUNDARIES) == set(Failpoint)


def test_nothing_in_the_product_arms_a_failpoint():
    """No setting, variable or command of the product can make it die: only the tests' own composition root does."""
    users = {path for path, tree in trees() for node in ast.walk(tree) for _ in _arms(node)}
    assert users == set()


def _arms(node):
    if isinstance(node, ast.ImportFrom) and node.module == "executor.failpoints":
        yield from (name for name in node.names if name.name not in {"Failpoint", "reach"})
    if isinstance(node, ast.Import):
        yield from (name for name in node.names if name.name == "executor.failpoints")


@pytest.fixture
def disarmed():
    yield
    arm(None)


def test_a_failpoint_does_nothing_until_it_is_armed_and_then_tells_where_and_about_what(disarmed):
    """Off it is silent; armed it is told point and subject; disarmed it is silent again."""
    reach(Failpoint.CLAIMED, "before")
    told = []
    arm(lambda point, subject: told.append((point, subject)))
    reach(Failpoint.CLAIMED, "e-1")
    arm(None)
    reach(Failpoint.CLAIMED, "after")
    assert told == [(Failpoint.CLAIMED, "e-1")]


def test_each_failpoint_is_crashed_at_for_kinds_of_steps_that_exist():
    """The run covers the whole table; what no incident reaches by itself is named, with the test that dies there."""
    assert set(MATRIX) | set(ELSEWHERE) == set(Failpoint)
    assert not set(MATRIX) & set(ELSEWHERE)
    assert all(chosen and set(chosen) <= set(KINDS) for chosen in MATRIX.values())


def test_the_page_shows_the_table_as_it_is():
    """docs/reliability.md is generated where it tells of failpoints: make docs."""
    from docs_failpoints import render  # noqa: PLC0415 - beside the other generators

    assert (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8") == render()


def dying(point):
    """Die once at a failpoint, as far as that can be done within a process."""

    def armed(reached, _):
        if reached is point:
            arm(None)
            raise Crash("kill -9")

    arm(armed)


async def test_a_death_after_a_permit_was_aborted_leaves_its_target_free(disarmed):
    """The reservation that nobody gave back lapses by itself, and the next repeat is permitted again."""
    rig = Rig(handoff=False)
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    rig.clock.passed += rig.policy.permit_ttl_seconds + 1
    dying(Failpoint.PERMIT_ABORTED)
    with pytest.raises(Crash):
        await process.care.sweep()
    assert rig.outcomes() == ["aborted"]
    successor = rig.process()
    await successor.care.sweep()
    rig.clock.passed += rig.policy.lock_lease_seconds + 1
    await successor.ingest.on_batch([rig.event()])
    assert rig.outcomes() == ["aborted", "permitted"]


async def test_a_death_between_a_trigger_and_its_mark_fires_once(disarmed):
    """The successor asks again under the same id, so that it is one request."""
    state, publisher, clock = MemoryScheduleState(), RecordingPublisher(), FakeClock(datetime(2026, 3, 1, tzinfo=UTC))
    known = {"nightly": runbook(trigger={"schedule": [{"cron": "* * * * *"}]})}

    def scheduler():
        given = {"topic": "run", "tenant": "acme", "cluster": "kind"}
        return Scheduler(runbooks=lambda: known, state=state, publisher=publisher, clock=clock, **given)

    first = scheduler()
    await first.sweep()
    clock.advance(60)
    dying(Failpoint.TRIGGER_PUBLISHED)
    with pytest.raises(Crash):
        await first.sweep()
    await scheduler().sweep()
    asked = [json.loads(message.value)["request_id"] for message in publisher.messages]
    assert len(asked) == 2
    assert len(set(asked)) == 1
    clock.advance(30)
    await scheduler().sweep()
    assert len(publisher.messages) == 2
