"""Kafka: topics, partitions, how long they keep messages, and how far behind the consumers are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin import ConfigResource as _ConfigResource  # type: ignore[attr-defined]  # it is exported

from services.doctor.model import Finding, State, finding
from services.settings import Kafka

_SECONDS = 10
_LEAST_KEPT_MS = 24 * 3600 * 1000
"""A topic that forgets sooner loses inputs when the pipeline is away for a night."""
_BEHIND = 10_000


async def kafka(settings: Kafka, roles: Sequence[str] = ("decide", "act", "approvals")) -> Sequence[Finding]:
    """Everything about the topics of the settings. Raises KafkaException when no broker answers."""
    return await asyncio.to_thread(_examine, settings, roles)


def _examine(settings: Kafka, roles: Sequence[str]) -> list[Finding]:
    config = {**settings.client, "bootstrap.servers": settings.bootstrap_servers}
    admin = AdminClient(config)
    there = admin.list_topics(timeout=_SECONDS)
    names = list(settings.topics.names)
    missing = [name for name in names if name not in there.topics]
    known = [name for name in names if name in there.topics]
    few = [
        f"{name} has {len(there.topics[name].partitions)}"
        for name in settings.topics.inputs
        if name in known and len(there.topics[name].partitions) < settings.partitions
    ]
    made = "rb serve creates them at its start" if settings.create_topics else "create them, or set kafka.create_topics"
    do = f"kafka-topics --alter --partitions {settings.partitions}, or set kafka.partitions to what there is"
    return [
        Finding("kafka", State.OK, f"{len(there.brokers)} brokers answer"),
        finding("kafka topics", [f"{name} is missing" for name in missing], f"all {len(names)} are there", made),
        finding("kafka partitions", few, "as many as the settings say", do, State.NOTE),
        _kept(admin, known),
        _lag(config, settings, there.topics, known, roles),
    ]


def _kept(admin: AdminClient, names: Sequence[str]) -> Finding:
    asked = [_ConfigResource(_ConfigResource.Type.TOPIC, name) for name in names]
    short = []
    for resource, future in admin.describe_configs(asked).items() if asked else ():
        values = future.result(_SECONDS)
        kept, policy = int(values["retention.ms"].value), str(values["cleanup.policy"].value)
        if "compact" in policy:
            short.append(f"{resource.name} is compacted, which drops messages")
        elif 0 <= kept < _LEAST_KEPT_MS:
            short.append(f"{resource.name} keeps messages for {kept / 3_600_000:.1f} h")
    do = "kafka-configs --alter --add-config retention.ms=604800000,cleanup.policy=delete"
    return finding("kafka retention", short, "a day at least", do)


def _lag(config: dict[str, Any], settings: Kafka, topics: Any, known: Sequence[str], roles: Sequence[str]) -> Finding:
    read = {
        "decide": settings.topics.inputs,
        "act": (settings.topics.requests,),
        "approvals": (settings.topics.approvals,),
    }
    behind, total = [], 0
    for role in roles:
        group = f"{settings.group_id}-{role}"
        consumer = Consumer({**config, "group.id": group, "enable.auto.commit": False})
        try:
            places = [
                TopicPartition(name, number)
                for name in read[role]
                if name in known
                for number in topics[name].partitions
            ]
            for place in consumer.committed(places, timeout=_SECONDS) if places else ():
                low, high = consumer.get_watermark_offsets(place, timeout=_SECONDS)
                lag = high - (place.offset if place.offset >= 0 else low)
                total += lag
                if 0 <= place.offset < low:
                    behind.append(
                        f"{group} was at {place.offset} of {place.topic}/{place.partition}, which begins at {low}"
                    )
                elif lag > _BEHIND:
                    behind.append(f"{group} is {lag:,} messages behind in {place.topic}/{place.partition}")
        finally:
            consumer.close()
    do = "is rb serve running with every role? add members, or look at rootmend_kafka_lag"
    return finding("kafka lag", behind, f"{total:,} messages in all", do)
