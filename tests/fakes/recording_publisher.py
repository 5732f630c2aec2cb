"""A publisher that keeps what it was given, and can be away, slow or both."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.kafka.errors import BusUnavailable
from services.kafka.model import Outbound


class RecordingPublisher:
    """Implements ``services.kafka.model.Publisher`` in memory.

    Attributes:
        away: while true, nothing is acknowledged.
        delay_seconds: how long each acknowledgement takes.
        asked: how often something was to be published, failures included.
    """

    def __init__(self) -> None:
        self.messages: list[Outbound] = []
        self.away = False
        self.delay_seconds = 0.0
        self.asked = 0

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """Keep the messages, or raise BusUnavailable."""
        self.asked += 1
        await asyncio.sleep(self.delay_seconds)
        if self.away:
            raise BusUnavailable("switched off")
        self.messages.extend(messages)
