"""The times of schedules, daylight saving followed as Debian's cron does.

A time that the clock skips in spring comes right after the gap, once; a time that it shows twice in autumn comes at the
first of the two. What runs every so many minutes or hours (``*`` in both fields) follows real time instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from runbooks.triggers import Schedule

_FIELDS = 5


def times(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    """When a schedule fires, UTC, oldest first: later than ``after``, and no later than ``until``.

    Raises:
        ValueError: it is no cron expression of five fields, or there is no such time zone.
    """
    if len(schedule.cron.split()) != _FIELDS:
        raise ValueError(f"{schedule.cron!r:.60} has not five fields: minute hour day-of-month month day-of-week")
    try:
        here = ZoneInfo(schedule.timezone)
        clock = CronSim(schedule.cron, after.astimezone(here))
    except CronSimError as error:
        raise ValueError(f"{schedule.cron!r:.60}: {str(error).lower()}") from error
    except (OSError, KeyError) as error:
        raise ValueError(f"there is no time zone {schedule.timezone!r:.60}") from error
    last = after
    for local in clock:
        moment = local.astimezone(UTC)
        if moment > until:
            return
        if moment > last:  # within the hour that comes twice, the first of the two may lie behind us
            last = moment
            yield moment


def following(schedule: Schedule, after: datetime) -> datetime | None:
    """The next time; None when there is none. Raises ValueError as ``times`` does."""
    return next(times(schedule, after, datetime.max.replace(tzinfo=UTC)), None)
