"""Which version of a runbook is in force, decided from what the folders hold and what the graph says of versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from matcher.lots import ALL, Lot, Lots
from matcher.trial import DEMOTED, PROMOTED, Counts, judge
from runbooks.model import LoadedRunbook
from services.versions import RunbookRollback, VersionRecord, named

Key = tuple[str, str]
"""Runbook id and hash."""

UNREAD = "the graph has not answered which of its versions is in force"


@dataclass(frozen=True, slots=True)
class Known:
    """What the graph said of versions when it was asked last.

    Attributes:
        rollbacks: those in force, by the version that they take out of force.
        texts: versions that are not in the folders and that may be needed, ready to run.
        records: every version of the runbooks that have a ``rollout``, by id; the one that was used last comes first.
    """

    rollbacks: Mapping[Key, RunbookRollback] = field(default_factory=dict)
    texts: Mapping[Key, LoadedRunbook] = field(default_factory=dict)
    records: Mapping[str, tuple[VersionRecord, ...]] = field(default_factory=dict)


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
        elif one.runbook.rollout is not None:
            _rolled_out(draft, one, known)
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


def _rolled_out(draft: _Draft, loaded: LoadedRunbook, known: Known) -> None:
    """A version with a ``rollout``: in force, on trial, or out because its trial failed."""
    name, rollout = loaded.runbook.id, loaded.runbook.rollout
    records = known.records.get(name)
    if rollout is None or records is None:
        draft.add(loaded, Lot(free=0.0, why=UNREAD))
        draft.single[name] = asking(loaded)
        return
    own = next((record for record in records if record.sha == loaded.sha), VersionRecord(name, loaded.sha))
    before = before_of(loaded, known)
    first = rollout.canary is not None and not [one for one in records if one.sha != loaded.sha]
    if own.standing == PROMOTED or first:
        draft.add(loaded)
        draft.single[name] = loaded
        return
    said = f"version {named(loaded.runbook.version, loaded.sha)}"
    if own.standing == DEMOTED:
        _after_trial(draft, loaded, before, f"{said} failed its trial: {own.standing_why}")
    else:
        _on_trial(
            draft, loaded, before, f"{said} is on trial", judge(rollout, counts_of(own), _counts(before, known))[1]
        )
    draft.single[name] = before or asking(loaded)


def _after_trial(draft: _Draft, loaded: LoadedRunbook, before: LoadedRunbook | None, why: str) -> None:
    """The version before takes all; without one a human is asked each time."""
    draft.add(loaded, Lot(end=0.0, why=why) if before else Lot(free=0.0, why=why))
    draft.remarks.append(f"{loaded.runbook.id} {why}")
    if before:
        draft.add(before)


def _on_trial(draft: _Draft, loaded: LoadedRunbook, before: LoadedRunbook | None, said: str, so_far: str) -> None:
    canary = loaded.runbook.rollout.canary if loaded.runbook.rollout else None
    key = "|".join(key_of(loaded))
    draft.remarks.append(f"{loaded.runbook.id} {said} ({so_far})")
    if canary is None:
        draft.add(loaded, Lot(free=0.0, why=f"{said} ({so_far})"))
        return
    why = f"{said} and takes {canary.percent:g} % of incidents ({so_far})"
    if before is None:
        draft.add(loaded, Lot(key, free=canary.percent, why=f"{why}; no proven version takes the others"))
        return
    draft.add(loaded, Lot(key, 0.0, canary.percent, ALL, why))
    draft.add(before, Lot(key, canary.percent, ALL, ALL, why))


def before_of(loaded: LoadedRunbook, known: Known) -> LoadedRunbook | None:
    """The version that a version on trial would replace: the one used last of those that have proved themselves.

    Without a ``rollout`` a version was in force at once, which counts as proven; one that a person has rolled back or
    whose trial failed does not.
    """
    for record in known.records.get(loaded.runbook.id, ()):
        key = (record.id, record.sha)
        kept = known.texts.get(key)
        if key == key_of(loaded) or kept is None or key in known.rollbacks or record.standing == DEMOTED:
            continue
        if record.standing == PROMOTED or kept.runbook.rollout is None:
            return kept
    return None


def counts_of(record: VersionRecord) -> Counts:
    """What became of the executions of a version."""
    return Counts(record.ended, record.verified, record.failed)


def _counts(loaded: LoadedRunbook | None, known: Known) -> Counts | None:
    if loaded is None:
        return None
    records = known.records.get(loaded.runbook.id, ())
    return next((counts_of(record) for record in records if record.sha == loaded.sha), None)


@dataclass(frozen=True, slots=True)
class Settled:
    """The end of a trial, to be noted."""

    loaded: LoadedRunbook
    standing: str
    why: str


def settled(loaded: Iterable[LoadedRunbook], known: Known) -> list[Settled]:
    """The trials that are over."""
    found = []
    for one in loaded:
        rollout, records = one.runbook.rollout, known.records.get(one.runbook.id, ())
        own = next((record for record in records if record.sha == one.sha), None)
        if rollout is None or own is None or own.standing or key_of(one) in known.rollbacks:
            continue
        if rollout.canary is not None and len(records) == 1:
            found.append(Settled(one, PROMOTED, "the first version that is known"))
            continue
        standing, why = judge(rollout, counts_of(own), _counts(before_of(one, known), known))
        if standing:
            found.append(Settled(one, standing, why))
    return found


def asking(loaded: LoadedRunbook) -> LoadedRunbook:
    """The version, with a human who must say yes; for a plan that calls it."""
    runbook = loaded.runbook
    safety = runbook.safety.model_copy(update={"require_approval": True})
    return loaded.model_copy(update={"runbook": runbook.model_copy(update={"safety": safety})})


def wanted(
    loaded: Iterable[LoadedRunbook], rollbacks: Sequence[RunbookRollback], records: Iterable[VersionRecord]
) -> set[Key]:
    """The versions that must be had from the graph: those of rollbacks, and those that a version on trial may replace.

    Of all that are out of force, since a file may change back.
    """
    present = {one.runbook.id for one in loaded}
    instead = {(one.runbook_id, one.to_sha) for one in rollbacks if one.runbook_id in present}
    return instead | {(one.id, one.sha) for one in records if one.has_text and one.standing != DEMOTED}
