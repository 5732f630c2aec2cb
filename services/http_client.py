"""Outgoing HTTP: bounded in time and size, and never led to another host by a redirect."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import urljoin

import httpx

from executor.errors import StepFailed, Unavailable

_MAX_REDIRECTS = 3
_KEEPING_METHOD = (307, 308)


class HttpClient:
    """Implements ``executor.ports.Http`` with httpx; connections are reused.

    Args:
        max_bytes: of an answer; the rest is not read.
        transport: for tests; None speaks to the network.
    """

    def __init__(self, *, max_bytes: int = 64 * 1024, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._max_bytes = max_bytes
        self._client = httpx.AsyncClient(
            transport=transport,
            follow_redirects=False,
            headers={"User-Agent": "rootmend"},
            verify=ssl.create_default_context(),  # what the system trusts, own CAs included
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: str | bytes,
        timeout_seconds: float,
        max_bytes: int = 0,
    ) -> tuple[int, Mapping[str, str], str]:
        """Call a URL.

        Redirects are followed within the same scheme, host and port only, and only where they keep the method (307,
        308, or a read): headers may hold credentials that were meant for this host.

        Args:
            method: HTTP method.
            url: absolute.
            headers: sent as they are.
            body: may be empty.
            timeout_seconds: for each of connecting, sending and waiting for data.
            max_bytes: a longer answer is an error; 0: it is cut at the client's own limit.

        Returns:
            Status, headers and the text of the answer.

        Raises:
            Unavailable: no answer came; whether the call was carried out is unknown.
            StepFailed: the answer is longer than ``max_bytes``.
        """
        target = httpx.URL(url)
        for _ in range(_MAX_REDIRECTS + 1):
            status, answer, text = await self._send(method, target, headers, body, timeout_seconds, max_bytes=max_bytes)
            following = _redirect(method, target, status, answer)
            if following is None:
                break
            target = following
        return status, answer, text

    async def _send(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        body: str | bytes,
        timeout_seconds: float,
        *,
        max_bytes: int,
    ) -> tuple[int, Mapping[str, str], str]:
        try:
            async with self._client.stream(
                method, url, headers=dict(headers), content=body or None, timeout=timeout_seconds
            ) as response:
                return response.status_code, dict(response.headers), await self._text(response, max_bytes)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The URL may hold credentials: only the host is named.
            told = str(error) or type(error).__name__
            raise Unavailable(f"no answer from {url.host}: {told}") from error

    async def _text(self, response: httpx.Response, max_bytes: int) -> str:
        content = bytearray()
        limit = max_bytes or self._max_bytes
        async for chunk in response.aiter_bytes():
            content += chunk
            if max_bytes and len(content) > max_bytes:
                # Half a document could be read as a whole one.
                raise StepFailed(f"the answer from {response.url.host} is longer than {max_bytes} bytes")
            if len(content) >= limit and not max_bytes:
                break
        return bytes(content[:limit]).decode(response.encoding or "utf-8", errors="replace")


def _redirect(method: str, url: httpx.URL, status: int, headers: Mapping[str, str]) -> httpx.URL | None:
    """Where to go on, or None."""
    location = headers.get("location")
    keeps = status in _KEEPING_METHOD or (status in (301, 302, 303) and method in ("GET", "HEAD"))
    if not location or not keeps:
        return None
    following = httpx.URL(urljoin(str(url), location))
    same = (following.scheme, following.host, following.port) == (url.scheme, url.host, url.port)
    return following if same else None
