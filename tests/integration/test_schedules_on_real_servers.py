"""Schedules on the real servers: several processes, each time exactly once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from fakes.served import runbook, served, until
from fakes.world import FakeClock

from runbooks.loader import load_text
from services.cli.validate import known_actions
from services.graph.connect import GraphSettings, connect
from services.graph.migrate import migrate
from services.graph.schedules import Neo4jScheduleState
from services.kafka.bus import KafkaBus
from services.schedule import Scheduler

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def report(name, cron, **schedule):
    """A runbook that changes nothing and runs by the clock."""
    steps = [{"id": "count", "name": "Count", "action": "calculate", "params": {"expression": "{{ 1 + 1 }}"}}]
    made = runbook("Never", *steps, id=name, type="monitoring")
    return {**made, "trigger": {"manual": False, "schedule": [{"cron": cron, **schedule}]}}


async def requests(one):
    """Ids of the requests that Kafka holds, with their times."""
    return [
        (each["request_id"], each["runbook"]["id"], each["requested_at"]) for each in await one.read("run_requests")
    ]


async def test_two_processes_decide_each_of_many_times_exactly_once(stack, tmp_path):
    """A day of times, looked at by two schedulers at once, decided by two processes: one decision for each time."""
    async with served(stack, tmp_path, settings={"kafka": {"partitions": 3}}) as one:
        text = report("quarterly", "*/15 * * * *")
        path = one.runbook("quarterly", text)
        processes = [await one.serve("--role", "decide") for _ in range(2)]
        graph = connect(GraphSettings(stack.neo4j_uri, stack.neo4j_user, stack.neo4j_password))
        await migrate(graph)
        loaded = {"quarterly": load_text(path.read_bytes(), actions=known_actions())}
        clock = FakeClock(datetime(2026, 3, 28, 23, 50, 30, tzinfo=UTC))
        buses = [KafkaBus(stack.kafka_bootstrap) for _ in range(2)]
        both = [
            Scheduler(
                runbooks=lambda: loaded,
                state=Neo4jScheduleState(graph),
                publisher=bus,
                topic=one.topic("run_requests"),
                clock=clock,
                tenant=one.name,
                cluster=one.name,
            )
            for bus in buses
        ]
        for bus in buses:
            await bus.start()
        try:
            for _ in range(25 * 60):
                await asyncio.gather(*(scheduler.sweep() for scheduler in both))
                clock.advance(60)
        finally:
            for bus in buses:
                await bus.stop()
            await graph.close()
        asked = await requests(one)
        times = sorted({datetime.fromisoformat(at) for _, _, at in asked})
        assert len(times) == 100
        assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(minutes=15)}
        assert len(asked) > 100  # both asked for some of them: what follows is not vacuous

        async def all_decided():
            return len(await one.decisions()) >= len(times) and not any(process.ended for process in processes)

        await until(all_decided, "a decision for each time", 120)
        decided = await one.decisions()
        assert len(decided) == len({d["event_id"] for d in decided}) == 100
        assert {d["event_id"] for d in decided} == {number for number, _, _ in asked}
        await until(lambda: _all_read(one, len(asked)), "every copy is read", 60)
        counted = sum(d["repeat_count"] for d in await one.decisions())
        assert counted == len(asked)


async def _all_read(one, count):
    return sum((await one.committed("run_requests")).values()) == count


async def test_running_processes_fire_by_the_clock_and_survive_a_kill(stack, tmp_path):
    """Three runbooks for every minute, two processes, one of them killed: each minute's request is decided once."""
    async with served(stack, tmp_path) as one:
        names = [f"minutely-{number}" for number in range(3)]
        for name in names:
            one.runbook(name, report(name, "* * * * *", timezone="Europe/Vienna"))
        first, _ = await one.serve(), await one.serve("--role", "schedule", "--role", "decide")

        async def armed():
            rows = await one.query("MATCH (s:RunbookSchedule {cluster: $name}) RETURN count(s) AS n")
            return rows[0]["n"] >= len(names)

        await until(armed, "the schedules are known", 30)

        async def minute_done(count):
            decided = await one.decisions()
            return len(decided) >= count * len(names)

        await until(lambda: minute_done(1), "the first minute", 100)
        await first.kill()
        await until(lambda: minute_done(2), "the second minute", 120)
        decided = await one.decisions()
        asked = await requests(one)
        assert len({d["event_id"] for d in decided}) == len(decided)
        assert {number for number, _, _ in asked} == {d["event_id"] for d in decided}
        per_minute = {(name, at) for _, name, at in asked}
        assert len(per_minute) == len({number for number, _, _ in asked})
        assert {name for name, _ in per_minute} == set(names)
