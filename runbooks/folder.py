"""Folders of runbooks that may change while they are used: a bad file keeps the last good version, loudly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from watchfiles import awatch

from runbooks.dialects.recognise import OtherDocument
from runbooks.findings import Finding, RunbookError
from runbooks.kept_files import Stamp, stamp_of
from runbooks.lint_calls import check_calls
from runbooks.loader import duplicate_id, load_file, runbook_files
from runbooks.model import LoadedRunbook
from runbooks.subject import Actions

_DEBOUNCE_MS = 300
_LOOK_AGAIN_MS = 30_000


@dataclass(frozen=True, slots=True)
class RunbookSet:
    """The runbooks at one moment; it never changes.

    Attributes:
        runbooks: by id.
        findings: of all files as they are now: warnings of the good ones, errors of those that were rejected.
    """

    runbooks: Mapping[str, LoadedRunbook] = field(default_factory=lambda: MappingProxyType({}))
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that is not used as it stands.

    Attributes:
        kept: id of the runbook whose last good version stays in use; None when there is none.
    """

    path: Path
    findings: tuple[Finding, ...]
    kept: str | None = None

    def __str__(self) -> str:
        kept = f"; the last good version of {self.kept} stays in use" if self.kept else "; not used"
        return "\n".join(str(finding) for finding in self.findings) + kept


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reload changed: ids of runbooks, and the files that were newly rejected."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed or self.rejected)


@dataclass(slots=True)
class _File:
    """What is known of one file: as it is now, and the last version that was good."""

    stamp: Stamp | None
    good: LoadedRunbook | None = None
    errors: tuple[Finding, ...] = ()
    reported: bool = False


class RunbookFolder:
    """Runbooks of some folders or files.

    Args:
        paths: folders (read with their subfolders) and files.
        actions: JSON Schema of each action's parameters by name and alias; without it actions are not checked.
    """

    def __init__(self, paths: Sequence[Path], *, actions: Actions | None = None) -> None:
        self._paths = tuple(paths)
        self._actions = actions
        self._files: dict[Path, _File] = {}
        self._current = RunbookSet()

    @property
    def current(self) -> RunbookSet:
        """The runbooks as of the last reload."""
        return self._current

    def reload(self) -> Changes:
        """Look at every file, read those that changed, and put the new set in place at once."""
        present = list(runbook_files(self._paths))
        for gone in self._files.keys() - set(present):
            del self._files[gone]
        for path in present:
            self._look(path)
        runbooks, clashes = self._by_id(present)
        before = self._current.runbooks
        found = (*self._findings(present, clashes), *check_calls(runbooks, complete=True))
        self._current = RunbookSet(MappingProxyType(runbooks), found)
        return Changes(
            added=tuple(sorted(runbooks.keys() - before.keys())),
            changed=tuple(sorted(i for i in runbooks.keys() & before.keys() if runbooks[i].sha != before[i].sha)),
            removed=tuple(sorted(before.keys() - runbooks.keys())),
            rejected=self._newly_rejected(present, clashes),
        )

    def _look(self, path: Path) -> None:
        stamp = stamp_of(path)
        known = self._files.get(path)
        if known is not None and known.stamp == stamp and stamp is not None:
            return
        # A file that is gone takes its runbook with it; one that is bad keeps its last good version.
        good = known.good if known is not None and stamp is not None else None
        try:
            self._files[path] = _File(stamp, load_file(path, actions=self._actions))
        except OtherDocument as error:
            # Beside runbooks it is in its place; named by itself it was meant as a runbook.
            self._files[path] = _File(stamp, None, error.findings if path in self._paths else ())
        except RunbookError as error:
            again = known is not None and known.reported and known.errors == error.findings
            self._files[path] = _File(stamp, good, error.findings, reported=again)

    def _by_id(self, present: Sequence[Path]) -> tuple[dict[str, LoadedRunbook], dict[Path, Finding]]:
        """Who has which id. A file that has it already keeps it; else the first in order gets it."""
        holders = {runbook.path: id_ for id_, runbook in self._current.runbooks.items()}
        loaded = [(path, self._files[path].good) for path in present]
        good = [(path, runbook) for path, runbook in loaded if runbook is not None]
        good.sort(key=lambda item: holders.get(item[0]) != item[1].runbook.id)
        runbooks: dict[str, LoadedRunbook] = {}
        clashes: dict[Path, Finding] = {}
        for path, runbook in good:
            first = runbooks.setdefault(runbook.runbook.id, runbook)
            if first is not runbook:
                clashes[path] = duplicate_id(runbook, first)
        return runbooks, clashes

    def _findings(self, present: Sequence[Path], clashes: Mapping[Path, Finding]) -> tuple[Finding, ...]:
        found: list[Finding] = []
        for path in present:
            file = self._files[path]
            found.extend(file.errors or (file.good.findings if file.good is not None else ()))
            found.extend([clashes[path]] if path in clashes else [])
        return tuple(found)

    def _newly_rejected(self, present: Sequence[Path], clashes: Mapping[Path, Finding]) -> tuple[Rejected, ...]:
        rejected: list[Rejected] = []
        for path in present:
            file = self._files[path]
            problems = (*file.errors, *([clashes[path]] if path in clashes else ()))
            if problems and not file.reported:
                kept = file.good.runbook.id if file.good is not None and path not in clashes else None
                rejected.append(Rejected(path, problems, kept))
            file.reported = bool(problems)
        return tuple(rejected)

    async def watch(self, stop: asyncio.Event | None = None) -> AsyncIterator[Changes]:
        """Reload whenever the folders change, and give what changed.

        Every half minute the folders are looked at in any case: some file systems report no changes.

        Args:
            stop: ends the watch when it is set.
        """
        stop = stop or asyncio.Event()
        changes = await asyncio.to_thread(self.reload)  # what happened between the first reload and now
        if changes:
            yield changes
        async for _ in self._moments(stop):
            changes = await asyncio.to_thread(self.reload)
            if changes:
                yield changes

    async def _moments(self, stop: asyncio.Event) -> AsyncIterator[None]:
        """When to look."""
        # A file is watched through its folder: editors replace files, and the old one is never written again.
        folders = {path if path.is_dir() else path.parent for path in self._paths}
        existing = [path for path in folders if path.is_dir()]
        if len(existing) < len(folders):
            while not stop.is_set():  # what does not exist yet cannot be watched
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _LOOK_AGAIN_MS / 1000)
                yield
            return
        watcher = awatch(
            *existing,
            watch_filter=None,
            debounce=_DEBOUNCE_MS,
            rust_timeout=_LOOK_AGAIN_MS,
            yield_on_timeout=True,
            stop_event=stop,
        )
        async for _ in watcher:
            yield
