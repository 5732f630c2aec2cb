"""A Git repository as a catalog: cloned without a work tree, so that nothing of it is ever written or run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from services.catalogs.errors import CatalogError, Missing
from services.catalogs.paths import safe_path

_SECONDS = 300
_SCP = re.compile(r"^[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^\s]+$")
_REF = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,200}$")
_SCHEMES = frozenset({"git", "ssh", "git+ssh", "git+https", "git+http", "git+file"})
_ONE_SERVER = ("-c", "http.followRedirects=false", "-c", "http.sslVerify=true")
"""The server that a person named, proven by its certificate; credentials of the user go nowhere else."""
_PLAIN = ("100644", "100755")


def is_repository(url: str) -> bool:
    """Whether an address names a Git repository; a ``#branch`` may follow."""
    bare, _, _ = url.partition("#")
    parts = urlsplit(bare)
    if parts.scheme in _SCHEMES or _SCP.match(bare):
        return True
    if parts.scheme in {"http", "https"}:
        return parts.path.endswith(".git")
    path = Path(bare.removeprefix("file://")).expanduser()
    return (path / ".git").exists() or ((path / "HEAD").is_file() and (path / "objects").is_dir())


class Repository:
    """A bare clone."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url

    def read(self, path: str, limit: int) -> bytes:
        """A file of the newest commit."""
        listed = self._git("ls-tree", "-l", "-z", "HEAD", "--", safe_path(path)).rstrip(b"\0")
        if not listed:
            raise Missing(f"{self._url} holds no {path}")
        mode, kind, name, size = listed.partition(b"\t")[0].decode().split()
        if kind != "blob" or mode not in _PLAIN:
            raise CatalogError(f"{self._url} holds {path}, which is no plain file (links are refused)")
        if int(size) > limit:
            raise CatalogError(f"{self._url}: {path} is larger than {limit} bytes")
        return self._git("cat-file", "blob", name)

    def _git(self, *words: str) -> bytes:
        return run(["--git-dir", str(self._folder), "--literal-pathspecs", *words], self._url)


@contextmanager
def cloned(url: str) -> Iterator[Repository]:
    """The newest commit of a repository, gone afterwards.

    Raises:
        CatalogError: it cannot be cloned.
    """
    address, _, ref = url.partition("#")
    if address.startswith("-") or (ref and not _REF.match(ref)):
        raise CatalogError(f"{url!r:.200} is no address of a Git repository")
    address = address.removeprefix("git+") if address.startswith(("git+http", "git+file", "git+ssh")) else address
    if "://" not in address and not _SCP.match(address):
        address = f"file://{Path(address).expanduser().resolve()}"
    with tempfile.TemporaryDirectory(prefix="rootmend-catalog-") as folder:
        target = Path(folder) / "catalog.git"
        branch = ["--branch", ref] if ref else []
        run(["clone", "--quiet", "--bare", "--depth", "1", "--no-tags", *branch, "--", address, str(target)], url)
        yield Repository(target, url)


def run(words: Sequence[str], where: str) -> bytes:
    """What git says.

    Raises:
        CatalogError: there is no git, or it failed.
    """
    program = shutil.which("git")
    if program is None:
        raise CatalogError("git is not installed, and the catalog is a Git repository")
    # No prompt may wait for an answer, and no address may start a program.
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"}
    environment.pop("GIT_SSL_NO_VERIFY", None)
    try:
        done = subprocess.run(  # noqa: S603 - git, with the address behind --
            [program, *_ONE_SERVER, *words], capture_output=True, check=False, timeout=_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise CatalogError(f"{where}: git did not end within {_SECONDS} s") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise CatalogError(f"{where}: git says: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout
