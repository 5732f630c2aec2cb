"""Remembering what was found out about values that never change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")

_MOST = 4096


class Remembered(Generic[Given, Found]):
    """A pure function of frozen values that cannot be hashed, such as a step: each value is looked at once.

    Values are known by identity. Each is kept, so that no other one can take its place in memory; when there are too
    many, all are let go. What raises is not remembered.

    Args:
        work: the function; what it gives must not be changed either.
        most: how many values are kept.
    """

    def __init__(self, work: Callable[[Given], Found], most: int = _MOST) -> None:
        self._work = work
        self._most = most
        self._known: dict[int, tuple[Given, Found]] = {}

    def __call__(self, given: Given) -> Found:
        """What the function gives."""
        known = self._known.get(id(given))
        if known is None:
            found = self._work(given)
            if len(self._known) >= self._most:
                self._known.clear()
            self._known[id(given)] = known = (given, found)
        return known[1]
