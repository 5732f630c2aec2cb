"""Growth: what a change makes larger, and when it last was made larger by us. Growing twice a day is for a human."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from executor.actions.diff import FieldChange, told
from executor.actions.naming import ref_of
from executor.actions.stamps import GROWN_AT
from executor.ports import KubeObject
from runbooks.quantities import Quantity

A_DAY = timedelta(days=1)
_AMOUNTS = ("limits", "requests")


def grows(fields: Iterable[FieldChange]) -> list[FieldChange]:
    """Those of the changes that make replicas, limits or requests larger."""
    return [change for change in fields if _larger(change)]


def grown_again(live: KubeObject, fields: Iterable[FieldChange], now: datetime) -> str:
    """Why a human is asked: the object grew within a day already, and would again. Empty when that is not so."""
    larger = grows(fields)
    at = (live["metadata"].get("annotations") or {}).get(GROWN_AT)
    if not larger or at is None:
        return ""
    before = _time(at)
    if before is not None and now - before >= A_DAY:
        return ""
    return f"{ref_of(live)} was made larger at {at} already, and would be again: {told(larger)}"


def _larger(change: FieldChange) -> bool:
    if change.path[-1:] != ("replicas",) and (len(change.path) < 2 or change.path[-2] not in _AMOUNTS):  # noqa: PLR2004 - a key and what it is in
        return False
    before, after = _amount(change.before), _amount(change.after)
    return before is not None and after is not None and after.amount > before.amount


def _amount(value: Any) -> Quantity | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return Quantity(str(value))
    except ValueError:
        return None


def _time(text: str) -> datetime | None:
    """The moment; None for a text that is none, which then counts as just now."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
