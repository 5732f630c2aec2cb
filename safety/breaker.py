"""The storm breaker: when one cause, or failures, pile up, automation stops in a scope and a human is called.

Pure values. What is counted slides over a window; a scope opens the moment a count passes its upper limit, and closes
only after everything that opened it was below its lower limit for a while. Between the two limits nothing changes, so
that it does not flap.

A scope that is closed

- opens when it hears of something that lifts a count above its upper limit.

A scope that is open

- is held open by every count that was above its upper limit since it opened;
- is calm from the first look at which all of these are below their lower limits;
- is no longer calm when it hears of, or a look finds, one that is not;
- closes at a look when it has been calm for long enough.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from safety.scopes import Axis, StormScope, Where, storm_scopes


class Counted(StrEnum):
    """What piles up."""

    CAUSES = "causes"
    """Different targets with one cause."""
    FAILURES = "failures"
    """Executions that failed or were rolled back."""
    NOT_FIXED = "not_fixed"
    """Executions whose verification found that the problem is still there."""


@dataclass(frozen=True, slots=True)
class Limit:
    """When one count opens a scope, and below what it lets it close.

    Attributes:
        upper: more than so many open it.
        lower: it counts as calm with fewer than these.
        window_seconds: something counts for so long after it was last seen.
    """

    upper: int
    lower: int
    window_seconds: float

    def __post_init__(self) -> None:
        if self.upper < 1 or not 1 <= self.lower <= self.upper or not self.window_seconds > 0:
            raise ValueError(f"a limit needs 1 <= lower <= upper and a window, not {self}")


def limits_of(
    uppers: Mapping[tuple[Axis, Counted], int], share: float, windows: Mapping[Counted, float]
) -> Mapping[tuple[Axis, Counted], Limit]:
    """Limits from the upper ones, where 0 stands for 'not counted'; the lower ones are a share of them, at least 1."""
    return {
        (axis, counted): Limit(upper, max(1, int(upper * share)), windows[counted])
        for (axis, counted), upper in uppers.items()
        if upper > 0
    }


_UPPER = {
    Counted.CAUSES: (30, 30, 30, 100),
    Counted.FAILURES: (5, 5, 10, 20),
    Counted.NOT_FIXED: (3, 3, 5, 10),
}
DEFAULT_UPPER: Mapping[tuple[Axis, Counted], int] = {
    (axis, counted): upper for counted, uppers in _UPPER.items() for axis, upper in zip(Axis, uppers, strict=True)
}
DEFAULT_SHARE = 0.5
DEFAULT_WINDOWS: Mapping[Counted, float] = {Counted.CAUSES: 300, Counted.FAILURES: 1800, Counted.NOT_FIXED: 1800}
DEFAULT_LIMITS = limits_of(DEFAULT_UPPER, DEFAULT_SHARE, DEFAULT_WINDOWS)


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """What is counted, with its limits.

    Attributes:
        limits: by axis and what is counted; what is missing is not counted.
        quiet_seconds: a scope was calm for so long before it closes.
    """

    limits: Mapping[tuple[Axis, Counted], Limit] = field(default_factory=lambda: DEFAULT_LIMITS)
    quiet_seconds: float = 120

    def __post_init__(self) -> None:
        if not self.quiet_seconds > 0:
            raise ValueError("quiet_seconds must be longer than zero")


@dataclass(frozen=True, slots=True, order=True)
class Counter:
    """One count of one scope.

    Attributes:
        of: which cause is counted; empty for what is counted whatever its cause.
    """

    scope: StormScope
    counted: Counted
    of: str = ""

    @property
    def key(self) -> str:
        """As the open scope names it: ``causes:OOMKilled``."""
        return f"{self.counted}:{self.of}"


@dataclass(frozen=True, slots=True)
class Seen:
    """Something that is counted.

    Attributes:
        member: who it was: the target for a cause, the execution for an outcome. One that is seen again counts once.
    """

    where: Where
    counted: Counted
    member: str


@dataclass(frozen=True, slots=True)
class Hot:
    """A count that holds a scope open, with the limits that it had when it was last heard of."""

    count: int
    upper: int
    lower: int
    window: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """A scope that a storm has stopped; times are milliseconds since 1970.

    Attributes:
        since: when it opened.
        calm: since when all its counts are below their lower limits; 0 while one is not.
        counted: what opened it first, ``of`` which cause, with ``count`` and limit as they were then.
        hot: every count that holds it open, by ``Counter.key``.
    """

    scope: StormScope
    since: int
    calm: int
    counted: Counted
    of: str
    count: int
    upper: int
    window: int
    hot: Mapping[str, Hot]

    @property
    def numbers(self) -> dict[str, float | str]:
        """What a refusal says."""
        return {
            "scope": self.scope.key,
            "counted": str(self.counted),
            "of": self.of,
            "count": float(self.count),
            "limit": float(self.upper),
            "window_seconds": self.window / 1000,
        }


def counters_of(seen: Iterable[Seen], settings: BreakerSettings) -> Mapping[Counter, Sequence[str]]:
    """Which counts go up, and by whom; each member once."""
    found: dict[Counter, dict[str, None]] = {}
    for one in seen:
        of = one.where.reason if one.counted is Counted.CAUSES else ""
        for scope in storm_scopes(one.where):
            if (scope.axis, one.counted) in settings.limits:
                found.setdefault(Counter(scope, one.counted, of), {})[one.member] = None
    return {counter: tuple(members) for counter, members in found.items()}


def heard(state: Stopped | None, counter: Counter, count: int, limit: Limit, now: int) -> Stopped | None:
    """The scope after a count went up; None while it is closed."""
    hot = Hot(count, limit.upper, limit.lower, int(limit.window_seconds * 1000))
    passed = count > limit.upper
    if state is None:
        if not passed:
            return None
        facts = (counter.counted, counter.of, count, limit.upper, hot.window)
        return Stopped(counter.scope, now, 0, *facts, {counter.key: hot})
    if not passed and counter.key not in state.hot:
        return state
    calm = state.calm if count < limit.lower else 0
    return replace(state, calm=calm, hot={**state.hot, counter.key: hot})


def looked(state: Stopped, counts: Mapping[str, int], now: int, quiet_seconds: float) -> Stopped | None:
    """The scope after a look at the counts that hold it open; None when it closes. A count that is missing is 0."""
    hot = {key: replace(one, count=counts.get(key, 0)) for key, one in state.hot.items()}
    if any(one.count >= one.lower for one in hot.values()):
        return replace(state, calm=0, hot=hot)
    calm = state.calm or now
    return None if now - calm >= quiet_seconds * 1000 else replace(state, calm=calm, hot=hot)


def packed(state: Stopped) -> str:
    """As the store and the record keep it."""
    told = asdict(state)
    del told["scope"]
    return json.dumps(told)


def unpacked(scope: StormScope, text: str) -> Stopped:
    """What ``packed`` wrote, or the store's scripts."""
    told = json.loads(text)
    hot = {key: Hot(**{name: int(value) for name, value in one.items()}) for key, one in told["hot"].items()}
    numbers = {name: int(told[name]) for name in ("since", "calm", "count", "upper", "window")}
    return Stopped(scope=scope, counted=Counted(told["counted"]), of=told["of"], hot=hot, **numbers)


@dataclass(frozen=True, slots=True)
class Change:
    """A scope that opened or closed.

    Attributes:
        by: who closed it; empty where it opened, or closed by itself.
        reason: theirs.
    """

    stopped: Stopped
    open: bool
    at: datetime
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StormCall:
    """What people are to be told now.

    Attributes:
        opens: True for the summary at the beginning, False for the one at the end.
        held_back: how many refusals and messages were kept from them since it began, by kind.
        since: when the storm began, milliseconds since 1970.
    """

    tenant: str
    opens: bool
    since: int
    held_back: Mapping[str, int]
