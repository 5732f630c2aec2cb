"""Messages to Slack, or to whatever speaks its API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.errors import NotConfigured, Permanent, Unavailable

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient

_LONGEST = 39_000
"""Slack cuts longer texts at 40,000 characters."""

_RATE_RETRIES = 2

_TOKEN_PROBLEMS = frozenset({"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"})
_PASSING = frozenset({"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"})


class SlackChat:
    """Implements ``executor.ports.Chat``.

    Args:
        token: bot token; without one every post raises ``NotConfigured``.
        base_url: of the API.
        channel: for messages that name none.
        timeout_seconds: for one post.
    """

    def __init__(
        self,
        token: str | None,
        *,
        base_url: str = "https://slack.com/api/",
        channel: str = "",
        timeout_seconds: int = 10,
    ) -> None:
        self._token = token
        self._base_url = base_url if base_url.endswith("/") else f"{base_url}/"
        self._channel = channel
        self._timeout = timeout_seconds
        self._client: AsyncWebClient | None = None

    async def post(self, channel: str, text: str) -> str:
        """Post a message.

        Returns:
            Its id (Slack's ``ts``).

        Raises:
            NotConfigured: there is no token or no channel, or Slack does not accept them.
            Unavailable: Slack did not answer, or asked to come back later.
            Permanent: Slack refused the message.
        """
        from slack_sdk.errors import SlackApiError, SlackClientError  # noqa: PLC0415 - see _connected

        where = channel or self._channel
        if not where:
            raise NotConfigured("no Slack channel is named, and slack.channel is not set")
        try:
            answer = await self._connected().chat_postMessage(channel=where, text=text[:_LONGEST])
        except SlackApiError as error:
            raise _refusal(error, where) from error
        except (SlackClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"Slack does not answer: {error or type(error).__name__}") from error
        return str(answer.get("ts") or "")

    def _connected(self) -> AsyncWebClient:
        # Imported late: a pipeline without Slack does not pay for it.
        from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler  # noqa: PLC0415
        from slack_sdk.web.async_client import AsyncWebClient  # noqa: PLC0415

        if not self._token:
            raise NotConfigured("no Slack token is set (slack.token), so nothing can be posted")
        if self._client is None:
            self._client = AsyncWebClient(token=self._token, base_url=self._base_url, timeout=self._timeout)
            # Who is turned away for its rate comes back when Slack says so; nothing was posted then.
            self._client.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=_RATE_RETRIES))
        return self._client


def _refusal(error: Exception, channel: str) -> Permanent | Unavailable:
    response = getattr(error, "response", None)
    code = str(response.get("error", "")) if response is not None else ""
    status = getattr(response, "status_code", 0)
    if code in _PASSING or status == 429 or status >= 500:  # noqa: PLR2004 - HTTP: too many requests, server errors
        return Unavailable(f"Slack asks to come back later: {code or status}")
    if code in _TOKEN_PROBLEMS:
        return NotConfigured(f"Slack does not accept the token: {code}")
    if code in ("channel_not_found", "not_in_channel", "is_archived"):
        return NotConfigured(f"Slack cannot post to {channel}: {code}")
    return Permanent(f"Slack refused the message: {code or error}")
