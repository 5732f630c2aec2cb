"""Rungs and their history, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from fakes.actions import VirtualClock

from safety.autonomy import Climber, Ended, Move, Standing
from services.autonomy.ports import MoveMade


class MemoryAutonomy:
    """Implements services.autonomy.ports.AutonomyStore.

    ``broken`` is raised by every call; ``ended`` is what executions prove.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._standings: dict[Climber, Standing] = {}
        self._moves: list[tuple[int, MoveMade]] = []
        self.ended: list[tuple[Climber, Ended]] = []
        self.broken: Exception | None = None

    def _reach(self) -> None:
        if self.broken:
            raise self.broken

    async def standings(self) -> Mapping[Climber, Standing]:
        self._reach()
        return dict(self._standings)

    async def evidence(self, since: datetime) -> Sequence[tuple[Climber, Ended]]:
        self._reach()
        return sorted(
            (one for one in self.ended if one[1].at >= since), key=lambda one: (one[1].at, one[1].execution_id)
        )

    async def move(self, move: Move) -> bool:
        self._reach()
        known = self._standings.get(move.climber)
        if known is not None and replace(known, since=None) == move.standing:
            return True  # sent again
        if (known.revision if known else 0) != move.standing.revision - 1:
            return False
        now = self._clock.now()
        self._standings[move.climber] = replace(move.standing, since=now)
        words = (move.before, move.standing.rung, now, move.standing.by, move.standing.reason, str(move.tally))
        self._moves.append((move.standing.revision, MoveMade(move.climber, *words)))
        return True

    async def history(self, climbers: Sequence[Climber]) -> Sequence[MoveMade]:
        self._reach()
        return [made for _, made in reversed(self._moves) if made.climber in climbers]
