"""The bus on FastStream and confluent-kafka.

Four things are done by hand, for reasons:

* the parser keeps bytes: FastStream's own decodes headers as UTF-8 and would stop at a poisonous header;
* offsets are committed by this module, by number, when the handler and the rest of its work are done, never before
  (invariant 2); the client would commit whatever was read last, see ``services.kafka.settling``;
* a failing handler is retried where it stands, and then the batch is read again: the partition neither moves on
  nor is anything skipped;
* a reader waits for the first message and then takes what is there, see ``services.kafka.prompt``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, cast

import orjson
import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from faststream import AckPolicy
from faststream.confluent import KafkaBroker, KafkaMessage
from faststream.confluent.helpers.config import ConfluentConfig
from faststream.confluent.subscriber.usecase import BatchSubscriber

from executor.failpoints import Failpoint, reach
from services.kafka.errors import BusUnavailable, TooLarge
from services.kafka.model import BatchHandler, Inbound, Outbound
from services.kafka.prompt import IDLE_SECONDS, PromptConsumer
from services.kafka.settling import Settling

log = structlog.get_logger(__name__)

RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0)
"""Pauses between attempts at one batch, before it is given back to Kafka and read again."""

_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE})

_ALONE = 2

LagSink = Callable[[str, int, int], None]
"""Takes topic, partition and the number of messages behind."""


def inbound(message: Message) -> Inbound:
    """A client message as a value; headers that are text become bytes again."""
    headers: Any = message.headers() or ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    _, millis = message.timestamp()
    return Inbound(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=tuple((name, _bytes(value) or b"") for name, value in pairs),
        produced_at=datetime.fromtimestamp(max(millis, 0) / 1000, tz=UTC),
    )


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _is_too_large(error: KafkaException) -> bool:
    """Whether the client or the broker takes no message of that length, however often it is tried."""
    told = error.args[0] if error.args else None
    return isinstance(told, KafkaError) and told.code() in _TOO_LARGE


def _unparsed(raw: tuple[Message, ...], subscriber: BatchSubscriber) -> KafkaMessage:
    """Parser that reads nothing of the content."""
    if subscriber.consumer is None:
        raise BusUnavailable("the consumer is closed")
    return KafkaMessage(raw, body=b"", consumer=subscriber.consumer, is_manual=True)


async def _message_itself(message: KafkaMessage) -> KafkaMessage:
    """Decoder that decodes nothing: the handler gets the message, to acknowledge it."""
    return message


class KafkaBus:
    """Reads topics in batches and writes messages.

    Args:
        bootstrap_servers: ``host:port`` list of the brokers.
        client: further librdkafka settings (TLS, SASL), passed through as they are.
        publish_timeout_seconds: longest wait for the broker's acknowledgement.
        on_lag: told how far each partition is behind, every five seconds.
        mask: given topic and value of each message before it is written; takes secrets out.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        client_id: str = "rootmend",
        client: Mapping[str, Any] | None = None,
        publish_timeout_seconds: float = 10.0,
        on_lag: LagSink | None = None,
        mask: Callable[[str, bytes], bytes] = lambda _, value: value,
    ) -> None:
        self._mask = mask
        self._timeout = publish_timeout_seconds
        self._on_lag = on_lag
        self._stopping = asyncio.Event()
        self._collect: dict[BatchSubscriber, float] = {}
        self._settling: list[Settling] = []
        self._broker = KafkaBroker(
            bootstrap_servers,
            client_id=client_id,
            acks="all",
            linger_ms=1,
            enable_idempotence=True,
            allow_auto_create_topics=False,
            graceful_timeout=15,
            logger=None,
            apply_types=False,
            config=cast("ConfluentConfig", {**(client or {}), **self._lag_config()}),
        )

    def consume(
        self,
        topics: Sequence[str],
        group_id: str,
        handler: BatchHandler,
        *,
        max_records: int = 500,
        wait_seconds: float = 0.01,
        offset_reset: Literal["earliest", "latest"] = "earliest",
    ) -> None:
        """Register a handler before ``start``.

        Args:
            topics: what to read.
            group_id: consumer group; its members share the partitions.
            handler: is given one batch after the other; what it returns is done while the next one is handled.
            max_records: the most messages of one batch.
            wait_seconds: how long a batch is collected when many messages come at once; the most that it adds to the
                latency. A single message is handed on as it comes.
            offset_reset: where a new group begins.
        """
        subscriber: BatchSubscriber = self._broker.subscriber(
            *topics,
            group_id=group_id,
            batch=True,
            max_records=max_records,
            polling_interval=IDLE_SECONDS,
            auto_offset_reset=offset_reset,
            ack_policy=AckPolicy.MANUAL,
            parser=lambda raw: _unparsed(raw, subscriber),
            decoder=_message_itself,
        )

        def commit(places: Sequence[tuple[str, int, int]]) -> None:
            if subscriber.consumer is None:
                raise BusUnavailable("the consumer is closed")
            # Without waiting: a commit that is lost is covered by the next, or repeats work that recognises itself.
            offsets = [TopicPartition(topic, partition, offset) for topic, partition, offset in places]
            subscriber.consumer.consumer.commit(offsets=offsets, asynchronous=True)

        settling = Settling(commit, self._stopping)

        async def handle(message: KafkaMessage) -> None:
            await self._deliver(message, handler, settling)

        subscriber(handle)
        self._settling.append(settling)
        self._collect[subscriber] = wait_seconds

    async def start(self) -> None:
        """Connect and begin to read."""
        await self._broker.start()
        for subscriber, wait_seconds in self._collect.items():
            if subscriber.consumer is not None:
                client: Any = PromptConsumer(subscriber.consumer.consumer, wait_seconds)
                subscriber.consumer.consumer = client

    async def stop_reading(self) -> None:
        """Let the handlers finish their batch, then leave the groups. Writing goes on until ``stop``."""
        await self._settle()
        await asyncio.gather(*(subscriber.stop() for subscriber in self._broker.subscribers))

    async def stop(self) -> None:
        """Let the handlers finish their batch, then leave the groups and disconnect."""
        await self._settle()
        await self._broker.stop()

    async def _settle(self) -> None:
        """What was handled before is settled now; what is handled from now on is settled before its handler returns."""
        self._stopping.set()
        await asyncio.gather(*(settling.done() for settling in self._settling))

    async def ping(self, seconds: float = 2.0) -> bool:
        """Whether a broker answers."""
        return await self._broker.ping(timeout=seconds)

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """Write all and wait for the acknowledgements.

        Raises:
            BusUnavailable: not all were acknowledged in time.
            TooLarge: some are too long for the broker and have no shorter form; the others were acknowledged.
        """
        try:
            async with asyncio.timeout(self._timeout):
                fits = await asyncio.gather(*(self._fits(message, message.value) for message in messages))
            # The broker refuses what is sent together as a whole: what did not fit is sent again, one by one.
            over = [message for message, fitted in zip(messages, fits, strict=True) if not fitted]
            async with asyncio.timeout(self._timeout):
                left = [message for message in over if not await self._fits_alone(message)]
        except (KafkaException, TimeoutError, OSError) as error:
            raise BusUnavailable(f"Kafka did not acknowledge {len(messages)} messages: {error}") from error
        if left:
            named = ", ".join(f"{one.topic}, key {one.key}: {len(one.value)} bytes" for one in left)
            raise TooLarge(f"too long for the broker: {named}")

    async def _fits_alone(self, message: Outbound) -> bool:
        """Write one message, or its shorter form; False when the broker takes neither."""
        for _ in range(_ALONE):  # another batch may have taken it along
            if await self._fits(message, message.value):
                return True
        if message.shorter is None:
            return False
        log.warning("message.shortened", topic=message.topic, key=message.key, length=len(message.value))
        return await self._fits(message, message.shorter())

    async def _fits(self, message: Outbound, value: bytes) -> bool:
        """Write a value and wait for the acknowledgement; False when the broker takes none of that length."""
        try:
            await self._broker.publish(
                self._mask(message.topic, value),
                message.topic,
                key=message.key.encode(),
                headers={name: text.decode("utf-8", "replace") for name, text in message.headers},
            )
        except KafkaException as error:
            if _is_too_large(error):
                return False
            raise
        reach(Failpoint.MESSAGE_SENT, f"{message.topic}/{message.key}")
        return True

    def _lag_config(self) -> dict[str, Any]:
        sink = self._on_lag
        if sink is None:
            return {}

        def on_statistics(text: str) -> None:
            for name, topic in orjson.loads(text).get("topics", {}).items():
                for partition in topic["partitions"].values():
                    if partition["partition"] >= 0 and partition.get("consumer_lag", -1) >= 0:
                        sink(name, partition["partition"], partition["consumer_lag"])

        return {"statistics.interval.ms": 5000, "stats_cb": on_statistics}

    async def _deliver(self, message: KafkaMessage, handler: BatchHandler, settling: Settling) -> None:
        """Handle one batch and have it settled, or have it read again."""
        raw = message.raw_message
        batch = [inbound(m) for m in (raw if isinstance(raw, tuple) else (raw,))]
        for pause in (*RETRY_SECONDS, None):
            try:
                rest = await handler(batch)
            except Exception as error:  # noqa: BLE001 - whatever it was, the batch must be read again
                log.warning("batch.failed", messages=len(batch), error=str(error), error_type=type(error).__name__)
                if pause is None or self._stopping.is_set():
                    await message.nack()
                    return
                await asyncio.sleep(pause)
            else:
                await settling.add(batch, rest)
                if self._stopping.is_set():
                    await settling.done()
                return
