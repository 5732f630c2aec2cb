"""Calls of Slack's Web API: bounded in time, errors in our words, through a proxy only where one belongs."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from executor.errors import NotConfigured, Permanent, RemediationError, Unavailable
from services.approvals.surface import ComeBackLater
from services.masking import masker

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient

TOO_MANY = 429
_SERVER_ERROR = 500
_TOKEN_PROBLEMS = frozenset({"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"})
_PASSING = frozenset({"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"})
_WRONG_CHANNEL = frozenset({"channel_not_found", "not_in_channel", "is_archived"})


def proxy_for(url: str) -> str | None:
    """The proxy of the environment for an address; None for loopback and for what NO_PROXY names.

    The SDK itself would send every address through HTTPS_PROXY, those of this machine included.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host or _is_loopback(host) or proxy_bypass(host):
        return None
    return getproxies().get("https" if parts.scheme in ("https", "wss") else "http")


def web_client(token: str | None, base_url: str, timeout_seconds: int) -> AsyncWebClient:
    """The SDK's client, with the right proxy, held to the one server."""
    # Imported late: a pipeline without Slack does not pay for it.
    from services.slack.session import OneServerClient  # noqa: PLC0415 - as said

    client = OneServerClient(token=token, base_url=base_url, timeout=timeout_seconds)
    client.proxy = proxy_for(base_url)
    return client


def translated(error: Exception, about: str) -> RemediationError:
    """An error of the SDK in our words.

    Args:
        error: as it was raised.
        about: the channel, or whatever the call was about.
    """
    response = getattr(error, "response", None)
    if response is None:
        return Unavailable(f"Slack does not answer: {error or type(error).__name__}")
    code = str(response.get("error", "")) if isinstance(getattr(response, "data", None), Mapping) else ""
    status = getattr(response, "status_code", 0)
    if status == TOO_MANY or code == "ratelimited":
        return ComeBackLater(f"Slack asks to come back later: {code or status}", _pause(response.headers))
    if code in _PASSING or status >= _SERVER_ERROR:
        return Unavailable(f"Slack asks to come back later: {code or status}")
    if code in _TOKEN_PROBLEMS:
        return NotConfigured(f"Slack does not accept the token: {code}")
    if code in _WRONG_CHANNEL:
        return NotConfigured(f"Slack cannot post to {about}: {code}")
    return Permanent(f"Slack refused the message: {code or error}")


class SlackApi:
    """The calls that approvals need.

    Args:
        token: bot token.
        base_url: of the API.
        timeout_seconds: for one call.
    """

    def __init__(self, token: str, *, base_url: str, timeout_seconds: int = 10) -> None:
        self.client = web_client(token, base_url, timeout_seconds)

    async def call(self, method: str, about: str = "", **arguments: Any) -> Mapping[str, Any]:
        """Call a method, such as ``chat.postMessage``.

        Raises:
            ComeBackLater: Slack limits the rate; nothing was done.
            Unavailable: Slack did not answer; whether it was done is unknown.
            NotConfigured: token or channel are not accepted.
            Permanent: Slack refused.
        """
        from slack_sdk.errors import SlackApiError, SlackClientError  # noqa: PLC0415 - see web_client

        try:
            answer = await self.client.api_call(method, json=masker.data(arguments))
        except (SlackApiError, SlackClientError, OSError, TimeoutError) as error:
            raise translated(error, about) from error
        data = answer.data
        return data if isinstance(data, Mapping) else {}

    async def look_up(self, method: str, **arguments: str) -> Mapping[str, Any]:
        """Call a method that only reads, and that takes no JSON, such as ``users.info``. Errors as in ``call``."""
        from slack_sdk.errors import SlackApiError, SlackClientError  # noqa: PLC0415 - see web_client

        try:
            answer = await self.client.api_call(method, http_verb="GET", params=arguments)
        except (SlackApiError, SlackClientError, OSError, TimeoutError) as error:
            raise translated(error, "") from error
        data = answer.data
        return data if isinstance(data, Mapping) else {}


def _pause(headers: Mapping[str, Any]) -> float:
    told = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    text = str(told[0] if isinstance(told, list) and told else told)
    return float(text) if text.isdigit() else 0.0


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
