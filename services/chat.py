"""Messages to Slack, or to whatever speaks its API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from executor.errors import NotConfigured
from services.masking import masker
from services.slack.client import translated, web_client
from services.slack.text import disarmed

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient

_LONGEST = 39_000
"""Slack cuts longer texts at 40,000 characters."""

_RATE_RETRIES = 2


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
        """Post a message. What an alert says may be in it: nothing in it calls people or shows a link as another.

        Returns:
            Its id (Slack's ``ts``).

        Raises:
            NotConfigured: there is no token or no channel, or Slack does not accept them.
            Unavailable: Slack did not answer, or asked to come back later.
            Permanent: Slack refused the message.
        """
        from slack_sdk.errors import SlackApiError, SlackClientError  # noqa: PLC0415 - a pipeline without Slack does not pay for it

        where = channel or self._channel
        if not where:
            raise NotConfigured("no Slack channel is named, and slack.channel is not set")
        try:
            answer = await self._connected().chat_postMessage(
                channel=where, text=disarmed(masker.text(text))[:_LONGEST]
            )
        except (SlackApiError, SlackClientError, OSError, TimeoutError) as error:
            raise translated(error, where) from error
        return str(answer.get("ts") or "")

    def _connected(self) -> AsyncWebClient:
        # Imported late: a pipeline without Slack does not pay for it.
        from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler  # noqa: PLC0415

        if not self._token:
            raise NotConfigured("no Slack token is set (slack.token), so nothing can be posted")
        if self._client is None:
            self._client = web_client(self._token, self._base_url, self._timeout)
            # Who is turned away for its rate comes back when Slack says so; nothing was posted then.
            self._client.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=_RATE_RETRIES))
        return self._client
