"""What people were told, and links that were used, in memory, with the behaviour of the real stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import uuid4

from safety.approvals import Approval, ApprovalStatus
from safety.memory_approvals import MemoryApprovalStore
from services.approvals.ports import Told


class MemoryNotices:
    """Implements ``services.approvals.ports.Notices``.

    Args:
        approvals: the store of the questions.
        now: seconds, of claims.
    """

    def __init__(self, approvals: MemoryApprovalStore, now: Callable[[], float]) -> None:
        self._approvals = approvals
        self._now = now
        self.held: dict[str, tuple[str, float]] = {}
        self.told: dict[str, tuple[str, Told]] = {}

    async def open(self, now: datetime) -> Sequence[tuple[Approval, frozenset[str]]]:
        """See the port."""
        found = [
            one
            for one in await self._approvals.list()
            if (one.status is ApprovalStatus.PENDING and one.expires_at > now)
            or (one.bypassed and one.answered_at and one.answered_at > now - timedelta(days=1))
        ]
        return [(one, frozenset(key for key, (about, _) in self.told.items() if about == one.id)) for one in found]

    async def take(self, key: str, approval: Approval, holder: str, seconds: float) -> bool:
        """See the port."""
        other, until = self.held.get(key, ("", 0.0))
        if key in self.told or (other not in {"", holder} and until >= self._now()):
            return False
        self.held[key] = (holder, self._now() + seconds)
        return True

    async def done(self, key: str, approval: Approval, holder: str, told: Told, at: datetime) -> None:
        """See the port."""
        if self.held.get(key, ("", 0.0))[0] == holder:
            del self.held[key]
            self.told[key] = (approval.id, told)

    async def free(self, key: str, holder: str) -> None:
        """See the port."""
        if self.held.get(key, ("", 0.0))[0] == holder:
            del self.held[key]


class MemoryUsedLinks:
    """Implements ``services.approvals.ports.UsedLinks``."""

    def __init__(self) -> None:
        self.uses: dict[str, str] = {}

    async def take(self, link_id: str, approval_id: str, at: datetime) -> str:
        """See the port."""
        if link_id in self.uses:
            return ""
        self.uses[link_id] = str(uuid4())
        return self.uses[link_id]

    async def free(self, link_id: str, use: str) -> None:
        """See the port."""
        if self.uses.get(link_id) == use:
            del self.uses[link_id]

    async def used(self, link_id: str) -> bool:
        """See the port."""
        return link_id in self.uses
