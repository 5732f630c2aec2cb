"""Invariant 2 on the real Kafka and Neo4j: an offset moves only after its decision is durable."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from fakes.served import served, until

from services.bootstrap import Role, assemble, make_pipeline
from services.graph.errors import GraphUnavailable
from services.kafka.topics import ensure_topics
from services.settings import load_settings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


SETTINGS = {"kafka": {"client": {"session.timeout.ms": 6000}, "batch_max_records": 10}}
"""A killed member is noticed after six seconds instead of 45, and is killed in the middle of many small batches."""


class FailsFirst:
    """A ledger that tells when it is asked to record, fails a number of times, and then really records."""

    def __init__(self, inner, failures, world):
        self._inner, self._left, self._world = inner, failures, world
        self.seen = []
        self.failed = asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def record(self, batch):
        self.seen.append((await self._world.committed("rca"), len(await self._world.decisions())))
        if self._left:
            self._left -= 1
            self.failed.set()
            raise GraphUnavailable("a stand-in for Neo4j being away")
        await self._inner.record(batch)


@pytest.fixture
async def world(stack, tmp_path):
    async with served(stack, tmp_path / "offsets", settings=SETTINGS) as one:
        yield one


def offset(committed):
    return sum(committed.values())


async def deciding(world, failures):
    """The decide role in this process, with a ledger that fails first."""
    parts = await assemble(load_settings(Path(world.config)))
    ledger = FailsFirst(parts.ledger, failures, world)
    parts.ledger = ledger
    settings = parts.settings.kafka
    await ensure_topics(settings.bootstrap_servers, settings.topics.names, partitions=1)
    pipeline = make_pipeline(parts, [Role.DECIDE])
    parts.bus.consume(settings.topics.inputs, f"{settings.group_id}-decide", pipeline.ingest.begin)
    await parts.bus.start()
    return parts, ledger


async def test_invariant_2_an_offset_is_committed_only_after_its_decision_is_durable(world):
    """While recording fails the offset stands still; a process that dies there leaves its inputs to the next one."""
    messages = [world.rca(f"app-{n}", "nowhere") for n in range(5)]
    parts, ledger = await deciding(world, failures=1_000)
    try:
        await world.send(messages)
        await asyncio.wait_for(ledger.failed.wait(), 30)
    finally:
        await parts.bus.stop()
        await parts.close()
    assert await world.decisions() == []
    assert offset(await world.committed("rca")) == 0
    parts, ledger = await deciding(world, failures=2)
    try:

        async def moved():
            return offset(await world.committed("rca")) == len(messages)

        await until(moved, "the offset moves")
    finally:
        await parts.bus.stop()
        await parts.close()
    assert all(offset(committed) <= decided for committed, decided in ledger.seen)
    decided = await world.decisions()
    assert sorted(d["event_id"] for d in decided) == sorted(json.loads(m[1])["incident_id"] for m in messages)
    assert [d["repeat_count"] for d in decided] == [1] * len(messages)


async def test_invariant_2_a_killed_process_skips_nothing_and_counts_nothing_twice(world):
    """Killed in the middle of a stream, looked at while it is dead: whatever is committed is decided."""
    total = 400
    events = []
    for kills in range(2):
        process = await world.serve("--role", "decide")
        messages = [world.rca(f"app-{kills}-{n}", "nowhere") for n in range(total // 2)]
        events += [json.loads(m[1])["incident_id"] for m in messages]
        before = len(await world.decisions())
        await world.send(messages)
        if kills == 1:
            break

        async def some(least=before + 1):
            return len(await world.decisions()) >= least

        await until(some, "the first decisions of this life")
        await process.kill()
        committed, decided = offset(await world.committed("rca")), {d["event_id"] for d in await world.decisions()}
        assert set(events[:committed]) <= decided

    async def all_decided():
        return len(await world.decisions()) >= total

    await until(all_decided, "every input is decided", 60)
    found = await world.decisions()
    assert sorted(d["event_id"] for d in found) == sorted(events)
    assert {d["repeat_count"] for d in found} == {1}
