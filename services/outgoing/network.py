"""Connecting within the rules: a name is resolved once, and only an address that was checked is connected to.

The check is made where the connection is made. A name that is resolved to something harmless first and to the
machine itself a moment later (DNS rebinding) gains nothing: nobody resolves it a second time.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from executor.errors import Forbidden
from services.outgoing.rules import PORTS, Address, Rules, literal

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
Options = Iterable[httpcore.SOCKET_OPTION] | None
_ADVICE = "outgoing.allow in the settings lists exceptions"


class Refused(Forbidden):
    """The rules for outgoing connections forbid it."""


async def resolve(host: str, port: int) -> Sequence[Address]:
    """The addresses of a name, as the machine's resolver gives them.

    Raises:
        OSError: there are none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return _addresses(entry[4][0] for entry in found)


def permitted(rules: Rules, host: str, port: int, addresses: Sequence[Address]) -> tuple[Address, ...]:
    """Those addresses of a host that may be connected to.

    Raises:
        Refused: none may; the text says why.
    """
    reasons = {address: rules.refuses_address(host, address, port) for address in addresses}
    kept = tuple(address for address, reason in reasons.items() if not reason)
    if not kept:
        raise _refused(next(iter(reasons.values()), f"{host} has no address"))
    return kept


def check_name(rules: Rules, host: str, port: int) -> None:
    """Check a host before anybody is asked for its address.

    Raises:
        Refused: its name or spelling is forbidden.
    """
    if reason := rules.refuses_name(host, port):
        raise _refused(reason)


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections for httpx, to checked addresses only.

    Args:
        rules: what may be called.
        resolver: of names; for tests.
    """

    def __init__(self, rules: Rules, resolver: Resolve = resolve) -> None:
        self._rules = rules
        self._resolve = resolver
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is the library's
        local_address: str | None = None,
        socket_options: Options = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, check, connect.

        Raises:
            Refused: the rules forbid it.
            httpcore.ConnectError: there is no such name, or nobody answers there.
            httpcore.ConnectTimeout: not in time, over all addresses together.
        """
        try:
            async with asyncio.timeout(timeout):
                addresses = await self.addresses(host, port)
                return await self._first(addresses, port, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"no connection within {timeout:g} s") from error

    async def addresses(self, host: str, port: int) -> tuple[Address, ...]:
        """The addresses of a host that may be connected to.

        Raises:
            Refused: none may.
            httpcore.ConnectError: there is no such name.
        """
        check_name(self._rules, host, port)
        known = literal(host)
        try:
            found = (known,) if known is not None else await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        return permitted(self._rules, host, port, found)

    async def _first(
        self, addresses: Sequence[Address], port: int, local_address: str | None, options: Options
    ) -> httpcore.AsyncNetworkStream:
        problem: Exception | None = None
        for address in addresses:
            try:
                return await self._inner.connect_tcp(str(address), port, None, local_address, options)
            except httpcore.ConnectError as error:
                problem = error
        raise problem or httpcore.ConnectError("there is no address")

    async def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Options = None):  # type: ignore[no-untyped-def]  # noqa: ASYNC109, ANN201, D102 - the signature is the library's
        raise Refused(f"{path} is a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        """Pause between the library's own tries."""
        await self._inner.sleep(seconds)


class GuardedSyncBackend(httpcore.NetworkBackend):
    """The same for commands that wait: a name is resolved once, and only a checked address is connected to.

    Args:
        rules: what may be called.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Options = None,
    ) -> httpcore.NetworkStream:
        """Resolve, check, connect.

        Raises:
            Refused: the rules forbid it.
            httpcore.ConnectError: there is no such name, or nobody answers there.
        """
        check_name(self._rules, host, port)
        known = literal(host)
        try:
            found = (known,) if known is not None else _resolve_now(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        problem: Exception | None = None
        for address in permitted(self._rules, host, port, found):
            try:
                return self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                problem = error
        raise problem or httpcore.ConnectError("there is no address")


class GuardedSyncTransport(httpx.HTTPTransport):
    """Sends requests of httpx within the rules, for commands that wait.

    Args:
        rules: what may be called.
        verify: the certificates that are trusted.
        proxy: connects in our place; what can be checked before it is asked is checked here.
    """

    def __init__(self, rules: Rules, verify: ssl.SSLContext, proxy: str | None = None) -> None:
        super().__init__(verify=verify, proxy=proxy, trust_env=False)
        self._rules = rules
        self._proxied = proxy is not None
        if proxy is None:
            self._pool = httpcore.ConnectionPool(ssl_context=verify, network_backend=GuardedSyncBackend(rules))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            Refused: the rules forbid it.
        """
        if self._proxied:
            host, port = request.url.host, request.url.port or PORTS.get(request.url.scheme, 0)
            check_name(self._rules, host, port)
            known = literal(host)
            with suppress(OSError, UnicodeError):  # names of the outside often have no address behind a proxy
                permitted(self._rules, host, port, (known,) if known is not None else _resolve_now(host, port))
        return super().handle_request(request)


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends requests of httpx within the rules, directly or through the proxy of the environment.

    A proxy connects in our place, and resolves names itself. What can be checked before it is asked is checked here:
    the spelling, and the addresses that the name has for us, when it has any.

    Args:
        rules: what may be called.
        verify: the certificates that are trusted.
        resolver: of names; for tests.
    """

    def __init__(self, rules: Rules, verify: ssl.SSLContext, resolver: Resolve = resolve) -> None:
        self._verify = verify
        self._backend = GuardedBackend(rules, resolver)
        self._direct = httpx.AsyncHTTPTransport(verify=verify, trust_env=False)
        # httpx has no option for it; the pool is made by the library's own documented constructor.
        self._direct._pool = httpcore.AsyncConnectionPool(  # noqa: SLF001 - as said
            ssl_context=verify,
            network_backend=self._backend,
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
        )
        self._proxies: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            Refused: the rules forbid it.
        """
        host = request.url.host
        proxy = None if proxy_bypass(host) else getproxies().get(request.url.scheme)
        if proxy is None:
            return await self._direct.handle_async_request(request)
        await self._check_for_proxy(host, request.url.port or PORTS.get(request.url.scheme, 0))
        return await self._through(proxy).handle_async_request(request)

    async def _check_for_proxy(self, host: str, port: int) -> None:
        try:
            await self._backend.addresses(host, port)
        except httpcore.ConnectError:
            return  # behind a proxy, names of the outside often have no address here

    def _through(self, proxy: str) -> httpx.AsyncHTTPTransport:
        if proxy not in self._proxies:
            url = proxy if "://" in proxy else f"http://{proxy}"
            self._proxies[proxy] = httpx.AsyncHTTPTransport(verify=self._verify, proxy=url, trust_env=False)
        return self._proxies[proxy]

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in (self._direct, *self._proxies.values()):
            await transport.aclose()


def _resolve_now(host: str, port: int) -> Sequence[Address]:
    return _addresses(entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _addresses(found: Iterable[object]) -> Sequence[Address]:
    read = (literal(str(one)) for one in found)
    return tuple(dict.fromkeys(one for one in read if one is not None))


def _refused(reason: str) -> Refused:
    return Refused(f"not called: {reason}; {_ADVICE}")
