"""What the pipeline and the commands need from the durable store. The graph implements it, a fake lives in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from executor.model import ExecutionRecord, Status
from safety.approvals import Approval
from services.records import (
    DecisionRecord,
    DecisionState,
    ExecutionStory,
    ExecutionSummary,
    OpenIncident,
    Orphans,
    Repeat,
    Story,
)


class DecisionLedger(Protocol):
    """Where decisions are durable. Raises ``GraphUnavailable`` when the store does not answer."""

    async def open_incidents(self, fingerprints: Sequence[str]) -> Mapping[str, OpenIncident]:
        """The newest incident of each fingerprint, closed ones included; unknown fingerprints are missing."""
        ...

    async def open_alerts(self, alert_keys: Sequence[str]) -> Mapping[str, DecisionState]:
        """The newest open decision that each alert opened; alerts without one are missing."""
        ...

    async def record(self, batch: Sequence[DecisionRecord | Repeat]) -> None:
        """Make a batch durable, all of it or nothing.

        Writing it again changes nothing: inputs are counted once by origin, a ``waiting`` never replaces a later
        answer, a permit is replaced only by a permit or a later attempt, and an execution that was claimed is left
        alone.
        """
        ...

    async def waiting_due(self, now: datetime, limit: int, hold_seconds: float = 30) -> Sequence[DecisionRecord]:
        """Take waiting decisions whose ``next_check_at`` has come, oldest first.

        Each is put off by ``hold_seconds`` so that two sweepers do not look at it at once; a crash only delays it.
        """
        ...

    async def waiting_for(self, events: Sequence[tuple[str, str]]) -> Sequence[DecisionRecord]:
        """Waiting decisions that these events, (tenant, event id), opened; a late RCA result answers them."""
        ...

    async def close(self, alert_keys: Sequence[str], at: datetime) -> Sequence[str]:
        """Close the open decisions that these alerts opened, up to that event time; gives their ids.

        Waiting ones become ``resolved``.
        """
        ...

    async def find(self, text: str, limit: int = 10) -> Sequence[Story]:
        """Decisions by id of incident, decision, event or execution, newest first; a prefix of 6 or more will do."""
        ...


class ExecutionStore(Protocol):
    """Reads executions, and looks after those that nobody holds."""

    async def load(self, execution_id: str) -> ExecutionRecord | None:
        """The execution with its steps so far. Raises Unreadable when its record makes no sense to this release."""
        ...

    async def tell(self, text: str) -> Sequence[ExecutionStory]:
        """Executions by id or prefix, with all that people want to know."""
        ...

    async def latest(
        self, *, status: Status | None = None, since: datetime | None = None, limit: int = 50
    ) -> Sequence[ExecutionSummary]:
        """Executions, newest first."""
        ...

    async def success(self, runbook_id: str, tenant: str, since: datetime) -> tuple[int, int]:
        """How many executions of a runbook were verified, of those that began and were carried through."""
        ...

    async def orphans(self, limit: int = 100, unclaimed_seconds: float = 15, skip: Sequence[str] = ()) -> Orphans:
        """Executions that nobody looks after, by the store's own clock; those of a newer format are left to others.

        Args:
            limit: most of each kind.
            unclaimed_seconds: how long a permitted one may wait to be claimed.
            skip: left out, unless somebody has asked for their adoption just now.
        """
        ...

    async def abort_expired(self, execution_ids: Sequence[str]) -> Sequence[str]:
        """End permitted executions whose permit ran out, as aborted; gives those that were ended."""
        ...

    async def renew(self, holder: str, execution_ids: Sequence[str], lease_seconds: float) -> frozenset[str]:
        """Extend the leases of a process, all at once; gives the executions that it has lost."""
        ...

    async def answered(self, limit: int = 100) -> Sequence[Approval]:
        """Answered approvals whose consequence was not carried out yet, oldest answer first."""
        ...

    async def followed(self, approval_id: str) -> None:
        """The consequence of an answer was carried out."""
        ...

    async def abort_waiting(self, execution_id: str, why: str) -> bool:
        """End an execution that waits for an approval; False when it no longer waits."""
        ...
