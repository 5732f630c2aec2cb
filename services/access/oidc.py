"""Bearer tokens of an OpenID Connect provider: signature, issuer, audience and times are checked here, by PyJWT."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
import structlog

from executor.ports import Clock
from safety.access import Actor
from services.access.errors import IdentityUnavailable, Unauthenticated
from services.access.identities import BadIdentity, Directory
from services.settings_access import ASYMMETRIC, Oidc

log = structlog.get_logger(__name__)

Fetch = Callable[[str], Awaitable[Mapping[str, Any]]]
"""Reads a JSON document of the provider; raises ``IdentityUnavailable``."""

_LONGEST = 16 * 1024
_KINDS = ("jwt", "at+jwt", "application/at+jwt")
_ASK_AGAIN_SECONDS = 10.0
_REQUIRED = ("exp", "iat", "iss", "aud", "sub")


@dataclass(slots=True)
class _Keys:
    """The provider's keys, with the moment at which they were read."""

    by_id: Mapping[str, jwt.PyJWK]
    read_at: float


class KeyCache:
    """The keys that a provider signs with, found by discovery and kept for a while.

    A key that is not known makes it look again, at most every ten seconds, so that rotation is noticed at once and
    made-up key ids do not become calls to the provider. When it does not answer, known keys hold for one more ``ttl``.
    """

    def __init__(self, issuer: str, fetch: Fetch, clock: Clock, ttl: timedelta) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._ttl = ttl.total_seconds()
        self._keys: _Keys | None = None
        self._tried_at: float | None = None
        self._looking = asyncio.Lock()

    async def find(self, key_id: str) -> jwt.PyJWK:
        """The key of an id.

        Raises:
            Unauthenticated: the provider has no such key.
            IdentityUnavailable: its keys cannot be read.
        """
        keys = await self._current()
        if key_id not in keys.by_id:
            keys = await self._again(keys)
        if key_id not in keys.by_id:
            raise Unauthenticated("the token is signed with a key that its issuer does not have")
        return keys.by_id[key_id]

    async def _current(self) -> _Keys:
        async with self._looking:
            age = self._age()
            if self._keys is not None and age < self._ttl:
                return self._keys
            try:
                return await self._read()
            except IdentityUnavailable as error:
                if self._keys is None or age >= 2 * self._ttl:
                    raise
                log.warning("oidc.keys_kept", issuer=self._issuer, why=str(error))
                return self._keys

    async def _again(self, seen: _Keys) -> _Keys:
        async with self._looking:
            if self._keys is not seen and self._keys is not None:
                return self._keys  # somebody else looked meanwhile
            if self._tried_at is not None and self._clock.monotonic() - self._tried_at < _ASK_AGAIN_SECONDS:
                return seen
            return await self._read()

    def _age(self) -> float:
        return self._clock.monotonic() - self._keys.read_at if self._keys else 0.0

    async def _read(self) -> _Keys:
        self._tried_at = self._clock.monotonic()
        found = await self._fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != self._issuer:
            raise IdentityUnavailable(f"the provider calls itself {found.get('issuer')!r:.200}, not {self._issuer!r}")
        where = found.get("jwks_uri")
        if not isinstance(where, str) or not where.startswith(("https://", "http://")):
            raise IdentityUnavailable("the provider does not say where its keys are (jwks_uri)")
        if where.startswith("http://") and not self._issuer.startswith("http://"):
            raise IdentityUnavailable("the provider would send its keys unencrypted")
        by_id: dict[str, jwt.PyJWK] = {}
        for entry in (await self._fetch(where)).get("keys") or ():
            if not isinstance(entry, Mapping) or entry.get("use", "sig") != "sig" or entry.get("kty") == "oct":
                continue
            try:
                by_id[str(entry.get("kid", ""))] = jwt.PyJWK(dict(entry))
            except jwt.PyJWTError as error:
                log.debug("oidc.key_skipped", kid=entry.get("kid"), why=str(error))
        self._keys = _Keys(by_id, self._clock.monotonic())
        return self._keys


class OidcVerifier:
    """Who a token of the provider is.

    Args:
        settings: with an issuer.
        directory: adds the groups of the settings.
        fetch: reads the provider's documents.
        clock: of durations; whether a token is in time is PyJWT's look at the wall clock.
    """

    def __init__(self, settings: Oidc, directory: Directory, fetch: Fetch, clock: Clock) -> None:
        self._settings = settings
        self._directory = directory
        self._keys = KeyCache(settings.issuer, fetch, clock, settings.keys_ttl)

    def is_meant(self, token: str) -> bool:
        """Whether a token says that it comes from this issuer; nothing is proven by that."""
        try:
            return bool(jwt.decode(token, options={"verify_signature": False}).get("iss") == self._settings.issuer)
        except (jwt.PyJWTError, ValueError):
            return False

    async def actor(self, token: str) -> Actor:
        """Who the token is.

        Raises:
            Unauthenticated: it does not hold; the message says why and never repeats it.
            IdentityUnavailable: the provider's keys cannot be read.
        """
        if len(token) > _LONGEST:
            raise Unauthenticated("the token is too long")
        claims = await self._checked(token)
        identity = claims.get(self._settings.user_claim)
        if not isinstance(identity, str):
            raise Unauthenticated(f"the token has no claim {self._settings.user_claim}")
        if self._settings.user_claim == "email" and claims.get("email_verified") is not True:
            raise Unauthenticated("the provider does not say that the address was verified (email_verified)")
        kept = {name: claims[name] for name in ("iss", "sub", "azp", "client_id", "jti") if name in claims}
        try:
            return self._directory.user(
                identity,
                name=_text(claims.get(self._settings.name_claim)),
                groups=_texts(claims.get(self._settings.groups_claim)),
                claims=kept,
            )
        except BadIdentity as error:
            raise Unauthenticated(f"claim {self._settings.user_claim}: {error}") from error

    async def _checked(self, token: str) -> Mapping[str, Any]:
        settings = self._settings
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in settings.algorithms or algorithm not in ASYMMETRIC:
                raise Unauthenticated(f"signature {algorithm!r:.20} is not accepted; see access.oidc.algorithms")
            if str(header.get("typ") or "jwt").lower() not in _KINDS:
                raise Unauthenticated(f"a token of type {header.get('typ')!r:.40} is for something else")
            key = await self._keys.find(str(header.get("kid", "")))
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=list(settings.audience),
                issuer=settings.issuer,
                leeway=settings.leeway,
                options={"require": list(_REQUIRED)},
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token does not hold: {error}") from error


def _text(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() else ""


def _texts(value: object) -> tuple[str, ...]:
    """A list of texts, or one text; anything else is no group."""
    if isinstance(value, str):
        return (value,)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
