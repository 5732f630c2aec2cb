"""The runbooks as they are on the base branch, and what differs from them in words."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runbooks.comparing import Risk, changes
from runbooks.findings import Severity
from runbooks.loader import load_folder

if TYPE_CHECKING:
    from runbooks.model import LoadedRunbook

_GIT_SECONDS = 60


class BaseError(Exception):
    """The base cannot be read from Git."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two folders of runbooks.

    Attributes:
        lines: in words, runbook by runbook, the riskiest change of each first.
        runbooks: how many differ.
        riskier: how many changes let a runbook do more.
        unread: how many runbooks could not be compared.
    """

    lines: tuple[str, ...]
    runbooks: int
    riskier: int
    unread: int


def extract(revision: str, folder: Path, into: Path) -> None:
    """Write the runbooks of a folder as they are at a revision; nothing when there was no such folder.

    Raises:
        BaseError: no Git repository, or no such revision.
    """
    commit = _git(folder, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
    prefix = _git(folder, "rev-parse", "--show-prefix").decode().strip()
    if prefix and not _git(folder, "ls-tree", "--full-tree", commit, "--", prefix.rstrip("/")):
        return
    data = _git(folder, "archive", "--format=tar", commit)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            _unpack(archive, member, into)


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> None:
    """Write one plain file; links are left out. Done here since Python 3.11.2 of Debian 12 knows no filters."""
    target = into / member.name
    content = archive.extractfile(member) if member.isreg() else None
    if content is None:
        return
    if not target.resolve().is_relative_to(into.resolve()):
        raise BaseError(f"the revision names a file outside its tree: {member.name!r:.200}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.read())


def _git(folder: Path, *words: str) -> bytes:
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_GIT_SECONDS, check=False)  # noqa: S603 - a list
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BaseError(f"git cannot be asked: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or f"git {' '.join(words)} ended with {done.returncode}"
        raise BaseError(said)
    return done.stdout


def differences(base: Path, folder: Path, actions: Mapping[str, Mapping[str, Any]]) -> Difference:
    """Compare runbook by runbook, by id, so that a file may move."""
    old, _ = load_folder(base, actions=actions)
    new, findings = load_folder(folder, actions=actions)
    broken = {one.path for one in findings if one.severity is Severity.ERROR}
    lines: list[str] = []
    touched, riskier, unread = 0, 0, 0
    for name in sorted(old.keys() | new.keys()):
        where = old[name].path if name in old else None
        if name not in new and where and folder / where.relative_to(base) in broken:
            lines.append(f"{name}: cannot be compared, its file cannot be used")
            unread += 1
            continue
        found, more = _told(name, old.get(name), new.get(name))
        lines += found
        touched += bool(found)
        riskier += more
    return Difference(tuple(lines), touched, riskier, unread)


def _told(name: str, old: LoadedRunbook | None, new: LoadedRunbook | None) -> tuple[list[str], int]:
    if new is None:
        return [f"{name}: is gone; what it answered is answered by nothing, or by another runbook"], 0
    if old is None:
        return [f"{name}: is new"], 1
    found = changes(old.runbook, new.runbook)
    lines = [f"{name}: {one.risk.name.lower():8} {one.text} ({one.path})" for one in found]
    return lines, sum(one.risk is Risk.RISKIER for one in found)
