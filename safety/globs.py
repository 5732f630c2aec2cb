"""Whether two globs can match one and the same text."""

from __future__ import annotations

import re
from functools import cache

_TOKENS = re.compile(r"\[[^\]]+\]|.", re.DOTALL)
_ANY, _ONE = "*", "?"


def can_meet(one: str, other: str) -> bool:
    """Whether some text matches both globs, without regard to case.

    A class such as ``[ab]`` is taken for any character: two globs may be said to meet that do not, never the other way
    round.
    """
    left, right = _tokens(one.lower()), _tokens(other.lower())

    @cache
    def meet(at: int, to: int) -> bool:
        if at == len(left) and to == len(right):
            return True
        if at < len(left) and left[at] == _ANY:
            return meet(at + 1, to) or (to < len(right) and meet(at, to + 1))
        if to < len(right) and right[to] == _ANY:
            return meet(at, to + 1) or (at < len(left) and meet(at + 1, to))
        if at == len(left) or to == len(right):
            return False
        same = left[at] == right[to] or _ONE in (left[at], right[to])
        return same and meet(at + 1, to + 1)

    return meet(0, 0)


def _tokens(glob: str) -> tuple[str, ...]:
    return tuple(_ONE if len(token) > 1 else token for token in _TOKENS.findall(glob))
