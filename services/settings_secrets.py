"""Settings of secrets: where they come from, how long they are kept in memory, and what is encrypted."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from runbooks.model import Duration
from services.settings_base import FilePath, Group

AuthMethod = Literal["kubernetes", "approle"]
Provider = Literal["vault", "aws-secrets-manager", "kubernetes-secrets"]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def checked_address(address: str) -> str:
    """An address that credentials may be sent to.

    Raises:
        ValueError: it is no URL, or neither encrypted nor on this machine.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{address!r} is no address such as https://vault.example.com:8200")
    if parts.username or parts.password:
        raise ValueError("an address must not hold credentials")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError(f"{address!r}: secrets are not sent in clear text; use https")
    return address.rstrip("/")


class VaultSettings(Group):
    """HashiCorp Vault, or what speaks its API."""

    address: str = Field("", description="https://host:8200; wins over the one in secrets.file")
    auth_method: AuthMethod | None = Field(None, description="Wins over authMethod in secrets.file")
    role: str = Field("", description="Role of the Kubernetes login; wins over the one in secrets.file")
    mount: str = Field("", description="Where the login is mounted; empty: kubernetes or approle")
    token_file: FilePath = Field(
        Path("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        description="Token of the service account, for the Kubernetes login; read at each login",
    )
    role_id: str = Field("", description="For AppRole")
    secret_id: SecretStr | None = Field(None, description="For AppRole; better set by variable than in the file")
    secret_id_file: FilePath | None = Field(None, description="For AppRole, instead of secret_id; read at each login")
    namespace: str = Field("", description="Namespace of Vault Enterprise or HCP")
    ca_file: FilePath | None = Field(None, description="Own CAs of the server, instead of the system's")
    timeout_seconds: float = Field(5, gt=0, le=60, description="Longest wait for one answer")

    @field_validator("address")
    @classmethod
    def _safe_address(cls, value: str) -> str:
        return checked_address(value) if value else value


class AwsSettings(Group):
    """AWS Secrets Manager; needs the extra `rootmend[aws]`. Credentials come from the usual chain of AWS."""

    region: str = Field("", description="Such as eu-central-1")
    endpoint: str = Field("", description="Empty: the region's own; for VPC endpoints")
    timeout_seconds: float = Field(5, gt=0, le=60, description="Longest wait for one answer")

    @field_validator("endpoint")
    @classmethod
    def _safe_endpoint(cls, value: str) -> str:
        return checked_address(value) if value else value


class EncryptionSettings(Group):
    """Encryption of what must be kept as it is and holds secrets: prior states for rollback, inputs for replay."""

    active: str = Field("", description="Id of the key that encrypts; empty: what holds a secret is not kept")
    without_key: Literal["refuse", "keep"] = Field(
        "refuse",
        description="Without a key: refuse plans and steps whose prior state holds what looks like a secret, or keep "
        "it in clear text. Values that are known as secrets are refused in any case",
    )
    keys: dict[str, str] = Field(
        {},
        description="Where each key is, by id: `file:PATH`, `env:NAME` or `secret:NAME`; 32 bytes, base64. Old keys "
        "decrypt for as long as they stand here",
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for name, source in self.keys.items():
            if not _KEY_ID.fullmatch(name):
                raise ValueError(f"{name!r} is no id of a key (letters, digits, dots, dashes, at most 64)")
            kind, _, rest = source.partition(":")
            if kind not in ("file", "env", "secret") or not rest:
                raise ValueError(f"keys.{name}: expected file:PATH, env:NAME or secret:NAME, never the key itself")
            if kind == "file" and not Path(rest).expanduser().is_absolute():
                raise ValueError(f"keys.{name}: the path of a key must be absolute")
        if self.active and self.active not in self.keys:
            raise ValueError(f"active names {self.active!r}, and keys has {', '.join(sorted(self.keys)) or 'none'}")
        if self.keys and not self.active:
            raise ValueError("keys without active encrypt nothing: name one in active")
        return self


class SecretSources(Group):
    """Where ``{{ secrets.NAME }}`` comes from, at the moment of use."""

    env_prefix: str = Field("ROOTMEND_SECRET_", min_length=1, description="Variables that hold secrets begin so")
    folder: FilePath | None = Field(None, description="Folder with one file for each secret, as Kubernetes mounts them")
    file: FilePath | None = Field(
        None,
        description="Providers and names of secrets (docs/secrets.md); what it names comes from nowhere else",
    )
    ttl: Duration = Field(
        timedelta(seconds=30), description="How long a fetched secret stays in memory, at most 1h; 0s for not at all"
    )
    vault: VaultSettings = Field(VaultSettings(), description="HashiCorp Vault")
    aws: AwsSettings = Field(AwsSettings(), description="AWS Secrets Manager")
    encryption: EncryptionSettings = Field(EncryptionSettings(), description="Of what is kept for rollback and replay")

    @field_validator("ttl")
    @classmethod
    def _short(cls, value: timedelta) -> timedelta:
        if not timedelta(0) <= value <= timedelta(hours=1):
            raise ValueError("must be between 0s and 1h")
        return value
