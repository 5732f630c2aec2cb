"""Puts access together from the settings: roles, static tokens, and whoever vouches for an identity."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

from executor.ports import Clock, Hooks
from runbooks.findings import did_you_mean
from safety.access import ALERTS, Access, Actor, ActorKind, Grant, Scope
from services.access.accounts import Reviewer, ServiceAccountTokens
from services.access.authenticator import Authenticator, StaticToken
from services.access.door import Door
from services.access.errors import IdentityUnavailable
from services.access.identities import Directory
from services.access.logins import Logins
from services.access.oidc import OidcVerifier
from services.access.roles_file import load_access
from services.access.tokens import Tokens, TokenStore
from services.config_files import ConfigError
from services.outgoing.network import GuardedTransport, Refused
from services.outgoing.rules import Rules
from services.settings_model import Settings

API_TOKEN, RECEIVER_TOKEN = "api.token", "api.receiver_token"
SINGLE_OPERATOR = (
    "access.roles_file is not set: single-operator mode, in which everybody who can run `rb` here may do everything"
)

_OK = 200
_MOST_BYTES = 512 * 1024
_SECONDS = 5.0
_IN_ALL = 15.0
"""Seconds for a whole document, however slowly it drips."""
_NO_EXCEPTIONS = Rules()


def open_access(settings: Settings) -> Access:
    """The roles and assignments in force.

    Raises:
        ConfigError: with all problems of the roles file and of the settings that name roles.
    """
    access = load_access(settings.access.roles_file)
    role = settings.access.token_role
    if role not in access.roles:
        near = did_you_mean(role, access.roles)
        raise ConfigError((f"access.token_role: there is no role {role!r}" + f"; {near}" * bool(near),))
    return access


def open_door(settings: Settings, access: Access, hooks: Hooks | None = None) -> Door:
    """The place that every entry point asks."""
    return Door(access, Scope(tenant=settings.matching.default_tenant, cluster=settings.default_cluster), hooks)


def remarks(settings: Settings) -> Iterator[str]:
    """What is allowed by the settings and should be known to whoever starts the service."""
    if settings.access.roles_file is None:
        yield SINGLE_OPERATOR


def static_tokens(settings: Settings) -> Iterator[StaticToken]:
    """The tokens of the settings, each an actor of its own with one role."""
    if settings.api.token is not None:
        actor = Actor(ActorKind.TOKEN, API_TOKEN, API_TOKEN, grants=(Grant(settings.access.token_role),))
        yield StaticToken(settings.api.token.get_secret_value(), actor)
    if settings.api.receiver_token is not None:
        actor = Actor(ActorKind.TOKEN, RECEIVER_TOKEN, RECEIVER_TOKEN, grants=(Grant(ALERTS),))
        yield StaticToken(settings.api.receiver_token.get_secret_value(), actor)


@asynccontextmanager
async def open_authenticator(
    settings: Settings,
    clock: Clock,
    *,
    tokens: TokenStore | None = None,
    reviewer: Reviewer | None = None,
    logins: Logins | None = None,
) -> AsyncIterator[Authenticator]:
    """Whoever vouches, as far as the settings name them.

    Args:
        settings: checked already.
        clock: time.
        tokens: where API tokens are.
        reviewer: the API server.
        logins: told who came in; None where nobody is.
    """
    access = settings.access
    async with AsyncExitStack() as stack:
        oidc = None
        if access.oidc.issuer:
            fetcher = provider_http(settings)
            stack.push_async_callback(fetcher.close)
            oidc = OidcVerifier(access.oidc, Directory(access.people), fetcher, clock)
        accounts = None
        if access.service_accounts.enabled and reviewer is not None:
            accounts = ServiceAccountTokens(
                reviewer, access.service_accounts.audiences, clock, access.service_accounts.cache
            )
        yield Authenticator(
            tuple(static_tokens(settings)),
            tokens=Tokens(tokens, clock) if tokens else None,
            oidc=oidc,
            accounts=accounts,
            logins=logins,
        )


def provider_http(settings: Settings) -> JsonFetcher:
    """Speaks to the provider that the settings name."""
    oidc = settings.access.oidc
    return JsonFetcher(oidc.ca_file, settings.outgoing.rules().and_services([oidc.issuer]))


class JsonFetcher:
    """Speaks to a provider: bounded in time and size, without redirects.

    Args:
        ca_file: own CAs, beside those of the system.
        rules: what may be called: a provider's documents may name any address.
    """

    def __init__(self, ca_file: Path | None = None, rules: Rules = _NO_EXCEPTIONS) -> None:
        trust = ssl.create_default_context()
        if ca_file is not None:
            try:
                trust.load_verify_locations(ca_file)
            except OSError as error:
                raise ConfigError((f"access.oidc.ca_file: {ca_file}: {error}",)) from error
        self._client = httpx.AsyncClient(
            transport=GuardedTransport(rules, trust), follow_redirects=False, timeout=_SECONDS
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __call__(self, url: str) -> Mapping[str, Any]:
        """A JSON object.

        Raises:
            IdentityUnavailable: no answer, or none that can be used.
        """
        status, found = await self._asked("GET", url, None)
        if status != _OK:
            raise IdentityUnavailable(f"{url} answers with {status}")
        return found

    async def post(self, url: str, form: Mapping[str, str]) -> tuple[int, Mapping[str, Any]]:
        """Send a form.

        Returns:
            Status and JSON object of the answer; an empty one when it has no body.

        Raises:
            IdentityUnavailable: no answer, or none that can be used.
        """
        return await self._asked("POST", url, form)

    async def _asked(self, method: str, url: str, form: Mapping[str, str] | None) -> tuple[int, Mapping[str, Any]]:
        body = bytearray()
        try:
            async with (
                asyncio.timeout(_IN_ALL),
                self._client.stream(method, url, data=form, headers={"Accept": "application/json"}) as answer,
            ):
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        raise IdentityUnavailable(f"{url} answers with more than {_MOST_BYTES} bytes")
        except Refused as error:
            raise IdentityUnavailable(f"{url}: {error}") from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise IdentityUnavailable(f"{url} does not answer: {error or type(error).__name__}") from error
        return answer.status_code, _json_object(url, answer.status_code, body)


def _json_object(url: str, status: int, body: bytes | bytearray) -> Mapping[str, Any]:
    if not body and status == _OK:
        return {}
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise IdentityUnavailable(f"{url} answers with {status} and no JSON") from error
    if not isinstance(found, Mapping):
        raise IdentityUnavailable(f"{url} does not answer with a JSON object")
    return found
