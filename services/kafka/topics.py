"""The topics that the pipeline needs: are they there, and make them where that is allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from services.kafka.errors import BusUnavailable, TopicsMissing


async def ensure_topics(
    bootstrap_servers: str,
    names: Sequence[str],
    *,
    client: Mapping[str, Any] | None = None,
    create: bool = True,
    partitions: int = 6,
    timeout_seconds: float = 15.0,
) -> tuple[str, ...]:
    """Check that the topics exist and create the missing ones.

    Args:
        bootstrap_servers: ``host:port`` list of the brokers.
        names: the topics that are needed.
        client: further librdkafka settings.
        create: whether missing topics may be created; the broker's default replication is used.
        partitions: of a topic that is created.
        timeout_seconds: longest wait for the brokers.

    Returns:
        The topics that were created.

    Raises:
        BusUnavailable: no broker answered.
        TopicsMissing: topics are missing and may not be created.
    """
    return await asyncio.to_thread(
        _ensure, {"bootstrap.servers": bootstrap_servers, **(client or {})}, names, create, partitions, timeout_seconds
    )


def _ensure(
    config: dict[str, Any], names: Sequence[str], create: bool, partitions: int, timeout: float
) -> tuple[str, ...]:
    admin = AdminClient(config)
    try:
        existing = admin.list_topics(timeout=timeout).topics
    except KafkaException as error:
        raise BusUnavailable(f"no Kafka broker answers at {config['bootstrap.servers']}: {error}") from error
    missing = [name for name in dict.fromkeys(names) if name not in existing]
    if missing and not create:
        raise TopicsMissing(f"topics do not exist: {', '.join(missing)} (create them, or set kafka.create_topics)")
    if not missing:
        return ()
    for name, future in admin.create_topics([NewTopic(name, partitions) for name in missing]).items():
        try:
            future.result(timeout)
        except KafkaException as error:
            if "already exists" not in str(error):
                raise TopicsMissing(f"topic {name} cannot be created: {error}") from error
    return tuple(missing)
