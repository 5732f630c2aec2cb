"""Settings of access: roles, identities, and who the command line is."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from runbooks.model import Duration
from services.settings_base import FilePath, Group, Texts

ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures whose check needs no secret of ours. ``none`` and HMAC are never accepted."""

_LOCAL = re.compile(r"^http://(127\.0\.0\.1|localhost|\[::1\])([:/]|$)")


class Person(Group):
    """One human. The key in `access.people` is the id that roles files name and records keep."""

    name: str = Field("", description="For people to read; never compared")
    os_user: str = Field("", description="Login on the machines where `rb` runs; empty: the id")
    slack: str = Field("", pattern=r"^([UW][A-Z0-9]{2,})?$", description="Member id in Slack, such as U012AB3CD")
    email: str = Field("", description="For approvals by mail and tools that know addresses")
    groups: Texts = Field((), description="Groups beside those that an identity provider tells")


class Oidc(Group):
    """Bearer tokens of an OpenID Connect provider."""

    issuer: str = Field("", description="Its address as tokens name it, letter by letter; empty: no such tokens")
    audience: Texts = Field((), description="Tokens are for one of these; needed with `issuer`")
    user_claim: str = Field("sub", min_length=1, description="Claim with the id; one that users cannot choose")
    groups_claim: str = Field("groups", min_length=1, description="Claim with the groups: a text or a list of texts")
    name_claim: str = Field("name", min_length=1, description="Claim with the name for people to read")
    algorithms: Texts = Field(("RS256", "ES256"), min_length=1, description="Signatures that are accepted")
    leeway: Duration = Field(timedelta(seconds=30), description="How far clocks may differ; at most 5 minutes")
    keys_ttl: Duration = Field(timedelta(minutes=10), description="How long keys are kept; an unknown key is asked for")
    ca_file: FilePath | None = Field(None, description="Own CAs of the provider, beside those of the system")
    login_client: str = Field(
        "", description="Id of a public client for `rb login` (device flow), one of `audience`; empty: no such login"
    )
    login_scopes: Texts = Field(
        ("openid", "profile", "email", "groups"),
        min_length=1,
        description="What `rb login` asks for; with offline_access it lasts for as long as the provider lets it",
    )

    @field_validator("algorithms")
    @classmethod
    def _only_asymmetric(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in ASYMMETRIC:
                raise ValueError(f"the signature {name} is not accepted: choose from {', '.join(ASYMMETRIC)}")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.issuer:
            return self
        if not self.issuer.startswith("https://") and not _LOCAL.match(self.issuer):
            raise ValueError("issuer must begin with https:// (http:// only for this very machine)")
        if not self.audience:
            raise ValueError("issuer needs audience: without one, a token for any other service would be taken")
        if self.user_claim in {"name", "nickname", "given_name", "family_name"}:
            raise ValueError(f"user_claim must not be {self.user_claim}: a display name is no identity")
        if not timedelta(0) <= self.leeway <= timedelta(minutes=5):
            raise ValueError("leeway must be from 0 to 5m")
        if self.keys_ttl <= timedelta(0):
            raise ValueError("keys_ttl must be longer than zero")
        if self.login_client and self.login_client not in self.audience:
            raise ValueError(f"audience must name login_client {self.login_client!r}: its tokens are for it")
        if "openid" not in self.login_scopes:
            raise ValueError("login_scopes needs openid: without it there is no ID token")
        return self


class ServiceAccounts(Group):
    """Tokens of Kubernetes service accounts, checked by the API server (TokenReview)."""

    enabled: bool = Field(False, description="Accept them; needs the right to create tokenreviews")
    audiences: Texts = Field(("rootmend",), min_length=1, description="Tokens are for one of these")
    cache: Duration = Field(timedelta(seconds=30), description="How long a yes is kept; at most 5 minutes")

    @field_validator("cache")
    @classmethod
    def _short(cls, value: timedelta) -> timedelta:
        if not timedelta(0) <= value <= timedelta(minutes=5):
            raise ValueError("must be from 0 to 5m: a deleted account must not live on")
        return value


class AccessSettings(Group):
    """Who may do what."""

    roles_file: FilePath | None = Field(
        None, description="Roles and their assignments; empty: the local command line may do everything"
    )
    cli: Literal["trusted", "token"] = Field(
        "trusted", description="Who `rb` is: the user of the machine, or only who a token or `rb login` proves"
    )
    token_role: str = Field(
        "rootmend:api", min_length=1, description="Role of `api.token`: of the roles file, or a built-in one"
    )
    people: dict[str, Person] = Field({}, description="One human on every surface, by id: logins, Slack, groups")
    oidc: Oidc = Field(Oidc(), description="Bearer tokens of an OpenID Connect provider")
    service_accounts: ServiceAccounts = Field(
        ServiceAccounts(), description="Tokens of Kubernetes service accounts, checked by the API server"
    )

    @model_validator(mode="after")
    def _nobody_is_two_people(self) -> Self:
        for what in ("os_user", "slack", "email"):
            seen: dict[str, str] = {}
            for identity, person in self.people.items():
                value = getattr(person, what) or (identity if what == "os_user" else "")
                if value and (other := seen.setdefault(value, identity)) != identity:
                    raise ValueError(f"people: {what} {value} belongs to both {other} and {identity}")
        return self

    @field_validator("people")
    @classmethod
    def _ids_are_clean(cls, value: dict[str, Person]) -> dict[str, Person]:
        for identity in value:
            if not identity or identity != identity.strip() or not identity.isprintable() or ":" in identity:
                raise ValueError(f"{identity!r} is no id: printable, without ':' and without blanks around it")
        return value
