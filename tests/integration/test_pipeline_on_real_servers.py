"""Invariant 2 on the real Kafka and the real graph, and what the ledger says of inputs that it has taken."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from fakes.graph_samples import RUN, decision, origin, signal
from fakes.pipeline_rig import Rig, runbook
from fakes.stores import memory_store, real_store

from services.graph.errors import GraphUnavailable
from services.intake.settings import IntakeSettings
from services.kafka.bus import KafkaBus
from services.kafka.model import Outbound
from services.kafka.topics import ensure_topics
from services.pipeline.commit import Committer
from services.pipeline.decide import Decider
from services.pipeline.ingest import Ingest
from services.records import DecisionKind
from services.settings import Topics

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
INPUTS = 40


class SystemTime:
    """The real clock, for messages that carry the broker's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class FailingLedger:
    """The real ledger behind a door that is shut at first. Before each write it looks what Kafka holds as done."""

    def __init__(self, inner: Any, failures: int, committed: Any) -> None:
        self._inner, self._failures, self._committed = inner, failures, committed
        self.tried = 0
        self.committed_before: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def record(self, batch: Any) -> None:
        self.tried += 1
        self.committed_before.append(await asyncio.to_thread(self._committed))
        if self.tried <= self._failures:
            raise GraphUnavailable("the graph is away")
        await self._inner.record(batch)


def committed_by(bootstrap: str, group: str, topic: str) -> Any:
    """Looks up how many messages of a topic a group has committed."""

    def look() -> int:
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
        try:
            found = consumer.committed([TopicPartition(topic, 0)], timeout=10)
            return max(0, *(part.offset for part in found))
        finally:
            consumer.close()

    return look


def ingest_on(ledger: Any, bus: KafkaBus, topics: Topics, tenant: str) -> Ingest:
    """The decide role on the real ledger and bus; cluster, graph of causes and gate are the fakes."""
    rig = Rig(runbook(trigger={"root_cause_reason": "Evicted"}))
    rig.clock = SystemTime()  # type: ignore[assignment]
    process = rig.process()
    committer = Committer(ledger=ledger, gate=process.gate, publisher=bus, topics=topics, hooks=rig.hooks)
    decider: Decider = process.decider
    decider._ledger = ledger
    return Ingest(
        settings=IntakeSettings(default_tenant=tenant, default_cluster="kind"),
        decider=decider,
        committer=committer,
        ledger=ledger,
        topics=topics,
        clock=rig.clock,
        hooks=rig.hooks,
    )


async def test_invariant_2_an_offset_is_committed_only_after_its_decision_is_durable(stack):
    """The graph fails three times: Kafka's offsets stand still, also over the end of the process; then all is there."""
    name = uuid4().hex[:12]
    topics = Topics(**{field: f"test-{field}-{name}" for field in Topics.model_fields})
    group, tenant = f"test-{name}", f"{RUN}-{name}"
    await ensure_topics(stack.kafka_bootstrap, [topics.events, topics.decisions, topics.dlq], partitions=1)
    producer = Producer({"bootstrap.servers": stack.kafka_bootstrap})
    for number in range(INPUTS):
        producer.produce(topics.events, key=b"k", value=message(name, number))
    producer.produce(topics.events, key=b"k", value=b"poison \xff")
    producer.flush(10)
    look = committed_by(stack.kafka_bootstrap, group, topics.events)
    async with real_store(stack) as store:
        broken = FailingLedger(store.ledger, 1_000_000, look)
        await run_until(stack, group, lambda: broken.tried >= 2, topics=topics, ledger=broken, tenant=tenant)
        assert await asyncio.to_thread(look) == 0, "a process that ended in between has committed nothing"
        ledger = FailingLedger(store.ledger, 3, look)

        async def done() -> bool:
            return await asyncio.to_thread(look) == INPUTS + 1

        await run_until(stack, group, done, topics=topics, ledger=ledger, tenant=tenant)
        assert ledger.committed_before[:4] == [0, 0, 0, 0]
        rows, _, _ = await store.graph.driver.execute_query(
            "MATCH (d:Decision {tenant: $tenant}) RETURN d.kind AS kind, sum(d.repeat_count) AS inputs",
            tenant=tenant,
            database_="neo4j",
        )
        assert {row["kind"]: row["inputs"] for row in rows} == {"waiting": INPUTS}


