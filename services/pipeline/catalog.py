"""The runbooks in force: a snapshot for each batch, replaced when the folder changes."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from executor.ports import Hooks
from matcher.select import RunbookIndex
from runbooks.folder import Changes, RunbookFolder
from runbooks.model import LoadedRunbook

log = structlog.get_logger(__name__)


class Catalog:
    """What the pipeline knows of runbooks."""

    def __init__(self, folder: RunbookFolder, hooks: Hooks) -> None:
        self._folder = folder
        self._hooks = hooks
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

    def load(self) -> None:
        """Read the folders."""
        self._take(self._folder.reload())

    async def watch(self) -> None:
        """Follow changes until cancelled."""
        async for changes in self._folder.watch():
            self._take(changes)

    def _take(self, changes: Changes) -> None:
        """Put the new snapshot in force, and say loudly what was refused: its last good version stays."""
        self._index = RunbookIndex(self._folder.current.runbooks.values())
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
