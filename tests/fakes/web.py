"""A web server on loopback that keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: str

    @property
    def data(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Told:
    """One answer; data goes out as JSON, a text as HTML, and None breaks the connection."""

    status: int = 200
    data: Any = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Web:
    """The server.

    Attributes:
        answer: what it says to a request.
        first: answers that come before that, in order.
        asked: all requests, in order.
    """

    answer: Callable[[Asked], Told]
    url: str = ""
    first: list[Told | None] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.reply(await reader.readuntil(b"\r\n\r\n"), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def reply(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a request whose first lines were read."""
        asked = await _read(head, reader)
        self.asked.append(asked)
        told = self.first.pop(0) if self.first else self.answer(asked)
        if told is not None:
            writer.write(_written(told))
            await writer.drain()


async def _read(first: bytes, reader: asyncio.StreamReader) -> Asked:
    head = first.decode().split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return Asked(method, parts.path, query, headers, body.decode())


def _written(told: Told) -> bytes:
    kind = "text/html; charset=utf-8" if isinstance(told.data, str) else "application/json"
    body = (told.data if isinstance(told.data, str) else json.dumps(told.data)).encode()
    headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close", **told.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {told.status} X\r\n{lines}\r\n".encode() + body


@asynccontextmanager
async def web(answer: Callable[[Asked], Told]) -> AsyncIterator[Web]:
    """A server on a free port of loopback."""
    made = Web(answer)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