def message(name: str, number: int) -> bytes:
    """One alert about one of four pods."""
    return json.dumps(
        {
            "etype": "prom.alert",
            "event_id": f"{name}-{number}",
            "event_time": datetime.now(UTC).isoformat(),
            "reason": "KubePodCrashLooping",
            "severity": "WARNING",
            "status": "firing",
            "message": "it restarts",
            "subject": {"kind": "Pod", "name": f"app-{number % 4}", "ns": "shop"},
        }
    ).encode()


async def run_until(stack, group, done, *, topics, ledger, tenant) -> None:
    """One process of the decide role, until something holds; then it ends as on SIGTERM."""
    bus = KafkaBus(stack.kafka_bootstrap)
    ingest = ingest_on(ledger, bus, topics, tenant)
    bus.consume([topics.events], group, ingest.on_batch)
    await bus.start()
    try:
        async with asyncio.timeout(60):
            while True:
                holds = done()
                if holds is True or (holds is not False and await holds):
                    return
                await asyncio.sleep(0.2)
    finally:
        await bus.stop_reading()
        await bus.stop()


async def test_what_is_written_after_reading_stopped_still_arrives(stack):
    """The last steps of executions are told while the process ends."""
    topic = f"test-{uuid4().hex[:12]}"
    await ensure_topics(stack.kafka_bootstrap, [topic], partitions=1)
    bus = KafkaBus(stack.kafka_bootstrap)
    seen: list[Any] = []

    async def handler(batch: Any) -> None:
        seen.extend(batch)

    bus.consume([topic], f"g-{topic}", handler)
    await bus.start()
    await bus.stop_reading()
    await bus.publish([Outbound(topic, "k", b"the end")])
    await bus.stop()
    assert seen == []
    consumer = Consumer(
        {"bootstrap.servers": stack.kafka_bootstrap, "group.id": f"r-{topic}", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    found = await asyncio.to_thread(consumer.poll, 20)
    consumer.close()
    assert found is not None
    assert found.value() == b"the end"


@pytest.fixture(params=["memory", "graph"])
async def store(request, stack):
    if request.param == "memory":
        yield memory_store()
        return
    async with real_store(stack) as real:
        yield real


async def test_a_decision_says_which_inputs_it_has_taken(store):
    """By the highest offset of each partition, for its alert and for its problem."""
    first = signal()
    written = decision(signal=first, origins=(origin(5), origin(7), origin(3, partition=1)), highest={("alerts", 0): 7})
    await store.ledger.record([written])
    state = (await store.ledger.open_alerts([first.alert_key]))[first.alert_key]
    assert state.event_id == first.event_id
    assert state.taken == {("alerts", 0): 7, ("alerts", 1): 3}
    mark = written.incident.fingerprint
    assert (await store.ledger.open_incidents([mark]))[mark].taken == state.taken


async def test_a_waiting_decision_of_many_lookups_becomes_a_permit(store):
    """Attempts at waiting are look-ups; the first answer is later than all of them."""
    waiting = decision(DecisionKind.WAITING, attempt=9)
    await store.ledger.record([waiting])
    answer = decision(DecisionKind.REFUSAL, signal=waiting.signal, attempt=1)
    await store.ledger.record([replace(answer, id=waiting.id)])
    (story,) = await store.ledger.find(waiting.id, 1)
    assert (story.decision.kind, story.decision.attempt) == (DecisionKind.REFUSAL, 1)
