"""Files beside runbooks, and never anything outside of their folder."""

from __future__ import annotations

import asyncio
from pathlib import Path

from executor.errors import Forbidden, Invalid, NotFound
from runbooks.findings import did_you_mean

_MOST_NAMES = 200


class FolderFiles:
    """Implements ``executor.data_ports.Files`` on the file system."""

    async def text(self, folder: str, name: str, *, max_bytes: int) -> str:
        """The text of a file in a folder or below.

        Raises:
            Forbidden: the name, or a link, leads out of the folder.
            NotFound: there is no such file.
            Invalid: it is too long, or no UTF-8 text.
        """
        return await asyncio.to_thread(_read, Path(folder), name, max_bytes)


def _read(folder: Path, name: str, max_bytes: int) -> str:
    home = folder.resolve()
    path = (home / name).resolve()
    if not path.is_relative_to(home):
        raise Forbidden(f"{name} is not in the folder of the runbook")
    if not path.is_file():
        there = [str(item.relative_to(home)) for item in sorted(home.rglob("*"))[:_MOST_NAMES] if item.is_file()]
        raise NotFound(f"there is no file {name} beside the runbook; {did_you_mean(name, there)}".rstrip("; "))
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise Invalid(f"{name} is longer than {max_bytes} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{name} is no UTF-8 text") from error
