"""Serves the application inside the loop of the service, so that health speaks of the very loop that works."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

_START_SECONDS = 10.0


class CannotListen(Exception):
    """The address of the HTTP side cannot be used."""


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: stopping is the service's decision."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ApiServer:
    """The HTTP side of the service.

    Args:
        app: what is served.
        host: address to listen on.
        port: 0 takes a free one; ``port`` tells which after ``start``.
    """

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", port: int = 8088) -> None:
        self._host = host
        self.port = port
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=75,  # longer than the interval of a prober, which then keeps its connection
            timeout_graceful_shutdown=5,
            limit_concurrency=200,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Listen, and return when requests are answered.

        Raises:
            CannotListen: the address is taken or not ours.
        """
        listener = self._bind()
        self.port = listener.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="api.server")
        async with asyncio.timeout(_START_SECONDS):
            while not self._server.started:
                if self._task.done():
                    self._task.result()
                    raise CannotListen("the HTTP server ended at once")
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Answer what is under way, then close."""
        if self._task is not None:
            self._server.should_exit = True
            await self._task
            self._task = None

    def _bind(self) -> socket.socket:
        """Bound here: uvicorn would end the process when the address is taken."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self.port))
        except OSError as error:
            listener.close()
            raise CannotListen(f"cannot listen on {self._host}:{self.port} (api.host, api.port): {error}") from error
        return listener
