"""The gate's Lua scripts as text, read from their files once."""

from __future__ import annotations

from dataclasses import dataclass
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


@cache
def load() -> Scripts:
    """Read the scripts from the package."""
    folder = files("safety.lua")

    def read(name: str) -> Script:
        return Script.of(folder.joinpath(f"{name}.lua").read_text(encoding="utf-8"))

    return Scripts(read("gate"), read("confirm"), read("renew"), read("release"), read("cancel"), read("restore"))
