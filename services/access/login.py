"""Logging in from a terminal (RFC 8628): the provider shows its pages in a browser, the terminal waits and gets tokens.

No page of ours sees a password, and no port is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from executor.ports import Clock
from services.access.errors import IdentityUnavailable, Unauthenticated

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_POLL_SECONDS, _SLOWER_SECONDS, _SLOWEST_SECONDS = 5.0, 5.0, 60.0
_LONGEST_SECONDS = 1800.0
_OK, _SERVER_ERROR = 200, 500
_LONGEST_CODE = 64


class ProviderHttp(Protocol):
    """How the provider is spoken to; both raise ``IdentityUnavailable``."""

    async def __call__(self, url: str) -> Mapping[str, Any]:
        """Read a JSON document."""
        ...

    async def post(self, url: str, form: Mapping[str, str]) -> tuple[int, Mapping[str, Any]]:
        """Send a form; the status and the JSON object of the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person has to do.

    Attributes:
        where: the page to open.
        code: to type in there, or to compare with what it shows.
        whole: the page with the code in its address; empty when the provider has none.
        seconds: how long the code is good for.
    """

    where: str
    code: str
    whole: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the provider gave.

    Attributes:
        id_token: says who somebody is; this is what Rootmend takes.
        refresh_token: gets another one later; empty when there is none.
    """

    id_token: str
    refresh_token: str = ""


