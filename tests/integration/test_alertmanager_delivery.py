"""A real Alertmanager, our receiver, a real Kafka: what fires arrives, and nothing is lost while Kafka is away."""

from __future__ import annotations

import asyncio
import contextlib
from uuid import uuid4

import orjson
import pytest
from fakes.guards import token_guard
from integration.alertmanager_server import run_alertmanager

from safety.access import ALERTS
from services.api.app import create_app
from services.api.receiver import PATH, Receiver
from services.api.server import ApiServer
from services.health import Health
from services.kafka.bus import KafkaBus
from services.kafka.errors import BusUnavailable
from services.kafka.topics import ensure_topics
from services.metrics import Metrics

pytestmark = pytest.mark.stack
TOKEN = "delivery-token"


class Tap:
    """Passes to the real Kafka, notes the bytes, and can be switched off."""

    def __init__(self, bus):
        self.bus = bus
        self.away = False
        self.refused = 0
        self.bodies = []

    async def publish(self, messages):
        if self.away:
            self.refused += 1
            raise BusUnavailable("switched off by the test")
        await self.bus.publish(messages)
        self.bodies += [m.value for m in messages]


@contextlib.asynccontextmanager
async def pipeline(stack, tmp_path):
    """Alertmanager -> receiver -> Kafka -> a consumer that keeps what it reads."""
    topic = f"alerts-{uuid4().hex[:8]}"
    await ensure_topics(stack.kafka_bootstrap, [topic], partitions=1)
    read = []

    async def keep(batch):
        read.extend(batch)

    bus = KafkaBus(stack.kafka_bootstrap)
    bus.consume([topic], f"test-{topic}", keep)
    await bus.start()
    tap = Tap(bus)
    server = ApiServer(create_app(Health(), Metrics(), Receiver(tap, topic, token_guard(TOKEN, ALERTS))), port=0)
    await server.start()
    try:
        async with run_alertmanager(tmp_path, f"{server.url}{PATH}", TOKEN) as alertmanager:
            yield alertmanager, tap, read
    finally:
        await server.stop()
        await bus.stop()


async def until(condition, seconds=30):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the other side is another process
            await asyncio.sleep(0.05)


def statuses(read):
    return [alert["status"] for message in read for alert in orjson.loads(message.value)["alerts"]]


async def test_a_real_alert_fires_and_resolves_onto_kafka_unchanged(stack, tmp_path):
    """The body on the topic is byte for byte what Alertmanager sent, firing first and resolved after it."""
    labels = {"alertname": "KubePodCrashLooping", "namespace": "shop", "pod": "cart-1", "severity": "critical"}
    async with pipeline(stack, tmp_path) as (alertmanager, tap, read):
        await alertmanager.post(labels, annotations={"description": "läuft nicht"})
        await until(lambda: "firing" in statuses(read))
        await alertmanager.post(labels, resolved=True)
        await until(lambda: "resolved" in statuses(read))
    assert [m.value for m in read] == tap.bodies
    first = orjson.loads(read[0].value)
    assert first["version"] == "4"
    assert first["alerts"][0]["labels"] == labels
    assert first["alerts"][0]["annotations"] == {"description": "läuft nicht"}
    assert {m.key for m in read} == {first["groupKey"].encode()}


async def test_nothing_is_lost_while_kafka_is_away(stack, tmp_path):
    """503 makes Alertmanager repeat by itself until Kafka has it; no second firing is needed."""
    async with pipeline(stack, tmp_path) as (alertmanager, tap, read):
        tap.away = True
        for pod in ("a", "b", "c"):
            await alertmanager.post({"alertname": f"Down{pod}", "namespace": "shop", "pod": pod})
        await until(lambda: tap.refused >= 6)
        assert read == []
        tap.away = False
        await until(lambda: len(statuses(read)) >= 3)
    names = sorted(alert["labels"]["alertname"] for m in read for alert in orjson.loads(m.value)["alerts"])
    assert names == ["Downa", "Downb", "Downc"]
