"""The ladder of autonomy: what a runbook may do by itself, earned by verified fixes and lost by anything else.

Pure: outcomes in, moves out. Who reads the outcomes and keeps the rungs is the caller's business. Nobody is promoted
without evidence, what speaks against a runbook is looked at before what speaks for it, and one look moves it at most
one rung up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from statistics import NormalDist

MACHINE = "rootmend"
"""Who made a move that no person made."""


class Rung(StrEnum):
    """How far a runbook may go by itself, from nothing to everything."""

    OBSERVE = "observe"
    """What it would do is recorded; nobody is asked and nothing runs."""
    SUGGEST = "suggest"
    """People are told its plan, which cannot be approved."""
    APPROVE = "approve"
    """It runs after a human's yes."""
    AUTO = "auto"
    """It runs."""

    @property
    def height(self) -> int:
        """From 0; larger may do more."""
        return _ORDER.index(self)

    @property
    def above(self) -> Rung | None:
        """The next rung up; None at the top."""
        return _ORDER[self.height + 1] if self.height + 1 < len(_ORDER) else None


_ORDER = tuple(Rung)


def lower_of(*rungs: Rung) -> Rung:
    """The one that may do least."""
    return min(rungs, key=lambda rung: rung.height)


class Result(StrEnum):
    """What an execution says about its runbook."""

    VERIFIED = "verified"
    NOT_FIXED = "not_fixed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    UNCLEAR = "unclear"
    """It ran, and nobody can say whether it helped: no success, and no reason to demote."""


AGAINST = frozenset({Result.NOT_FIXED, Result.FAILED, Result.ROLLED_BACK})
"""Results that speak against a runbook."""


@dataclass(frozen=True, slots=True, order=True)
class Climber:
    """Who stands on a rung: a runbook, for a tenant and a kind of target."""

    tenant: str
    runbook: str
    kind: str

    @property
    def key(self) -> str:
        """Its identity in the records."""
        return f"{self.tenant}|{self.runbook}|{self.kind}"


@dataclass(frozen=True, slots=True)
class Ended:
    """An execution that began and was carried through."""

    execution_id: str
    at: datetime
    result: Result


@dataclass(frozen=True, slots=True)
class Tally:
    """Evidence in numbers.

    Attributes:
        lower: lower bound of the verified-fix rate, 0 to 1.
    """

    ended: int = 0
    verified: int = 0
    against: int = 0
    lower: float = 0.0

    def __str__(self) -> str:
        return f"{self.verified} of {self.ended} verified, lower bound {self.lower:.3f}, {self.against} against it"


@dataclass(frozen=True, slots=True)
class Threshold:
    """What it takes to reach a rung.

    Attributes:
        executions: at least so many that were carried through; at least 1, so that there is evidence.
        lower_bound: the Wilson lower bound of the verified-fix rate is at least this, 0 to 1.
        needs_human: the evidence only makes it eligible; a person promotes.
    """

    executions: int
    lower_bound: float
    needs_human: bool = False

    def __post_init__(self) -> None:
        if self.executions < 1:
            raise ValueError("a promotion needs at least one execution as evidence")
        if not 0 < self.lower_bound <= 1:
            raise ValueError("lower_bound must be above 0 and at most 1")


