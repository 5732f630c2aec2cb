"""Freezes as they stand in the settings."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, field_validator, model_validator

from executor.freezes import Freeze
from runbooks.conditions import ChangeWindow
from runbooks.zones import known_zone
from services.settings_base import Group


class FreezeSettings(Group):
    """A period in which nothing is changed: by date (``from``, ``to``), by times of the week (``windows``), or both."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: str = Field(min_length=1, description="For people and records")
    first: datetime | None = Field(None, alias="from", description="From here on; a date is its beginning")
    last: datetime | None = Field(None, alias="to", description="Until here; a date is its end")
    timezone: str = Field("UTC", description="IANA name, such as Europe/Vienna")
    yearly: bool = Field(False, description="The dates come again every year")
    windows: tuple[ChangeWindow, ...] = Field((), description="Times of the week: start, end, days, timezone")
    reason: str = Field("", description="Why; people are told")

    @field_validator("first", mode="before")
    @classmethod
    def _beginning(cls, value: Any) -> Any:
        return _day(value, timedelta(0))

    @field_validator("last", mode="before")
    @classmethod
    def _end(cls, value: Any) -> Any:
        return _day(value, timedelta(days=1))

    @field_validator("timezone")
    @classmethod
    def _exists(cls, name: str) -> str:
        return known_zone(name)

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.first is None and self.last is None and not self.windows:
            raise ValueError(f"freeze {self.name!r} says no time: give from and to, or windows")
        if self.yearly and (self.first is None or self.last is None):
            raise ValueError(f"freeze {self.name!r} comes every year: give from and to")
        if self.first and self.last and self._wall(self.last) <= self._wall(self.first):
            raise ValueError(f"freeze {self.name!r} ends before it begins")
        return self

    def _wall(self, moment: datetime) -> datetime:
        return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(self.timezone))

    def value(self) -> Freeze:
        """As the executor knows it."""
        return Freeze(self.name, self.first, self.last, self.timezone, self.yearly, self.windows, self.reason)


def _day(value: Any, more: timedelta) -> Any:
    """A date as a moment; what already is one stays."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            return value  # a time as well: pydantic reads it, or says what is wrong
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time(0)) + more
    return value
