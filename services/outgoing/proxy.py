"""A proxy on this machine for the browser: whatever a page asks for goes through the same rules.

The browser resolves no names and connects to nobody but this proxy, so that redirects, frames, scripts, web sockets and
names that change their address are held by the check on the address that is really connected to. Encrypted connections
stay encrypted between the browser and the server.
"""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpcore
import structlog

from services.outgoing.network import GuardedBackend, Refused

_HEAD_BYTES = 64 * 1024
_PIECE = 64 * 1024
_CONNECT_SECONDS = 10.0
_HEAD_SECONDS = 30.0
_HTTPS = 443
_OWN_HEADERS = (b"proxy-connection:", b"proxy-authorization:", b"connection:", b"keep-alive:")

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Gateway:
    """The proxy while it runs.

    Attributes:
        address: for the browser.
        user: who may use it, so that other users of this machine may not.
        password: goes with it.
        refused: why connections were refused, each once.
        left: bytes that may still be read from outside.
    """

    address: str
    user: str
    password: str
    left: int
    refused: list[str] = field(default_factory=list)


class _BadHead(ValueError):
    """The browser's request cannot be read."""


@asynccontextmanager
async def gateway(backend: GuardedBackend, max_bytes: int) -> AsyncIterator[Gateway]:
    """A proxy for one browser; its connections end with it.

    Args:
        backend: connects within the rules.
        max_bytes: most that is read from outside, over all connections.
    """
    made = Gateway("", "rootmend", secrets.token_urlsafe(24), max_bytes)
    busy: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            busy.add(task)
            task.add_done_callback(busy.discard)
        try:
            await _serve(made, backend, reader, writer)
        except (
            OSError,
            httpcore.NetworkError,
            httpcore.TimeoutException,
            asyncio.IncompleteReadError,
            TimeoutError,
        ) as error:
            log.debug("browser.connection", error=str(error) or type(error).__name__)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=_HEAD_BYTES)
    made.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        for task in tuple(busy):
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def _serve(
    made: Gateway, backend: GuardedBackend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        async with asyncio.timeout(_HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        method, target, lines = _head(head)
        if not _known(made, lines):
            await _answer(
                writer, 407, "Proxy Authentication Required", b'Proxy-Authenticate: Basic realm="rootmend"\r\n'
            )
            return
        host, port, first = _opening(method, target, lines)
    except (_BadHead, asyncio.LimitOverrunError):
        await _answer(writer, 400, "Bad Request")
        return
    try:
        stream = await backend.connect_tcp(host, port, _CONNECT_SECONDS)
    except Refused as error:
        if str(error) not in made.refused:
            made.refused.append(str(error))
        await _answer(writer, 403, "Forbidden")
        return
    except (httpcore.ConnectError, httpcore.ConnectTimeout):
        await _answer(writer, 502, "Bad Gateway")
        return
    try:
        if first:
            await stream.write(first)
        else:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
        await _relay(made, reader, writer, stream)
    finally:
        await stream.aclose()


def _head(head: bytes) -> tuple[str, str, list[bytes]]:
    start, *lines = head[:-4].split(b"\r\n")
    parts = start.split(b" ")
    if len(parts) != 3 or not start.isascii():  # noqa: PLR2004 - method, target, version
        raise _BadHead
    return parts[0].decode(), parts[1].decode(), lines


def _known(made: Gateway, lines: list[bytes]) -> bool:
    wanted = f"{made.user}:{made.password}".encode()
    for line in lines:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"proxy-authorization":
            try:
                return secrets.compare_digest(b64decode(value.strip().removeprefix(b"Basic "), validate=True), wanted)
            except NotBase64:
                return False
    return False


def _opening(method: str, target: str, lines: list[bytes]) -> tuple[str, int, bytes]:
    """Where to connect to, and what to send there first: nothing for a tunnel."""
    try:
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _BadHead from error
    if not host or (method != "CONNECT" and parts.scheme != "http"):
        raise _BadHead
    if method == "CONNECT":
        return host, port or _HTTPS, b""
    path = parts.path or "/"
    kept = [line for line in lines if not line.lower().startswith(_OWN_HEADERS)]
    # One request for each connection: the next may be for another server.
    first = f"{method} {path}{'?' + parts.query if parts.query else ''} HTTP/1.1".encode()
    return host, port or 80, b"\r\n".join([first, *kept, b"Connection: close", b"", b""])


async def _relay(
    made: Gateway, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: httpcore.AsyncNetworkStream
) -> None:
    """Both ways, until the server has said all, or more than the browser may read."""

    async def up() -> None:
        while piece := await reader.read(_PIECE):
            await stream.write(piece)

    sending = asyncio.create_task(up())
    try:
        while piece := await stream.read(_PIECE):
            made.left -= len(piece)
            if made.left < 0:
                made.refused.append("the page is larger than a page may be")
                return
            writer.write(piece)
            await writer.drain()
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError, OSError, httpcore.NetworkError):
            await sending


async def _answer(writer: asyncio.StreamWriter, status: int, reason: str, more: bytes = b"") -> None:
    writer.write(f"HTTP/1.1 {status} {reason}\r\n".encode() + more + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
