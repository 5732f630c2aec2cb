"""The bus on the real Kafka."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from services.kafka.bus import KafkaBus
from services.kafka.model import Outbound
from services.kafka.topics import ensure_topics

pytestmark = pytest.mark.stack


@pytest.fixture
async def topic(stack):
    name = f"test-{uuid.uuid4().hex[:12]}"
    assert await ensure_topics(stack.kafka_bootstrap, [name], partitions=3) == (name,)
    return name


async def read_until(bus, topic, count, *, fail_first=0, group=None):
    """Read ``count`` messages, letting the handler fail a number of times first."""
    seen, failures = [], [fail_first]
    done = asyncio.Event()

    async def handler(batch):
        if failures[0]:
            failures[0] -= 1
            raise RuntimeError("the graph is away")
        seen.extend(batch)
        if len(seen) >= count:
            done.set()

    bus.consume([topic], group or f"g-{uuid.uuid4().hex}", handler)
    await bus.start()
    try:
        async with asyncio.timeout(60):
            await done.wait()
    finally:
        await bus.stop()
    return seen


async def test_messages_arrive_as_the_bytes_that_were_sent(stack, topic):
    """Poison must reach the handler untouched: bad UTF-8 in value, key and headers, and a message without value."""
    producer = Producer({"bootstrap.servers": stack.kafka_bootstrap, "compression.type": "zstd"})
    producer.produce(topic, value=b"\xff\xfe{", key=b"\x80", headers=[("h", b"\xc3\x28")])
    producer.produce(topic, value=None, key=b"tombstone")
    producer.flush(10)
    seen = await read_until(KafkaBus(stack.kafka_bootstrap), topic, 2)
    by_key = {m.key: m for m in seen}
    assert by_key[b"\x80"].value == b"\xff\xfe{"
    assert by_key[b"\x80"].headers == (("h", b"\xc3\x28"),)
    assert by_key[b"tombstone"].value is None


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd", "none"])
async def test_every_compression_is_read(stack, topic, compression):
    """KGroot's writers use all of them side by side."""
    producer = Producer({"bootstrap.servers": stack.kafka_bootstrap, "compression.type": compression})
    for number in range(50):
        producer.produce(topic, value=b"x" * 200 + str(number).encode())
    producer.flush(10)
    seen = await read_until(KafkaBus(stack.kafka_bootstrap), topic, 50)
    assert len({m.value for m in seen}) == 50


async def test_a_failing_batch_is_handled_again_and_nothing_is_skipped(stack, topic):
    """While the graph is away the loop stands still; afterwards every message is there."""
    bus = KafkaBus(stack.kafka_bootstrap)
    writer = KafkaBus(stack.kafka_bootstrap)
    await writer.start()
    await writer.publish([Outbound(topic, f"k{i}", str(i).encode()) for i in range(20)])
    await writer.stop()
    seen = await read_until(bus, topic, 20, fail_first=3)
    assert sorted(int(m.value) for m in seen) == list(range(20))


async def test_offsets_are_committed_only_after_the_handler_returned(stack, topic):
    """A process that dies inside the handler leaves its batch to the next one."""
    group = f"g-{uuid.uuid4().hex}"
    writer = KafkaBus(stack.kafka_bootstrap)
    await writer.start()
    await writer.publish([Outbound(topic, "k", b"1")])

    entered = asyncio.Event()
    crashed = KafkaBus(stack.kafka_bootstrap)

    async def dies(_batch):
        entered.set()
        raise RuntimeError("killed")

    crashed.consume([topic], group, dies)
    await crashed.start()
    async with asyncio.timeout(60):
        await entered.wait()
    await crashed.stop()

    seen = await read_until(KafkaBus(stack.kafka_bootstrap), topic, 1, group=group)
    assert [m.value for m in seen] == [b"1"]
    await writer.stop()


def committed(bootstrap, group, topic):
    """What the broker says is done, over all partitions."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    try:
        found = consumer.committed([TopicPartition(topic, number) for number in range(3)], timeout=10)
        return sum(max(place.offset, 0) for place in found)
    finally:
        consumer.close()


async def test_the_next_batch_is_handled_while_the_rest_of_one_is_done(stack, topic):
    """Its offset stays where it is until that rest is done, although later messages were read and handled."""
    group, bus = f"g-{uuid.uuid4().hex}", KafkaBus(stack.kafka_bootstrap)
    told, second, seen = asyncio.Event(), asyncio.Event(), []

    async def handler(batch):
        seen.extend(batch)
        if len(seen) > 1:
            second.set()
            return None
        return told.wait

    bus.consume([topic], group, handler, max_records=1)
    await bus.start()
    try:
        async with asyncio.timeout(60):
            await bus.publish([Outbound(topic, "k", b"1"), Outbound(topic, "k", b"2")])
            await second.wait()
            assert await asyncio.to_thread(committed, stack.kafka_bootstrap, group, topic) == 0
            told.set()
            while await asyncio.to_thread(committed, stack.kafka_bootstrap, group, topic) != 2:  # noqa: ASYNC110 - a server cannot set an event
                await asyncio.sleep(0.05)
    finally:
        told.set()
        await bus.stop()


async def test_a_reader_that_stops_leaves_nothing_unsettled(stack, topic):
    """Whoever comes next begins behind it."""
    group, bus = f"g-{uuid.uuid4().hex}", KafkaBus(stack.kafka_bootstrap)
    handled, done = asyncio.Event(), []

    async def rest():
        await asyncio.sleep(0.3)
        done.append(1)

    async def handler(_batch):
        handled.set()
        return rest

    bus.consume([topic], group, handler)
    await bus.start()
    await bus.publish([Outbound(topic, "k", b"1")])
    async with asyncio.timeout(60):
        await handled.wait()
    await bus.stop()
    assert done == [1]
    assert await asyncio.to_thread(committed, stack.kafka_bootstrap, group, topic) == 1
