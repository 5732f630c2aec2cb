"""A catalog as one archive: the same files give the same bytes, and what comes in is never written unseen."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping

from services.catalogs.errors import CatalogError
from services.catalogs.index import MAX_FILE
from services.catalogs.paths import safe_path

MAX_ARCHIVE = 50_000_000
MAX_UNPACKED = 200_000_000
MAX_MEMBERS = 20_000


def pack(files: Mapping[str, bytes]) -> bytes:
    """A tar.gz of files by path."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(files):
            member = tarfile.TarInfo(safe_path(path))
            member.size, member.mode = len(files[path]), 0o644
            tar.addfile(member, io.BytesIO(files[path]))
    return gzip.compress(raw.getvalue(), mtime=0)


def unpack(data: bytes, where: str) -> dict[str, bytes]:
    """The files of an archive, in memory.

    Raises:
        CatalogError: it is too large, broken, or holds anything but plain files under plain names.
    """
    if len(data) > MAX_ARCHIVE:
        raise CatalogError(f"{where} is larger than {MAX_ARCHIVE} bytes")
    try:
        with tarfile.open(fileobj=io.BytesIO(_inflated(data, where)), mode="r:") as tar:
            return _files(tar, where)
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise CatalogError(f"{where} is no whole archive: {error}") from error


def _inflated(data: bytes, where: str) -> bytes:
    """The tar inside, never more than is allowed, whatever the archive says of itself."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            inside = file.read(MAX_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CatalogError(f"{where} is no whole tar.gz: {error}") from error
    if len(inside) > MAX_UNPACKED:
        raise CatalogError(f"{where} unpacks to more than {MAX_UNPACKED} bytes")
    return inside


def _files(tar: tarfile.TarFile, where: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for number, member in enumerate(tar):
        if number >= MAX_MEMBERS:
            raise CatalogError(f"{where} holds more than {MAX_MEMBERS} files")
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            raise CatalogError(f"{where} holds {member.name!r:.200}, which is no plain file (links are refused)")
        path = safe_path(member.name.removeprefix("./"))
        if member.size > MAX_FILE:
            raise CatalogError(f"{where}: {path} is larger than {MAX_FILE} bytes")
        if path in found:
            raise CatalogError(f"{where} holds {path} twice")
        content = tar.extractfile(member)
        found[path] = content.read() if content else b""
        if len(found[path]) != member.size:
            raise CatalogError(f"{where}: {path} is cut short")
    return found
