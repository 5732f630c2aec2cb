"""Change windows: local clocks, days, midnight, and the days on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.windows import in_any, inside, opens
from runbooks.conditions import ChangeWindow

VIENNA, NEW_YORK, LORD_HOWE = "Europe/Vienna", "America/New_York", "Australia/Lord_Howe"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ZONES = ["UTC", VIENNA, NEW_YORK, LORD_HOWE, "Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo"]
clocks = st.builds(lambda hour, minute: f"{hour:02}:{minute:02}", st.integers(0, 23), st.integers(0, 59))
windows = st.builds(
    ChangeWindow,
    start=clocks,
    end=st.one_of(clocks, st.just("24:00")),
    timezone=st.sampled_from(ZONES),
    days=st.sets(st.sampled_from(DAYS), min_size=1).map(tuple),
)
minutes = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(second=0, microsecond=0)
)


def window(start="06:00", end="22:00", timezone="UTC", days=DAYS):
    return ChangeWindow(start=start, end=end, timezone=timezone, days=days)


def at(text, timezone="UTC", fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("text", "open_"),
    [
        ("2026-03-02 05:59:59.999999", False),
        ("2026-03-02 06:00", True),
        ("2026-03-02 21:59:59", True),
        ("2026-03-02 22:00", False),
    ],
)
def test_a_window_is_open_from_its_start_and_closed_from_its_end(text, open_):
    """The start belongs to it, the end does not."""
    assert inside(window(), at(text)) is open_


def test_a_whole_day_ends_at_midnight():
    """24:00 is the end of the day that it begins on, and no other day is in it."""
    monday = window("00:00", "24:00", VIENNA, ("mon",))
    assert inside(monday, at("2026-03-02 23:59:59", VIENNA))
    assert not inside(monday, at("2026-03-03 00:00", VIENNA))
    assert not inside(monday, at("2026-03-01 23:59", VIENNA))


def test_a_window_past_midnight_belongs_to_the_day_that_it_begins_on():
    """Friday night lasts into Saturday; Saturday night does not begin."""
    friday = window("22:00", "04:00", NEW_YORK, ("fri",))
    assert inside(friday, at("2026-03-06 23:00", NEW_YORK))
    assert inside(friday, at("2026-03-07 03:59", NEW_YORK))
    assert not inside(friday, at("2026-03-06 03:00", NEW_YORK))
    assert not inside(friday, at("2026-03-07 23:00", NEW_YORK))


def test_a_window_without_length_is_never_open():
    """Missing data never permits: the same start and end say nothing."""
    assert not any(inside(window("06:00", "06:00"), at(f"2026-03-02 {hour:02}:00")) for hour in range(24))


def test_the_zone_counts_and_not_the_servers_clock():
    """22:30 UTC in summer is half past midnight in Vienna."""
    night = window("00:00", "01:00", VIENNA)
    assert inside(night, at("2026-07-01 22:30"))
    assert not inside(night, at("2026-01-01 22:30"))


def test_times_that_do_not_exist_open_nothing():
    """On 29 March 2026 Vienna's clocks go from 02:00 to 03:00: a window within that hour is not open on that day."""
    gap = window("02:10", "02:50", VIENNA)
    day = at("2026-03-29 00:00", VIENNA)
    assert not any(inside(gap, day + timedelta(minutes=number)) for number in range(23 * 60))
    assert opens([gap], day) == at("2026-03-30 02:10", VIENNA)


def test_a_window_that_begins_in_the_gap_opens_right_after_it():
    """The first moment that reads 02:30 or later is 03:00."""
    assert opens([window("02:30", "05:00", VIENNA)], at("2026-03-29 01:00", VIENNA)) == at("2026-03-29 01:00")


