"""The catalogs that a user has added, in the user's configuration folder."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from platformdirs import user_config_path
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from runbooks.findings import did_you_mean
from services.catalogs.errors import CatalogError

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class Known(BaseModel):
    """A catalog by the name that its user gave it.

    Attributes:
        key: the only key that may have signed it; empty for any of the settings' keys.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    url: str = Field(min_length=1)
    key: str = ""


_LIST: TypeAdapter[list[Known]] = TypeAdapter(list[Known])


def state_file() -> Path:
    """Where the list is kept."""
    return user_config_path("rootmend") / "catalogs.json"


def read_known(path: Path) -> list[Known]:
    """The catalogs that were added, in the order of their names.

    Raises:
        CatalogError: the file was damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return _LIST.validate_json(data)
    except ValidationError as error:
        raise CatalogError(f"{path} is damaged ({error.errors()[0]['msg']}); remove it and add the catalogs") from error


def add(path: Path, new: Known) -> None:
    """Remember a catalog; one of the same name is replaced.

    Raises:
        CatalogError: the name cannot be used, or the file cannot be written.
    """
    if not _NAME.match(new.name):
        raise CatalogError(f"{new.name!r:.80} cannot be a name: letters, digits, dots, dashes and underscores only")
    kept = [known for known in read_known(path) if known.name != new.name]
    _write(path, sorted([*kept, new], key=lambda known: known.name))


def remove(path: Path, name: str) -> None:
    """Forget a catalog.

    Raises:
        CatalogError: it is not known.
    """
    gone = named(path, name)
    _write(path, [known for known in read_known(path) if known != gone])


def named(path: Path, name: str) -> Known:
    """A catalog by its name.

    Raises:
        CatalogError: it is not known.
    """
    known = read_known(path)
    found = next((one for one in known if one.name == name), None)
    if found is None:
        hint = did_you_mean(name, {one.name for one in known}) or "rb catalog add NAME URL"
        raise CatalogError(f"there is no catalog {name!r}; {hint}")
    return found


def _write(path: Path, known: Sequence[Known]) -> None:
    told = [one.model_dump() for one in known]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(told, indent=1) + "\n")
        part.replace(path)
    except OSError as error:
        raise CatalogError(f"{path} cannot be written: {error.strerror}") from error
