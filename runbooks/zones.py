"""Names of time zones."""

from __future__ import annotations

from zoneinfo import ZoneInfo, available_timezones

from runbooks.findings import did_you_mean


def known_zone(name: str) -> str:
    """The name, when Python knows the zone; a misspelt one would move a freeze, or keep a window shut for ever.

    Raises:
        ValueError: there is no such zone; with the nearest one.
    """
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        advice = did_you_mean(name, available_timezones()) or "take an IANA name such as Europe/Vienna"
        raise ValueError(f"there is no time zone {name!r:.60}; {advice}") from error
    return name
