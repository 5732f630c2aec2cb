"""Which step waits for which, told without complaint: the checks want to see what is wrong, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Node(Protocol):
    """A step, written or planned, as far as its place matters."""

    @property
    def id(self) -> str:
        """Its name."""
        ...

    @property
    def depends_on(self) -> tuple[str, ...] | None:
        """Ids of steps that must have ended before; None for the one listed before it."""
        ...


Edges = Mapping[str, tuple[str, ...]]
"""What each step waits for, by id, in the order of the list."""


def edges(steps: Sequence[Node]) -> Edges:
    """What each step waits for: what it names, else the step before it."""
    made: dict[str, tuple[str, ...]] = {}
    before: tuple[str, ...] = ()
    for step in steps:
        made[step.id] = before if step.depends_on is None else step.depends_on
        before = (step.id,)
    return made


def ancestors(waits: Edges, step_id: str) -> frozenset[str]:
    """Every step that has ended for certain when this one starts."""
    found: set[str] = set()
    left = list(waits.get(step_id, ()))
    while left:
        one = left.pop()
        if one not in found and one in waits:
            found.add(one)
            left += waits[one]
    return frozenset(found)


def circle(waits: Edges) -> tuple[str, ...]:
    """One circle among the steps, from the first of it back to itself; empty when there is none."""
    done: set[str] = set()
    for start in waits:
        path: list[str] = []
        if found := _follow(waits, start, path, done):
            return found
    return ()


def _follow(waits: Edges, step_id: str, path: list[str], done: set[str]) -> tuple[str, ...]:
    if step_id in path:
        return (*path[path.index(step_id) :], step_id)
    if step_id in done:
        return ()
    path.append(step_id)
    for needed in waits.get(step_id, ()):
        if needed in waits and (found := _follow(waits, needed, path, done)):
            return found
    path.pop()
    done.add(step_id)
    return ()
