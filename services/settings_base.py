"""What the groups of settings are made of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic_settings import NoDecode

_KEY = re.compile(r"^ed25519:[A-Za-z0-9+/]{43}=$")


def _listed(value: object) -> object:
    """A variable holds a list as JSON or with commas; one value alone is a list of one."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("["):
        return orjson.loads(text)
    return [part.strip() for part in text.split(",") if part.strip()]


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
"""A list of texts; in a variable: JSON, or separated by commas."""


def _public_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    for key in keys:
        if not _KEY.match(key):
            raise ValueError(f"{key[:60]!r} is no public key: expected ed25519: and 44 characters")
    return keys


PublicKeys = Annotated[Texts, AfterValidator(_public_keys)]
"""Public keys as ``rb keys generate`` and ``rb catalog keygen`` print them."""


def _expand(value: object) -> object:
    return Path(value).expanduser() if isinstance(value, str) and value else value


FilePath = Annotated[Path, BeforeValidator(_expand)]
"""A path; in the settings file it is relative to that file."""


class Group(BaseModel):
    """Base of all groups: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
