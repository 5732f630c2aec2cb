"""Stamps on live objects: who changed them last, and whether that was us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from executor.actions.base import Stamp
from executor.errors import Drifted
from executor.ports import KubeObject

STAMPS = frozenset(Stamp("", "", 0).annotations())


@dataclass(frozen=True, slots=True)
class Stamped:
    """The last stamp on an object; empty for one that never was stamped."""

    execution: str
    step: str
    epoch: int

    def by(self, stamp: Stamp) -> bool:
        """Whether this very step of this execution made the last stamped change, under whatever epoch."""
        return (self.execution, self.step) == (stamp.execution, stamp.step)


def stamped(item: KubeObject) -> Stamped:
    """Read the stamp of a live object."""
    annotations = item.get("metadata", {}).get("annotations") or {}
    epoch = str(annotations.get("rootmend.dev/epoch", ""))
    return Stamped(
        execution=annotations.get("rootmend.dev/execution", ""),
        step=annotations.get("rootmend.dev/step", ""),
        epoch=int(epoch) if epoch.isdecimal() else 0,
    )


def refuse_newer(item: KubeObject, stamp: Stamp, what: object) -> None:
    """Raise Drifted when a newer holder has changed the object: what we know of it is old."""
    last = stamped(item)
    if last.epoch > stamp.epoch:
        raise Drifted(f"{what} was changed by a newer execution ({last.execution}, step {last.step})")


def without_stamps(annotations: Mapping[str, Any] | None) -> dict[str, Any]:
    """Annotations that are not ours."""
    return {key: value for key, value in (annotations or {}).items() if key not in STAMPS}


def undo_stamp(stamp: Stamp) -> Stamp:
    """The stamp of taking a step back."""
    return Stamp(stamp.execution, f"undo-{stamp.step}", stamp.epoch)
