"""How much a runbook, or a root cause without one, is worth automating: five criteria of 1 to 3 points.

What is not known has no points: it never counts in favour, and is told as unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median, median_low
from types import MappingProxyType

from runbooks.model import LoadedRunbook, Runbook
from runbooks.steps import OnFailure, OnSuccess, RunOnFailure, Step

PRIME = 10
"""From so many points on automation is worth it."""
MOST = 3
ENOUGH = 5
"""Fewer samples of a duration or of executions prove nothing."""

_DAILY, _WEEKLY, _MONTHLY = 30, 4, 1
_SHORT, _LONG = 5 * 60, 30 * 60
_GOOD, _FAIR = 0.8, 0.5
_SOME = 3
_IMPACT = {
    **dict.fromkeys(("debug", "info", "informational", "notice", "normal", "none", "low"), 1),
    **dict.fromkeys(("warning", "warn", "medium", "minor", "error", "major", "high"), 2),
    **dict.fromkeys(("critical", "fatal", "emergency", "page", "disaster"), 3),
}
_WORDS = {1: "low", 2: "medium", 3: "high"}
_RESERVED = {"RB405": "has a change that nothing takes back (RB405)"}


class Verdict(StrEnum):
    """What the points say."""

    PRIME = "prime"
    """Worth automating."""
    UNKNOWN = "unknown"
    """It could be, were more known."""
    NO = "not now"
    """Not even if all that is unknown spoke for it."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One line of the matrix; ``points`` is None when nothing is known, 0 when it is known to speak against."""

    name: str
    points: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Seen:
    """Incidents of the last 30 days, or of a part of them.

    Attributes:
        severities: how many incidents had which.
        by_hand: seconds until an alert was over that nothing of ours was done about.
    """

    incidents: int = 0
    severities: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    by_hand: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Ran:
    """Executions that began and were carried through.

    Attributes:
        ended, verified: of the version that is rated.
        earlier: how many there were of other versions.
        seconds: how long each took, of all versions.
    """

    ended: int = 0
    verified: int = 0
    earlier: int = 0
    seconds: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """A rated runbook or cause.

    Attributes:
        reservations: what the points do not show, and what a person should look at before.
    """

    name: str
    criteria: tuple[Criterion, ...]
    reservations: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Points of what is known."""
        return sum(one.points or 0 for one in self.criteria)

    @property
    def at_most(self) -> int:
        """Points if all that is unknown spoke for it."""
        return sum(MOST if one.points is None else one.points for one in self.criteria)

    @property
    def verdict(self) -> Verdict:
        """What the points say."""
        if self.total >= PRIME:
            return Verdict.PRIME
        return Verdict.UNKNOWN if self.at_most >= PRIME else Verdict.NO


def score_runbook(loaded: LoadedRunbook, seen: Seen | None, ran: Ran | None) -> Score:
    """Rate a runbook.

    Args:
        loaded: the runbook.
        seen: incidents that it would take; None when nobody could be asked.
        ran: its executions; None as well.
    """
    runbook = loaded.runbook
    criteria = (
        frequency(seen),
        duration(seen, ran),
        impact(seen, runbook.trigger.severity),
        complexity(runbook),
        success(ran),
    )
    return Score(runbook.id, criteria, tuple(_reservations(loaded)))


def score_cause(reason: str, seen: Seen | None) -> Score:
    """Rate a root cause that has no runbook: its steps and their success are unknown."""
    criteria = (
        frequency(seen),
        duration(seen, None),
        impact(seen, ()),
        Criterion("complexity", None, "no runbook says which steps it takes"),
        Criterion("success", None, "no runbook was run"),
    )
    return Score(reason, criteria)


def frequency(seen: Seen | None) -> Criterion:
    """How often it happens. What lies outside the time that was looked at is not known and does not count."""
    if seen is None:
        return Criterion("frequency", None, "the graph could not be asked")
    count = seen.incidents
    points = 3 if count >= _DAILY else 2 if count >= _WEEKLY else 1 if count >= _MONTHLY else 0
    word = ("less than monthly", "monthly", "weekly", "daily")[points]
    return Criterion("frequency", points, f"{word}: {count} incident{'' if count == 1 else 's'}")


def duration(seen: Seen | None, ran: Ran | None) -> Criterion:
    """How long it keeps people busy. What its executions took is told, but does not say how long it takes by hand."""
    by_hand, automatic = seen.by_hand if seen else (), ran.seconds if ran else ()
    executions = f"; its executions took {_middle(automatic)}" if automatic else ""
    if seen is None:
        return Criterion("duration", None, f"the graph could not be asked{executions}")
    if len(by_hand) < ENOUGH:
        return Criterion("duration", None, f"seen {len(by_hand)} times by hand, {ENOUGH} are needed{executions}")
    middle = median(by_hand)
    points = 1 if middle < _SHORT else 2 if middle <= _LONG else 3
    return Criterion("duration", points, f"by hand {_middle(by_hand)}{executions}")


def _middle(seconds: Sequence[float]) -> str:
    return f"{median(seconds) / 60:.1f} min (median of {len(seconds)})"


def impact(seen: Seen | None, demanded: Sequence[str]) -> Criterion:
    """How bad it is while it lasts: what half of its incidents reach, else the lowest that it demands."""
    counts = seen.severities if seen else {}
    ranks = [_IMPACT.get(word.lower(), 0) for word, count in counts.items() for _ in range(count)]
    if ranks and (points := median_low(ranks)):
        return Criterion("impact", points, f"{_WORDS[points]}: {_listed(counts)}")
    if demanded and (points := min(_IMPACT.get(word.lower(), 0) for word in demanded)):
        return Criterion("impact", points, f"{_WORDS[points]}: severity {', '.join(demanded)} in its trigger")
    told = f"severities that say nothing: {_listed(counts)}" if counts else "no incident, and no severity in a trigger"
    return Criterion("impact", None, told)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))


def complexity(runbook: Runbook) -> Criterion:
    """How straight its way is: the fewer branches, the better it can be trusted alone."""
    procedures = (step for steps in runbook.procedures.values() for step in steps)
    count = sum(_branches(step) for step in (*runbook.steps, *procedures))
    points = 3 if count == 0 else 2 if count <= _SOME else 1
    word = {3: "linear", 2: "some branches", 1: "many branches"}[points]
    return Criterion("complexity", points, f"{word}: {len(runbook.steps)} steps, {count} branches")


def _branches(step: Step) -> int:
    return (
        int(step.when is not True)
        + int(isinstance(step.on_failure, RunOnFailure) or step.on_failure is OnFailure.APPROVE)
        + int(step.on_success is OnSuccess.COMPLETE)
        + int(step.require_approval is not False)
        + int(step.action in {"manual_approval", "run_runbook"})
    )


def success(ran: Ran | None) -> Criterion:
    """How many executions of this very version were verified; another version proves nothing."""
    if ran is None:
        return Criterion("success", None, "the graph could not be asked")
    earlier = f"; {ran.earlier} of other versions do not count" if ran.earlier else ""
    if ran.ended < ENOUGH:
        return Criterion("success", None, f"{ran.ended} executions of this version, {ENOUGH} are needed{earlier}")
    rate = ran.verified / ran.ended
    points = 3 if rate > _GOOD else 2 if rate >= _FAIR else 1
    return Criterion("success", points, f"{rate:.0%} verified, {ran.verified} of {ran.ended}{earlier}")


def _reservations(loaded: LoadedRunbook) -> list[str]:
    told = [text for code, text in _RESERVED.items() if any(found.code == code for found in loaded.findings)]
    if loaded.runbook.safety.require_approval is not False:
        told.append("asks a human before it runs")
    if any(step.action == "manual_approval" or step.require_approval is not False for step in loaded.runbook.steps):
        told.append("asks a human on its way")
    return told
