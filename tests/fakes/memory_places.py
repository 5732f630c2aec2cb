"""Where questions stand on surfaces, in memory, with the behaviour of the real store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from safety.approvals import Approval, ApprovalStatus
from safety.memory_approvals import MemoryApprovalStore
from services.approvals.surface import Shown, Spot, Standing


@dataclass
class Kept:
    approval_id: str
    incident_id: str
    number: int
    holder: str = ""
    until: float = 0.0
    spot: Spot | None = None
    shown: str = ""
    told: str = ""
    told_state: str = ""
    over: bool = False


class MemoryPlaces:
    """Implements ``services.approvals.surface.Places``.

    Args:
        approvals: the store of the questions.
        now: seconds, of claims.
        states: state of each execution and whether it is done, by its id.
    """

    def __init__(self, approvals: MemoryApprovalStore, now: Callable[[], float]) -> None:
        self._approvals = approvals
        self._now = now
        self.kept: dict[tuple[str, str], Kept] = {}
        self.states: dict[str, tuple[str, bool]] = {}

    async def unasked(self, surface: str, limit: int) -> Sequence[Approval]:
        found = []
        for approval in await self._approvals.list(ApprovalStatus.PENDING):
            kept = self.kept.get((surface, approval.id))
            if kept is None or (kept.spot is None and not (kept.holder and kept.until >= self._now())):
                found.append(approval)
        return found[:limit]

    async def standing(self, surface: str, limit: int) -> Sequence[Standing]:
        kept = [one for (name, _), one in self.kept.items() if name == surface and one.spot and not one.over]
        return [self._standing(one) for one in sorted(kept, key=lambda one: one.number)][:limit]

    def _standing(self, kept: Kept) -> Standing:
        approval = self._approvals.approvals[kept.approval_id]
        state, ended = self.states.get(approval.execution_id, ("waiting_approval", False))
        assert kept.spot is not None
        return Standing(approval, kept.spot, kept.shown, kept.told, kept.told_state, state, ended)

    async def claim(self, surface: str, approval: Approval, holder: str, seconds: float) -> bool:
        fresh = Kept(approval.id, approval.incident_id, len(self.kept))
        kept = self.kept.setdefault((surface, approval.id), fresh)
        if kept.holder not in ("", holder) and kept.until >= self._now():
            return False
        kept.holder, kept.until = holder, self._now() + seconds
        return True

    async def root(self, surface: str, incident_id: str) -> Spot | None:
        kept = [one for (name, _), one in self.kept.items() if name == surface and one.incident_id == incident_id]
        return next((one.spot for one in sorted(kept, key=lambda one: one.number) if one.spot), None)

    async def asked(self, surface: str, approval: Approval, holder: str, spot: Spot, shown: str) -> None:
        self._save(surface, approval, holder, spot=spot, shown=shown)

    async def showed(self, surface: str, approval: Approval, holder: str, shown: Shown) -> None:
        known = {"shown": shown.shown, "told": shown.told, "told_state": shown.told_state}
        facts = {name: value for name, value in known.items() if value is not None}
        self._save(surface, approval, holder, **facts, **({"over": True} if shown.over else {}))

    def _save(self, surface: str, approval: Approval, holder: str, **facts: object) -> None:
        kept = self.kept.get((surface, approval.id))
        if kept is not None and kept.holder == holder:
            self.kept[surface, approval.id] = replace(kept, holder="", until=0.0, **facts)  # type: ignore[arg-type]
