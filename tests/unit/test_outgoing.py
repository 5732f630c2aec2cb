"""The edges that speak to other systems: HTTP, Slack, secrets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from executor.errors import MissingSecret, NotConfigured, Permanent, Unavailable
from services.chat import SlackChat
from services.http_client import HttpClient
from services.secrets.local import SecretProvider


def client(answer, **more):
    return HttpClient(transport=httpx.MockTransport(answer), **more)


async def send(http, url="https://a.example/x", method="POST"):
    return await http.request(method, url, headers={"A": "1"}, body="hi", timeout_seconds=1)


async def test_an_answer_is_cut_at_the_limit():
    """A huge answer must not fill the memory."""
    http = client(lambda _: httpx.Response(200, text="x" * 5000), max_bytes=100)
    status, _, text = await send(http)
    assert (status, len(text)) == (200, 100)
    await http.close()


@pytest.mark.parametrize(
    ("location", "method", "status", "follows"),
    [
        ("/y", "POST", 307, True),
        ("https://a.example/y", "GET", 302, True),
        ("https://b.example/y", "GET", 307, False),
        ("http://a.example/y", "GET", 307, False),
        ("https://a.example:444/y", "GET", 307, False),
        ("/y", "POST", 302, False),
    ],
)
async def test_a_redirect_never_leads_to_another_host(location, method, status, follows):
    """Headers may hold credentials that were meant for this host."""
    seen = []

    def answer(request):
        seen.append(str(request.url))
        return httpx.Response(200) if len(seen) > 1 else httpx.Response(status, headers={"location": location})

    given, _, _ = await send(client(answer), method=method)
    assert (given == 200) is follows
    assert len(seen) == (2 if follows else 1)


async def test_redirects_end():
    """A circle is given up."""
    status, _, _ = await send(client(lambda _: httpx.Response(307, headers={"location": "/x"})))
    assert status == 307


async def test_no_answer_is_unavailable_and_names_the_host_only():
    """The path may hold a token."""

    def answer(request):
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(Unavailable, match=r"a\.example: refused") as caught:
        await send(client(answer), "https://a.example/hook/secret-token")
    assert "secret-token" not in str(caught.value)
    assert caught.value.__cause__ is not None


# Slack


class SlackServer:
    """Speaks as much HTTP as chat.postMessage needs."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict]] = []
        self.bodies: list[str] = []

    async def serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")
        )
        self.bodies.append(head.splitlines()[0] + (await reader.readexactly(length)).decode())
        status, answer = self.answers.pop(0) if self.answers else (200, {"ok": True, "ts": "17.5"})
        body = json.dumps(answer).encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        writer.close()


@pytest.fixture
async def slack() -> AsyncIterator[tuple[SlackServer, SlackChat]]:
    api = SlackServer()
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield api, SlackChat("xoxb-1", base_url=f"http://127.0.0.1:{port}/api", channel="#default")
    server.close()


async def test_a_message_goes_to_the_configured_api(slack):
    """Any server that speaks Slack's API will do; a message without a channel goes to the default one."""
    api, chat = slack
    assert await chat.post("", "it works") == "17.5"
    assert api.bodies[0].startswith("POST /api/chat.postMessage")
    assert "default" in api.bodies[0]


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (200, {"ok": False, "error": "invalid_auth"}, NotConfigured),
        (200, {"ok": False, "error": "channel_not_found"}, NotConfigured),
        (200, {"ok": False, "error": "ratelimited"}, Unavailable),
        (200, {"ok": False, "error": "msg_too_long"}, Permanent),
    ],
)
async def test_slacks_refusals_are_told_apart(slack, status, answer, error):
    """What waiting cures, what a setting cures, and what nothing cures."""
    api, chat = slack
    api.answers = [(status, answer)]
    with pytest.raises(error):
        await chat.post("#a", "hi")


async def test_without_token_channel_or_server_nothing_is_posted():
    """Each with its own reason."""
    with pytest.raises(NotConfigured, match="token"):
        await SlackChat(None).post("#a", "hi")
    with pytest.raises(NotConfigured, match="channel"):
        await SlackChat("xoxb-1").post("", "hi")
    with pytest.raises(Unavailable):
        await SlackChat("xoxb-1", base_url="http://127.0.0.1:9/").post("#a", "hi")


# Secrets


async def test_secrets_come_from_variables_and_files(tmp_path):
    """Variables win; names are found in any casing, and a file's last line break is not part of the secret."""
    (tmp_path / "registry.json").write_text('{"a": 1}\n')
    (tmp_path / "both").write_text("file")
    secrets = SecretProvider(
        {"ROOTMEND_SECRET_DB_PASSWORD": "hunter2", "ROOTMEND_SECRET_BOTH": "env", "OTHER": "x"}, folder=tmp_path
    )
    assert await secrets.get("db-password") == "hunter2"
    assert await secrets.get("DB_PASSWORD") == "hunter2"
    assert await secrets.get("registry.json") == '{"a": 1}'
    assert await secrets.get("both") == "env"
    assert secrets.names() == {"db_password", "both", "registry.json"}
    assert "hunter2" not in repr(secrets)


async def test_a_renewed_file_is_read_anew(tmp_path):
    """Mounted secrets change while the process runs."""
    secrets = SecretProvider({}, folder=tmp_path)
    for value in ("one", "two"):
        (tmp_path / "token").write_text(value)
        assert await secrets.get("token") == value


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "nope"])
async def test_a_secret_that_is_not_there_is_missing_with_advice(tmp_path, name):
    """A name is no way out of the folder."""
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "outside").write_text("x")
    (folder / "note").write_text("x")
    with pytest.raises(MissingSecret, match="there is no secret"):
        await SecretProvider({}, folder=folder).get(name)


async def test_the_nearest_name_is_offered():
    """Typing errors are the usual cause."""
    secrets = SecretProvider({"ROOTMEND_SECRET_CLOUD_TOKEN": "x"})
    with pytest.raises(MissingSecret, match="did you mean cloud_token"):
        await secrets.get("cloud_tokn")
