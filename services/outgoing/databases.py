"""Where a database may be: each host is resolved once, and the driver connects to the addresses that were checked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpcore

from executor.errors import NotConfigured, Unavailable
from services.outgoing.network import GuardedBackend, Refused, Resolve, resolve

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from services.outgoing.rules import Rules

_PORT = 5432
_SECONDS = 5.0
_ELSEWHERE = ("hostaddr", "service", "servicefile")
"""Options of libpq that lead to another server than the one that the URL names."""


async def pinned(connection: str, url: URL, rules: Rules, resolver: Resolve = resolve) -> dict[str, str]:
    """Options of the driver for the servers of a URL: their names, for the certificate, and the addresses to call.

    Args:
        connection: its name in the settings, for people; the URL is a secret.
        url: of PostgreSQL; it may name several servers.
        rules: what may be called.
        resolver: of names; for tests.

    Raises:
        NotConfigured: the URL names no server, or leads past the one that it names.
        Refused: the rules forbid one of them.
        Unavailable: none of them has an address.
    """
    given = url.get_dialect()().create_connect_args(url)[1]
    if wrong := [name for name in _ELSEWHERE if name in given]:
        raise NotConfigured(f"{connection}: its URL has the option {wrong[0]}: name the server by its host")
    backend, found = GuardedBackend(rules, resolver), list[tuple[str, str, str]]()
    problem = ""
    for host, port in _servers(connection, str(given.get("host") or ""), str(given.get("port") or _PORT)):
        if host.startswith(("/", "@")):
            raise Refused(f"not called: {connection} names a socket of this machine: name its host and port")
        try:
            async with asyncio.timeout(_SECONDS):
                addresses = await backend.addresses(host, port)
        except (httpcore.ConnectError, TimeoutError) as error:
            problem = str(error) or f"{host} was not resolved within {_SECONDS:g} s"
        else:
            found += [(host, str(address), str(port)) for address in addresses]
    if not found:
        raise Unavailable(f"{connection}: {problem}")
    return dict(zip(("host", "hostaddr", "port"), map(",".join, zip(*found, strict=True)), strict=True))


def _servers(connection: str, hosts: str, ports: str) -> list[tuple[str, int]]:
    names, numbers = hosts.split(","), ports.split(",")
    if not all(names):
        raise NotConfigured(f"{connection}: its URL names no host")
    numbers = numbers * len(names) if len(numbers) == 1 else numbers
    if len(numbers) != len(names) or not all(number.isascii() and number.isdigit() for number in numbers):
        raise NotConfigured(f"{connection}: its URL needs one port, or one for each of its {len(names)} hosts")
    return [(name, int(number)) for name, number in zip(names, numbers, strict=True)]
