"""The runbooks in force: a snapshot for each batch, replaced when the folder changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from executor.ports import Hooks
from matcher.model import Candidate, Incident, Match
from matcher.select import RunbookIndex
from runbooks.folder import Changes, RunbookFolder
from runbooks.mapping_files import MappingFiles, check_mappings
from runbooks.model import LoadedRunbook

log = structlog.get_logger(__name__)
_LOOK_SECONDS = 5.0


class Catalog:
    """What the pipeline knows of runbooks.

    Args:
        folder: the runbooks.
        hooks: hear of every change.
        mappings: alerts that start runbooks.
    """

    def __init__(self, folder: RunbookFolder, hooks: Hooks, mappings: MappingFiles | None = None) -> None:
        self._folder = folder
        self._hooks = hooks
        self._mappings = mappings or MappingFiles(())
        self._index = RunbookIndex(folder.current.runbooks.values())

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
        return self._folder.current.runbooks

    def count(self) -> int:
        """How many runbooks are in force."""
        return len(self._folder.current.runbooks)

    def match(self, incident: Incident, loaded: LoadedRunbook, candidates: tuple[Candidate, ...]) -> Match:
        """An incident with a runbook that was chosen before, on the terms that hold for its alert now."""
        return self._index.match(incident, loaded, candidates)

    def load(self) -> None:
        """Read the folders and the mappings."""
        self._mappings.reload()
        self._take(self._folder.reload())
        self._tell_mappings()

    async def watch(self) -> None:
        """Follow changes until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_mappings())
            async for changes in self._folder.watch():
                self._take(changes)

    async def _watch_mappings(self) -> None:
        """A few files: looking at their times every few seconds sees what any file system does with them."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if await asyncio.to_thread(self._mappings.reload):
                self._index = RunbookIndex(self._folder.current.runbooks.values(), self._mappings.current)
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
        self._index = RunbookIndex(self._folder.current.runbooks.values(), self._mappings.current)
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
