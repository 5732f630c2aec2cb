"""What the ladder of autonomy needs from the durable store. The graph implements it, a fake lives in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from executor.model import Outcome, Verdict
from safety.autonomy import Climber, Ended, Move, Result, Rung, Standing


@dataclass(frozen=True, slots=True)
class MoveMade:
    """A move on record.

    Attributes:
        evidence: the numbers that it was made on, in words.
    """

    climber: Climber
    before: Rung
    after: Rung
    at: datetime
    by: str
    reason: str
    evidence: str


class AutonomyStore(Protocol):
    """Where rungs and their history are durable. Raises ``GraphUnavailable`` when the store does not answer."""

    async def standings(self) -> Mapping[Climber, Standing]:
        """Everybody whom somebody or something has moved."""
        ...

    async def evidence(self, since: datetime) -> Sequence[tuple[Climber, Ended]]:
        """Executions that ended from then on and were carried through, oldest first."""
        ...

    async def move(self, move: Move) -> bool:
        """Record a move; False when somebody else moved the climber meanwhile, and nothing was recorded.

        Recorded again, a move meets itself.
        """
        ...

    async def history(self, climbers: Sequence[Climber]) -> Sequence[MoveMade]:
        """Moves of these climbers, newest first."""
        ...


def result_of(outcome: str, verdict: str | None) -> Result:
    """What an execution says about its runbook. Only a verified success speaks for it."""
    if verdict == Verdict.NOT_FIXED:
        return Result.NOT_FIXED
    against = {Outcome.ROLLBACK: Result.ROLLED_BACK, Outcome.FAILURE: Result.FAILED}
    if (found := against.get(Outcome(outcome))) is not None:
        return found
    helped = outcome == Outcome.SUCCESS and verdict == Verdict.VERIFIED
    return Result.VERIFIED if helped else Result.UNCLEAR


def kind_of(target_key: str) -> str:
    """The kind of a target, from ``cluster/namespace/Kind/name``."""
    return target_key.rsplit("/", 2)[1]
