"""The gate's Lua scripts as text, read from their files once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from hashlib import sha1
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """One atomic call on the store.

    Attributes:
        text: Lua source.
        sha: SHA-1 of the source in hex, which is how Redis names a script that it has seen.
    """

    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> Script:
        """The script with this source."""
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Scripts:
    """Every script of the gate; each file opens with its KEYS, ARGV and answer."""

    gate: Script
    confirm: Script
    renew: Script
    release: Script
    cancel: Script
    restore: Script
    paused: Script
    storm_heard: Script
    storm_looked: Script
    storm_call: Script


_IN_FRONT = {
    "gate": ("_counts", "_pauses"),
    "paused": ("_pauses",),
    **dict.fromkeys(("confirm", "renew", "release", "cancel", "restore"), ("_counts",)),
}
"""Several scripts need the same functions; Redis knows no includes."""


@cache
def load() -> Scripts:
    """Read the scripts from the package."""
    folder = files("safety.lua")

    def text(name: str) -> str:
        return folder.joinpath(f"{name}.lua").read_text(encoding="utf-8")

    names = [each.name for each in fields(Scripts)]
    return Scripts(**{name: Script.of("".join(map(text, (*_IN_FRONT.get(name, ()), name)))) for name in names})
