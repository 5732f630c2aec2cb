"""The audit trail in memory, chained as the durable one is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from safety.segments import Segments
from safety.trail import Entry, Sealed


class MemoryTrail:
    """Implements ``safety.trail.AuditTrail``.

    Attributes:
        entries: everything that was written, in the order of writing.
    """

    def __init__(self, writer: str = "memory") -> None:
        self.entries: list[Sealed] = []
        self.segments = Segments(writer)

    async def append(self, tenant: str, entries: Sequence[Entry]) -> None:
        """See the port."""
        if not entries:
            return
        with self.segments.writing() as draft:
            self.entries += draft.seal({tenant: entries}, datetime.now(UTC))
            draft.written()

    def of(self, tenant: str) -> list[Sealed]:
        """The trail of one tenant."""
        return [entry for entry in self.entries if entry.tenant == tenant]
