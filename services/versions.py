"""Versions of runbooks as values: how each did, and which a person has taken out of force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

SHORT = 12
"""Characters of a hash that are shown to people."""


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What the graph knows of one version of a runbook.

    Attributes:
        sha: content hash; what tells versions apart, whatever they are called.
        version: what its author called it.
        has_text: its YAML is kept, so that it can be put in force again.
        standing: how its trial ended: ``promoted``, ``demoted``, or empty.
        standing_why: the figures behind that.
        executions: that used it.
        ended: those that began and were carried through.
        verified: those of them whose fix was proven.
        failed: those of them that failed or did not fix anything; what nobody could tell is neither.
    """

    id: str
    sha: str
    version: str = ""
    has_text: bool = False
    standing: str = ""
    standing_why: str = ""
    first_used_at: datetime | None = None
    last_used_at: datetime | None = None
    executions: int = 0
    ended: int = 0
    verified: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return named(self.version, self.sha)


@dataclass(frozen=True, slots=True)
class VersionText:
    """The YAML of a version, as it was kept."""

    id: str
    sha: str
    version: str
    text: str


@dataclass(frozen=True, slots=True)
class RunbookRollback:
    """A version that a person has taken out of force, and the one that is in force instead.

    It holds wherever the file has this content (``from_sha``). Another content is another version, which it does not
    touch; the same content again is out of force again, until the rollback is lifted.
    """

    id: str
    runbook_id: str
    from_sha: str
    to_sha: str
    by: str
    reason: str
    at: datetime | None = None

    def __str__(self) -> str:
        return f"rolled back to {self.to_sha[:SHORT]} by {self.by}: {self.reason}"


class VersionStore(Protocol):
    """Where versions are durable. Raises ``GraphUnavailable`` when the store does not answer."""

    async def records(self, runbook_ids: Sequence[str]) -> Sequence[VersionRecord]:
        """Every version that was used of these runbooks; of each the one that was used last comes first."""
        ...

    async def texts(self, sha: str, runbook_id: str = "") -> Sequence[VersionText]:
        """Versions by hash or the beginning of it, of one runbook or of any."""
        ...

    async def rollbacks(self) -> Sequence[RunbookRollback]:
        """The rollbacks in force."""
        ...

    async def roll_back(self, rollback: RunbookRollback) -> None:
        """Take a version out of force. An older rollback of the same version is replaced."""
        ...

    async def lift(self, runbook_id: str, by: str, reason: str) -> int:
        """Lift every rollback of a runbook; how many there were."""
        ...

    async def settle(self, runbook_id: str, sha: str, standing: str, why: str) -> str:
        """Note how the trial of a version ended; gives what stands: the first that was noted. Empty if unknown."""
        ...


def named(version: str, sha: str) -> str:
    """A version for people: what its author called it, and the beginning of its hash."""
    return f"{version or '?'} ({sha[:SHORT]})"
