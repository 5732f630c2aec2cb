"""Where a catalog on disk goes."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from services.catalogs import oci
from services.catalogs.errors import CatalogError


def file(path: Path, archive: bytes) -> str:
    """Write an archive; its checksum."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(archive)
    except OSError as error:
        raise CatalogError(f"{path} cannot be written: {error.strerror}") from error
    return f"sha256:{sha256(archive).hexdigest()}"


def layout(path: Path, archive: bytes, tag: str) -> str:
    """Write an archive into an OCI layout; the digest of its manifest."""
    try:
        oci.to_layout(path, archive, tag)
    except OSError as error:
        raise CatalogError(f"{path} cannot be written: {error.strerror}") from error
    return oci.digest(oci.manifest_of(archive))


def folder(path: Path, files: Mapping[str, bytes]) -> str:
    """Write the files into a folder; those that are there already as they should be are left alone."""
    try:
        for name, data in files.items():
            place = path / name
            if place.is_file() and place.read_bytes() == data:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    except OSError as error:
        raise CatalogError(f"{path} cannot be written: {error.strerror}") from error
    return ""
