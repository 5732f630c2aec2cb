"""Lengths of time as people write them in YAML."""

from __future__ import annotations

import re
from datetime import timedelta

MAX_DURATION = timedelta(days=30)
"""Longest duration; also keeps the arithmetic with times within bounds."""

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_BARE = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_LONGEST = 40


def parse_duration(value: object) -> timedelta:
    """Read ``30``, ``"30s"``, ``"5m"`` or ``"1h30m"``.

    Args:
        value: a number of seconds, a text with units (ms, s, m, h, d), or a timedelta.

    Raises:
        ValueError: the text is none of these, or the length is negative or longer than ``MAX_DURATION``.
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool):
        raise ValueError("expected a duration such as 30s or 5m, got a boolean")
    if isinstance(value, int | float):
        seconds = float(min(value, MAX_DURATION.total_seconds() * 2))  # whole numbers may be too large for a float
    elif isinstance(value, str):
        text = value.strip().replace(" ", "")[:_LONGEST]
        parts = _PART.findall(text)
        if _BARE.fullmatch(text):
            seconds = float(text)
        elif parts and "".join(n + u for n, u in parts) == text:
            seconds = sum(float(n) * _UNITS[u] for n, u in parts)
        else:
            raise ValueError(f"expected a duration such as 30s, 5m or 1h30m, got {value[:_LONGEST]!r}")
    else:
        raise ValueError(f"expected a duration such as 30s or 5m, got {type(value).__name__}")
    if not 0 <= seconds <= MAX_DURATION.total_seconds():
        raise ValueError(f"a duration lies between 0 and {MAX_DURATION.days} days, got {value!r}")
    return timedelta(seconds=seconds)


def format_duration(length: timedelta) -> str:
    """The length in the largest unit that needs no fraction: ``5m``, ``90s``."""
    seconds = length.total_seconds()
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds:g}s"
