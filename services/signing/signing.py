"""Signing runbooks: each file gets its signature beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runbooks.dialects.recognise import OtherDocument
from runbooks.loader import load_file, runbook_files
from runbooks.model import LoadedRunbook
from runbooks.subject import Actions
from services.catalogs.errors import CatalogError
from services.signing.beside import UNREADABLE, hashes_beside
from services.signing.errors import SigningError
from services.signing.model import SUFFIX, Signature, added, read_signatures, signed, written
from services.signing.revision import commit_of, read_approved


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs.

    Attributes:
        name: as they call themselves.
        at: now.
    """

    private: Ed25519PrivateKey
    name: str
    at: datetime


def loaded_from(paths: Sequence[Path], actions: Actions | None = None) -> Iterator[LoadedRunbook]:
    """The runbooks of some files and folders.

    Raises:
        RunbookError: one cannot be used: what cannot run is not signed.
    """
    for path in runbook_files(paths):
        try:
            yield load_file(path, actions=actions)
        except OtherDocument:
            if path in paths:
                raise


def sign(loaded: LoadedRunbook, signer: Signer, folder: Path | None = None) -> tuple[Path, Signature]:
    """Sign one runbook; the signatures of others and of earlier versions stay.

    Args:
        loaded: from a file.
        signer: who signs.
        folder: where the signature goes; left out, beside the file.

    Raises:
        SigningError: a file that belongs to it cannot be read, or the signature cannot be written.
    """
    if loaded.path is None:
        raise SigningError(f"{loaded.runbook.id} did not come from a file")
    beside = hashes_beside(loaded)
    if bad := [name for name, found in beside.items() if found == UNREADABLE]:
        raise SigningError(f"{', '.join(bad)} beside {loaded.path} cannot be read")
    made = signed(
        signer.private,
        runbook=loaded.runbook.id,
        sha256=loaded.sha,
        beside=beside,
        signer=signer.name,
        at=signer.at,
        revision=revision_of(loaded),
    )
    target = (folder or loaded.path.parent) / (loaded.path.name + SUFFIX)
    known = read_signatures(target) if target.exists() else ()
    _write(target, written(added(known, made)))
    return target, made


def revision_of(loaded: LoadedRunbook) -> str:
    """The commit that holds a runbook as it is; empty when it is in no repository, or was changed since."""
    if loaded.path is None:
        return ""
    try:
        commit = commit_of(loaded.path, "HEAD")
        approved = read_approved([loaded.path], commit)
    except (CatalogError, SigningError):
        return ""
    return "" if approved.why_not(loaded.path, loaded.sha) else commit


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent, prefix=".signing-", encoding="utf-8", delete=False) as file:
            file.write(text)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError as error:
        raise SigningError(f"{path} cannot be written: {error.strerror}") from error
