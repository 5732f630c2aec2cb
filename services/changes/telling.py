"""Tells the audit trail which files came into force: once for each change, by the process that took it first."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import structlog

from safety.trail import PIPELINE, Entry, EntryKind, canonical

log = structlog.get_logger(__name__)

MOST_FILES = 50
"""So many changed files are looked up in Git and named in an entry; of more it says how many there were."""
_TRIES = 5


@dataclass(frozen=True, slots=True)
class FilesInForce:
    """What a process has in force.

    Attributes:
        name: of these files as a whole, such as ``policies``.
        kind: of the entry that tells of a change.
        hashes: SHA-256 of each content, by a name that is the same on every machine.
        paths: where this process read it, by the same name.
    """

    name: str
    kind: EntryKind
    hashes: Mapping[str, str]
    paths: Mapping[str, Path] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over all names and contents; empty where there are none."""
        return digest_of(self.hashes)


@dataclass(frozen=True, slots=True)
class Change:
    """One file that is different.

    Attributes:
        before, after: SHA-256 of its content; empty where there was none, and where there is none any more.
        path: where it is, or was; None where this process never read it.
    """

    name: str
    before: str
    after: str
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """The commit that brought a content. Whose it is, is what the commit says.

    Attributes:
        author, committer: name and address.
        subject: first line of its message.
    """

    commit: str
    author: str
    committer: str
    subject: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows to be in force.

    Attributes:
        digest: empty where nothing was ever noted.
        hashes: by name; empty also where the digest is the one that was asked about.
    """

    digest: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)


class ChangeStore(Protocol):
    """Remembers what is in force, for all processes. Raises ``GraphUnavailable`` when it does not answer."""

    async def known(self, name: str, digest: str) -> Known:
        """What was noted last.

        Args:
            name: of the files.
            digest: of what the caller has; when it is the one that is known, the hashes are left out.
        """
        ...

    async def note(self, files: FilesInForce, seen: str, told: Sequence[Entry]) -> bool:
        """Note what is in force now and write the entries with it; False when something else than ``seen`` is known."""
        ...


Origins = Callable[[Sequence[Change]], Mapping[str, Origin]]
"""Finds the commits that brought contents, by the name of the change; what no commit brought is left out."""


class ChangeTeller:
    """Tells of files that came into force.

    Args:
        store: what all processes know.
        origins: asks Git.
        process: the name of this one.
    """

    def __init__(self, store: ChangeStore, origins: Origins, process: str) -> None:
        self._store = store
        self._origins = origins
        self._process = process
        self._paths: dict[str, dict[str, Path]] = {}
        self._told: dict[str, Mapping[str, str]] = {}

    async def tell(self, files: FilesInForce) -> None:
        """Tell of what is different from what was in force before, unless another process did.

        Raises:
            GraphUnavailable: it was not told; the next call tries again.
        """
        if self._told.get(files.name) is files.hashes:
            return
        paths = self._paths.setdefault(files.name, {})
        paths.update(files.paths)  # those of files that will be gone are needed then
        digest = files.digest
        for _ in range(_TRIES):
            known = await self._store.known(files.name, digest)
            if known.digest == digest:
                break
            changed = differences(known.hashes, files.hashes, paths)
            origins = await asyncio.to_thread(self._origins, changed[:MOST_FILES])
            told = [*entries(files, known.digest, changed, origins, self._process)]
            if await self._store.note(files, known.digest, told):
                log.info("files.change_told", files=files.name, before=known.digest, after=digest, count=len(changed))
                break
        else:
            return  # others change it at this very moment; the next sweep looks again
        self._told[files.name] = files.hashes


def digest_of(hashes: Mapping[str, str]) -> str:
    """SHA-256 over names and contents, whatever their order; empty for none."""
    return hashlib.sha256(canonical(dict(hashes)).encode()).hexdigest() if hashes else ""


def differences(before: Mapping[str, str], after: Mapping[str, str], paths: Mapping[str, Path]) -> list[Change]:
    """The files that are not as before, by name."""
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return [Change(name, before.get(name, ""), after.get(name, ""), paths.get(name)) for name in names]


def entries(
    files: FilesInForce, before: str, changed: Sequence[Change], origins: Mapping[str, Origin], process: str
) -> Iterable[Entry]:
    """One entry for each author, and one for what no commit brought.

    Args:
        files: as they are now.
        before: digest of what was in force.
        changed: what is different.
        origins: commits, by the name of the change.
        process: that took it.
    """
    by_author: dict[str, list[Change]] = {}
    for one in changed:
        origin = origins.get(one.name)
        by_author.setdefault(f"git:{origin.author}" if origin else PIPELINE, []).append(one)
    for actor, theirs in sorted(by_author.items()):
        subjects = dict.fromkeys(origins[one.name].subject for one in theirs if one.name in origins)
        facts = {
            "before": before,
            "after": files.digest,
            "changed": [_told(one, origins.get(one.name)) for one in theirs[:MOST_FILES]],
            "count": len(theirs),
            "process": process,
        }
        yield Entry(files.kind, files.name, actor, "; ".join(subjects), facts)


def _told(one: Change, origin: Origin | None) -> dict[str, Any]:
    told = {"file": one.name, "before": one.before, "after": one.after}
    return {**told, "commit": origin.commit, "committer": origin.committer} if origin else told
