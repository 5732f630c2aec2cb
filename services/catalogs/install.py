"""A runbook of a catalog in a folder of one's own: every byte checked first, nothing of one's own overwritten."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from runbooks.findings import RunbookError, did_you_mean
from runbooks.loader import load_text
from runbooks.subject import Actions
from services.catalogs.errors import CatalogError, Missing, NotTrusted
from services.catalogs.index import SIGNATURE, Entry, Index, Member, order, read_index
from services.catalogs.signing import check
from services.catalogs.sources import Source, index_bytes

RECORD = ".rootmend-installed.json"
_MAX_SIGNATURE = 4096


@dataclass(frozen=True, slots=True)
class Trusted:
    """The index of a catalog, and who stands for it.

    Attributes:
        key: that signed it; empty when nobody who is trusted did, and the caller took it all the same.
    """

    index: Index
    key: str


def read_trusted(source: Source, where: str, keys: Sequence[str], *, allow_unsigned: bool = False) -> Trusted:
    """The index of a catalog, if somebody who is trusted signed it.

    Args:
        source: the catalog.
        where: for messages.
        keys: whose signatures count.
        allow_unsigned: take it also when nobody who is trusted signed it. A signature of a trusted key that does not
            fit is refused all the same: somebody changed the catalog.

    Raises:
        NotTrusted: nobody who is trusted signed it.
        CatalogError: it cannot be used.
    """
    data = index_bytes(source)
    try:
        signature: bytes | None = source.read(SIGNATURE, _MAX_SIGNATURE)
    except Missing:
        signature = None
    try:
        key = check(data, signature, keys, where)
    except NotTrusted:
        if not allow_unsigned:
            raise
        key = ""
    return Trusted(read_index(data, where), key)


def choose(index: Index, wanted: str, where: str) -> Entry:
    """The entry that ``ID`` or ``ID@VERSION`` names; without a version the newest release.

    Raises:
        CatalogError: there is none.
    """
    name, _, version = wanted.partition("@")
    found = [entry for entry in index.entries if entry.id == name]
    if not found:
        hint = did_you_mean(name, {entry.id for entry in index.entries}) or "rb catalog search lists what there is"
        raise CatalogError(f"{where} has no runbook {name!r}; {hint}")
    if version:
        same = [entry for entry in found if entry.version == version]
        if not same:
            known = ", ".join(sorted((entry.version for entry in found), key=order))
            raise CatalogError(f"{where} has no {name} {version}; it has {known}")
        return same[0]
    return max(found, key=lambda entry: (order(entry.version)[1], order(entry.version)))


def checked_files(source: Source, entry: Entry, actions: Actions | None, where: str) -> dict[str, bytes]:
    """The files of an entry by name, each as the index says, and the runbook usable.

    Raises:
        CatalogError: a file is missing or was changed, or the runbook is not the one that was promised.
    """
    files: dict[str, bytes] = {}
    for member in entry.files:
        data = source.read(entry.path(member), member.size)
        if len(data) != member.size or sha256(data).hexdigest() != member.sha256:
            raise CatalogError(f"{where}: {entry.path(member)} does not have the checksum of the index: it was changed")
        files[member.name] = data
    try:
        loaded = load_text(files[entry.file], actions=actions).runbook
    except RunbookError as error:
        raise CatalogError(f"{where}: {entry.id} cannot be used here:\n{error}") from error
    if (loaded.id, loaded.version) != (entry.id, entry.version):
        found = f"{loaded.id} {loaded.version}"
        raise CatalogError(f"{where}: {entry.path(_own(entry))} is {found}, the index says {entry.id} {entry.version}")
    return files


def _own(entry: Entry) -> Member:
    return next(member for member in entry.files if member.name == entry.file)


@dataclass(frozen=True, slots=True)
class Installed:
    """What an installation did: the folder, and the files that were written or were there already."""

    folder: Path
    written: tuple[str, ...]
    unchanged: tuple[str, ...]


def install(
    into: Path, entry: Entry, files: Mapping[str, bytes], *, origin: Mapping[str, str], force: bool = False
) -> Installed:
    """Write an entry to a folder of its own.

    Args:
        into: the folder of runbooks.
        entry: of the index.
        files: checked already, by name.
        origin: where it came from; written into the runbook's first lines and a hidden record.
        force: overwrite files that somebody changed.

    Raises:
        CatalogError: a file was changed since it was installed, or a link stands in the way.
    """
    folder = into / entry.id
    contents = {**files, entry.file: header(entry, origin) + files[entry.file]}
    before = _record(folder)
    _refuse_links(into, folder, contents)
    same = tuple(name for name, data in contents.items() if _digest(folder / name) == sha256(data).hexdigest())
    new = [name for name in contents if name not in same]
    changed = [name for name in new if (now := _digest(folder / name)) and now != before.get(name)]
    if changed and not force:
        named = ", ".join(sorted(str(folder / name) for name in changed))
        raise CatalogError(f"{named}: changed here, or not installed from a catalog; --force overwrites it")
    for name in new:
        _write(folder / name, contents[name])
    told = {**origin, "id": entry.id, "version": entry.version, "sha256": entry.sha256}
    sums = {name: sha256(data).hexdigest() for name, data in sorted(contents.items())}
    _write(folder / RECORD, (json.dumps({**told, "files": sums}, indent=1, sort_keys=True) + "\n").encode())
    return Installed(folder, tuple(new), same)


def header(entry: Entry, origin: Mapping[str, str]) -> bytes:
    """The first lines of an installed runbook: where it came from."""
    lines = [f"# Installed by rb catalog: {entry.id} {entry.version}", f"# sha256 {entry.sha256}"]
    lines += [f"# {name} {' '.join(value.split())}" for name, value in sorted(origin.items())]
    return ("\n".join(lines) + "\n").encode()


def _record(folder: Path) -> dict[str, str]:
    """The checksums of what was installed here; none where nothing was, or nobody can tell."""
    try:
        told = json.loads((folder / RECORD).read_bytes())
        return {str(name): str(digest) for name, digest in told["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _refuse_links(into: Path, folder: Path, names: Mapping[str, bytes]) -> None:
    """A link on the way would lead the files to another place."""
    for name in (*names, RECORD):
        place = folder / name
        while place != into:
            if place.is_symlink():
                raise CatalogError(f"{place} is a link; nothing is written through it")
            place = place.parent


def _digest(path: Path) -> str:
    """The checksum of a file; empty when there is none."""
    try:
        return sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    """Put a file in place at once, so that nobody reads half of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=".rootmend-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(part).chmod(0o644)
        Path(part).replace(path)
    except OSError as error:
        raise CatalogError(f"{path} cannot be written: {error.strerror}") from error
