"""A reader that hands on a message as it comes.

The client's own ``consume`` returns when it has as many messages as it was asked for, or when the time is over: a
single message always waits for the whole time, and an idle reader has to ask again a hundred times a second to keep
that time short.
"""

from __future__ import annotations

from typing import Any

from confluent_kafka import Consumer, Message

IDLE_SECONDS = 0.25
"""How long one call waits for a first message; a stop has to wait for it to return."""

_MANY = 16
"""So many messages at once are the beginning of a storm: then larger batches are worth a short wait."""


class PromptConsumer:
    """Stands in the place of a ``confluent_kafka.Consumer``; all but ``consume`` is passed on.

    Args:
        consumer: the client.
        collect_seconds: how much longer a batch is collected when many messages were waiting.
    """

    def __init__(self, consumer: Consumer, collect_seconds: float) -> None:
        self._consumer = consumer
        self._collect = collect_seconds

    def consume(self, num_messages: int = 1, timeout: float = IDLE_SECONDS) -> list[Message]:
        """Wait for the first message, then take what is there, at most ``num_messages``.

        Args:
            num_messages: the most that are taken.
            timeout: longest wait for the first one, in seconds.
        """
        found = self._consumer.consume(1, timeout)
        if found and num_messages > 1:
            found += self._consumer.consume(num_messages - 1, 0)
            if _MANY <= len(found) < num_messages:
                found += self._consumer.consume(num_messages - len(found), self._collect)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)
