"""Freezes: by date, by times of the week, and from calendars that others keep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from fakes.world import FakeClock, FakeHttp
from pydantic import ValidationError

from executor.errors import Unavailable
from executor.freezes import Freeze, begins, in_force, until
from runbooks.conditions import ChangeWindow
from services.freezes import FreezeBook, UnreadableCalendar, freezes_of
from services.settings_freezes import FreezeSettings

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)  # a Friday
EVENT = """BEGIN:VEVENT
UID:{uid}
DTSTAMP:20260101T000000Z
{lines}
END:VEVENT
"""


def calendar(*events):
    body = "".join(EVENT.format(uid=number, lines=lines) for number, lines in enumerate(events))
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//tests//EN\n{body}END:VCALENDAR\n"


HOLIDAY = "DTSTART;VALUE=DATE:20260101\nDTEND;VALUE=DATE:20260105\nSUMMARY:Year end\nDESCRIPTION:nobody is there"


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def made(**given):
    return FreezeSettings.model_validate({"name": "x", **given}).value()


def period(start, end, **more):
    return made(**{"from": start, "to": end, **more})


DATES = made(**{"from": "2026-12-20", "to": "2026-12-31", "timezone": "Europe/Vienna"})
NOON = [{"end": "12:00"}]
NIGHTS = made(windows=[{"start": "22:00", "end": "06:00", "days": ["fri"]}])


@pytest.mark.parametrize(
    ("freeze", "moment", "end"),
    [
        (DATES, "2026-12-19T22:59:59", None),  # Vienna is an hour ahead
        (DATES, "2026-12-19T23:00:00", "2026-12-31T23:00:00"),
        (DATES, "2026-12-31T22:59:59", "2026-12-31T23:00:00"),
        (DATES, "2026-12-31T23:00:00", None),
        (NIGHTS, "2026-01-02T21:59:00", None),
        (NIGHTS, "2026-01-02T22:00:00", "2026-01-03T06:00:00"),
        (NIGHTS, "2026-01-03T05:59:00", "2026-01-03T06:00:00"),
        (NIGHTS, "2026-01-04T23:00:00", None),
        (period("2026-03-01", None), "2027-01-01T00:00:00", "for ever"),
        (period(None, "2026-03-01"), "2026-01-01T00:00:00", "2026-03-02T00:00:00"),
        (period("2020-11-27T08:00", "2020-11-30", yearly=True), "2026-11-28T00:00:00", "2026-12-01T00:00:00"),
        (period("2020-12-30", "2021-01-02", yearly=True), "2027-01-01T00:00:00", "2027-01-03T00:00:00"),
        (period("2020-12-30", "2021-01-02", yearly=True), "2019-12-31T00:00:00", None),
        (period("2024-02-29", "2024-02-29", yearly=True), "2026-02-28T12:00:00", "2026-03-01T00:00:00"),
        (period("2026-01-02", "2026-01-02", windows=NOON), "2026-01-02T03:00:00", "2026-01-02T12:00:00"),
        (made(windows=[*NOON, {"start": "12:00", "end": "13:00"}]), "2026-01-02T03:00:00", "2026-01-02T13:00:00"),
    ],
)
def test_a_freeze_is_in_force_from_its_beginning_until_its_end(freeze, moment, end):
    """By the clock on the wall of its zone; a date is a whole day."""
    found = until(freeze, at(moment))
    if end == "for ever":
        assert found is not None
        assert in_force([freeze], at(moment))[0].until == ""
    else:
        assert found == (at(end) if end else None)


def test_the_next_beginning_is_told():
    """People want to know when it begins."""
    assert begins(DATES, NOW) == at("2026-12-19T23:00:00")
    assert begins(DATES, at("2027-01-01")) is None
    assert begins(NIGHTS, NOW) == at("2026-01-02T22:00:00")
    assert begins(Freeze("c", spans=((NOW + timedelta(days=1), NOW + timedelta(days=2)),)), NOW) == NOW + timedelta(
        days=1
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "says no time"),
        ({"from": "2026-02-01", "to": "2026-01-01"}, "ends before it begins"),
        ({"from": "2026-02-01", "yearly": True}, "give from and to"),
        ({"from": "2026-02-01", "timezone": "Europe/Vena"}, "did you mean Europe/Vienna"),
        ({"from": "soon"}, "valid datetime"),
        ({"from": "2026-02-01", "until": "2026-03-01"}, "Extra inputs"),
        ({"windows": [{"start": "25:00"}]}, "pattern"),
    ],
)
def test_a_freeze_that_cannot_be_meant_stops_the_start(wrong, words):
    """A freeze that is silently never in force is worse than none."""
    with pytest.raises(ValidationError, match=words):
        made(**wrong)


def test_events_of_a_calendar_are_freezes():
    """Whole days in the zone of the settings, recurring events each time, cancelled and transparent ones never."""
    zone = "TZID=Europe/Vienna"
    hours = f"DTSTART;{zone}:20251107T180000\nDTEND;{zone}:20251108T060000"
    weekly = f"{hours}\nRRULE:FREQ=WEEKLY\nSUMMARY:Friday"
    cancelled = "DTSTART:20260102T000000Z\nDTEND:20260103T000000Z\nSTATUS:CANCELLED\nSUMMARY:no"
    free = "DTSTART:20260102T000000Z\nDTEND:20260103T000000Z\nTRANSP:TRANSPARENT\nSUMMARY:no"
    found = freezes_of(calendar(HOLIDAY, weekly, cancelled, free), NOW, "Europe/Vienna", "c.ics")
    assert sorted(freeze.name for freeze in found) == ["Friday", "Year end"]
    (now,) = in_force(found, NOW)
    assert (now.name, now.until, now.reason, now.source) == (
        "Year end",
        "2026-01-04T23:00:00Z",
        "nobody is there",
        "c.ics",
    )
    assert {one.name for one in in_force(found, at("2026-06-05T18:00:00"))} == {"Friday"}
    assert in_force(found, at("2026-06-06T18:00:00")) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>sign in</html>",
        calendar("DTSTART:2026\nSUMMARY:x"),
        calendar("DTSTART:20260102T000000Z\nDURATION:PT1S\nRRULE:FREQ=SECONDLY\nSUMMARY:bomb"),
        calendar("DTSTART:20260102T000000Z\nDURATION:PT1S\nRRULE:FREQ=HOURLY\nSUMMARY:bomb"),
    ],
)
def test_what_is_no_calendar_or_repeats_for_ever_is_unreadable(text):
    """A sign-in page is not an empty calendar, and no calendar may keep the pipeline busy."""
    with pytest.raises(UnreadableCalendar):
        freezes_of(text, NOW, "UTC", "c.ics")


@pytest.fixture
def http():
    return FakeHttp()


def book(http, *places, clock=None, **more):
    return FreezeBook([DATES], places, http, clock or FakeClock(NOW), **more)


async def test_a_calendar_is_read_before_the_first_decision(http):
    """Nobody has to wait for a sweep to be safe."""
    http.answers = [(200, calendar(HOLIDAY))]
    found = await book(http, "https://user:pw@cal.example/f.ics?key=1").in_force(NOW)
    assert [(one.name, one.source) for one in found] == [("Year end", "https://cal.example/f.ics")]


@pytest.mark.parametrize("answer", [(500, ""), (200, "<html>"), Unavailable("no answer from cal.example")])
async def test_invariant_6_a_calendar_that_was_never_read_is_a_freeze(http, answer):
    """Nobody knows what is in it."""
    http.answers = [answer]
    (found,) = await book(http, "https://cal.example/f.ics").in_force(NOW)
    assert found.unreadable


async def test_a_calendar_that_fails_keeps_what_it_said_until_it_is_too_old(http):
    """An outage of the calendar's server is no freeze for a day, and one afterwards."""
    clock = FakeClock(NOW)
    http.answers = [(200, calendar(HOLIDAY)), (500, ""), (500, ""), (200, calendar(HOLIDAY))]
    kept = book(
        http, "https://cal.example/f.ics", clock=clock, refresh=timedelta(minutes=5), max_age=timedelta(hours=24)
    )
    await kept.refresh()
    clock.advance(60)
    await kept.refresh()
    assert len(http.requests) == 1  # not due yet
    clock.advance(3600)
    await kept.refresh()
    assert [one.name for one in await kept.in_force(clock.now())] == ["Year end"]
    clock.advance(24 * 3600)
    await kept.refresh()
    assert {one.name for one in await kept.in_force(clock.now())} == {"Year end", "https://cal.example/f.ics"}
    clock.advance(3600)
    await kept.refresh()
    assert [one.name for one in await kept.in_force(clock.now())] == ["Year end"]


async def test_a_calendar_may_be_a_file(http, tmp_path):
    """One that is missing is unreadable, not empty."""
    file = tmp_path / "freezes.ics"
    (missing,) = await book(http, str(file)).in_force(NOW)
    assert "No such file" in missing.unreadable
    file.write_text(calendar(HOLIDAY))
    assert [one.name for one in await book(http, str(file)).in_force(NOW)] == ["Year end"]


def test_windows_of_freezes_are_those_of_runbooks():
    """One kind of window in the whole product."""
    assert isinstance(NIGHTS.windows[0], ChangeWindow)