_TO_SUGGEST, _TO_APPROVE, _TO_AUTO = Threshold(1, 0.05), Threshold(3, 0.4), Threshold(20, 0.8, needs_human=True)


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rules.

    Attributes:
        start: the rung of a runbook about which nothing is on record.
        starts: other first rungs, by runbook id or glob; the first that matches counts.
        thresholds: what it takes to reach each rung above the lowest.
        window: evidence older than this no longer counts.
        confidence: of the lower bound, two-sided, above 0 and below 1.
        suggest_after: so many results against it within the window drop a runbook to ``suggest``.
    """

    start: Rung = Rung.APPROVE
    starts: Mapping[str, Rung] = field(default_factory=dict)
    thresholds: Mapping[Rung, Threshold] = field(
        default_factory=lambda: {Rung.SUGGEST: _TO_SUGGEST, Rung.APPROVE: _TO_APPROVE, Rung.AUTO: _TO_AUTO}
    )
    window: timedelta = timedelta(days=30)
    confidence: float = 0.95
    suggest_after: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ValueError("confidence must be between 0 and 1")
        if self.suggest_after < 1:
            raise ValueError("suggest_after must be at least 1")

    def first(self, runbook: str) -> Rung:
        """Where a runbook begins."""
        return next((rung for glob, rung in self.starts.items() if fnmatchcase(runbook, glob)), self.start)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where somebody stands, and since when what counts.

    Attributes:
        revision: counts the moves; 0 for nobody moved it yet.
        judged_until: results up to here were known at the last move: none of them demotes once more.
        counted_from: results up to here count for no promotion: after a demotion, or a person's move, evidence begins
            anew.
        forgiven_until: results up to here no longer add up against it: a person has promoted it since.
    """

    rung: Rung
    revision: int = 0
    since: datetime | None = None
    by: str = ""
    reason: str = ""
    judged_until: datetime | None = None
    counted_from: datetime | None = None
    forgiven_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A change of rung, with the evidence that it was made on.

    Attributes:
        standing: as it is from now on; its ``since`` is set by whoever records it.
    """

    climber: Climber
    before: Rung
    standing: Standing
    tally: Tally

    @property
    def promotes(self) -> bool:
        """Whether it goes up."""
        return self.standing.rung.height > self.before.height


def wilson_lower(verified: int, ended: int, confidence: float = 0.95) -> float:
    """Lower end of the Wilson score interval of a share; 0 where nothing was verified.

    Args:
        verified: how many of them were.
        ended: of so many.
        confidence: of the interval, two-sided.

    Raises:
        ValueError: the counts make no sense.
    """
    if not 0 <= verified <= ended:
        raise ValueError(f"{verified} of {ended} is no share")
    if verified == 0:
        return 0.0  # exactly; the formula leaves a rounding error
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, z2 = verified / ended, z * z
    margin = z * math.sqrt(share * (1 - share) / ended + z2 / (4 * ended * ended))
    return min(share, max(0.0, (share + z2 / (2 * ended) - margin) / (1 + z2 / ended)))


def tally(ended: Sequence[Ended], ladder: Ladder, now: datetime, after: datetime | None = None) -> Tally:
    """The evidence of the window in numbers, without what came up to ``after``."""
    counted = [one for one in ended if _counts(one, ladder, now, after)]
    verified = sum(one.result is Result.VERIFIED for one in counted)
    against = sum(one.result in AGAINST for one in counted)
    return Tally(len(counted), verified, against, wilson_lower(verified, len(counted), ladder.confidence))


def reaches(evidence: Tally, threshold: Threshold) -> bool:
    """Whether the evidence is enough."""
    return evidence.ended >= threshold.executions and evidence.lower >= threshold.lower_bound


def next_move(
    climber: Climber, standing: Standing, ended: Sequence[Ended], ladder: Ladder, now: datetime
) -> Move | None:
    """What the evidence does to somebody's rung; None for nothing. Demotion is looked at first.

    Args:
        climber: whose rung.
        standing: as it is.
        ended: executions of the climber, in any order.
        ladder: the rules.
        now: end of the window.
    """
    return _demotion(climber, standing, ended, ladder, now) or _promotion(climber, standing, ended, ladder, now)


def _demotion(
    climber: Climber, standing: Standing, ended: Sequence[Ended], ladder: Ladder, now: datetime
) -> Move | None:
    evidence = tally(ended, ladder, now, standing.counted_from)
    adding = tally(ended, ladder, now, standing.forgiven_until).against
    fresh = [o for o in ended if o.result in AGAINST and _counts(o, ladder, now, standing.judged_until)]
    if not fresh:
        return None
    last = max(fresh, key=lambda one: one.at)
    why = f"{last.result.value} by execution {last.execution_id}"
    if adding >= ladder.suggest_after and standing.rung.height > Rung.SUGGEST.height:
        why = f"{why}; {adding} results against it within {ladder.window}"
        return _moved(climber, standing, _After(Rung.SUGGEST, why, evidence), ended)
    if standing.rung is Rung.AUTO:
        return _moved(climber, standing, _After(Rung.APPROVE, why, evidence), ended)
    return None


def eligible(standing: Standing, ended: Sequence[Ended], ladder: Ladder, now: datetime) -> Rung | None:
    """The next rung up when the evidence reaches it, whoever has to promote; None otherwise."""
    above = standing.rung.above
    if above is None:
        return None
    return above if reaches(tally(ended, ladder, now, standing.counted_from), ladder.thresholds[above]) else None


def _promotion(
    climber: Climber, standing: Standing, ended: Sequence[Ended], ladder: Ladder, now: datetime
) -> Move | None:
    above = eligible(standing, ended, ladder, now)
    if above is None or ladder.thresholds[above].needs_human:
        return None
    evidence = tally(ended, ladder, now, standing.counted_from)
    return _moved(climber, standing, _After(above, str(evidence), evidence), ended)


@dataclass(frozen=True, slots=True)
class _After:
    """Where a move leads, and on what evidence."""

    rung: Rung
    why: str
    evidence: Tally


def _moved(climber: Climber, standing: Standing, to: _After, ended: Sequence[Ended]) -> Move:
    known = _newest(standing.judged_until, ended)
    demoted = to.rung.height < standing.rung.height
    after = replace(
        standing,
        rung=to.rung,
        revision=standing.revision + 1,
        since=None,
        by=MACHINE,
        reason=to.why,
        judged_until=known,
        counted_from=known if demoted else standing.counted_from,
    )
    return Move(climber, standing.rung, after, to.evidence)


@dataclass(frozen=True, slots=True)
class Declined:
    """A person's move that cannot be made, and why."""

    why: str


