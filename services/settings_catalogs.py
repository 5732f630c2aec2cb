"""Settings of shared runbooks."""

from __future__ import annotations

from pydantic import Field

from services.settings_base import Group, PublicKeys


class Catalogs(Group):
    """Runbooks of others (rb catalog)."""

    trusted_keys: PublicKeys = Field(
        (), description="Public keys (ed25519:...) whose catalogs may be installed from; rb catalog keygen prints one"
    )
