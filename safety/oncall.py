"""Who is on call: rotations with handovers and overrides, as values and one pure question.

Handovers are read from the clock on the wall of the schedule's time zone, so that one at nine stays at nine when clocks
change. Of a time that comes twice both count; one that does not exist is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Rotation:
    """People who take turns.

    Attributes:
        start: on the wall, without a zone: the first handover. Before it nobody of the rotation is on call.
        every: length of a turn, longer than zero.
        people: ids, in order; at least one.
    """

    start: datetime
    every: timedelta
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Override:
    """Somebody who takes over from ``start`` until just before ``end``, both on the wall; alone, whatever the turns."""

    start: datetime
    end: datetime
    person: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule. Its name is a role, group and team to those who are on call by it."""

    name: str
    timezone: str = "UTC"
    rotations: tuple[Rotation, ...] = ()
    overrides: tuple[Override, ...] = ()


def on_call(schedule: Schedule, at: datetime) -> tuple[str, ...]:
    """Ids of the people who are on call; of several overrides the last one counts.

    Args:
        schedule: turns and overrides.
        at: a moment, with a zone.
    """
    wall = at.astimezone(ZoneInfo(schedule.timezone)).replace(tzinfo=None, fold=0)
    for one in reversed(schedule.overrides):
        if one.start <= wall < one.end:
            return (one.person,)
    turns = (_turn(each, wall) for each in schedule.rotations)
    return tuple(dict.fromkeys(who for who in turns if who))


def schedules_of(person: str, schedules: Iterable[Schedule], at: datetime) -> tuple[str, ...]:
    """Names of the schedules by which somebody is on call."""
    return tuple(one.name for one in schedules if person in on_call(one, at))


def everybody(schedules: Sequence[Schedule]) -> frozenset[str]:
    """All ids that any of the schedules names."""
    turns = (who for one in schedules for each in one.rotations for who in each.people)
    return frozenset(turns) | {each.person for one in schedules for each in one.overrides}


def _turn(rotation: Rotation, wall: datetime) -> str:
    if wall < rotation.start:
        return ""
    return rotation.people[(wall - rotation.start) // rotation.every % len(rotation.people)]
