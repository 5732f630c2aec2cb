"""The files of a Git revision that somebody approved, by their content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from services.catalogs.errors import CatalogError
from services.catalogs.git import run
from services.signing.errors import SigningError

_PLAIN = ("100644", "100755")


@dataclass(frozen=True, slots=True)
class Approved:
    """The content of the approved revision.

    Attributes:
        revision: as it is configured: a branch, tag or commit.
        commits: what it means now, one for each repository.
        hashes: SHA-256 of each file, by its resolved path.
        contents: all of them.
    """

    revision: str
    commits: tuple[str, ...] = ()
    hashes: Mapping[Path, str] = field(default_factory=dict)
    contents: frozenset[str] = frozenset()

    def why_not(self, path: Path | None, sha: str) -> str:
        """Why a file is not what was approved; empty when it is.

        Args:
            path: None for a version that is kept elsewhere: then it is enough that some file of the revision is it.
            sha: SHA-256 of its content.
        """
        if path is None:
            return "" if sha in self.contents else f"no file of the approved revision {self.named} is this version"
        known = self.hashes.get(path.resolve())
        if known is None:
            return f"the approved revision {self.named} holds no such file"
        return "" if known == sha else f"it differs from the approved revision {self.named}"

    @property
    def named(self) -> str:
        """For people: what is configured, and which commit that is."""
        short = ", ".join(commit[:12] for commit in self.commits)
        return self.revision if self.revision in self.commits else f"{self.revision} ({short})"


def read_approved(folders: Sequence[Path], revision: str) -> Approved:
    """Read what a revision holds of some folders.

    Args:
        folders: folders and files of work trees.
        revision: a branch, tag or commit.

    Raises:
        SigningError: a folder is in no repository, or the repository does not know the revision.
    """
    hashes: dict[Path, str] = {}
    commits = []
    try:
        for folder in folders:
            commit = commit_of(folder, revision)
            commits.append(commit)
            hashes |= _files(folder, commit)
    except CatalogError as error:
        raise SigningError(f"runbooks.approved_revision: {error}") from error
    return Approved(revision, tuple(dict.fromkeys(commits)), hashes, frozenset(hashes.values()))


def commits_of(folders: Iterable[Path], revision: str) -> tuple[str, ...]:
    """Which commits a revision means now; SigningError when that cannot be told."""
    try:
        return tuple(dict.fromkeys(commit_of(folder, revision) for folder in folders))
    except CatalogError as error:
        raise SigningError(f"runbooks.approved_revision: {error}") from error


def commit_of(folder: Path, revision: str) -> str:
    """The commit of a revision in the repository that holds a folder; CatalogError when there is none."""
    if revision.startswith("-"):
        raise CatalogError(f"{revision!r} is no branch, tag or commit")
    words = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    where = f"{folder}, revision {revision}"
    return _git(folder, words, where).decode().strip()


def _files(folder: Path, commit: str) -> dict[Path, str]:
    """SHA-256 of the plain files under a folder at a commit."""
    home = folder if folder.is_dir() else folder.parent
    top = Path(_git(folder, ["rev-parse", "--show-toplevel"], str(folder)).decode().rstrip("\n")).resolve()
    inside = folder.resolve().relative_to(top).as_posix()
    listed = _git(home, ["ls-tree", "-r", "-z", "--full-tree", commit, "--", inside], str(folder))
    entries = [entry.partition(b"\t") for entry in listed.split(b"\0") if entry]
    plain = [
        (parts[2], path.decode(errors="surrogateescape"))
        for head, _, path in entries
        if (parts := head.decode().split())[0] in _PLAIN
    ]
    return {top / path: sha256(_git(home, ["cat-file", "blob", blob], path)).hexdigest() for blob, path in plain}


def _git(folder: Path, words: Sequence[str], where: str) -> bytes:
    home = folder if folder.is_dir() else folder.parent
    return run(["-C", str(home), "--literal-pathspecs", *words], where)