class DeviceLogin:
    """Logs a person in at an OpenID provider.

    Args:
        issuer: as the settings name it.
        client: the public client's id at the provider.
        scopes: that are asked for.
        http: speaks to the provider.
        clock: for pauses and the code's life.
    """

    def __init__(self, issuer: str, client: str, scopes: tuple[str, ...], http: ProviderHttp, clock: Clock) -> None:
        self._issuer = issuer
        self._client = client
        self._scopes = scopes
        self._http = http
        self._clock = clock

    async def run(self, show: Callable[[Asked], None]) -> Tokens:
        """Ask for a code, show it, and wait until somebody has logged in.

        Args:
            show: told once what a person has to do.

        Raises:
            Unauthenticated: it was denied, or nobody did it in time, or the provider refuses the client.
            IdentityUnavailable: the provider does not answer, or knows no such login.
        """
        found = await self._endpoints()
        where = self._endpoint(found, "device_authorization_endpoint", "it knows no login from a terminal (RFC 8628)")
        form = {"client_id": self._client, "scope": " ".join(self._scopes)}
        if "offline_access" in self._scopes:
            form["prompt"] = "consent"  # OpenID Connect wants it for a login that outlives its session
        status, answer = await self._http.post(where, form)
        if status != _OK:
            raise _refused(status, answer)
        asked, device = self._asked(answer)
        show(asked)
        return await self._waited(self._endpoint(found, "token_endpoint", "it gives no tokens"), device, answer, asked)

    async def renew(self, refresh_token: str) -> Tokens:
        """Another token without a person.

        Raises:
            Unauthenticated: the provider has ended the login.
            IdentityUnavailable: it does not answer.
        """
        where = self._endpoint(await self._endpoints(), "token_endpoint", "it gives no tokens")
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": self._client}
        status, answer = await self._http.post(where, form)
        if status != _OK:
            raise _refused(status, answer)
        return _tokens(answer, refresh_token)

    async def revoke(self, refresh_token: str) -> bool:
        """End the login at the provider; False when it has no way to.

        Raises:
            IdentityUnavailable: it does not answer, or did not do it.
        """
        found = await self._endpoints()
        if not found.get("revocation_endpoint"):
            return False
        where = self._endpoint(found, "revocation_endpoint", "")
        form = {"token": refresh_token, "token_type_hint": "refresh_token", "client_id": self._client}
        status, answer = await self._http.post(where, form)
        if status != _OK:
            raise IdentityUnavailable(f"the provider did not end the login: {_told(status, answer)}")
        return True

    async def _endpoints(self) -> Mapping[str, Any]:
        found = await self._http(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != self._issuer:
            raise IdentityUnavailable(f"the provider calls itself {found.get('issuer')!r:.200}, not {self._issuer!r}")
        return found

    def _endpoint(self, found: Mapping[str, Any], name: str, lacking: str) -> str:
        where = found.get(name)
        if not isinstance(where, str) or not where:
            raise IdentityUnavailable(f"the provider names no {name}: {lacking}")
        self._check(where, name)
        return where

    def _check(self, url: str, what: str) -> None:
        scheme = urlsplit(url).scheme
        if scheme != "https" and not (scheme == "http" and self._issuer.startswith("http://")):
            raise IdentityUnavailable(f"the provider's {what} is no https address")

    def _asked(self, answer: Mapping[str, Any]) -> tuple[Asked, str]:
        device, code, where = (answer.get(name) for name in ("device_code", "user_code", "verification_uri"))
        if not all(isinstance(one, str) and one for one in (device, code, where)) or len(str(code)) > _LONGEST_CODE:
            raise IdentityUnavailable("the provider's answer lacks device_code, user_code or verification_uri")
        whole = answer.get("verification_uri_complete")
        whole = whole if isinstance(whole, str) else ""
        for url in filter(None, (str(where), whole)):
            self._check(url, "page for the login")
        life = min(_number(answer.get("expires_in"), _LONGEST_SECONDS), _LONGEST_SECONDS)
        return Asked(str(where), str(code), whole, life), str(device)

    async def _waited(self, where: str, device: str, answer: Mapping[str, Any], asked: Asked) -> Tokens:
        form = {"grant_type": _GRANT, "device_code": device, "client_id": self._client}
        pause = max(1.0, min(_number(answer.get("interval"), _POLL_SECONDS), _SLOWEST_SECONDS))
        until = self._clock.monotonic() + asked.seconds
        while self._clock.monotonic() + pause < until:
            await self._clock.sleep(pause)
            try:
                status, given = await self._http.post(where, form)
            except IdentityUnavailable:
                pause = min(2 * pause, _SLOWEST_SECONDS)  # as the standard asks: the code may still be good
                continue
            if status == _OK:
                return _tokens(given, "")
            error = given.get("error")
            if error == "slow_down":
                pause += _SLOWER_SECONDS
            elif status >= _SERVER_ERROR:
                pause = min(2 * pause, _SLOWEST_SECONDS)
            elif error != "authorization_pending":
                raise _refused(status, given)
        raise Unauthenticated("nobody logged in in time: begin again with rb login")


def _tokens(answer: Mapping[str, Any], refresh_token: str) -> Tokens:
    """Some providers give a new refresh token each time, others none again."""
    found, again = answer.get("id_token"), answer.get("refresh_token")
    if not isinstance(found, str) or not found:
        raise Unauthenticated("the provider gave no ID token: access.oidc.login_scopes needs openid")
    return Tokens(found, again if isinstance(again, str) and again else refresh_token)


def _refused(status: int, answer: Mapping[str, Any]) -> Unauthenticated | IdentityUnavailable:
    told = {
        "access_denied": "the login was denied",
        "expired_token": "nobody logged in in time: begin again with rb login",
        "invalid_grant": "the login has ended: rb login",
        "invalid_client": "the provider does not know the client: check access.oidc.login_client",
        "unauthorized_client": "the provider does not let this client log in from a terminal: access.oidc.login_client",
    }.get(str(answer.get("error")))
    if status >= _SERVER_ERROR:
        return IdentityUnavailable(f"the provider does not log anybody in now: {_told(status, answer)}")
    return Unauthenticated(told or f"the provider refuses the login: {_told(status, answer)}")


def _told(status: int, answer: Mapping[str, Any]) -> str:
    said = [str(answer[name])[:200] for name in ("error", "error_description") if answer.get(name)]
    return ": ".join(said) or f"HTTP {status}"


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else default
