"""Kafka for one command: one message out, and what comes in from now on. Nothing is committed, nobody is joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from services.kafka.errors import BusUnavailable
from services.kafka.model import Outbound

_TIMEOUT = 10.0


def publish_once(bootstrap_servers: str, client: Mapping[str, Any], message: Outbound) -> None:
    """Write one message and return when the broker has acknowledged it.

    Raises:
        BusUnavailable: it did not, in ten seconds; the message may or may not be there.
    """
    failed: list[str] = ["no answer"]

    def told(error: Any, _: Any) -> None:
        failed[:] = [str(error)] if error is not None else []

    producer = Producer(
        {
            **client,
            "bootstrap.servers": bootstrap_servers,
            "acks": "all",
            "enable.idempotence": True,
            "delivery.timeout.ms": int(_TIMEOUT * 1000),
        }
    )
    producer.produce(message.topic, message.value, message.key.encode(), on_delivery=told)
    producer.flush(_TIMEOUT + 1)
    if failed:
        raise BusUnavailable(f"Kafka at {bootstrap_servers} did not acknowledge: {failed[0]}")


class Tail:
    """Reads what is written to topics after it was opened.

    Args:
        bootstrap_servers: ``host:port`` list of the brokers.
        client: further librdkafka settings.
        topics: what to read; they must exist.

    Raises:
        BusUnavailable: no broker answers.
    """

    def __init__(self, bootstrap_servers: str, client: Mapping[str, Any], topics: Sequence[str]) -> None:
        own = {"group.id": f"rb-{uuid4()}", "enable.auto.commit": False, "allow.auto.create.topics": False}
        self._consumer = Consumer({**client, "bootstrap.servers": bootstrap_servers, **own})
        try:
            self._consumer.assign([place for topic in topics for place in self._ends(topic)])
        except KafkaException as error:
            self._consumer.close()
            raise BusUnavailable(f"Kafka at {bootstrap_servers} cannot be read: {error}") from error

    def _ends(self, topic: str) -> list[TopicPartition]:
        known = self._consumer.list_topics(topic, timeout=_TIMEOUT).topics[topic].partitions
        ends = []
        for partition in known:
            place = TopicPartition(topic, partition)
            _, place.offset = self._consumer.get_watermark_offsets(place, timeout=_TIMEOUT)
            ends.append(place)
        return ends

    def poll(self, seconds: float) -> bytes | None:
        """The value of the next message; None when none came in time, or it cannot be read."""
        message = self._consumer.poll(seconds)
        if message is None or message.error() is not None:
            return None
        value = message.value()
        return value if isinstance(value, bytes) else None

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close()
