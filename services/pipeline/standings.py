"""Which version of a runbook is in force, decided from what the folders hold and what the graph says of versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from matcher.lots import Lot, Lots
from runbooks.model import LoadedRunbook
from services.versions import RunbookRollback, named

Key = tuple[str, str]
"""Runbook id and hash."""

UNREAD = "the graph has not answered which of its versions is in force"


@dataclass(frozen=True, slots=True)
class Known:
    """What the graph said of versions when it was asked last.

    Attributes:
        rollbacks: those in force, by the version that they take out of force.
        texts: versions that are not in the folders and that may be needed, ready to run.
    """

    rollbacks: Mapping[Key, RunbookRollback] = field(default_factory=dict)
    texts: Mapping[Key, LoadedRunbook] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InForce:
    """The versions in force.

    Attributes:
        versions: all that may take incidents, and those that may not, with the reason in ``lots``.
        lots: who takes what.
        single: of each runbook the one that others may call; a version on trial is not called.
        remarks: what people should know about it.
    """

    versions: tuple[LoadedRunbook, ...]
    lots: Lots
    single: Mapping[str, LoadedRunbook]
    remarks: tuple[str, ...] = ()


@dataclass(slots=True)
class _Draft:
    versions: list[LoadedRunbook] = field(default_factory=list)
    lots: dict[Key, Lot] = field(default_factory=dict)
    single: dict[str, LoadedRunbook] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def add(self, loaded: LoadedRunbook, lot: Lot | None = None) -> None:
        self.versions.append(loaded)
        if lot is not None:
            self.lots[key_of(loaded)] = lot


def key_of(loaded: LoadedRunbook) -> Key:
    """What tells a version from all others."""
    return loaded.runbook.id, loaded.sha


def in_force(loaded: Iterable[LoadedRunbook], known: Known | None) -> InForce:
    """The versions in force.

    Args:
        loaded: what the folders hold.
        known: None when the graph has never answered: then everything is only suggested, because what a person has
            taken out of force must not run by itself.
    """
    draft = _Draft()
    for one in loaded:
        rollback = known.rollbacks.get(key_of(one)) if known else None
        if known is None:
            draft.add(one, Lot(free=0.0, why=UNREAD))
            draft.single[one.runbook.id] = asking(one)
        elif rollback is not None:
            _rolled_back(draft, one, rollback, known)
        else:
            draft.add(one)
            draft.single[one.runbook.id] = one
    return InForce(
        tuple(draft.versions), MappingProxyType(draft.lots), MappingProxyType(draft.single), tuple(draft.remarks)
    )


def _rolled_back(draft: _Draft, loaded: LoadedRunbook, rollback: RunbookRollback, known: Known) -> None:
    """The version of a rollback in the place of the one in the file; when it cannot be had, none is in force."""
    name = loaded.runbook.id
    instead = known.texts.get((name, rollback.to_sha))
    lost = "" if instead else "; that version cannot be read, so none is in force"
    draft.add(loaded, Lot(end=0.0, why=f"{rollback}{lost}"))
    draft.remarks.append(f"{name} {named(loaded.runbook.version, loaded.sha)} is {rollback}{lost}")
    if instead:
        draft.add(instead)
        draft.single[name] = instead


def asking(loaded: LoadedRunbook) -> LoadedRunbook:
    """The version, with a human who must say yes; for a plan that calls it."""
    runbook = loaded.runbook
    safety = runbook.safety.model_copy(update={"require_approval": True})
    return loaded.model_copy(update={"runbook": runbook.model_copy(update={"safety": safety})})


def wanted(loaded: Iterable[LoadedRunbook], rollbacks: Sequence[RunbookRollback]) -> set[Key]:
    """The versions that must be had from the graph; of all that are out of force, since a file may change back."""
    present = {one.runbook.id for one in loaded}
    return {(one.runbook_id, one.to_sha) for one in rollbacks if one.runbook_id in present}
