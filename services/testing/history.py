"""Recorded incidents as a file: one JSON text for each line, compressed, the same bytes for the same records.

    {"schema": "rootmend.incidents/v1"}
    {"type": "runbook", "id", "version", "sha", "text"}             every version that was used, by id and sha
    {"type": "pause", "at", "paused", "by", "reason"}               positions of the pause switch, oldest first
    {"type": "incident", ...}                                       in the order of their decisions
    {"type": "end", "incidents": 3}                                 without it the file was cut off

Reading streams: a file of any length takes the memory of a few lines.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import orjson

SCHEMA = "rootmend.incidents/v1"
_KNOWN = ("runbook", "pause", "incident", "end")
_INCIDENT = b'"type":"incident"}\n'
_GZIP = b"\x1f\x8b"


class HistoryError(Exception):
    """A file of recorded incidents cannot be read."""


def line_of(item: Mapping[str, Any]) -> bytes:
    """One line, without its end; keys sorted, so that the same record is the same bytes."""
    return orjson.dumps(dict(item), option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)


def sealed(incident: Mapping[str, Any]) -> dict[str, Any]:
    """An incident with the digest of everything else in it, so that a later change is seen."""
    bare = {key: value for key, value in incident.items() if key != "digest"}
    return {**bare, "digest": hashlib.sha256(line_of(bare)).hexdigest()}


def intact(incident: Mapping[str, Any]) -> bool:
    """Whether an incident is as it was exported."""
    return bool(sealed(incident)["digest"] == incident.get("digest"))


class HistoryWriter:
    """Writes a file; it is complete when ``close`` returned, and is left incomplete, without an end, on an error."""

    def __init__(self, path: Path) -> None:
        self._raw: IO[bytes] = path.open("wb")
        # No name and no time in the header: the same incidents are the same bytes.
        self._file = gzip.GzipFile(filename="", fileobj=self._raw, mode="wb", compresslevel=6, mtime=0)
        self.incidents = 0
        self._put({"schema": SCHEMA})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._put({"type": "end", "incidents": self.incidents})
        self._file.close()
        self._raw.close()

    def runbook(self, version: Mapping[str, Any]) -> None:
        """A runbook version with its text."""
        self._put({"type": "runbook", **version})

    def pause(self, position: Mapping[str, Any]) -> None:
        """One position of the pause switch."""
        self._put({"type": "pause", **position})

    def incident(self, incident: Mapping[str, Any]) -> None:
        """One incident."""
        self.incidents += 1
        self._put(sealed({"type": "incident", **incident}))

    def _put(self, item: Mapping[str, Any]) -> None:
        self._file.write(line_of(item) + b"\n")


def read_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """The lines of a file with their type; the JSON of an incident is not read yet.

    Raises:
        HistoryError: no such file, another format or version, or it was cut off; the text names file and line.
    """
    number = 1
    with _opened(path) as file:
        try:
            _check_schema(path, file.readline())
            incidents = 0
            for number, line in enumerate(file, 2):
                kind = _kind_of(path, number, line)
                if kind == "end":
                    _check_end(path, number, line, incidents)
                    return
                incidents += kind == "incident"
                yield kind, line
        except (OSError, EOFError, zlib.error) as error:
            raise HistoryError(f"{path}:{number + 1}: the file is damaged or was cut off: {error}") from error
    raise HistoryError(f"{path}:{number}: the file was cut off: its last line is missing; export it again")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        raw = path.open("rb")
    except OSError as error:
        raise HistoryError(f"{path} cannot be read: {error.strerror or error}") from error
    with raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        yield gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw  # type: ignore[misc]


def _check_schema(path: Path, line: bytes) -> None:
    try:
        found = orjson.loads(line).get("schema")
    except (orjson.JSONDecodeError, AttributeError):
        found = None
    if found != SCHEMA:
        what = f"schema {found}" if found else "no schema"
        raise HistoryError(f"{path}:1: {what}; expected {SCHEMA}, as 'rb incidents export' writes it")


def _kind_of(path: Path, number: int, line: bytes) -> str:
    # As exported the type is the last key of an incident: its end is enough. Everything else is read.
    if line.endswith(_INCIDENT):
        return "incident"
    try:
        kind = orjson.loads(line).get("type")
    except (orjson.JSONDecodeError, AttributeError) as error:
        raise HistoryError(f"{path}:{number}: not a JSON object: {error}") from error
    if kind not in _KNOWN:
        raise HistoryError(f"{path}:{number}: type {kind!r}; expected one of {', '.join(_KNOWN)}")
    return str(kind)


def _check_end(path: Path, number: int, line: bytes, incidents: int) -> None:
    said = orjson.loads(line).get("incidents")
    if said != incidents:
        raise HistoryError(f"{path}:{number}: the file holds {incidents} incidents and says {said}: lines are missing")
