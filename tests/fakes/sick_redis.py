"""Redis servers that are not well: one that answers everything with an error or not at all, and a wire to cut."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self


class SickRedis:
    """Speaks just enough of the protocol to say no.

    Args:
        error: what it answers to every command that matters, such as ``-OOM ...``; empty to stay silent.
    """

    def __init__(self, error: str = "") -> None:
        self.error = error
        self.commands = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0?protocol=2"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                command = await self._command(reader)
                if command == b"CLIENT":
                    writer.write(b"+OK\r\n")
                    continue
                self.commands += 1
                if self.error:
                    writer.write(f"{self.error}\r\n".encode())
        writer.close()

    @staticmethod
    async def _command(reader: asyncio.StreamReader) -> bytes:
        count = int((await reader.readuntil(b"\r\n"))[1:])
        parts = []
        for _ in range(count):
            size = int((await reader.readuntil(b"\r\n"))[1:])
            parts.append((await reader.readexactly(size + 2))[:-2])
        return parts[0].upper()


class Wire:
    """A connection to a real server that can be cut, or lose one answer."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.is_cut = False
        self.loses_answers = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()

    def cut(self) -> None:
        self.is_cut = True
        for writer in self._writers:
            writer.close()

    def mend(self) -> None:
        self.is_cut = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection(*self._to)
        self._writers |= {writer, far_writer}
        there = asyncio.create_task(self._pump(reader, far_writer, answers=False))
        back = asyncio.create_task(self._pump(far_reader, writer, answers=True))
        self._tasks |= {there, back}
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        for each in (writer, far_writer):
            each.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(ConnectionError):
            while chunk := await source.read(65536):
                if answers and self.loses_answers:
                    self.loses_answers -= 1
                    return
                sink.write(chunk)
                await sink.drain()
