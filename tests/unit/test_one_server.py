"""Clients of services that the settings name stay with the one server: no redirect, an end in time, a size."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from fakes.web import Told, web
from fakes.world import FakeClock

from executor.errors import NotConfigured, RemediationError, Unavailable
from services.access.errors import IdentityUnavailable
from services.access.opening import JsonFetcher
from services.catalogs.errors import CatalogError
from services.catalogs.git import cloned
from services.chat import SlackChat
from services.http_client import HttpClient
from services.kubernetes.streams import PodStreams
from services.kubernetes.transport import Transport
from services.outgoing.rules import Rules
from services.secrets.aws import AwsSecrets
from services.secrets.vault import VaultAddress, VaultSecrets, approle_login
from services.slack import session
from services.slack.client import SlackApi
from services.slack.socket import Socket

NOT_HELD = (RemediationError, IdentityUnavailable, CatalogError)


async def slack_message(url):
    await SlackChat("xoxb-1", base_url=f"{url}/api", channel="#a").post("", "hi")


async def slack_call(url):
    await SlackApi("xoxb-1", base_url=f"{url}/api/").call("chat.update", channel="C1", ts="1", text="hi")


async def slack_socket(url):
    await Socket("xapp-1", base_url=f"{url}/api/", take=lambda _: None).run()


async def vault(url):
    provider = VaultSecrets(VaultAddress(url, timeout_seconds=1), approle_login("r", "secret-of-approle"), FakeClock())
    try:
        await provider.fetch("secret/data/a")
    finally:
        await provider.close()


async def aws(url):
    provider = AwsSecrets("eu-central-1", endpoint=url, timeout_seconds=1)
    try:
        await provider.fetch("a")
    finally:
        await provider.close()


async def identity_provider(url):
    fetcher = JsonFetcher(None, Rules().and_services([url]))
    try:
        await fetcher(f"{url}/.well-known/openid-configuration")
    finally:
        await fetcher.close()


async def service(url):
    http = HttpClient(Rules().and_services([url]))
    try:
        status, _, _ = await http.request(
            "POST", f"{url}/api/v1/query", headers={"Authorization": "Bearer t"}, body="x", timeout_seconds=1
        )
    finally:
        await http.close()
    if status != 200:
        raise Unavailable(f"answered {status}")


def api_of(url):
    async def nothing(*_):
        return None

    return SimpleNamespace(
        configuration=SimpleNamespace(
            host=url, proxy=None, proxy_headers=None, tls_server_name=None, connection_pool_maxsize=4
        ),
        rest_client=SimpleNamespace(ssl_context=False),
        update_params_for_auth=nothing,
        close=nothing,
    )


async def cluster(url):
    transport = Transport(api_of(url), 5)
    try:
        status, *_ = await transport.exchange("GET", "/api/v1/pods", "pods", {"Authorization": "Bearer t"})
    finally:
        await transport.close()
    if status != 200:
        raise Unavailable(f"answered {status}")


async def pod_logs(url):
    await PodStreams(api_of(url), connect_seconds=5).logs("/api/v1/pods/a/log", {}, limit=10, timeout_seconds=20)


async def repository(url):
    def clone():
        with cloned(f"{url}/team/runbooks.git"):
            pass

    await asyncio.to_thread(clone)


@pytest.fixture(autouse=True)
def credentials(monkeypatch, tmp_path):
    """Of nobody: AWS signs with them, and git must not find those of whoever runs the tests."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv("HOME", str(tmp_path))


CLIENTS = [
    slack_message, slack_call, slack_socket, vault, aws, identity_provider, service, cluster, pod_logs, repository,
]  # fmt: skip


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_of_the_settings_never_follows_a_redirect_to_elsewhere(client, status):
    """Token, message or query would go to whoever the answer names, perhaps to a service of this machine."""
    async with web(lambda _: Told(200, {"ok": True})) as other:
        elsewhere = f"{other.url.replace('127.0.0.1', 'localhost')}/stolen"
        async with web(lambda _: Told(status, "", {"Location": elsewhere})) as named:
            with pytest.raises(NOT_HELD):
                await client(named.url)
            assert named.asked
        assert other.asked == []


@asynccontextmanager
async def dripping():
    """A server that begins an answer and never ends it, a few bytes at a time."""
    busy = set()

    async def serve(reader, writer):
        busy.add(asyncio.current_task())
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        except (ConnectionError, asyncio.CancelledError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


@pytest.mark.parametrize("client", [vault, aws, identity_provider, service])
async def test_a_server_that_drips_for_ever_is_left_in_the_end(client, monkeypatch):
    """A limit for each piece alone would never be reached."""
    monkeypatch.setattr("services.access.opening._IN_ALL", 1.0)
    async with dripping() as url, asyncio.timeout(60):
        with pytest.raises((Unavailable, IdentityUnavailable)):
            await client(url)


@pytest.mark.parametrize("client", [vault, aws, identity_provider, slack_call, slack_message])
async def test_an_answer_that_is_too_long_is_not_kept(client, monkeypatch):
    """A server gone wrong, or another one in its place, does not fill the memory."""
    monkeypatch.setattr(session, "_MAX_BYTES", 100_000)
    async with web(lambda _: Told(200, {"ok": True, "data": "x" * 3_000_000})) as named:
        with pytest.raises((NotConfigured, Unavailable, IdentityUnavailable), match=r"longer than|more than"):
            await client(named.url)


async def test_a_connection_of_slack_in_clear_text_is_refused(monkeypatch):
    """What people decide goes over it."""

    async def named(_self):
        return "ws://127.0.0.1:1/link"

    monkeypatch.setattr("slack_sdk.socket_mode.aiohttp.SocketModeClient.issue_new_wss_url", named)
    with pytest.raises(NotConfigured, match="clear text"):
        await Socket("xapp-1", base_url="https://slack.com/api/", take=lambda _: None).run()
