"""What was fired, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from services.schedule import Planned


class MemoryScheduleState:
    """Implements services.schedule.ScheduleState.

    ``broken`` is raised by both, ``forgets`` by what records; ``asked`` counts the questions.
    """

    def __init__(self) -> None:
        self.last: dict[str, datetime] = {}
        self.broken: Exception | None = None
        self.forgets: Exception | None = None
        self.asked = 0

    async def arm(self, schedules: Sequence[Planned], now: datetime) -> Mapping[str, datetime]:
        self.asked += 1
        if self.broken:
            raise self.broken
        return {one.key: self.last.setdefault(one.key, now) for one in schedules}

    async def fired(self, key: str, at: datetime) -> None:
        if error := self.broken or self.forgets:
            raise error
        self.last[key] = max(at, self.last[key])
