"""A checkout of Git whose commits have the authors that a test wants."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class Checkout:
    """A new repository in a folder that is there, or is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._git("init", "--quiet")

    def commit(self, message: str, author: str, address: str, *, committer: str = "") -> str:
        """Commit everything that is different; gives the commit."""
        by = committer or author
        names = {"GIT_AUTHOR_NAME": author, "GIT_AUTHOR_EMAIL": address}
        self._git("add", "--all")
        self._git("commit", "--quiet", "-m", message, GIT_COMMITTER_NAME=by, GIT_COMMITTER_EMAIL=address, **names)
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *words: str, **environment: str) -> str:
        plain = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", "-C", str(self.folder), *words],
            env={**os.environ, **plain, **environment},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout
