"""Globs, and an index of them whose cost depends on the text that is looked up, not on how many globs there are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import translate
from functools import lru_cache

_WILD = re.compile(r"\[[^\]]+\]|[*?]")


def is_glob(pattern: str) -> bool:
    """Whether a pattern has wildcards; without them it is a name."""
    return _WILD.search(pattern) is not None


def literal_length(pattern: str) -> int:
    """How many characters of a pattern are fixed: the more, the more specific it is."""
    return len(_WILD.sub("", pattern))


def matches(pattern: str, text: str) -> bool:
    """Whether a glob matches the whole text, without regard to case."""
    return _compiled(pattern.lower()).fullmatch(text.lower()) is not None


def any_matches(patterns: Iterable[str], text: str) -> bool:
    """Whether one of the globs matches."""
    return any(matches(pattern, text) for pattern in patterns)


@lru_cache(maxsize=8192)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


class GlobIndex:
    """Finds the globs that may match a text.

    Each glob waits under its longest literal part. A text is asked for all of its substrings of the lengths that occur:
    at most the square of its own length, however many globs there are. Globs without a literal match nearly
    everything, and are always looked at.
    """

    def __init__(self, globs: Iterable[str]) -> None:
        self._by_literal: dict[str, list[str]] = {}
        for glob in dict.fromkeys(glob.lower() for glob in globs):
            literal = max(_WILD.split(glob), key=len)
            self._by_literal.setdefault(literal, []).append(glob)
        self._lengths = sorted({len(literal) for literal in self._by_literal})

    def candidates(self, text: str) -> Iterator[str]:
        """Globs (in lower case) whose longest literal part occurs in the text; each at most once."""
        text = text.lower()
        for length in self._lengths:
            for literal in {text[start : start + length] for start in range(len(text) - length + 1)}:
                yield from self._by_literal.get(literal, ())

    def matching(self, text: str) -> Iterator[str]:
        """Globs (in lower case) that match the text."""
        return (glob for glob in self.candidates(text) if matches(glob, text))
