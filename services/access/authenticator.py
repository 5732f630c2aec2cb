"""From a bearer token to an actor, whatever kind of token it is."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from safety.access import Actor
from services.access.accounts import ServiceAccountTokens
from services.access.errors import IdentityUnavailable, Unauthenticated
from services.access.logins import Logins
from services.access.oidc import OidcVerifier
from services.access.tokens import Tokens, looks_like_one
from services.graph.errors import GraphUnavailable

_JWT_DOTS = 2


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A token of the settings, and who has it."""

    text: str
    actor: Actor

    def __post_init__(self) -> None:
        """An empty token would let everybody in."""
        if not self.text:
            raise ValueError("an empty token would let everybody in")


class Authenticator:
    """Who is calling.

    Args:
        static: tokens of the settings.
        tokens: API tokens; None where there is no store.
        oidc: tokens of the provider; None where none is configured.
        accounts: tokens of service accounts; as ``oidc``.
        logins: told who came in; None where nobody is.
    """

    def __init__(
        self,
        static: Sequence[StaticToken] = (),
        *,
        tokens: Tokens | None = None,
        oidc: OidcVerifier | None = None,
        accounts: ServiceAccountTokens | None = None,
        logins: Logins | None = None,
    ) -> None:
        self._logins = logins
        self._static = tuple(static)
        self._tokens = tokens
        self._oidc = oidc
        self._accounts = accounts

    async def actor(self, bearer: str) -> Actor:
        """Who a bearer token is.

        Raises:
            Unauthenticated: nobody.
            IdentityUnavailable: whoever has to vouch does not answer.
        """
        found, way = await self._proven(bearer)
        if self._logins is not None:
            await self._logins.note(found, way, bearer)
        return found

    async def _proven(self, bearer: str) -> tuple[Actor, str]:
        """Who it is, and how that was proven."""
        if not bearer:
            raise Unauthenticated("a bearer token is needed")
        given = bearer.encode("utf-8", "surrogateescape")
        # All of them are compared, each in constant time: how long it takes tells nothing.
        found = [one.actor for one in self._static if hmac.compare_digest(given, one.text.encode())]
        if found:
            return found[0], "token of the settings"
        if not bearer.isascii():
            raise Unauthenticated("this token is not known")
        if looks_like_one(bearer) and self._tokens:
            try:
                return await self._tokens.actor(bearer), "API token"
            except GraphUnavailable as error:
                raise IdentityUnavailable(f"the graph does not answer: {error}") from error
        if bearer.count(".") == _JWT_DOTS:
            if self._oidc and self._oidc.is_meant(bearer):
                return await self._oidc.actor(bearer), "OpenID Connect"
            if self._accounts:
                return await self._accounts.actor(bearer), "service account"
        raise Unauthenticated("this token is not known")
