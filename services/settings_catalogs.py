"""Settings of shared runbooks."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from services.settings_base import Group, Texts

_KEY = re.compile(r"^ed25519:[A-Za-z0-9+/]{43}=$")


class Catalogs(Group):
    """Runbooks of others (rb catalog)."""

    trusted_keys: Texts = Field(
        (), description="Public keys (ed25519:...) whose catalogs may be installed from; rb catalog keygen prints one"
    )

    @field_validator("trusted_keys")
    @classmethod
    def _are_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            if not _KEY.match(key):
                raise ValueError(f"{key[:60]!r} is no public key: expected ed25519: and 44 characters")
        return keys
