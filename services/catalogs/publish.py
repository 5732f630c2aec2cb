"""From a folder of runbooks to a catalog."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from runbooks.findings import RunbookError
from runbooks.loader import BESIDE, load_file, runbook_files
from runbooks.model import LoadedRunbook
from runbooks.subject import Actions
from services.catalogs.errors import CatalogError
from services.catalogs.index import INDEX, MAX_FILE, SIGNATURE, Entry, Index, Member, written
from services.catalogs.paths import safe_path
from services.catalogs.signing import read_private, sign

_PACK = ("acceptance.yml", "acceptance.yaml", "README.md")


@dataclass(frozen=True, slots=True)
class Catalog:
    """A catalog that was made: its index, and every file by path, the index and its signature too."""

    index: Index
    files: Mapping[str, bytes]


def gather(folder: Path, actions: Actions | None, key: Path | None = None) -> Catalog:
    """A catalog of the runbooks in a folder; what stands beside a runbook as its acceptance pack comes along.

    Args:
        folder: of runbooks.
        actions: to check them with.
        key: signs the index.

    Raises:
        CatalogError: a runbook cannot be used, or a file cannot be part of a catalog; nothing is left out silently.
    """
    if not folder.is_dir():
        raise CatalogError(f"{folder} is no folder")
    entries: list[Entry] = []
    files: dict[str, bytes] = {}
    for path in runbook_files([folder]):
        loaded = _loaded(path, actions)
        if loaded is None:
            continue
        entry, own = _entry(folder, path, loaded)
        entries.append(entry)
        files.update(own)
    if not entries:
        raise CatalogError(f"{folder} holds no runbook")
    try:
        index = Index(entries=tuple(sorted(entries, key=lambda entry: (entry.id, entry.version))))
    except ValueError as error:
        raise CatalogError(f"{folder} cannot be published: {error}") from error
    files[INDEX] = written(index)
    if key is not None:
        files[SIGNATURE] = sign(files[INDEX], read_private(key))
    return Catalog(index, files)


def _loaded(path: Path, actions: Actions | None) -> LoadedRunbook | None:
    """The runbook of a file; None when the file has its place beside runbooks."""
    from runbooks.dialects.recognise import OtherDocument  # noqa: PLC0415 - only to tell the two errors apart

    if path.name == INDEX:
        return None
    try:
        loaded = load_file(path, actions=actions)
    except OtherDocument:
        return None
    except RunbookError as error:
        raise CatalogError(f"a runbook cannot be used:\n{error}") from error
    if path.suffix == ".json":
        raise CatalogError(
            f"{path} is JSON: rb convert writes it as YAML, which says where it came from when installed"
        )
    return loaded


def _entry(root: Path, path: Path, loaded: LoadedRunbook) -> tuple[Entry, dict[str, bytes]]:
    home = path.parent
    place = home.relative_to(root).as_posix()
    place = "" if place == "." else place
    runbook = loaded.runbook
    contents = {member.relative_to(home).as_posix(): _content(member) for member in (path, *_beside(home))}
    try:
        entry = Entry(
            id=runbook.id,
            version=runbook.version,
            name=runbook.name,
            description=runbook.description,
            tags=runbook.tags,
            folder=place,
            file=path.name,
            sha256=sha256(contents[path.name]).hexdigest(),
            files=tuple(
                Member(name=name, sha256=sha256(data).hexdigest(), size=len(data))
                for name, data in sorted(contents.items())
            ),
        )
    except ValueError as error:
        raise CatalogError(f"{path} cannot be published: {error}") from error
    return entry, {safe_path(entry.path(member)): contents[member.name] for member in entry.files}


def _beside(home: Path) -> Iterable[Path]:
    """The acceptance pack of a folder."""
    for name in _PACK:
        if (home / name).is_file():
            yield home / name
    for folder in sorted(BESIDE):
        for base, folders, names in os.walk(home / folder):
            folders.sort()
            yield from (Path(base) / name for name in sorted(names) if not name.startswith("."))


def _content(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise CatalogError(f"{path} is no plain file; links are not published")
    data = path.read_bytes()
    if len(data) > MAX_FILE:
        raise CatalogError(f"{path} is larger than {MAX_FILE} bytes")
    return data
