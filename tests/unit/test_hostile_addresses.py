"""Every spelling of a forbidden address is refused before anything is connected to."""

from __future__ import annotations

import ipaddress
import socket
import ssl

import httpcore
import pytest
from fakes.hostile import params
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from executor.errors import RemediationError
from services.http_client import HttpClient
from services.outgoing.network import GuardedTransport, Refused, permitted
from services.outgoing.rules import BadAllowed, Rules, literal, read_allowed, rules_of
from services.settings_outgoing import Outgoing


async def resolver(host, port):
    """What a resolver makes of numbers in any spelling, and of the name of this machine; nothing else is known."""
    if host.rstrip(".").lower() == "localhost":
        return [literal("127.0.0.1"), literal("::1")]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [literal(entry[4][0]) for entry in found]


class Dialled:
    """Keeps what would be connected to, and connects to nothing."""

    def __init__(self):
        self.to = []

    async def connect_tcp(self, host, port, *_):
        self.to.append((host, port))
        raise httpcore.ConnectError("nobody answers in this test")


async def called(url, rules=None):
    transport = GuardedTransport(rules or Rules(), ssl.create_default_context(), resolver)
    transport._backend._inner = dialled = Dialled()
    client = HttpClient(transport=transport)
    try:
        await client.request("GET", url, headers={}, body="", timeout_seconds=30)
    except RemediationError as error:
        return dialled.to, error
    finally:
        await client.close()
    raise AssertionError("nothing can answer here")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("case", params("addresses", must="refused"))
async def test_a_forbidden_address_is_not_connected_to(case):
    """However it is spelled; what is no address of the web at all is refused as well."""
    dialled, error = await called(case["url"])
    assert dialled == []
    if case["id"].startswith("host-"):
        # A spelling that is no URL, or that no resolver knows, leads nowhere either.
        nowhere = "cannot be read" in str(error) or "cannot be resolved" in str(error)
        assert nowhere or (isinstance(error, Refused) and "outgoing.allow" in str(error)), error


@pytest.mark.parametrize("case", params("addresses", must="allowed"))
async def test_an_address_of_the_world_or_of_the_own_network_is_connected_to(case):
    """The rules forbid what leads to the machine itself and to credentials, and nothing else."""
    dialled, error = await called(case["url"])
    assert len(dialled) == 1
    assert not isinstance(error, Refused)


@given(st.ip_addresses(v=4, network="127.0.0.0/8") | st.ip_addresses(v=4, network="169.254.0.0/16"))
def test_no_way_to_carry_a_forbidden_ipv4_address_in_ipv6_is_missed(address):
    """Mapped, compatible, translated, 6to4, NAT64, Teredo and ISATAP."""
    number = int(address)
    for carried in (
        0xFFFF << 32 | number,
        number,
        0xFFFF << 48 | number,
        0x2002 << 112 | number << 80,
        0x64FF9B << 96 | number,
        0x20010000 << 96 | (~number & 0xFFFFFFFF),
        0x20010DB8 << 96 | 0x5EFE << 32 | number,
    ):
        with pytest.raises(Refused):
            permitted(Rules(), "x.example", 80, [ipaddress.IPv6Address(carried)])


@pytest.mark.parametrize(
    ("entry", "host", "port", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1", 80, True),
        ("127.0.0.0/8", "127.9.9.9", 80, True),
        ("127.0.0.1:9090", "127.0.0.1", 9090, True),
        ("127.0.0.1:9090", "127.0.0.1", 9091, False),
        ("[::1]:9090", "::1", 9090, True),
        ("[::1]:9090", "::1", 80, False),
        ("::1", "::1", 80, True),
        ("10.0.0.0/8", "127.0.0.1", 80, False),
        ("127.0.0.1", "::ffff:127.0.0.1", 80, True),
        ("127.0.0.1", "169.254.169.254", 80, False),
    ],
)
def test_an_exception_allows_what_it_names_and_nothing_else(entry, host, port, allowed):
    """Networks, single addresses, and ports."""
    reason = rules_of([entry]).refuses_address(host, literal(host), port)
    assert (not reason) is allowed


@pytest.mark.parametrize(
    "entry", ["", "a b", "http://x", "127.0.0.1:0", "127.0.0.1:x", "127.0.0.1/8", "0x7f.1", "x:70000"]
)
def test_an_exception_that_cannot_be_read_stops_the_start(entry):
    """A misspelt exception must not be left out silently; the text says what is expected."""
    with pytest.raises(BadAllowed):
        read_allowed(entry)
    with pytest.raises(ValidationError, match="allow"):
        Outgoing(allow=(entry,))


def test_a_service_of_the_settings_is_allowed_for_its_own_port_only():
    """Prometheus beside us is asked; what else listens on this machine is not."""
    rules = Rules().and_services(["http://127.0.0.1:9090/prom", "", "https://[::1]"])
    assert rules.refuses_address("127.0.0.1", literal("127.0.0.1"), 9090) == ""
    assert rules.refuses_address("::1", literal("::1"), 443) == ""
    assert rules.refuses_address("127.0.0.1", literal("127.0.0.1"), 9091)


def test_a_file_without_certificates_stops_the_start(tmp_path):
    """Otherwise calls would fail at night."""
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ValidationError, match="no certificates"):
        Outgoing(ca_file=tmp_path / "ca.pem")
