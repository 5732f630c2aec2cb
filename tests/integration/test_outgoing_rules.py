"""The rules for outgoing connections, with real sockets, a resolver that changes its mind, and a real browser."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest
import trustme
from fakes.nearby import nearby, nearby_client
from fakes.web import Told, web

from executor.errors import RemediationError, StepFailed, Unavailable
from executor.screen_ports import Shot
from services.access.errors import IdentityUnavailable
from services.access.opening import JsonFetcher
from services.browser import ChromiumScreens, browser_environment, runs_as_root
from services.catalogs.errors import CatalogError
from services.catalogs.web import _refuse_downgrade, get, open_client
from services.http_client import HttpClient
from services.outgoing.network import GuardedBackend, GuardedTransport, Refused
from services.outgoing.proxy import gateway
from services.outgoing.rules import Rules, rules_of

PUBLIC = ipaddress.ip_address("203.0.113.7")
OWN = ipaddress.ip_address("127.0.0.1")


class Rebinding:
    """A resolver that gives something harmless first and this machine afterwards, as an attacker's name server."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host, port):
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def call(client, url, **options):
    try:
        return await client.request("GET", url, headers={}, body="", **{"timeout_seconds": 20, **options})
    finally:
        await client.close()


def guarded(rules, resolver):
    return HttpClient(transport=GuardedTransport(rules, ssl.create_default_context(), resolver))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"])
async def test_a_server_on_this_machine_is_not_called(host):
    """However the address is spelled, nothing arrives at the server."""
    async with web(lambda _: Told(200, "secret")) as at:
        with pytest.raises(Refused, match=r"outgoing\.allow"):
            await call(HttpClient(), f"http://{host}:{urlsplit(at.url).port}/")
    assert at.asked == []


async def test_an_exception_lets_just_its_port_through():
    """What is allowed is called, and the next port is not."""
    async with web(lambda _: Told(200, "one")) as first, web(lambda _: Told(200, "two")) as second:
        rules = rules_of([f"127.0.0.1:{urlsplit(first.url).port}"])
        assert (await call(HttpClient(rules), first.url))[2] == "one"
        with pytest.raises(Refused):
            await call(HttpClient(rules), second.url)
    assert second.asked == []


async def test_a_name_that_changes_its_address_gains_nothing():
    """The first answer is checked and used; nobody asks a second time before connecting."""
    async with web(lambda _: Told(200, "secret")) as at:
        resolver = Rebinding([PUBLIC], [OWN])
        client = guarded(Rules(), resolver)
        with pytest.raises(Unavailable):
            await call(client, f"http://rebind.example:{urlsplit(at.url).port}/", timeout_seconds=1)
        assert resolver.asked == 1
        later = guarded(Rules(), Rebinding([OWN]))
        with pytest.raises(Refused, match=r"rebind\.example is at 127\.0\.0\.1, a loopback address"):
            await call(later, f"http://rebind.example:{urlsplit(at.url).port}/")
    assert at.asked == []


async def test_of_several_addresses_only_a_harmless_one_is_called():
    """A name with a forbidden address beside a good one reaches the good one only."""
    async with web(lambda asked: Told(200, asked.path)) as at:
        rules = rules_of(["127.0.0.1"])
        resolver = Rebinding([ipaddress.ip_address("169.254.169.254"), ipaddress.ip_address("::1"), OWN])
        assert (await call(guarded(rules, resolver), f"http://two.example:{urlsplit(at.url).port}/x"))[2] == "/x"


@pytest.mark.parametrize("to", ["http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://2130706433/"])
async def test_a_redirect_does_not_lead_to_a_forbidden_address(to):
    """The redirect of an allowed server is not followed to the metadata service: nothing beyond it is read."""
    async with web(lambda _: Told(302, "", {"Location": to})) as at:
        status, _, text = await call(nearby_client(), at.url)
    assert (status, text) == (302, "")


