"""Change windows: times of the week in which changes may be made, by the clock on the wall of a time zone.

The wall clock alone decides. When clocks go forward, times that do not exist are in no window; when they go back, the
times that come twice count twice. That is what a person reads from a clock, and it needs no rule for special days.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from runbooks.conditions import ChangeWindow

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_AHEAD = 9
"""Days to look ahead: a week and the days on both of its ends."""


def inside(window: ChangeWindow, moment: datetime) -> bool:
    """Whether a moment lies in the window: from ``start`` on, and before ``end``.

    A window that begins and ends at the same time is empty.

    Raises:
        ValueError: there is no such time zone.
    """
    local = moment.astimezone(zone(window.timezone))
    now, start, end = local.hour * 60 + local.minute, _minutes(window.start), _minutes(window.end)
    if start < end:
        return start <= now < end and _begins(window, local.date())
    if start == end:
        return False
    if now >= start:
        return _begins(window, local.date())
    return now < end and _begins(window, local.date() - timedelta(days=1))


def in_any(windows: Sequence[ChangeWindow], moment: datetime) -> bool:
    """Whether a moment lies in one of the windows. Raises ValueError as ``inside`` does."""
    found = [
        inside(window, moment) for window in windows
    ]  # each, so that a misspelt zone is told beside an open window
    return any(found)


def opens(windows: Sequence[ChangeWindow], moment: datetime) -> datetime | None:
    """When the next window opens after a moment; None when none does within a week. Raises as ``inside`` does."""
    found = [at for window in windows for at in _openings(window, moment) if at > moment and inside(window, at)]
    return min(found, default=None)


def _openings(window: ChangeWindow, moment: datetime) -> list[datetime]:
    """Moments at which the window may open: its start on each day, and each change of the clocks."""
    here = zone(window.timezone)
    first, start = moment.astimezone(here).date(), _minutes(window.start)
    found: list[datetime] = []
    for number in range(-1, _AHEAD):
        day = first + timedelta(days=number)
        wall = datetime.combine(day, time(start // 60, start % 60), tzinfo=here)
        found += [wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
        found += _clock_change(day, here)
    return found


def _clock_change(day: date, here: ZoneInfo) -> list[datetime]:
    """The first minute after the clocks changed on this day, if they did."""
    low = datetime.combine(day, time(0), tzinfo=here).astimezone(UTC)
    high = datetime.combine(day + timedelta(days=1), time(0), tzinfo=here).astimezone(UTC)
    before = low.astimezone(here).utcoffset()
    if before == high.astimezone(here).utcoffset():
        return []
    minutes = [0, int((high - low).total_seconds() // 60)]
    while minutes[1] - minutes[0] > 1:
        middle = sum(minutes) // 2
        changed = (low + timedelta(minutes=middle)).astimezone(here).utcoffset() != before
        minutes[int(changed)] = middle
    return [low + timedelta(minutes=minutes[1])]


def _begins(window: ChangeWindow, day: date) -> bool:
    return _DAYS[day.weekday()] in window.days


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name.

    Raises:
        ValueError: there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"there is no time zone {name!r}") from error
