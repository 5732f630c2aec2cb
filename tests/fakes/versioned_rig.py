"""The pipeline on fakes with a real catalog over a folder, and versions that are kept as the graph keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from fakes.memory_versions import MemoryVersions
from fakes.pipeline_rig import RUNBOOK, Process, Rig

from runbooks.folder import RunbookFolder
from services.pipeline.catalog import Catalog


class VersionedRig(Rig):
    """A rig whose runbooks are files.

    Args:
        folder: where they are.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(**settings)
        self.folder = folder
        self.versions = MemoryVersions(self.store)
        self.catalog = self.new_catalog()

    def new_catalog(self) -> Catalog:
        """What a process knows of runbooks that has just started."""
        made = Catalog(RunbookFolder([self.folder]), self.hooks, None, self.versions)
        made.load()
        return made

    def write(self, name: str = "raise-memory", **changes: Any) -> str:
        """A runbook's file, taken into force; gives its hash."""
        raw = json.loads(json.dumps({**RUNBOOK, "id": name}))
        for key, value in changes.items():
            raw[key] = {**raw.get(key, {}), **value} if isinstance(value, dict) else value
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump({"runbook": raw}))
        self.catalog.load()
        found = self.catalog.find(name)
        assert found is not None
        return found.sha

    def process(self) -> Process:
        made = super().process()
        catalog = self.catalog
        made.decider._runbooks = lambda: catalog.index
        made.desk._runbook = catalog.pinned
        made.desk._match = catalog.match
        return made

    async def handle(self, process: Process, app: str) -> Any:
        """One alert about a workload of its own, to its end; gives the decision."""
        if app not in self.apps:
            self.app(app)
        before = set(self.store.decisions)
        await process.ingest.on_batch([self.event(app)])
        await process.quiet()
        (new,) = set(self.store.decisions) - before
        return self.store.decisions[new].record

    def used(self) -> list[str]:
        """The hash of the version that each execution used."""
        return [held.record.plan.runbook_sha for held in self.store.executions.values()]
