"""Freezes: periods in which nothing is changed. By date, or by times of the week, by the clock on the wall."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from executor.windows import in_any, opens, zone
from runbooks.conditions import ChangeWindow
from safety.surroundings import Frozen

_WEEK = timedelta(days=8)
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Freeze:
    """One freeze.

    Attributes:
        name: for people and records.
        start: from here on, by the clock on the wall of ``timezone``; None for since ever.
        end: until here; None for ever.
        yearly: the dates come again every year.
        windows: times of the week, within the dates where there are some.
        source: ``settings``, or where it was read.
    """

    name: str
    start: datetime | None = None
    end: datetime | None = None
    timezone: str = "UTC"
    yearly: bool = False
    windows: tuple[ChangeWindow, ...] = ()
    reason: str = ""
    source: str = "settings"
    spans: tuple[tuple[datetime, datetime], ...] = field(default=(), repr=False)
    """Moments that were worked out elsewhere, such as the events of a calendar; then only these count."""


def in_force(freezes: Iterable[Freeze], moment: datetime) -> tuple[Frozen, ...]:
    """The freezes that are in force at a moment, each with its end."""
    found = ((freeze, until(freeze, moment)) for freeze in freezes)
    return tuple(
        Frozen(freeze.name, "" if end == _NEVER else _told(end), freeze.reason, freeze.source)
        for freeze, end in found
        if end is not None
    )


def until(freeze: Freeze, moment: datetime) -> datetime | None:
    """When a freeze that is in force at a moment ends; None when it is not in force."""
    if freeze.spans:
        return max((end for start, end in freeze.spans if start <= moment < end), default=None)
    dates = next((span for span in _dates(freeze, moment) if span[0] <= moment < span[1]), None)
    if dates is None:
        return None
    if not freeze.windows:
        return dates[1]
    return min(dates[1], _shuts(freeze.windows, moment)) if in_any(freeze.windows, moment) else None


def begins(freeze: Freeze, moment: datetime) -> datetime | None:
    """When a freeze begins next after a moment; None when it does not within a week (of the week) or a year."""
    if freeze.spans:
        return min((start for start, _ in freeze.spans if start > moment), default=None)
    for start, end in _dates(freeze, moment):
        if not freeze.windows:
            if start > moment:
                return start
            continue
        first = max(start, moment)
        opening = first if start > moment and in_any(freeze.windows, start) else opens(freeze.windows, first)
        if opening is not None and opening < end:
            return opening
    return None


def _dates(freeze: Freeze, moment: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The periods around a moment that its dates name, in order."""
    here = zone(freeze.timezone)
    if not freeze.yearly:
        yield _at(freeze.start, here) or datetime.min.replace(tzinfo=UTC), _at(freeze.end, here) or _NEVER
        return
    if freeze.start is None or freeze.end is None:
        raise ValueError(f"freeze {freeze.name} comes every year, and so needs a first and a last day")
    this, first = moment.astimezone(here).year, freeze.start.year
    for year in range(max(this - 1, first), max(this, first) + 2):
        ahead = year - first
        start, end = _at(_moved(freeze.start, ahead), here), _at(_moved(freeze.end, ahead), here)
        if start is not None and end is not None:
            yield start, end


def _moved(wall: datetime, years: int) -> datetime:
    """The same day in another year; 29 February is the last of February where there is none."""
    try:
        return wall.replace(year=wall.year + years)
    except ValueError:
        return wall.replace(year=wall.year + years, day=28)


def _at(wall: datetime | None, here: object) -> datetime | None:
    if wall is None:
        return None
    return (wall if wall.tzinfo else wall.replace(tzinfo=here)).astimezone(UTC)  # type: ignore[arg-type]


def _shuts(windows: Sequence[ChangeWindow], moment: datetime) -> datetime:
    """When the last of the open windows shuts: one that begins where another ends goes on."""
    ends = sorted({end for window in windows for end in _ends(window, moment) if end > moment})
    return next((end for end in ends if not in_any(windows, end)), moment + _WEEK)


def _ends(window: ChangeWindow, moment: datetime) -> Iterator[datetime]:
    here = zone(window.timezone)
    hours, _, minutes = window.end.partition(":")
    for days in range(-1, 10):
        day = moment.astimezone(here).date() + timedelta(days=days)
        wall = datetime(day.year, day.month, day.day, tzinfo=here) + timedelta(hours=int(hours), minutes=int(minutes))
        yield from (wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


def _told(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