async def test_an_endless_answer_ends():
    """A server that drips a byte at a time is left after three times the time limit, however long it drips."""

    async def drip(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        except OSError:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(Unavailable, match="no whole answer"):
            await call(nearby_client(), url, timeout_seconds=0.4)
    finally:
        server.close()


async def test_an_answer_packed_as_nobody_asked_is_not_unpacked():
    """A few bytes of such an answer can become gigabytes."""
    async with web(lambda _: Told(200, "x", {"Content-Encoding": "br"})) as at:
        with pytest.raises(StepFailed, match="packed as 'br'"):
            await call(nearby_client(), at.url)


@asynccontextmanager
async def encrypted(authority):
    """A server with a certificate for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


async def test_a_certificate_must_be_one_that_is_trusted(tmp_path):
    """Also where the rules allow the address: pinning the address does not change whose certificate is wanted."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with encrypted(authority) as url:
        with pytest.raises(Unavailable, match="certificate verify failed"):
            await call(nearby_client(), url)
        assert (await call(nearby_client(ca_file=tmp_path / "ca.pem"), url))[2] == "ok"


async def test_a_proxy_is_not_a_way_around(monkeypatch):
    """With a proxy in the environment the target is checked before the proxy is asked; other targets go through it."""
    async with web(lambda _: Told(200, "through the proxy")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        for target in ("http://169.254.169.254/", "http://localhost:9/", "http://metadata.google.internal/"):
            with pytest.raises(Refused):
                await call(HttpClient(), target)
        assert proxy.asked == []
        assert (await call(HttpClient(), "http://203.0.113.7/"))[2] == "through the proxy"


async def test_a_catalog_does_not_lead_to_another_address_of_this_machine():
    """The host that a person named may be anywhere; where its redirects lead may not."""
    async with web(lambda _: Told(302, "", {"Location": "http://[::1]:9/x"})) as at:

        def read():
            with open_client(at.url) as client:
                return get(client, at.url + "/catalog.yaml", 1000)

        with pytest.raises(CatalogError, match="a loopback address"):
            await asyncio.to_thread(read)


async def test_a_catalog_does_not_go_on_in_clear_text():
    """A redirect from https to http is refused, whatever host it names."""
    asked = httpx.Request("GET", "https://a.example/x")
    for location, refused in (("http://a.example/y", True), ("https://b.example/y", False), ("/y", False)):
        answer = httpx.Response(302, headers={"location": location}, request=asked)
        if refused:
            with pytest.raises(Refused, match="from https to http"):
                _refuse_downgrade(answer)
        else:
            _refuse_downgrade(answer)


async def test_documents_of_an_identity_provider_are_held_by_the_rules():
    """A provider's document may name any address for its keys."""
    async with web(lambda _: Told(200, "{}")) as at:
        fetch = JsonFetcher()
        with pytest.raises(IdentityUnavailable, match="a loopback address"):
            await fetch(at.url)
        await fetch.close()
    assert at.asked == []


@pytest.fixture
def screens(chromium, tmp_path):
    def made(rules):
        return ChromiumScreens(
            chromium,
            tmp_path,
            sandbox=not runs_as_root(),
            environment=browser_environment(os.environ),
            rules=rules,
        )

    return made


PARTS = """<html><body><p id="x">page</p>
<img src="{other}/img"><script src="{other}/script"></script><iframe src="{other}/frame"></iframe>
<link rel="stylesheet" href="{other}/style"><script>
fetch("{other}/fetch",{{mode:"no-cors"}}).catch(()=>0);
try{{new WebSocket("{other}/socket".replace("http","ws"))}}catch(e){{}}
</script></body></html>"""


async def test_a_page_reaches_nothing_that_the_rules_forbid(screens):
    """Pictures, scripts, frames, fetches and sockets of an allowed page do not arrive at a forbidden port."""
    async with web(lambda _: Told(200, "private")) as other:
        page = PARTS.format(other=other.url)
        async with web(lambda _: Told(200, page, {"Content-Type": "text/html"})) as at:
            rules = rules_of([f"127.0.0.1:{urlsplit(at.url).port}"])
            picture = await screens(rules).capture(Shot(url=at.url, selector="#x", timeout_seconds=60))
            assert picture.startswith(b"\x89PNG")
            assert other.asked == []
            # The same page does reach it where the rules allow both: the test can fail.
            await screens(nearby()).capture(Shot(url=at.url, selector="#x", timeout_seconds=60))
            assert {asked.path for asked in other.asked} >= {"/img", "/script", "/frame"}


async def test_a_page_that_redirects_to_a_forbidden_address_gives_no_picture(screens):
    """The redirect is followed by the browser, and refused by the proxy; the error says why."""
    async with web(lambda _: Told(200, "private")) as other:
        async with web(lambda _: Told(302, "", {"Location": other.url})) as at:
            rules = rules_of([f"127.0.0.1:{urlsplit(at.url).port}"])
            with pytest.raises(RemediationError, match="a loopback address"):
                await screens(rules).capture(Shot(url=at.url, selector="body", timeout_seconds=60))
        assert other.asked == []


async def test_the_proxy_of_the_browser_serves_only_the_browser():
    """Another user of this machine cannot go through it."""
    async with web(lambda _: Told(200, "private")) as at, gateway(GuardedBackend(nearby()), 10_000) as way:
        async with httpx.AsyncClient(proxy=way.address, trust_env=False) as client:
            assert (await client.get(at.url)).status_code == 407
        assert at.asked == []
        proxy = httpx.Proxy(way.address, auth=(way.user, way.password))
        async with httpx.AsyncClient(proxy=proxy, trust_env=False) as client:
            assert (await client.get(at.url)).text == "private"
