"""Files that may change while they are used: read again when they changed; a bad one keeps its last good version."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from runbooks.findings import Finding, RunbookError
from runbooks.rules import finding
from runbooks.yaml_source import MAX_BYTES

T = TypeVar("T")

Stamp = tuple[int, int, int, int]
"""What tells two versions of a file apart without reading it: device, inode, size, and when it changed last."""


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of a file; None for one that cannot be looked at."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, max(status.st_mtime_ns, status.st_ctime_ns)


def content_of(path: Path) -> bytes:
    """The content of a file, one byte more than is allowed at the most: who reads it sees that it is too large.

    Raises:
        RunbookError: the file system refused.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RunbookError([finding("RB014", f"the file cannot be read: {reason}").at(path)]) from error


@dataclass(slots=True)
class _Kept(Generic[T]):
    """A file as it was read last: what tells a change, the last good content, and what is wrong now."""

    stamp: Stamp | None
    good: T | None = None
    errors: tuple[Finding, ...] = ()


class KeptFiles(Generic[T]):
    """The last good content of each file.

    Args:
        read: reads a file; raises RunbookError when it cannot be used.
    """

    def __init__(self, read: Callable[[Path], T]) -> None:
        self._read = read
        self._kept: dict[Path, _Kept[T]] = {}

    def reload(self, present: Iterable[Path]) -> bool:
        """Read what changed of these files and forget all others; gives whether anything is different."""
        files = list(present)
        gone = self._kept.keys() - set(files)
        for path in gone:
            del self._kept[path]
        changed = [self._look(path) for path in files]
        return bool(gone) or any(changed)

    def _look(self, path: Path) -> bool:
        stamp, known = stamp_of(path), self._kept.get(path)
        if known is not None and known.stamp == stamp:
            return False
        try:
            self._kept[path] = _Kept(stamp, self._read(path))
        except RunbookError as error:
            self._kept[path] = _Kept(stamp, known.good if known is not None else None, error.findings)
        return True

    @property
    def good(self) -> tuple[T, ...]:
        """The last good version of each file that ever had one."""
        return tuple(kept.good for kept in self._kept.values() if kept.good is not None)

    @property
    def never_good(self) -> bool:
        """Whether there is a file that could never be used."""
        return any(kept.good is None for kept in self._kept.values())

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What is wrong with the files as they are now."""
        return tuple(found for kept in self._kept.values() for found in kept.errors)
