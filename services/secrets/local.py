"""Where ``{{ secrets.NAME }}`` gets its value: an environment variable, or a file as Kubernetes mounts it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from executor.errors import MissingSecret
from runbooks.findings import did_you_mean

_MAX_BYTES = 1024 * 1024


class SecretProvider:
    """Implements ``executor.ports.Secrets``. Files are read at each use, so that a renewed secret is used at once.

    Args:
        environment: the process's variables, given by the composition root.
        prefix: of variables that hold secrets; ``ROOTMEND_SECRET_DB_PASSWORD`` is ``db_password`` and ``DB_PASSWORD``.
        folder: with one file for each secret; None for none. Variables win.
        on_read: told each value that is given out, so that logs and records can take it out again.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        prefix: str = "ROOTMEND_SECRET_",
        folder: Path | None = None,
        on_read: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._prefix = prefix
        self._folder = folder
        self._on_read = on_read
        self._variables = {
            _word(name.removeprefix(prefix)): value for name, value in environment.items() if name.startswith(prefix)
        }

    def __repr__(self) -> str:
        return f"SecretProvider(prefix={self._prefix!r}, folder={self._folder}, values=***)"

    async def get(self, name: str) -> str:
        """The value.

        Raises:
            MissingSecret: no provider has it; the text names the nearest name that there is, and where to put it.
        """
        value = self._variables.get(_word(name))
        if value is None:
            value = await asyncio.to_thread(self._read, name)
        if value is not None:
            self._on_read(value)
            return value
        where = f"{self._prefix}{_word(name).upper()}" + (f" or the file {self._folder / name}" if self._folder else "")
        raise MissingSecret(
            f"there is no secret {name!r}; set {where}; {did_you_mean(name, self.names())}".rstrip("; ")
        )

    def forget(self, names: Collection[str]) -> None:
        """Nothing is kept: variables do not change, and files are read at each use."""

    def names(self) -> frozenset[str]:
        """The names of all secrets, for advice."""
        return frozenset({*self._variables, *(path.name for path in self._files())})

    def _files(self) -> Iterator[Path]:
        if self._folder is not None and self._folder.is_dir():
            # Kubernetes keeps the real files in folders that begin with two dots.
            yield from (path for path in self._folder.iterdir() if path.is_file() and not path.name.startswith(".."))

    def _read(self, name: str) -> str | None:
        if self._folder is None:
            return None
        path = self._folder / name
        # A name is no way out of the folder; links inside it are how Kubernetes mounts secrets.
        if ".." in Path(name).parts or Path(name).is_absolute() or not path.is_file():
            return None
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES)
        return content.decode().removesuffix("\n").removesuffix("\r")


def _word(name: str) -> str:
    """Variables cannot hold dots, dashes and slashes."""
    return "".join(character if character.isalnum() else "_" for character in name).lower()
