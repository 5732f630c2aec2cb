"""What every store of schedules does; the same suite runs on the one in memory and on Neo4j."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from fakes.schedules import MemoryScheduleState
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runbooks.triggers import Schedule
from services.schedule import Planned

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def memory():
    return MemoryScheduleState()


@pytest.fixture
async def neo4j(stack):
    from services.graph.connect import GraphSettings, connect  # noqa: PLC0415 - only where the server is wanted
    from services.graph.migrate import migrate  # noqa: PLC0415 - as above
    from services.graph.schedules import Neo4jScheduleState  # noqa: PLC0415 - as above

    graph = connect(GraphSettings(stack.neo4j_uri, stack.neo4j_user, stack.neo4j_password))
    await migrate(graph)
    yield Neo4jScheduleState(graph)
    await graph.driver.execute_query("MATCH (s:RunbookSchedule) WHERE s.cluster STARTS WITH 'contract-' DELETE s")
    await graph.close()


@pytest.fixture(params=["memory", pytest.param("neo4j", marks=pytest.mark.stack)])
def store(request):
    return request.getfixturevalue(request.param)


def schedule():
    """A schedule that nobody else has."""
    return Planned("acme", f"contract-{uuid4()}", "nightly", Schedule(cron="0 3 * * *"))


async def test_a_schedule_begins_when_it_is_first_seen(store):
    """Who looks later does not begin it again."""
    one, other = schedule(), schedule()
    assert await store.arm([one], NOW) == {one.key: NOW}
    assert await store.arm([one, other], NOW + MINUTE) == {one.key: NOW, other.key: NOW + MINUTE}


async def test_what_was_fired_is_known_to_everybody_and_never_goes_back(store):
    """A slow process that records an earlier time changes nothing."""
    one = schedule()
    await store.arm([one], NOW)
    await store.fired(one.key, NOW + 5 * MINUTE)
    await store.fired(one.key, NOW + 2 * MINUTE)
    assert await store.arm([one], NOW + 9 * MINUTE) == {one.key: NOW + 5 * MINUTE}


async def test_processes_that_begin_a_schedule_at_once_agree(store):
    """One of them was first; all are told the same."""
    one = schedule()
    found = await asyncio.gather(*(store.arm([one], NOW + number * MINUTE) for number in range(10)))
    assert len({told[one.key] for told in found}) == 1


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(minutes=st.lists(st.integers(1, 1000), min_size=1, max_size=8))
async def test_recorded_at_once_in_any_order_the_latest_counts(store, minutes):
    """Writers wait for each other at the node."""
    one = schedule()
    await store.arm([one], NOW)
    await asyncio.gather(*(store.fired(one.key, NOW + minute * MINUTE) for minute in minutes))
    assert await store.arm([one], NOW) == {one.key: NOW + max(minutes) * MINUTE}
