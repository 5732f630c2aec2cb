"""Names of files in catalogs: what comes from outside never names a place outside."""

from __future__ import annotations

import re

from services.catalogs.errors import CatalogError

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ +@-]{0,127}")
_DEEPEST = 8
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10))})


def safe_path(path: str) -> str:
    """A relative path of plain names, with slashes.

    Raises:
        CatalogError: it is absolute, leads upwards, is hidden, or is spelled so that file systems disagree about it.
    """
    parts = path.split("/")
    good = all(_PART.fullmatch(part) and not part.endswith((".", " ")) for part in parts)
    if not good or len(parts) > _DEEPEST or any(part.partition(".")[0].lower() in _DEVICES for part in parts):
        raise CatalogError(f"the catalog names a file {path!r:.200}, which is no plain relative path")
    return path


def joined(folder: str, name: str) -> str:
    """A file of a folder of the catalog; the folder may be the catalog itself."""
    return f"{folder}/{name}" if folder else name
