"""Which runbooks are reviewed: signed by a trusted key, or identical to an approved revision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import structlog

from runbooks.kept_files import Stamp, stamp_of
from runbooks.model import LoadedRunbook
from services.catalogs.signing import public_text, read_public
from services.signing.beside import hashes_beside
from services.signing.errors import SigningError
from services.signing.model import SUFFIX, Signature, read_signatures
from services.signing.revision import Approved, commits_of, read_approved

log = structlog.get_logger(__name__)

WhyNot = Callable[[LoadedRunbook], str]
"""Why a runbook does not count as reviewed; empty when it does."""


class Requirement(StrEnum):
    """What the lack of a signature means."""

    OFF = "off"
    WARN = "warn"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class _Checked:
    """A signature, and whether its key has made it."""

    signature: Signature
    fits: bool


def _read(path: Path) -> tuple[tuple[_Checked, ...], str]:
    """The signatures of a file, or why it has none."""
    try:
        return tuple(_Checked(one, one.fits()) for one in read_signatures(path)), ""
    except SigningError as error:
        return (), str(error)


class Reviewed:
    """Tells reviewed runbooks from others. ``refresh`` first.

    Args:
        folders: with the runbooks; their signatures stand anywhere in them.
        trusted: public keys whose signatures count.
        requirement: of a signature.
        revision: the approved revision; empty for none.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        trusted: Sequence[str],
        requirement: Requirement = Requirement.OFF,
        revision: str = "",
    ) -> None:
        self._folders = tuple(folders)
        self._trusted = frozenset(public_text(read_public(key)) for key in trusted)
        self._requirement = requirement
        self._revision = revision
        self._approved: Approved | None = None
        self._signatures: Mapping[tuple[str, str], tuple[_Checked, ...]] = {}
        self._files: dict[Path, tuple[Stamp | None, tuple[_Checked, ...], str]] = {}

    @property
    def asks(self) -> bool:
        """Whether a runbook may be left out for want of a review."""
        return self._requirement is Requirement.REQUIRED or bool(self._revision)

    @property
    def warns(self) -> bool:
        """Whether a missing signature is told, and means nothing more."""
        return self._requirement is Requirement.WARN

    @property
    def follows(self) -> bool:
        """Whether signatures or a revision mean anything here; a policy may ask for signatures by itself."""
        return self.asks or self.warns or bool(self._trusted)

    def refresh(self) -> None:
        """Read the signatures, and the approved revision, as they are now.

        Raises:
            SigningError: the approved revision cannot be read, and never was. Once it was read, what it held stays.
        """
        self._read_signatures()
        if not self._revision:
            return
        try:
            commits = commits_of(self._folders, self._revision)
            if self._approved is None or commits != self._approved.commits:
                self._approved = read_approved(self._folders, self._revision)
        except SigningError as error:
            if self._approved is None:
                raise
            log.warning("runbooks.revision_unreadable", why=str(error), keeps=self._approved.named)

    def _read_signatures(self) -> None:
        """Read the files that changed; signatures are checked once, because a thousand of them take a while."""
        files: dict[Path, tuple[Stamp | None, tuple[_Checked, ...], str]] = {}
        for path in signature_files(self._folders):
            before, stamp = self._files.get(path), stamp_of(path)
            if before is not None and stamp is not None and before[0] == stamp:
                files[path] = before
                continue
            signatures, why = _read(path)
            files[path] = stamp, signatures, why
            if why and (before is None or before[2] != why):
                log.error("signatures.rejected", why=why)
        found: dict[tuple[str, str], tuple[_Checked, ...]] = {}
        for _, signatures, _ in files.values():
            for one in signatures:
                key = one.signature.runbook, one.signature.sha256
                found[key] = (*found.get(key, ()), one)
        self._signatures, self._files = found, files

    def refused(self, loaded: LoadedRunbook) -> str:
        """Why a runbook may not be executed under the settings; empty when it may."""
        if self._requirement is Requirement.REQUIRED and (why := self.unsigned(loaded)):
            return why
        return self.unapproved(loaded)

    def unapproved(self, loaded: LoadedRunbook) -> str:
        """Why a runbook is not what the approved revision holds; empty when it is, or when none is configured."""
        if not self._revision:
            return ""
        if self._approved is None:
            return f"{loaded.runbook.id}: the approved revision {self._revision} was not read yet"
        named: list[tuple[Path | None, str]] = [(loaded.path, loaded.sha)]
        if loaded.path is not None:
            named += [(loaded.path.parent / name, sha) for name, sha in hashes_beside(loaded).items()]
        for path, sha in named:
            if why := self._approved.why_not(path, sha):
                return f"{loaded.runbook.id}{f' ({path})' if path else ''}: {why}"
        return ""

    def unsigned(self, loaded: LoadedRunbook) -> str:
        """Why a runbook does not count as signed; empty when a trusted key has signed exactly this version."""
        name = loaded.runbook.id
        candidates = self._signatures.get((name, loaded.sha), ())
        if not candidates:
            others = any(known == name for known, _ in self._signatures)
            changed = "it was changed after it was signed" if others else "it is not signed"
            return f"{name} {loaded.sha[:12]}: {changed} (rb sign)"
        reasons = [self._doubt(one, loaded) for one in candidates]
        return "" if "" in reasons else f"{name} {loaded.sha[:12]}: {'; '.join(dict.fromkeys(reasons))}"

    def signers(self, loaded: LoadedRunbook) -> tuple[Signature, ...]:
        """The signatures that count."""
        known = self._signatures.get((loaded.runbook.id, loaded.sha), ())
        return tuple(one.signature for one in known if not self._doubt(one, loaded))

    def told(self, loaded: LoadedRunbook) -> str:
        """What people should know of a runbook: why it does not run, or, with ``warn``, that it is not signed."""
        return self.refused(loaded) or (self.unsigned(loaded) if self.warns else "")

    def _doubt(self, checked: _Checked, loaded: LoadedRunbook) -> str:
        """Why a signature of this version does not count."""
        signature = checked.signature
        if signature.key not in self._trusted:
            return f"it is signed by {signature.key}, which is not trusted (runbooks.trusted_keys)"
        if not checked.fits:
            return f"the signature of {signature.signer} does not fit: somebody changed it"
        beside = hashes_beside(loaded)
        # A version that is kept in the graph can use no files, so that those of its time do not matter.
        if loaded.path is not None and beside != dict(signature.beside):
            changed = sorted(name for name, _ in set(beside.items()) ^ set(signature.beside.items()))
            return f"{', '.join(dict.fromkeys(changed))} beside it was changed after it was signed"
        return ""


def signature_files(folders: Sequence[Path]) -> list[Path]:
    """The files of signatures in some folders; for a file that is named by itself, the one beside it."""
    found: list[Path] = []
    for folder in folders:
        if folder.is_dir():
            found += sorted(path for path in folder.rglob(f"*{SUFFIX}") if path.is_file())
        elif (beside := folder.with_name(folder.name + SUFFIX)).is_file():
            found.append(beside)
    return list(dict.fromkeys(found))
