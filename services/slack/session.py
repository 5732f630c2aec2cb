"""The SDK's client held to one server: no redirect is followed, and an answer has a size.

A redirect would lead the token and what a message says to wherever it points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_internal_utils import _request_with_session

from executor.errors import Unavailable
from services.outgoing.one_server import no_redirects

_MAX_BYTES = 4 * 1024 * 1024
_CHUNK = 64 * 1024


class BoundedAnswer(aiohttp.ClientResponse):
    """An answer of which no more is read than Slack ever sends."""

    async def read(self) -> bytes:
        """The body.

        Raises:
            Unavailable: it is too long to be Slack's.
        """
        if self._body is None:
            kept = bytearray()
            async for chunk in self.content.iter_chunked(_CHUNK):
                kept += chunk
                if len(kept) > _MAX_BYTES:
                    self.close()
                    raise Unavailable(f"Slack's answer is longer than {_MAX_BYTES} bytes")
            self._body = bytes(kept)
        return await super().read()


class OneServerClient(AsyncWebClient):
    """The SDK's client of the Web API, which opens a session for each call as the SDK does, with these bounds."""

    async def _request(self, *, http_verb: str, api_url: str, req_args: Mapping[str, Any]) -> dict[str, Any]:
        # The SDK has no option for redirects and sizes; it takes a session, which has them.
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self.timeout),
            trace_configs=[no_redirects("Slack's API", "slack.base_url")],
            response_class=BoundedAnswer,
        ) as session:
            return await _request_with_session(
                current_session=session,
                timeout=self.timeout,
                logger=self._logger,
                http_verb=http_verb,
                api_url=api_url,
                req_args=dict(req_args),
                retry_handlers=self.retry_handlers,
            )
