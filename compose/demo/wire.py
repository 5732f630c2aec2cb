"""Kafka from outside: topics of a run, messages in, and everything that comes out."""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self

from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from compose.demo.errors import DemoFailed
from compose.demo.run import Run

Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]
_PARTITIONS = 3
_PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A message that stands on a topic."""

    topic: str
    value: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The message itself."""
        found: dict[str, Any] = json.loads(self.value)
        return found


class Wire:
    """The topics of one run.

    Args:
        bootstrap_servers: the brokers.
        run: whose topics these are.
    """

    def __init__(self, bootstrap_servers: str, run: Run) -> None:
        self._common: dict[str, Any] = {"bootstrap.servers": bootstrap_servers, "log_level": 0}
        self._topics = run.topics
        self._names = {topic: key for key, topic in run.topics.items()}
        self._group = f"{run.tenant}-watch"
        self._seen: list[Seen] = []
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, name="demo-watch", daemon=True)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._create)
        self._reader.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        await asyncio.to_thread(self._reader.join, 10)

    async def send(self, topic: str, bodies: Sequence[tuple[str, Any]], compression: Compression) -> datetime:
        """Write messages and wait for the broker.

        Args:
            topic: by its name in the settings.
            bodies: key and content of each message.
            compression: of the batch.

        Returns:
            The broker's time of the first message.

        Raises:
            DemoFailed: not all were acknowledged.
        """
        return await asyncio.to_thread(self._send, self._topics[topic], bodies, compression)

    def _send(self, topic: str, bodies: Sequence[tuple[str, Any]], compression: Compression) -> datetime:
        times: list[int] = []
        errors: list[str] = []

        def on_delivery(error: object, message: Message) -> None:
            if error is not None:
                errors.append(str(error))
            else:
                times.append(message.timestamp()[1])

        producer = Producer({**self._common, "compression.type": compression, "linger.ms": 5})
        for key, body in bodies:
            producer.produce(topic, json.dumps(body).encode(), key.encode(), on_delivery=on_delivery)
        left = producer.flush(_PATIENCE)
        if left or errors:
            raise DemoFailed(f"Kafka did not take {left + len(errors)} messages on {topic}: {errors[:1]}")
        return datetime.fromtimestamp(min(times) / 1000, tz=UTC)

    def seen(self, topic: str, fits: Callable[[dict[str, Any]], bool] = lambda _: True) -> list[dict[str, Any]]:
        """What was read so far of a topic, by its name in the settings."""
        return [body for one in tuple(self._seen) if self._names[one.topic] == topic and fits(body := one.body)]

    def everything(self) -> list[Seen]:
        """What was read so far of all topics of the run, its own messages as well."""
        return list(self._seen)

    def _create(self) -> None:
        admin = AdminClient(self._common)
        wanted = [NewTopic(topic, _PARTITIONS) for topic in self._topics.values()]
        for created in admin.create_topics(wanted, operation_timeout=_PATIENCE).values():
            created.result(_PATIENCE)

    def _read(self) -> None:
        settings = {"group.id": self._group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
        consumer = Consumer({**self._common, **settings})
        consumer.subscribe(list(self._topics.values()))
        try:
            while not self._stop.is_set():
                for message in consumer.consume(500, 0.1):
                    if message.error() is None:
                        self._seen.append(Seen(str(message.topic()), bytes(message.value() or b"")))
        finally:
            consumer.close()


def remove_topics(bootstrap_servers: str, run: Run) -> None:
    """Delete the topics of a run; those that are gone already are fine."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    there = admin.list_topics(timeout=_PATIENCE).topics
    mine = [topic for topic in run.topics.values() if topic in there]
    if mine:
        for deleted in admin.delete_topics(mine, operation_timeout=_PATIENCE).values():
            deleted.exception(_PATIENCE)
