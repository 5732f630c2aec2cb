"""Which of several versions of a runbook takes an incident: drawn once for each, the same in every process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

ALL = 100.0


@dataclass(frozen=True, slots=True)
class Lot:
    """The part of all incidents that a version takes. A draw is a number from 0 up to, not including, 100.

    Attributes:
        key: what is drawn for; versions that share incidents have the same.
        first: draws below it are not taken.
        end: draws from here on are not taken.
        free: draws from here on are only suggested, so that a human has to say yes.
        why: why it does not take all of them, or only suggests itself; for people.
    """

    key: str = ""
    first: float = 0.0
    end: float = ALL
    free: float = ALL
    why: str = ""

    @property
    def never(self) -> bool:
        """Whether it takes no incident at all."""
        return self.first >= self.end

    def why_not(self, incident_id: str) -> str:
        """Why it does not take an incident; empty when it does."""
        if self.never:
            return self.why
        number = draw(self.key, incident_id)
        return "" if self.first <= number < self.end else f"{self.why}; this incident drew {number:.1f}"

    def suggested(self, incident_id: str) -> str:
        """Why a human has to say yes; empty when nobody has to."""
        return f"suggested only: {self.why}" if draw(self.key, incident_id) >= self.free else ""


EVERYTHING = Lot()
"""The lot of a version that nobody has said anything about."""

Lots = Mapping[tuple[str, str], Lot]
"""By runbook id and hash; versions that are missing take everything."""


def draw(key: str, incident_id: str) -> float:
    """The number of an incident: any two keys draw independently, and one key draws the same everywhere."""
    digest = sha256(f"{key}|{incident_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48 * ALL
