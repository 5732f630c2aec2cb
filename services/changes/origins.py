"""Which commit brought a content, where the files are in a checkout of Git."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.catalogs.errors import CatalogError
from services.catalogs.git import run
from services.changes.telling import Change, Origin

_LONGEST = 200
_FORMAT = "%H%x00%an <%ae>%x00%cn <%ce>%x00%s"


def from_git(changed: Sequence[Change]) -> Mapping[str, Origin]:
    """The last commit of each file whose content is the one of the checked-out commit; others have no origin.

    A file that was edited after the commit was brought by nobody that Git knows. Without git, outside of a checkout,
    and where the checkout belongs to somebody else (git refuses then), nothing has an origin.
    """
    homes: dict[Path, bool] = {}
    found: dict[str, Origin] = {}
    for one in changed:
        if one.path is None:
            continue
        path = one.path.absolute()
        home = path.parent
        if home not in homes:
            homes[home] = _is_checkout(home)
        if homes[home] and (origin := _origin(home, path.name, one.after)):
            found[one.name] = origin
    return found


def _is_checkout(home: Path) -> bool:
    try:
        return home.is_dir() and _git(home, "rev-parse", "--is-inside-work-tree").strip() == b"true"
    except CatalogError:
        return False


def _origin(home: Path, name: str, sha: str) -> Origin | None:
    if _committed(home, name) != sha:
        return None
    try:
        said = _git(home, "-c", "log.showSignature=false", "log", "-1", f"--format={_FORMAT}", "HEAD", "--", name)
    except CatalogError:
        return None
    parts = [_clean(part) for part in said.decode(errors="replace").rstrip("\n").split("\0")]
    return Origin(*parts) if len(parts) == len(Origin.__dataclass_fields__) else None


def _committed(home: Path, name: str) -> str:
    """SHA-256 of the file in the checked-out commit; empty where it has none."""
    try:
        return hashlib.sha256(_git(home, "cat-file", "blob", f"HEAD:./{name}")).hexdigest()
    except CatalogError:
        return ""


def _git(home: Path, *words: str) -> bytes:
    return run(["-C", str(home), "--literal-pathspecs", *words], str(home))


def _clean(text: str) -> str:
    """What a commit says is text of others."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:_LONGEST]
