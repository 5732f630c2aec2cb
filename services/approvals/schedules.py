"""Reads the file with on-call schedules. Every problem is told with its place and the nearest valid name."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from runbooks.findings import did_you_mean
from runbooks.model import Duration
from runbooks.zones import known_zone
from safety.oncall import Override, Rotation, Schedule, everybody
from services.config_files import ConfigError, Document, KeyPath, read_yaml


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class _Rotation(_Part):
    start: datetime
    every: Duration
    people: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _turns(self) -> Self:
        if self.every.total_seconds() <= 0:
            raise ValueError("every must be longer than zero")
        _on_the_wall(self.start)
        return self


class _Override(_Part):
    first: datetime = Field(alias="from")
    last: datetime = Field(alias="to")
    person: str = Field(min_length=1)

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        _on_the_wall(self.first)
        _on_the_wall(self.last)
        if self.last <= self.first:
            raise ValueError("to must be after from")
        return self


class _Schedule(_Part):
    name: str = Field(min_length=1)
    timezone: str = "UTC"
    rotations: tuple[_Rotation, ...] = ()
    overrides: tuple[_Override, ...] = ()

    _zone = field_validator("timezone")(known_zone)


class _File(_Part):
    schedules: tuple[_Schedule, ...] = Field(min_length=1)


_KEYS = {
    0: ("schedules",),
    2: tuple(_Schedule.model_fields),
    4: ("start", "every", "people", "from", "to", "person"),
}


def load_schedules(path: Path | None, people: Collection[str] = ()) -> tuple[Schedule, ...]:
    """The schedules of a file; without one there are none.

    Args:
        path: YAML.
        people: the ids of ``access.people``; where there are any, a schedule names nobody else.

    Raises:
        ConfigError: with all problems.
    """
    if path is None:
        return ()
    document = read_yaml(path)
    try:
        content = _File.model_validate(document.values)
    except ValidationError as error:
        raise ConfigError(tuple(_told(document, error))) from error
    found = tuple(_schedule(one) for one in content.schedules)
    if problems := tuple(_strange(document, found, people)):
        raise ConfigError(problems)
    return found


def _schedule(one: _Schedule) -> Schedule:
    rotations = tuple(Rotation(each.start, each.every, each.people) for each in one.rotations)
    overrides = tuple(Override(each.first, each.last, each.person) for each in one.overrides)
    return Schedule(one.name, one.timezone, rotations, overrides)


def _told(document: Document, error: ValidationError) -> Iterator[str]:
    for each in error.errors(include_url=False, include_input=False, include_context=False):
        place: KeyPath = each["loc"]
        hint = ""
        if each["type"] == "extra_forbidden":
            near = did_you_mean(str(place[-1]), _KEYS.get(len(place) - 1, ()))
            hint = f"; {near}" if near else ""
        name = ".".join(map(str, place)) or "the file"
        yield f"{document.where(place)}: {name}: {each['msg'].removeprefix('Value error, ')}{hint}"


def _strange(document: Document, found: tuple[Schedule, ...], people: Collection[str]) -> Iterator[str]:
    seen: set[str] = set()
    for number, one in enumerate(found):
        if one.name in seen:
            yield f"{document.where(('schedules', number))}: schedule {one.name} is there twice"
        seen.add(one.name)
        if not one.rotations and not one.overrides:
            yield f"{document.where(('schedules', number))}: schedule {one.name} has neither rotations nor overrides"
        for who in sorted(everybody([one]) - set(people)) if people else ():
            near = did_you_mean(who, people)
            text = f"schedule {one.name} names {who}, who is not in access.people"
            yield f"{document.where(('schedules', number))}: {text}" + f"; {near}" * bool(near)


def _on_the_wall(at: datetime) -> None:
    if at.tzinfo is not None:
        raise ValueError("write times as the clock on the wall shows them, without a zone: the schedule has one")
