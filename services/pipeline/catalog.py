"""The runbooks in force: a snapshot for each batch, replaced when the folder changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import structlog

from executor.errors import RemediationError
from executor.ports import Hooks
from matcher.model import Candidate, Incident, Match
from matcher.select import RunbookIndex
from runbooks.findings import RunbookError
from runbooks.folder import Changes, RunbookFolder
from runbooks.loader import load_text
from runbooks.mapping_files import MappingFiles, check_mappings
from runbooks.model import LoadedRunbook
from runbooks.subject import Actions
from safety.model import Refusal
from safety.trail import EntryKind
from services.changes.telling import FilesInForce
from services.pipeline.reviewing import refusal_of, reviewed_only
from services.pipeline.standings import InForce, Key, Known, Settled, in_force, key_of, settled, wanted
from services.records import RunbookUse
from services.signing.reviewed import Reviewed
from services.versions import RunbookRollback, VersionRecord, VersionStore, named

log = structlog.get_logger(__name__)
_LOOK_SECONDS = 5.0


class Catalog:
    """What the pipeline knows of runbooks.

    Args:
        folder: the runbooks.
        hooks: hear of every change.
        mappings: alerts that start runbooks.
        versions: what the graph knows of versions; None where there is no graph.
        actions: JSON Schema of each action's parameters, to read versions of the graph with.
        reviewed: tells which runbooks somebody has reviewed; left out, nobody asks for that.
    """

    def __init__(
        self,
        folder: RunbookFolder,
        hooks: Hooks,
        mappings: MappingFiles | None = None,
        versions: VersionStore | None = None,
        actions: Actions | None = None,
        *,
        reviewed: Reviewed | None = None,
    ) -> None:
        self._folder = folder
        self._hooks = hooks
        self._mappings = mappings or MappingFiles(())
        self._versions = versions
        self._actions = actions
        self._reviewed = reviewed or Reviewed((), ())
        self._left_out: Mapping[Key, str] = {}
        self._judged: Mapping[Key, str] = {}
        self._kept: dict[Key, LoadedRunbook] = {}
        self._known: Known | None = None if versions else Known()
        self._in_force = InForce((), MappingProxyType({}), MappingProxyType({}))
        self._index = RunbookIndex(())
        self._loaded = FilesInForce("runbooks", EntryKind.RUNBOOK_CHANGED, {})
        self._build()

    @property
    def index(self) -> RunbookIndex:
        """For matching; immutable, so that a batch sees one version."""
        return self._index

    def find(self, runbook_id: str) -> LoadedRunbook | None:
        """The loaded version of a runbook."""
        return self._folder.current.runbooks.get(runbook_id)

    @property
    def runbooks(self) -> Mapping[str, LoadedRunbook]:
        """The runbooks in force by id: those that steps can call."""
        return self._in_force.single

    @property
    def loaded(self) -> FilesInForce:
        """The runbooks of the folders, whichever versions are in force; the same object until a file changes."""
        return self._loaded

    @property
    def remarks(self) -> tuple[str, ...]:
        """What people should know about the versions in force."""
        return self._in_force.remarks

    def count(self) -> int:
        """How many runbooks are in force."""
        return len(self._in_force.single)

    def match(self, incident: Incident, loaded: LoadedRunbook, candidates: tuple[Candidate, ...]) -> Match:
        """An incident with a runbook that was chosen before, on the terms that hold for its alert now."""
        return self._index.match(incident, loaded, candidates)

    async def pinned(self, use: RunbookUse) -> LoadedRunbook | Refusal:
        """The very version that a decision chose, whatever has become of its file; or why it may not run any more.

        Raises:
            GraphUnavailable: it is not in the folders, and the graph does not answer.
        """
        if self._versions:
            for rollback in await self._versions.rollbacks():
                if (rollback.runbook_id, rollback.from_sha) == (use.id, use.sha):
                    return Refusal("runbook_rolled_back", f"{use.id} {named(use.version, use.sha)} is {rollback}")
        loaded = self.find(use.id)
        if loaded is None or loaded.sha != use.sha:
            loaded = await self._kept_version((use.id, use.sha))
        if loaded is None:
            why = f"{use.id} {named(use.version, use.sha)} is neither in the folders nor, whole, in the graph"
            return Refusal("runbook_gone", why)
        return refusal_of(loaded, self._reviewed.refused) or loaded

    async def follow(self) -> None:
        """Ask the graph which versions are in force, and follow it.

        Raises:
            GraphUnavailable: what was known stays.
        """
        await self._review()
        if self._versions is None:
            return
        rollbacks = await self._versions.rollbacks()
        loaded = tuple(self._folder.current.runbooks.values())
        known = await self._asked(self._versions, loaded, rollbacks)
        if over := settled(loaded, known):
            for one in over:
                await self._settle(self._versions, one)
            known = await self._asked(self._versions, loaded, rollbacks)
        if known != self._known:
            self._tell(self._known, rollbacks)
            self._known = known
            self._build()

    async def _review(self) -> None:
        """Follow signatures and the approved revision, which change without the runbooks."""
        if not self._reviewed.follows:
            return
        loaded = tuple(self._folder.current.runbooks.values())

        def judged() -> Mapping[Key, str]:
            self._reviewed.refresh()
            return {key_of(one): self._reviewed.told(one) for one in loaded}

        # Signatures are checked and files are read beside the loop, and a new index is made only for something new.
        found = await asyncio.to_thread(judged)
        if found != self._judged:
            self._judged = found
            self._build()

    async def _asked(
        self, versions: VersionStore, loaded: Sequence[LoadedRunbook], rollbacks: Sequence[RunbookRollback]
    ) -> Known:
        trying = [one.runbook.id for one in loaded if one.runbook.rollout is not None]
        records: dict[str, list[VersionRecord]] = {name: [] for name in trying}
        for record in await versions.records(trying):
            records[record.id].append(record)
        for key in wanted(loaded, rollbacks, [record for known in records.values() for record in known]):
            await self._kept_version(key)
        return Known(
            {(one.runbook_id, one.from_sha): one for one in rollbacks},
            dict(self._kept),
            {name: tuple(known) for name, known in records.items()},
        )

    async def _settle(self, versions: VersionStore, over: Settled) -> None:
        """Note the end of a trial; another process may have noted it first."""
        name, sha = key_of(over.loaded)
        stands = await versions.settle(name, sha, over.standing, over.why)
        log.warning("runbook.trial_over", runbook=name, sha=sha, standing=stands, why=over.why)

    async def _kept_version(self, key: Key) -> LoadedRunbook | None:
        """A version as the graph kept it, if its text is whole; read once."""
        if self._versions is None or key in self._kept:
            return self._kept.get(key)
        name, sha = key
        for found in await self._versions.texts(sha, name):
            try:
                loaded = load_text(found.text, actions=self._actions)
            except RunbookError as error:
                log.warning("runbook.version_unreadable", runbook=name, sha=sha, why=str(error))
                continue
            if (loaded.runbook.id, loaded.sha) == key:
                self._kept[key] = loaded
                return loaded
            log.error("runbook.version_altered", runbook=name, sha=sha, found=loaded.sha)
        return None

    def _tell(self, before: Known | None, rollbacks: Sequence[RunbookRollback]) -> None:
        """Say loudly what a person has taken out of force, and what is back."""
        old = dict(before.rollbacks) if before else {}
        for one in rollbacks:
            if old.pop((one.runbook_id, one.from_sha), None) != one:
                facts = {"runbook": one.runbook_id, "from_sha": one.from_sha, "to_sha": one.to_sha}
                log.warning("runbook.rolled_back", **facts, by=one.by, reason=one.reason)
        for lifted in old.values():
            log.warning("runbook.rollback_lifted", runbook=lifted.runbook_id, from_sha=lifted.from_sha)

    def _build(self) -> None:
        found = in_force(self._folder.current.runbooks.values(), self._known)
        chosen = reviewed_only(found, self._reviewed.refused)
        self._in_force = chosen.in_force
        self._tell_left_out(chosen.left_out)
        self._index = RunbookIndex(self._in_force.versions, self._mappings.current, self._in_force.lots)

    def _tell_left_out(self, left_out: Mapping[Key, str]) -> None:
        """Say loudly which runbooks do not run because nobody has reviewed them, and which do all the same."""
        if self._reviewed.warns:
            loaded = self._folder.current.runbooks.values()
            told = {key_of(one): why for one in loaded if (why := self._reviewed.unsigned(one))}
        else:
            told = dict(left_out)
        for key, why in told.items():
            if self._left_out.get(key) != why:
                log.warning("runbook.unsigned", runbook=key[0], sha=key[1], why=why, runs=key not in left_out)
        self._left_out = told

    def load(self) -> None:
        """Read the folders and the mappings."""
        self._mappings.reload()
        self._reviewed.refresh()
        self._take(self._folder.reload())
        self._tell_mappings()

    async def watch(self) -> None:
        """Follow changes until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_mappings())
            async for changes in self._folder.watch():
                await self._ask_first()
                self._take(changes)

    async def _ask_first(self) -> None:
        """How the changed versions stand, before they are put in force; until it is known they are only suggested."""
        try:
            await self.follow()
        except RemediationError as error:
            log.warning("runbook.versions_unknown", why=str(error))

    async def _watch_mappings(self) -> None:
        """A few files: looking at their times every few seconds sees what any file system does with them."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if await asyncio.to_thread(self._mappings.reload):
                self._build()
                self._tell_mappings()

    def _tell_mappings(self) -> None:
        """Say loudly what is wrong with the mappings: the last good version of a file stays."""
        for wrong in self._mappings.errors:
            log.error("mappings.rejected", why=str(wrong))
        for doubtful in check_mappings(self._mappings.loaded, self._folder.current.runbooks):
            log.warning("mappings.doubtful", why=str(doubtful))
        log.info("mappings.loaded", count=len(self._mappings.current.entries))

    def _take(self, changes: Changes) -> None:
        """Put the new snapshot in force, and say loudly what was refused: its last good version stays."""
        self._build()
        known = self._folder.current.runbooks
        hashes = {name: one.sha for name, one in known.items()}
        paths = {name: one.path for name, one in known.items() if one.path}
        self._loaded = replace(self._loaded, hashes=hashes, paths=paths)
        for rejected in changes.rejected:
            log.error("runbook.rejected", why=str(rejected))
        log.info(
            "runbooks.loaded",
            count=self.count(),
            added=list(changes.added),
            changed=list(changes.changed),
            removed=list(changes.removed),
        )
        self._hooks.event("runbooks.loaded", loaded=self.count(), rejected=len(changes.rejected))
