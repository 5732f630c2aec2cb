"""Which addresses may be called. Nothing here connects: names are answered for by whoever resolved them."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_HIGHEST_PORT = 65535
_HOST = re.compile(r"(?=.{1,253}$)(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")

_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_METADATA = {
    ipaddress.ip_address(address)
    for address in (
        "169.254.169.254",
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle
    )
}
_NEVER: tuple[tuple[Network, str], ...] = tuple(
    (ipaddress.ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "an unspecified address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/128", "an unspecified address"),
        ("::1/128", "a loopback address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
        ("100::/64", "an address that discards"),
    )
)
_CARRIES_IPV4: tuple[tuple[ipaddress.IPv6Network, int], ...] = tuple(
    (ipaddress.IPv6Network(network), shift)
    for network, shift in (
        ("::ffff:0:0/96", 0),  # IPv4-mapped
        ("::ffff:0:0:0/96", 0),  # IPv4-translated
        ("::/96", 0),  # IPv4-compatible
        ("64:ff9b::/96", 0),  # NAT64
        ("64:ff9b:1::/48", 0),  # NAT64 of the own network
        ("2002::/16", 80),  # 6to4
    )
)
_TEREDO = ipaddress.IPv6Network("2001::/32")
_ISATAP = (0x00005EFE, 0x02005EFE)
_IPV4 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Allowed:
    """What is allowed although the rules say no.

    Attributes:
        host: a name, lower case; empty when ``network`` counts.
        network: addresses; None when ``host`` counts.
        port: 0 for any.
    """

    host: str = ""
    network: Network | None = None
    port: int = 0


class BadAllowed(ValueError):
    """An entry of the exceptions cannot be read; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for outgoing connections, with their exceptions."""

    allow: tuple[Allowed, ...] = ()

    def and_services(self, urls: Iterable[str]) -> Rules:
        """These rules, and the host and port of each address of a service that the settings name."""
        return Rules((*self.allow, *(one for url in urls if (one := _of_url(url)) is not None)))

    def and_host(self, host: str) -> Rules:
        """These rules, and one host that a person named, on any port."""
        address = literal(host)
        one = Allowed(_plain(host)) if address is None else Allowed(network=_whole(address))
        return Rules((*self.allow, one))

    def refuses_name(self, host: str, port: int) -> str:
        """Why a host must not even be resolved; empty when it may be.

        Args:
            host: as the URL spells it, without brackets.
            port: of the connection.
        """
        name = _plain(host)
        if self._named(name, port):
            return ""
        if literal(name) is None and _spells_an_address(name):
            return f"{host} spells an address in an unusual way"
        if name in _METADATA_NAMES:
            return f"{host} is the metadata service of a cloud"
        return ""

    def refuses_address(self, host: str, address: Address, port: int) -> str:
        """Why an address must not be connected to; empty when it may be.

        Args:
            host: the name that was resolved to it, or its own spelling.
            address: that is connected to.
            port: of the connection.
        """
        if self._named(_plain(host), port) or self._inside(address, port):
            return ""
        if found := _forbidden(address):
            return f"{host} is {found}" if str(address) == _plain(host) else f"{host} is at {address}, {found}"
        for carried in _carried(address):
            if not self._inside(carried, port) and (found := _forbidden(carried)):
                return f"{host} is at {address}, which stands for {carried}, {found}"
        return ""

    def _named(self, name: str, port: int) -> bool:
        return any(one.host and one.host == name and one.port in (0, port) for one in self.allow)

    def _inside(self, address: Address, port: int) -> bool:
        return any(one.network is not None and address in one.network and one.port in (0, port) for one in self.allow)


def read_allowed(text: str) -> Allowed:
    """One entry: ``10.0.0.0/8``, ``127.0.0.1:9090``, ``[::1]:9090``, ``host`` or ``host:port``.

    Raises:
        BadAllowed: it is none of these.
    """
    host, port = _split(text.strip())
    if network := _network(host):
        return Allowed(network=network, port=port)
    if not _HOST.fullmatch(_plain(host)) or _spells_an_address(_plain(host)):
        raise BadAllowed(
            f"{text!r} is neither a host, an address nor a network: expected host, host:port, 10.0.0.0/8 or [::1]:9090"
        )
    return Allowed(host=_plain(host), port=port)


def rules_of(entries: Iterable[str]) -> Rules:
    """Rules with exceptions.

    Raises:
        BadAllowed: an entry cannot be read.
    """
    return Rules(tuple(read_allowed(entry) for entry in entries))


def literal(host: str) -> Address | None:
    """The address that a host is, in its usual spelling; None for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _of_url(url: str) -> Allowed | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if not host or not port:
        return None
    address = literal(host)
    return Allowed(host=_plain(host), port=port) if address is None else Allowed("", _whole(address), port)


def _split(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        if rest and not rest.startswith(":") and not rest.startswith("/"):
            raise BadAllowed(f"{text!r}: expected [address]:port")
        return (host, _port(text, rest[1:])) if rest.startswith(":") else (host + rest, 0)
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, _port(text, port)
    return text, 0


def _port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= _HIGHEST_PORT):
        raise BadAllowed(f"{text!r}: {port!r} is no port, expected 1 to {_HIGHEST_PORT}")
    return int(port)


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        if "has host bits set" in str(error):
            raise BadAllowed(f"{text!r}: {error}") from error
        return None


def _whole(address: Address) -> Network:
    return ipaddress.ip_network(address)


def _plain(host: str) -> str:
    return host.rstrip(".").lower()


def _spells_an_address(name: str) -> bool:
    """Whether the resolver would read it as an address: 2130706433, 0x7f.1, 0177.0.0.1, 127.1."""
    try:
        socket.inet_aton(name)
    except (OSError, ValueError):
        return False
    return True


def _forbidden(address: Address) -> str:
    if address in _METADATA:
        return "the metadata service of a cloud"
    return next((what for network, what in _NEVER if address in network), "")


def _carried(address: Address) -> Iterable[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if not isinstance(address, ipaddress.IPv6Address):
        return
    number = int(address)
    for network, shift in _CARRIES_IPV4:
        if address in network:
            yield ipaddress.IPv4Address(number >> shift & _IPV4)
    if address in _TEREDO:
        yield ipaddress.IPv4Address(~number & _IPV4)
        yield ipaddress.IPv4Address(number >> 64 & _IPV4)
    if number >> 32 & _IPV4 in _ISATAP:
        yield ipaddress.IPv4Address(number & _IPV4)