def test_times_that_come_twice_are_open_twice():
    """On 25 October 2026 the hour from two to three comes twice in Vienna."""
    twice = window("02:15", "02:45", VIENNA)
    first, second = at("2026-10-25 02:30", VIENNA), at("2026-10-25 02:30", VIENNA, fold=1)
    assert second - first == timedelta(hours=1)
    assert inside(twice, first)
    assert not inside(twice, first + timedelta(minutes=30))
    assert inside(twice, second)


def test_half_an_hour_of_daylight_saving_is_no_special_case():
    """Lord Howe moves its clocks by thirty minutes: on 5 April 2026 half past one comes twice."""
    half = window("01:30", "02:00", LORD_HOWE)
    start = at("2026-04-05 01:00", LORD_HOWE)
    open_minutes = sum(inside(half, start + timedelta(minutes=number)) for number in range(150))
    assert open_minutes == 60


@given(windows, minutes)
def test_the_wall_clock_alone_decides(one, moment):
    """Two moments that read the same on the wall are both in the window, or both out of it."""
    local = moment.astimezone(ZoneInfo(one.timezone))
    other = local.replace(fold=1 - local.fold).astimezone(UTC)
    same = other.astimezone(ZoneInfo(one.timezone)).replace(tzinfo=None) == local.replace(tzinfo=None)
    assert not same or inside(one, moment) == inside(one, other)


@given(windows, minutes)
def test_on_a_usual_day_a_window_is_open_as_long_as_it_says(one, moment):
    """Without a change of clocks, the minutes of a day's window add up."""
    here = ZoneInfo(one.timezone)
    day = moment.astimezone(here).replace(hour=0, minute=0, fold=0)
    begins, ends = day.astimezone(UTC), (day + timedelta(days=2)).astimezone(UTC)
    offsets = {(begins + timedelta(hours=number)).astimezone(here).utcoffset() for number in range(49)}
    if len(offsets) > 1 or ends - begins != timedelta(days=2):
        return
    only = one.model_copy(update={"days": (DAYS[day.weekday()],)})
    start, end = (int(text[:2]) * 60 + int(text[3:]) for text in (one.start, one.end))
    expected = 0 if start == end else (end - start) % 1440 or 1440
    found = sum(inside(only, begins + timedelta(minutes=number)) for number in range(2880))
    assert found == expected


@given(windows, minutes)
def test_the_next_opening_is_the_first_moment_inside(one, moment):
    """The window is open when it says so, and closed at every sampled moment between now and then."""
    found = opens([one], moment)
    if inside(one, moment):
        return
    if found is None:
        assert one.start == one.end or not any(inside(one, moment + timedelta(hours=n)) for n in range(24 * 7))
        return
    assert inside(one, found)
    gap = int((found - moment).total_seconds() // 60)
    assert not any(inside(one, moment + timedelta(minutes=n)) for n in {*range(0, gap, 37), max(0, gap - 1)})


def test_any_of_several_windows_is_enough():
    """Two windows are the times of both."""
    both = [window("01:00", "02:00"), window("05:00", "06:00")]
    assert [in_any(both, at(f"2026-03-02 0{hour}:30")) for hour in range(7)] == [
        False, True, False, False, False, True, False,
    ]  # fmt: skip
    assert opens(both, at("2026-03-02 02:00")) == at("2026-03-02 05:00")


def test_a_zone_that_does_not_exist_is_an_error_also_beside_an_open_window():
    """A misspelt name must be told, not passed over."""
    broken = window().model_copy(update={"timezone": "Europe/Wien"})
    with pytest.raises(ValueError, match="there is no time zone 'Europe/Wien'"):
        in_any([window(), broken], at("2026-03-02 12:00"))


def test_a_misspelt_zone_is_named_with_the_nearest_when_the_runbook_is_loaded():
    """Python's zones are known at load time; a window that could never open is not let in."""
    with pytest.raises(ValueError, match="there is no time zone 'Europe/Wien'; did you mean Europe/Vienna"):
        window(timezone="Europe/Wien")
