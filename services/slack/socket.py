"""Socket Mode: Slack's side of the conversation over a WebSocket that we open, for machines that nobody can call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from executor.errors import NotConfigured
from services.slack.client import proxy_for, web_client

if TYPE_CHECKING:
    from slack_sdk.socket_mode.aiohttp import SocketModeClient
    from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
    from slack_sdk.socket_mode.request import SocketModeRequest

log = structlog.get_logger(__name__)

_CONNECT_SECONDS = 15


class Socket:
    """One connection, kept up: the SDK renews it when Slack asks for it, and when it dies.

    Args:
        app_token: app-level token with ``connections:write``.
        base_url: of the Web API.
        take: carries out what came; what it returns goes back with the acknowledgement.
    """

    def __init__(
        self,
        app_token: str,
        *,
        base_url: str,
        take: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]],
    ) -> None:
        self._app_token = app_token
        self._base_url = base_url
        self._take = take

    async def run(self) -> None:
        """Listen until cancelled. Raises when the first connection cannot be made; whoever runs it tries again."""
        client = self._client()
        client.socket_mode_request_listeners.append(self._heard)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                client.wss_uri = await client.issue_new_wss_url()
                await client.connect()  # type: ignore[no-untyped-call]  # the SDK ships it so
            log.info("slack.connected")
            await asyncio.Event().wait()
        finally:
            await client.close()  # type: ignore[no-untyped-call]  # as above

    def _client(self) -> SocketModeClient:
        from slack_sdk.socket_mode.aiohttp import SocketModeClient  # noqa: PLC0415 - only where Slack is used

        from services.outgoing.one_server import no_redirects  # noqa: PLC0415 - as above

        encrypted = self._base_url.startswith("https://")

        class Client(SocketModeClient):
            """Takes the proxy that belongs to the address of each connection."""

            async def issue_new_wss_url(self) -> str:
                url = await super().issue_new_wss_url()
                if encrypted and not url.startswith("wss://"):
                    raise NotConfigured("Slack names a connection in clear text; see slack.base_url")
                self.proxy = proxy_for(url)
                return url

        logger = logging.getLogger("slack_sdk.socket_mode")
        client = Client(self._app_token, logger=logger, web_client=web_client(None, self._base_url, _CONNECT_SECONDS))
        client.aiohttp_client_session.trace_configs.append(no_redirects("Slack's API", "slack.base_url"))
        return client

    async def _heard(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        from slack_sdk.socket_mode.response import SocketModeResponse  # noqa: PLC0415 - as above

        reply: Mapping[str, Any] = {}
        if request.type == "interactive":
            reply = await self._take(request.payload)
        answer = SocketModeResponse(envelope_id=request.envelope_id, payload=dict(reply) or None)
        await client.send_socket_mode_response(answer)
