"""What was fired, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime


class MemoryScheduleState:
    """Implements services.schedule.ScheduleState.

    ``broken`` is raised by both, ``forgets`` by what records; ``asked`` counts the questions.
    """

    def __init__(self) -> None:
        self.last: dict[str, datetime] = {}
        self.broken: Exception | None = None
        self.forgets: Exception | None = None
        self.asked = 0

    async def arm(self, keys: Sequence[str], now: datetime) -> Mapping[str, datetime]:
        self.asked += 1
        if self.broken:
            raise self.broken
        return {key: self.last.setdefault(key, now) for key in keys}

    async def fired(self, key: str, at: datetime) -> None:
        if error := self.broken or self.forgets:
            raise error
        self.last[key] = max(at, self.last[key])
