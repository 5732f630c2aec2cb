"""Secrets in HashiCorp Vault: KV version 2, login with a Kubernetes service account or AppRole.

Spoken over httpx: two calls of a documented API need no client of their own, and hvac blocks.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from executor.errors import MissingSecret, NotConfigured, Unavailable
from executor.ports import Clock
from services.secrets.model import Fetched, json_object
from services.secrets.moments import moment_of

NAME = "vault"
_OK, _BAD_REQUEST, _FORBIDDEN, _NOT_FOUND, _SEALED = 200, 400, 403, 404, 503
_CLIENT_ERROR, _SERVER_ERROR = 400, 472
_MAX_BYTES = 2 * 1024 * 1024
_PHASES = 3
"""Connecting, sending, waiting: together they may take as many times the time limit, however slowly data drips."""
_EARLY = 0.9
"""Of its life a token is used so much, then another is fetched: one that ends under way costs a step."""

Login = Callable[[], Awaitable[tuple[str, Mapping[str, str]]]]
"""Gives the path of the login and what is sent to it."""


@dataclass(frozen=True, slots=True)
class VaultAddress:
    """Where a Vault is.

    Attributes:
        namespace: of Vault Enterprise; empty for none.
        ca_file: own CAs, None for the system's.
        timeout_seconds: for one answer.
    """

    url: str
    namespace: str = ""
    ca_file: Path | None = None
    timeout_seconds: float = 5.0


def kubernetes_login(role: str, token_file: Path, mount: str = "kubernetes") -> Login:
    """The login with the token of a service account, which is read anew each time: it is rotated."""

    async def login() -> tuple[str, Mapping[str, str]]:
        return f"auth/{mount}/login", {"role": role, "jwt": await _content(token_file)}

    return login


def approle_login(role_id: str, secret_id: str | Path, mount: str = "approle") -> Login:
    """The login of AppRole; a path is read anew each time."""

    async def login() -> tuple[str, Mapping[str, str]]:
        secret = await _content(secret_id) if isinstance(secret_id, Path) else secret_id
        return f"auth/{mount}/login", {"role_id": role_id, "secret_id": secret}

    return login


async def _content(path: Path) -> str:
    try:
        return (await asyncio.to_thread(path.read_text)).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotConfigured(f"the login to Vault needs {path}, which cannot be read: {error}") from error


class VaultSecrets:
    """Implements ``services.secrets.model.Provider``.

    Args:
        address: where it is.
        login: how we say who we are.
        clock: for the life of the token.
        on_secret: told each token and what was sent for it, so that both are masked everywhere.
        transport: for tests; None speaks to the network.
    """

    name = NAME

    def __init__(
        self,
        address: VaultAddress,
        login: Login,
        clock: Clock,
        on_secret: Callable[[str], None] = lambda _: None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        context = ssl.create_default_context(cafile=str(address.ca_file) if address.ca_file else None)
        headers = {"X-Vault-Request": "true"} | ({"X-Vault-Namespace": address.namespace} if address.namespace else {})
        self._client = httpx.AsyncClient(
            base_url=f"{address.url}/v1/",
            headers=headers,
            timeout=address.timeout_seconds,
            verify=context,
            transport=transport,
            follow_redirects=False,  # a token is meant for this host
        )
        self._seconds = address.timeout_seconds * _PHASES
        self._where = address.url
        self._login = login
        self._clock = clock
        self._on_secret = on_secret
        self._token = ""
        self._good_until = 0.0
        self._entering = asyncio.Lock()

    async def close(self) -> None:
        """Forget the token and close the connections."""
        self._token = ""
        await self._client.aclose()

    async def fetch(self, path: str) -> Fetched:
        """The secret at ``MOUNT/data/PATH``; errors as the port says."""
        token = await self._entered()
        status, answer = await self._ask("GET", path, token)
        if status == _FORBIDDEN:
            # Also what a revoked token is told: one new login tells the difference.
            status, answer = await self._ask("GET", path, await self._entered(instead_of=token))
        if status == _NOT_FOUND:
            raise MissingSecret(f"Vault has nothing at {path}{_deleted(answer)}")
        if status == _FORBIDDEN:
            raise NotConfigured(
                f"Vault does not let us read {path}: the role's policies need the capability read on it"
            )
        if status != _OK:
            raise self._refusal(status, answer, path)
        return _fetched(answer, path)

    async def _entered(self, instead_of: str | None = None) -> str:
        """A token that is good; many steps that need one at once log in once."""
        async with self._entering:
            if self._token and self._token != instead_of and self._clock.monotonic() < self._good_until:
                return self._token
            path, sent = await self._login()
            for name, value in sent.items():
                if name in ("jwt", "secret_id"):
                    self._on_secret(value)
            status, answer = await self._ask("POST", path, "", sent)
            if status in (_BAD_REQUEST, _FORBIDDEN, _NOT_FOUND):
                raise NotConfigured(f"Vault refuses the login at {path}: {_said(answer) or status}; see secrets.vault")
            auth = answer.get("auth") if status == _OK else None
            if not isinstance(auth, Mapping) or not auth.get("client_token"):
                raise self._refusal(status, answer, path)
            self._token = str(auth["client_token"])
            self._on_secret(self._token)
            life = float(auth.get("lease_duration") or 0)
            self._good_until = self._clock.monotonic() + (life * _EARLY if life else float("inf"))
            return self._token

    async def _ask(
        self, method: str, path: str, token: str, body: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        headers = {"X-Vault-Token": token} if token else {}
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream(method, path, headers=headers, json=body) as response,
            ):
                content = bytearray()
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > _MAX_BYTES:
                        raise NotConfigured(f"Vault's answer about {path} is longer than {_MAX_BYTES} bytes")
                return response.status_code, json_object(bytes(content))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            told = str(error) or type(error).__name__
            raise Unavailable(f"Vault at {self._where} does not answer: {told}") from error

    def _refusal(self, status: int, answer: Mapping[str, Any], path: str) -> Exception:
        if status == _SEALED:
            return Unavailable(f"Vault at {self._where} is sealed or in maintenance ({_said(answer) or status})")
        if _CLIENT_ERROR <= status < _SERVER_ERROR and status != httpx.codes.TOO_MANY_REQUESTS:
            return NotConfigured(f"Vault refuses {path}: {status} {_said(answer)}".rstrip())
        return Unavailable(f"Vault at {self._where} answered {status} about {path} {_said(answer)}".rstrip())


def _said(answer: Mapping[str, Any]) -> str:
    errors = answer.get("errors")
    return "; ".join(str(error) for error in errors)[:300] if isinstance(errors, list) else ""


def _deleted(answer: Mapping[str, Any]) -> str:
    """A deleted version is a 404 that still has its metadata."""
    metadata = (answer.get("data") or {}).get("metadata") or {}
    return f" (version {metadata['version']} was deleted)" if metadata.get("version") else ""


def _fetched(answer: Mapping[str, Any], path: str) -> Fetched:
    outer = answer.get("data")
    data = outer.get("data") if isinstance(outer, Mapping) else None
    metadata = outer.get("metadata") if isinstance(outer, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(metadata, Mapping):
        raise NotConfigured(f"Vault's answer about {path} is not one of KV version 2; is the mount of version 2?")
    values = {
        str(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in data.items()
        if value is not None
    }
    return Fetched(values, str(metadata.get("version", "")), _expiry(metadata))


def _expiry(metadata: Mapping[str, Any]) -> datetime | None:
    """When the version is deleted by itself (``delete_version_after``), or what ``custom_metadata.expires_at`` says."""
    own = (metadata.get("custom_metadata") or {}).get("expires_at")
    found = [moment for text in (metadata.get("deletion_time"), own) if (moment := moment_of(text))]
    return min(found, default=None)
