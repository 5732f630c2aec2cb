"""Books of anchors: an append-only file that the processes of one machine share, one anchor a line."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from safety.anchors import Anchor, Seal, Signer, anchor, read, written
from services.audit.errors import AuditMisconfigured, BookDamaged

_BLOCK = 65_536


class BookFile:
    """A book in a file.

    Args:
        path: made with its folder when the first anchor is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, seal: Seal, signer: Signer) -> Anchor:
        """Write an anchor behind the last one, and to the disk. Other processes wait meanwhile.

        Raises:
            AuditMisconfigured: the file cannot be written.
            BookDamaged: it ends in something that is no anchor. Nothing is written behind it: that would hide it.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._locked() as file:
                last = self._last(file)
                made = anchor(seal, last.book if last else uuid4().hex, last, signer)
                _put(file.fileno(), file.seek(0, os.SEEK_END), written(made).encode() + b"\n")
        except OSError as error:
            raise AuditMisconfigured(f"the book of anchors {self.path} cannot be written: {error.strerror}") from error
        return made

    def last(self) -> Anchor | None:
        """The last anchor; None when there is none, or nothing can be read there."""
        try:
            with self.path.open("rb") as file:
                return self._last(file)
        except OSError:
            return None

    def lines(self) -> Iterator[bytes]:
        """Every line, in order; none when there is no file."""
        try:
            with self.path.open("rb") as file:
                yield from file
        except FileNotFoundError:
            return

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        with os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    def _last(self, file: BinaryIO) -> Anchor | None:
        line = _last_line(file)
        if not line:
            return None
        try:
            return read(line)
        except ValueError as error:
            raise BookDamaged(f"{self.path} ends in something that is no anchor: {error}") from error


def _put(descriptor: int, end: int, line: bytes) -> None:
    """Write a line behind the end and to the disk, or nothing: on a full disk half a line would damage the book."""
    try:
        done = 0
        while done < len(line):
            done += os.pwrite(descriptor, line[done:], end + done)
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, end)
        raise


def _last_line(file: BinaryIO) -> bytes:
    """The last line of a file, read from its end."""
    end = file.seek(0, os.SEEK_END)
    tail = b""
    while end > 0 and b"\n" not in tail.rstrip(b"\n"):
        start = max(0, end - _BLOCK)
        file.seek(start)
        tail = file.read(end - start) + tail
        end = start
    return tail.rstrip(b"\n").rpartition(b"\n")[2]
