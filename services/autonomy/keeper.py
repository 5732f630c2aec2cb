"""Who stands on which rung, kept in the process and moved by what executions prove. A duty of the sweeper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import structlog

from executor.ports import Clock, Hooks
from safety.autonomy import Climber, Ended, Ladder, Move, Standing, next_move
from services.autonomy.ports import AutonomyStore

log = structlog.get_logger(__name__)

_OVERLAP = timedelta(minutes=5)
"""So far back is read again: what was written at the same time may have become visible later."""
_EVERYBODY_SECONDS = 60.0
"""So often everybody is judged anew: old evidence leaves the window without anything new coming in."""


class AutonomyKeeper:
    """Implements ``services.pipeline.ruling.Rungs``.

    Several processes may do this at the same time: a move counts once, and whoever comes second reads it.

    Args:
        store: where rungs, moves and executions are.
        ladder: the rules.
        clock: for the window.
        hooks: hear ``autonomy.moved``.
    """

    def __init__(self, store: AutonomyStore, ladder: Ladder, clock: Clock, hooks: Hooks) -> None:
        self._store = store
        self._ladder = ladder
        self._clock = clock
        self._hooks = hooks
        self._standings: Mapping[Climber, Standing] | None = None
        self._evidence: dict[Climber, dict[str, Ended]] = {}
        self._newest: datetime | None = None
        self._judged = -_EVERYBODY_SECONDS

    def standing(self, climber: Climber) -> Standing | None:
        """Where somebody stands; None as long as that was never read."""
        if self._standings is None:
            return None
        return self._standings.get(climber) or self.first(climber)

    def first(self, climber: Climber) -> Standing:
        """Where somebody begins about whom nothing is on record."""
        return Standing(self._ladder.first(climber.runbook))

    async def sweep(self) -> None:
        """Read what is new, and move whom it moves.

        Raises:
            GraphUnavailable: what was known stays.
        """
        before = self._standings or {}
        standings = dict(await self._store.standings())
        changed = await self._read()
        changed |= {climber for climber, standing in standings.items() if standing != before.get(climber)}
        for climber in sorted(changed & standings.keys()):
            self._tell_followed(climber, before.get(climber) or self.first(climber), standings[climber])
        for climber in self._due(changed, standings):
            standing = standings.get(climber) or self.first(climber)
            ended = tuple(self._evidence.get(climber, {}).values())
            move = next_move(climber, standing, ended, self._ladder, self._clock.now())
            if move is not None and await self._store.move(move):
                standings[climber] = move.standing
                self._tell(move)
        self._standings = standings

    def _due(self, changed: set[Climber], standings: Mapping[Climber, Standing]) -> Iterable[Climber]:
        now = self._clock.monotonic()
        if self._standings is None or now - self._judged >= _EVERYBODY_SECONDS:
            self._judged = now
            return sorted({*self._evidence, *standings})
        return sorted(changed)

    async def _read(self) -> set[Climber]:
        """Take up executions that ended since the last look; gives whom they are about."""
        oldest = self._clock.now() - self._ladder.window
        since = max(self._newest - _OVERLAP, oldest) if self._newest else oldest
        changed: set[Climber] = set()
        for climber, ended in await self._store.evidence(since):
            known = self._evidence.setdefault(climber, {})
            if ended.execution_id not in known:
                known[ended.execution_id] = ended
                changed.add(climber)
            self._newest = max(self._newest or ended.at, ended.at)
        for climber, known in list(self._evidence.items()):
            if any(one.at < oldest for one in known.values()):
                self._evidence[climber] = {number: one for number, one in known.items() if one.at >= oldest}
        return changed

    @staticmethod
    def _tell_followed(climber: Climber, before: Standing, now: Standing) -> None:
        """Somebody else has moved it: a person, or another process."""
        if before.rung is not now.rung:
            names = {"tenant": climber.tenant, "runbook": climber.runbook, "target_kind": climber.kind}
            log.info("autonomy.followed", **names, after=now.rung.value, by=now.by, why=now.reason)

    def _tell(self, move: Move) -> None:
        tell = log.info if move.promotes else log.warning
        tell(
            "autonomy.moved",
            tenant=move.climber.tenant,
            runbook=move.climber.runbook,
            target_kind=move.climber.kind,
            before=move.before.value,
            after=move.standing.rung.value,
            why=move.standing.reason,
        )
        self._hooks.event(
            "autonomy.moved", runbook=move.climber.runbook, rung=move.standing.rung.value, promoted=move.promotes
        )
