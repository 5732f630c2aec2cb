"""Outgoing HTTP: within the rules, bounded in time and size, and never led to another host by a redirect."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urljoin

import httpx

from executor.errors import StepFailed, Unavailable
from services.outgoing.network import GuardedTransport
from services.outgoing.rules import Rules

_MAX_REDIRECTS = 3
_PHASES = 3
"""Connecting, sending, waiting: together they may take as many times the time limit, however slowly data drips."""
_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
"""Others can grow a few bytes to gigabytes in one step of decoding."""
_NO_EXCEPTIONS = Rules()
_KEEPING_METHOD = (307, 308)


class HttpClient:
    """Implements ``executor.ports.Http`` with httpx; connections are reused.

    Args:
        rules: what may be called; without exceptions unless given.
        ca_file: own CAs, beside those that the system trusts.
        max_bytes: of an answer; the rest is not read.
        transport: for tests; None speaks to the network within the rules.
    """

    def __init__(
        self,
        rules: Rules = _NO_EXCEPTIONS,
        *,
        ca_file: Path | None = None,
        max_bytes: int = 64 * 1024,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        trust = ssl.create_default_context()
        if ca_file is not None:
            trust.load_verify_locations(ca_file)
        self._client = httpx.AsyncClient(
            transport=transport or GuardedTransport(rules, trust),
            follow_redirects=False,
            headers={"User-Agent": "rootmend", "Accept-Encoding": "identity"},
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
            timeout_seconds: for each of connecting, sending and waiting for data; three times as long for everything,
                redirects included.
            max_bytes: a longer answer is an error; 0: it is cut at the client's own limit.

        Returns:
            Status, headers and the text of the answer.

        Raises:
            Unavailable: no answer came; whether the call was carried out is unknown.
            StepFailed: the answer is longer than ``max_bytes``, or packed in a way that is not read.
            Refused: the rules for outgoing connections forbid it; nothing was sent.
        """
        try:
            async with asyncio.timeout(timeout_seconds * _PHASES):
                return await self._follow(method, url, headers, body, timeout_seconds, max_bytes=max_bytes)
        except TimeoutError as error:
            raise Unavailable(f"no whole answer from {_host(url)} within {timeout_seconds * _PHASES:g} s") from error

    async def _follow(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: str | bytes,
        timeout_seconds: float,
        *,
        max_bytes: int,
    ) -> tuple[int, Mapping[str, str], str]:
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise StepFailed(f"the address cannot be read: {error}") from error
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
        if (packed := response.headers.get("content-encoding", "").strip().lower()) not in _ENCODINGS:
            raise StepFailed(
                f"the answer from {response.url.host} is packed as {packed[:40]!r}: not what was asked for"
            )
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


def _host(url: str) -> str:
    try:
        return httpx.URL(url).host
    except httpx.InvalidURL:
        return "an address that cannot be read"


def _redirect(method: str, url: httpx.URL, status: int, headers: Mapping[str, str]) -> httpx.URL | None:
    """Where to go on, or None."""
    location = headers.get("location")
    keeps = status in _KEEPING_METHOD or (status in (301, 302, 303) and method in ("GET", "HEAD"))
    if not location or not keeps:
        return None
    following = httpx.URL(urljoin(str(url), location))
    same = (following.scheme, following.host, following.port) == (url.scheme, url.host, url.port)
    return following if same else None