def by_person(
    climber: Climber,
    standing: Standing,
    ended: Sequence[Ended],
    ladder: Ladder,
    now: datetime,
    *,
    rung: Rung,
    by: str,
    reason: str,
    unproven: bool = False,
) -> Move | Declined:
    """A move that a person makes.

    Args:
        climber: whose rung.
        standing: as it is.
        ended: executions of the climber.
        ladder: the rules.
        now: end of the window.
        rung: where to.
        by: who; must not be empty.
        reason: why; must not be empty.
        unproven: promote although the evidence is not enough; the record says so.
    """
    if not by.strip() or not reason.strip():
        return Declined("a move needs a name and a reason")
    if rung is standing.rung:
        return Declined(f"it stands on {rung} already")
    evidence = tally(ended, ladder, now, standing.counted_from)
    up = rung.height > standing.rung.height
    short = up and not reaches(evidence, ladder.thresholds[rung])
    if short and not unproven:
        wanted = ladder.thresholds[rung]
        takes = f"{wanted.executions} executions with a lower bound of {wanted.lower_bound:g}"
        return Declined(f"{rung} takes {takes}; there are: {evidence}")
    known = _newest(standing.judged_until, ended)
    after = replace(
        standing,
        rung=rung,
        revision=standing.revision + 1,
        since=None,
        by=by,
        reason=f"{reason} (without enough evidence)" if short else reason,
        judged_until=known,
        counted_from=known,
        forgiven_until=known if up else standing.forgiven_until,
    )
    return Move(climber, standing.rung, after, evidence)


def _counts(one: Ended, ladder: Ladder, now: datetime, after: datetime | None) -> bool:
    return now - one.at <= ladder.window and (after is None or one.at > after)


def _newest(known: datetime | None, ended: Sequence[Ended]) -> datetime | None:
    times = [one.at for one in ended] + ([known] if known else [])
    return max(times, default=None)
