"""Settings of outgoing connections."""

from __future__ import annotations

import ssl

from pydantic import Field, field_validator

from services.outgoing.rules import BadAllowed, Rules, read_allowed, rules_of
from services.settings_base import FilePath, Group, Texts


class Outgoing(Group):
    """What runbooks may call; addresses of services that the settings name are allowed for these services."""

    allow: Texts = Field(
        (),
        description="Exceptions for loopback, link-local, metadata and such: `host`, `host:port`, `10.0.0.0/8`, "
        "`127.0.0.1:9090`, `[::1]:9090`; empty: none",
    )
    ca_file: FilePath | None = Field(None, description="Own CAs, beside those of the system")
    max_bytes: int = Field(65_536, ge=1_024, le=16_777_216, description="Most bytes that are read of an answer")

    @field_validator("allow")
    @classmethod
    def _can_be_read(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            try:
                read_allowed(entry)
            except BadAllowed as error:
                raise ValueError(str(error)) from error
        return value

    @field_validator("ca_file")
    @classmethod
    def _holds_certificates(cls, value: FilePath | None) -> FilePath | None:
        if value is not None:
            try:
                ssl.create_default_context().load_verify_locations(value)
            except (OSError, ssl.SSLError) as error:
                raise ValueError(f"{value} holds no certificates that can be read: {error}") from error
        return value

    def rules(self) -> Rules:
        """The rules with these exceptions."""
        return rules_of(self.allow)
