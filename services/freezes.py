"""The freezes that count now: those of the settings, and those of calendars that others keep."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, takewhile
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events
import structlog

from executor.errors import RemediationError
from executor.freezes import Freeze, in_force
from executor.ports import Clock, Http
from safety.surroundings import Frozen

_BYTES = 5_000_000
_SECONDS = 10.0
_AHEAD = timedelta(days=400)
_EVENTS = 5_000
_OK = 200
_TOO_OFTEN = ("SECONDLY", "MINUTELY", "HOURLY")

log = structlog.get_logger(__name__)


class UnreadableCalendar(Exception):
    """The calendar cannot be used; the text says why."""


@dataclass(slots=True)
class Calendar:
    """One calendar, as it was read last.

    Attributes:
        source: file or address, without what may be secret in it.
        read_at: when it was read last; None for never.
        tried_at: when that was tried last.
        problem: why the last try failed; empty when it did not.
    """

    place: str
    source: str
    freezes: tuple[Freeze, ...] = ()
    read_at: datetime | None = None
    tried_at: datetime | None = None
    problem: str = ""
    busy: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)


class FreezeBook:
    """Knows which freezes are in force.

    A calendar that could not be read for longer than ``max_age`` counts as a freeze: nobody knows what is in it.

    Args:
        freezes: those of the settings.
        calendars: files and addresses of iCalendar data.
        http: fetches addresses.
        clock: time.
        timezone: for events without one, and for whole days.
        refresh: how often calendars are read.
        max_age: how old what was read may be.
    """

    def __init__(
        self,
        freezes: Sequence[Freeze],
        calendars: Sequence[str],
        http: Http,
        clock: Clock,
        *,
        timezone: str = "UTC",
        refresh: timedelta = timedelta(minutes=5),
        max_age: timedelta = timedelta(hours=24),
    ) -> None:
        self.freezes = tuple(freezes)
        self.calendars = tuple(Calendar(place, _shown(place)) for place in calendars)
        self._http = http
        self._clock = clock
        self._timezone = timezone
        self._refresh = refresh
        self._max_age = max_age

    async def in_force(self, moment: datetime) -> tuple[Frozen, ...]:
        """The freezes at a moment, and the calendars that cannot be read."""
        for calendar in self.calendars:
            if calendar.tried_at is None:
                await self._read(calendar)
        found = in_force([*self.freezes, *(one for each in self.calendars for one in each.freezes)], moment)
        return (*found, *self._unreadable(moment))

    def _unreadable(self, moment: datetime) -> tuple[Frozen, ...]:
        old = [one for one in self.calendars if one.read_at is None or moment - one.read_at > self._max_age]
        return tuple(
            Frozen(one.source, source=one.source, unreadable=one.problem or "it was not read for too long")
            for one in old
        )

    async def refresh(self) -> None:
        """Read what is due again; a duty of the sweeper. A calendar that cannot be read keeps what it said last."""
        now = self._clock.now()
        due = [one for one in self.calendars if one.tried_at is None or now - one.tried_at >= self._refresh]
        await asyncio.gather(*(self._read(calendar) for calendar in due))

    async def _read(self, calendar: Calendar) -> None:
        async with calendar.busy:
            now = self._clock.now()
            if calendar.tried_at is not None and now - calendar.tried_at < self._refresh:
                return  # somebody else has just done so
            try:
                text = await self._text(calendar.place)
                found = await asyncio.to_thread(freezes_of, text, now, self._timezone, calendar.source)
            except (RemediationError, UnreadableCalendar, OSError) as error:
                calendar.problem = str(error) or type(error).__name__
                log.warning("freeze.calendar", source=calendar.source, error=calendar.problem)
            else:
                calendar.freezes, calendar.read_at, calendar.problem = found, now, ""
            calendar.tried_at = now

    async def _text(self, place: str) -> str:
        if not _is_address(place):
            return await asyncio.to_thread(_file, Path(place))
        status, _, text = await self._http.request(
            "GET", place, headers={"Accept": "text/calendar"}, body="", timeout_seconds=_SECONDS, max_bytes=_BYTES
        )
        if status != _OK:
            raise UnreadableCalendar(f"HTTP {status}")
        return text


def freezes_of(text: str, now: datetime, timezone: str, source: str) -> tuple[Freeze, ...]:
    """The events of a calendar from now on, as freezes.

    Cancelled events and those that do not block time (``TRANSP:TRANSPARENT``) are none.

    Args:
        text: iCalendar data.
        now: what is over by then is left out.
        timezone: of events that name none.
        source: where it is from.

    Raises:
        UnreadableCalendar: it is no calendar, or an event cannot be read.
    """
    try:
        calendar = icalendar.Calendar.from_ical(text)
        _refuse_endless(calendar)
        events = recurring_ical_events.of(calendar).after(now)
        soon = takewhile(lambda event: _moment(event.start, timezone) <= now + _AHEAD, events)
        found: dict[tuple[str, str], list[tuple[datetime, datetime]]] = {}
        for event in islice(soon, _EVENTS):
            if _blocks(event):
                span = _moment(event.start, timezone), _moment(event.end, timezone)
                found.setdefault((str(event.get("SUMMARY") or "freeze"), _told(event)), []).append(span)
    except UnreadableCalendar:
        raise
    except Exception as error:
        # The library raises whatever the data makes it stumble over.
        raise UnreadableCalendar(f"it is no calendar that can be read: {error}") from error
    return tuple(
        Freeze(name, timezone=timezone, reason=reason, source=source, spans=tuple(spans))
        for (name, reason), spans in found.items()
    )


def _refuse_endless(calendar: Any) -> None:
    """An event that repeats within a day is a mistake, and working it out would take for ever."""
    for event in calendar.walk("VEVENT"):
        rules = event.get("RRULE") or []
        for rule in rules if isinstance(rules, list) else [rules]:
            if any(str(kind).upper() in _TOO_OFTEN for kind in rule.get("FREQ", ())):
                raise UnreadableCalendar(f"event {event.get('SUMMARY')!s} repeats more often than daily")


def _blocks(event: Any) -> bool:
    return str(event.get("STATUS", "")).upper() != "CANCELLED" and str(event.get("TRANSP", "")).upper() != "TRANSPARENT"


def _told(event: Any) -> str:
    return " ".join(str(event.get("DESCRIPTION") or "").split())[:200]


def _moment(value: date | datetime, timezone: str) -> datetime:
    """A whole day begins at midnight of the zone; a time without a zone is of that one."""
    moment = value if isinstance(value, datetime) else datetime.combine(value, time(0))
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(timezone))).astimezone(UTC)


def _file(path: Path) -> str:
    with path.open("rb") as opened:
        content = opened.read(_BYTES + 1)
    if len(content) > _BYTES:
        raise UnreadableCalendar(f"it is longer than {_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableCalendar("it is not UTF-8") from error


def _is_address(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _shown(place: str) -> str:
    """An address without its user, password and query: shared calendars carry their key in there."""
    if not _is_address(place):
        return place
    import httpx  # noqa: PLC0415 - only to take an address apart

    url = httpx.URL(place)
    return str(url.copy_with(username=None, password=None, query=None, fragment=None))
