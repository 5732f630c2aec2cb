"""The files beside a runbook that it names: a program in them is as much a part of it as its own text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from runbooks.model import LoadedRunbook, Runbook

_LONGEST_NAME = 250
_MOST = 16 * 1024 * 1024
UNREADABLE = "unreadable"
"""In the place of a hash; no file has it."""


def hashes_beside(loaded: LoadedRunbook) -> dict[str, str]:
    """SHA-256 of each file beside a runbook that one of its parameters names, by that name.

    Empty for a runbook that did not come from a folder: it can use no files.
    """
    if loaded.path is None:
        return {}
    folder = loaded.path.parent
    return {name: _hash(folder / name) for name in _names(loaded.runbook) if _is_file(folder / name)}


def _names(runbook: Runbook) -> list[str]:
    """Every parameter that could be the name of a file."""
    steps = [*runbook.steps, *runbook.rollback.steps, *(step for some in runbook.procedures.values() for step in some)]
    return sorted({name for step in steps for name in _texts(step.params)})


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _hash(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST:
            return UNREADABLE
        return sha256(path.read_bytes()).hexdigest()
    except OSError:
        return UNREADABLE


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        text = value.strip()
        if text and "\n" not in text and len(text) <= _LONGEST_NAME:
            yield text
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
