"""Settings of reviewed runbooks, and of the accounts that runbooks act as."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from services.settings_base import Group, PublicKeys, Texts

_SERVICE_ACCOUNT = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
_REVISION = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._/@^~-]{0,200})?$")


def account_pattern(text: str) -> str:
    """A pattern of service accounts as it was written.

    Raises:
        ValueError: it is not NAMESPACE/NAME.
    """
    if not re.fullmatch(r"[-a-z0-9*?]{1,63}/[-a-z0-9.*?]{1,253}", text):
        raise ValueError(f"{text[:60]!r} is no service account: expected NAMESPACE/NAME, globs allowed in each")
    return text


class Reviews(Group):
    """Base of the runbooks' settings: which of them somebody has reviewed."""

    trusted_keys: PublicKeys = Field(
        (), description="Public keys (ed25519:...) whose signatures of runbooks count; rb keys generate prints one"
    )
    require_signature: Literal["off", "warn", "required"] = Field(
        "off", description="What a missing signature means: nothing, a warning, or that the runbook does not run"
    )
    approved_revision: str = Field(
        "", description="Branch, tag or commit of the repository with the runbooks: only files that are as there run"
    )

    @field_validator("approved_revision")
    @classmethod
    def _is_revision(cls, text: str) -> str:
        if not _REVISION.match(text):
            raise ValueError(f"{text[:60]!r} is no branch, tag or commit")
        return text

    @model_validator(mode="after")
    def _somebody_is_trusted(self) -> Self:
        if self.require_signature == "required" and not self.trusted_keys:
            raise ValueError("require_signature: required needs trusted_keys: nobody's signature would count")
        return self


class Impersonation(Group):
    """Whose rights the steps of some runbooks have."""

    runbooks: Texts = Field((), description="Ids of runbooks, globs allowed")
    tags: Texts = Field((), description="Or: runbooks with one of these tags, globs allowed")
    service_account: str = Field("", description="NAMESPACE/NAME of a service account")
    user: str = Field("", max_length=250, description="Or: a user of the API server")
    groups: Texts = Field((), description="Groups of the user")

    @field_validator("service_account")
    @classmethod
    def _is_account(cls, text: str) -> str:
        if text and not _SERVICE_ACCOUNT.match(text):
            raise ValueError(f"{text[:60]!r} is no service account: expected NAMESPACE/NAME")
        return text

    @field_validator("groups")
    @classmethod
    def _not_masters(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        if "system:masters" in groups:
            raise ValueError("system:masters may do everything: name a group with the rights that are needed")
        return groups

    @model_validator(mode="after")
    def _one_account(self) -> Self:
        if bool(self.service_account) == bool(self.user):
            raise ValueError("give service_account or user")
        if self.service_account and self.groups:
            raise ValueError("a service account has its own groups: leave groups out")
        if self.user.startswith("system:serviceaccount:"):
            raise ValueError("write a service account as service_account: NAMESPACE/NAME")
        if not (self.runbooks or self.tags):
            raise ValueError("give runbooks or tags, such as runbooks: ['*']")
        return self

    @property
    def account(self) -> str:
        """The user, as the API server calls it."""
        if not self.service_account:
            return self.user
        return f"system:serviceaccount:{self.service_account.replace('/', ':')}"
