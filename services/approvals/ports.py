"""What is remembered around questions, so that people are told once and a link is used once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from safety.approvals import Approval


@dataclass(frozen=True, slots=True)
class Told:
    """What people were told, for the record: ``outcome`` is ``sent``, or ``skipped`` where a way is not set up."""

    kind: str
    way: str
    to: tuple[str, ...] = ()
    outcome: str = "sent"


class Notices(Protocol):
    """What people were told of questions. Of several processes one tells."""

    async def open(self, now: datetime) -> Sequence[tuple[Approval, frozenset[str]]]:
        """Open and lately bypassed questions, oldest first, each with the keys of what was told already."""
        ...

    async def take(self, key: str, approval: Approval, holder: str, seconds: float) -> bool:
        """Take the right to tell; False when it was told, or while somebody else has the right."""
        ...

    async def done(self, key: str, approval: Approval, holder: str, told: Told, at: datetime) -> None:
        """It was told, for ever. Goes to the audit trail."""
        ...

    async def free(self, key: str, holder: str) -> None:
        """It did not work: give the right back."""
        ...


class UsedLinks(Protocol):
    """Signed links that were used."""

    async def take(self, link_id: str, approval_id: str, at: datetime) -> str:
        """Use one up; a mark to give it back with, empty when it was used before."""
        ...

    async def free(self, link_id: str, use: str) -> None:
        """Its answer did not count: it is good again."""
        ...

    async def used(self, link_id: str) -> bool:
        """Whether it was used."""
        ...
