"""The world outside of the cluster, for runbooks that name hosts of their own: a proxy that answers for every host.

A process that is given ``environment`` sends its HTTP and HTTPS there, apart from what goes to this machine by its
address. So a file that calls ``https://cloud.example.com`` runs as it stands, with real connections and real TLS.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme
from fakes.web import Asked, Told, Web

_END = b"\r\n\r\n"


@dataclass(slots=True)
class Outside:
    """The proxy.

    Attributes:
        site: what it says, whatever the host, and what it was asked.
        tls: with certificates for the hosts.
        environment: variables for the process that shall be led here.
    """

    site: Web
    tls: ssl.SSLContext
    environment: Mapping[str, str] = field(default_factory=dict)

    def of(self, host: str) -> list[Asked]:
        """The requests to one host, in order."""
        return [asked for asked in self.site.asked if asked.headers["host"].partition(":")[0] == host]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: a request as it is, or a tunnel with TLS and a request in it."""
        try:
            head = await reader.readuntil(_END)
            if head.startswith(b"CONNECT "):
                writer.write(b"HTTP/1.1 200 X" + _END)
                await writer.drain()
                await writer.start_tls(self.tls)
                head = await reader.readuntil(_END)
            await self.site.reply(head, reader, writer)
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def outside(folder: Path, answer: Callable[[Asked], Told], *hosts: str) -> AsyncIterator[Outside]:
    """A world outside.

    Args:
        folder: for the certificate of its authority.
        answer: what it says, whatever the host.
        hosts: those that are reached by HTTPS.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "outside.pem"))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*(hosts or ("example.com",))).configure_cert(tls)
    made = Outside(Web(answer), tls)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    led = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": "127.0.0.1,localhost"}
    both = {**led, **{name.lower(): value for name, value in led.items()}}
    made.environment = {**both, "SSL_CERT_FILE": str(folder / "outside.pem")}
    try:
        yield made
    finally:
        server.close()
