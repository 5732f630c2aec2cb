"""The index of a catalog: what it holds, with the checksum of every file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.catalogs.errors import CatalogError
from services.catalogs.paths import joined, safe_path

INDEX = "index.json"
SIGNATURE = "index.json.sig"
MAX_INDEX = 5_000_000
MAX_FILE = 5_000_000
MAX_ENTRY = 20_000_000
MAX_FILES = 500
_NUMBER = re.compile(r"\d+")


def _safe(path: str) -> str:
    try:
        return safe_path(path)
    except CatalogError as error:
        raise ValueError(str(error)) from error


def _safe_folder(path: str) -> str:
    return _safe(path) if path else ""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Member(_Part):
    """One file of an entry.

    Attributes:
        name: within the folder of the entry.
    """

    name: Annotated[str, AfterValidator(_safe)]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, le=MAX_FILE)


class Entry(_Part):
    """One version of one runbook, with its acceptance pack.

    Attributes:
        folder: of the catalog that holds its files.
        file: the runbook, in that folder.
        sha256: of the runbook; what versions are told apart by.
        files: all of them, the runbook too.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    version: str = Field(min_length=1, max_length=100)
    name: str = Field("", max_length=500)
    description: str = Field("", max_length=5000)
    tags: tuple[str, ...] = ()
    folder: Annotated[str, AfterValidator(_safe_folder)] = ""
    file: Annotated[str, AfterValidator(_safe)]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    files: tuple[Member, ...] = Field(min_length=1, max_length=MAX_FILES)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        own = [member for member in self.files if member.name == self.file]
        if len(own) != 1 or own[0].sha256 != self.sha256:
            raise ValueError(f"{self.id}: {self.file} is not among its files with its checksum")
        if len({member.name.lower() for member in self.files}) != len(self.files):
            raise ValueError(f"{self.id}: two files have one name")
        if sum(member.size for member in self.files) > MAX_ENTRY:
            raise ValueError(f"{self.id}: its files are larger than {MAX_ENTRY} bytes together")
        return self

    def path(self, member: Member) -> str:
        """Where a file is in the catalog."""
        return joined(self.folder, member.name)


class Index(_Part):
    """What a catalog holds."""

    catalog: Literal[1] = 1
    entries: tuple[Entry, ...] = Field((), max_length=10_000)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [(entry.id, entry.version) for entry in self.entries]
        twice = sorted({f"{id_} {version}" for id_, version in names if names.count((id_, version)) > 1})
        if twice:
            raise ValueError(f"listed twice: {', '.join(twice)}")
        return self


def read_index(data: bytes, where: str) -> Index:
    """An index from its bytes.

    Raises:
        CatalogError: it cannot be used; says where and what is expected.
    """
    if len(data) > MAX_INDEX:
        raise CatalogError(f"the index of {where} is larger than {MAX_INDEX} bytes")
    try:
        return Index.model_validate_json(data)
    except ValidationError as error:
        told = "\n".join(
            f"  {'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']}" for problem in error.errors()[:5]
        )
        raise CatalogError(f"{INDEX} of {where} cannot be used:\n{told}") from error


def written(index: Index) -> bytes:
    """The bytes of an index; the same index gives the same bytes."""
    return (index.model_dump_json(indent=1) + "\n").encode()


def order(version: str) -> tuple[tuple[int, ...], bool, str]:
    """Sorts versions: by their numbers, a release after its pre-releases."""
    core, _, pre = version.strip().lower().removeprefix("v").partition("+")[0].partition("-")
    return tuple(int(found) for found in _NUMBER.findall(core)), not pre, pre


def find(entries: Sequence[Entry], text: str) -> Sequence[Entry]:
    """Entries that hold every word of a text in their id, name, description or tags; case does not matter."""
    words = text.lower().split()

    def told(entry: Entry) -> str:
        return " ".join((entry.id, entry.name, entry.description, *entry.tags)).lower()

    return [entry for entry in entries if all(word in told(entry) for word in words)]
