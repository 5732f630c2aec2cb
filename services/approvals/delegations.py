"""Answers that people hand over for a time: who to whom, until when and why. Durable, and told to the audit trail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Delegation:
    """One person's answers in another person's hands, from ``since`` until just before ``until``.

    Attributes:
        ended_at: when it was taken back; None while it was not.
    """

    id: str
    by: str
    to: str
    since: datetime
    until: datetime
    reason: str
    ended_at: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Whether it is in force."""
        return self.since <= at < self.until and (self.ended_at is None or at < self.ended_at)


class BadDelegation(ValueError):
    """It cannot be made; the message says why."""


def checked(given: Delegation, longest: timedelta) -> Delegation:
    """A delegation that may be made.

    Raises:
        BadDelegation: to oneself, without reason, without end, or for too long.
    """
    if not given.to.strip() or given.to.strip().casefold() == given.by.strip().casefold():
        raise BadDelegation("answers are handed over to somebody else")
    if not given.reason.strip():
        raise BadDelegation("say why: the record keeps it")
    if given.until <= given.since:
        raise BadDelegation("it ends before it begins")
    if given.until - given.since > longest:
        raise BadDelegation(f"it lasts longer than approvals.longest_delegation ({longest}) allows")
    return given


class Delegations(Protocol):
    """Where they are kept."""

    async def add(self, delegation: Delegation) -> None:
        """Keep one."""
        ...

    async def end(self, delegation_id: str, by: str, at: datetime) -> Delegation | None:
        """Take one back. None where there is none in force of this id, or of somebody else."""
        ...

    async def in_force(self, at: datetime) -> Sequence[Delegation]:
        """All that hold, oldest first."""
        ...


class MemoryDelegations:
    """Implements ``Delegations`` in memory. ``kept`` is what there is, by id."""

    def __init__(self) -> None:
        self.kept: dict[str, Delegation] = {}

    async def add(self, delegation: Delegation) -> None:
        """See the port."""
        self.kept.setdefault(delegation.id, delegation)

    async def end(self, delegation_id: str, by: str, at: datetime) -> Delegation | None:
        """See the port."""
        known = self.kept.get(delegation_id)
        if known is None or known.by != by or not known.holds(at):
            return None
        fields = {name: getattr(known, name) for name in known.__slots__} | {"ended_at": at}
        self.kept[delegation_id] = Delegation(**fields)
        return self.kept[delegation_id]

    async def in_force(self, at: datetime) -> Sequence[Delegation]:
        """See the port."""
        return sorted((one for one in self.kept.values() if one.holds(at)), key=lambda one: (one.since, one.id))
