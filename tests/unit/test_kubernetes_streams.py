"""Exec and logs against a server of the same protocol: what a kubelet can answer that KWOK never does."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
from aiohttp import web

from executor.errors import Forbidden, Invalid, NotFound, Unavailable
from services.kubernetes.streams import PROTOCOLS, PodStreams

POD = "/api/v1/namespaces/shop/pods/web-1"
SUCCESS = {"status": "Success"}
CODE_3 = {
    "status": "Failure",
    "reason": "NonZeroExitCode",
    "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
}


def frame(channel: int, content: bytes | dict) -> bytes:
    return bytes([channel]) + (content if isinstance(content, bytes) else json.dumps(content).encode())


class Kubelet:
    """An API server for one pod; ``frames`` is what its program sends.

    Attributes:
        frames: bytes are sent, a number is a pause in seconds.
        refusal: status and message instead of an upgrade.
        asked: every request: method, query, headers.
    """

    def __init__(self) -> None:
        self.frames: list[bytes | float] = []
        self.refusal: tuple[int, str] | None = None
        self.token = "fresh"
        self.protocols = PROTOCOLS
        self.log = b""
        self.asked: list[web.Request] = []

    async def exec(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if (refused := self._refused(request)) is not None:
            return refused
        socket = web.WebSocketResponse(protocols=self.protocols)
        if not socket.can_prepare(request):
            return web.json_response({"message": "Upgrade request required"}, status=400)
        await socket.prepare(request)
        for part in self.frames:
            if isinstance(part, bytes):
                await socket.send_bytes(part)
            else:
                await asyncio.sleep(part)
        await socket.close()
        return socket

    async def logs(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        return self._refused(request) or web.Response(body=self.log)

    def _refused(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"message": "Unauthorized"}, status=401)
        if self.refusal is not None:
            return web.json_response({"message": self.refusal[1]}, status=self.refusal[0])
        return None


@pytest.fixture
async def kubelet():
    """The server, and streams to it."""
    server = Kubelet()
    app = web.Application()
    app.router.add_get(f"{POD}/exec", server.exec)
    app.router.add_get(f"{POD}/log", server.logs)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


class Credentials:
    """A client as PodStreams needs it; ``token`` may have run out."""

    def __init__(self, url: str, token: str = "fresh") -> None:
        self.token = token
        self.configuration = SimpleNamespace(host=url, tls_server_name=None, proxy=None)
        self.rest_client = SimpleNamespace(ssl_context=True)

    async def update_params_for_auth(self, headers, *_):
        headers["Authorization"] = f"Bearer {self.token}"


def streams(kubelet: Kubelet) -> PodStreams:
    return PodStreams(Credentials(kubelet.url), connect_seconds=5)


async def run(kubelet: Kubelet, *command: str, seconds: float = 5, limit: int = 100):
    words = command or ("ps", "aux")
    return await streams(kubelet).exec(f"{POD}/exec", words, container="app", timeout_seconds=seconds, limit=limit)


async def test_streams_and_exit_code_come_back_apart(kubelet):
    """Frames of one stream are joined; the code is in the status."""
    kubelet.frames = [frame(1, b"out-"), frame(2, b"err"), frame(1, b"more"), frame(3, CODE_3)]
    ended = await run(kubelet)
    assert (ended.exit_code, ended.stdout, ended.stderr, ended.truncated) == (3, "out-more", "err", False)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_both_protocols_are_spoken(kubelet, protocol):
    """Older servers know v4 only."""
    kubelet.protocols = (protocol,)
    kubelet.frames = [frame(1, b"hi"), frame(3, SUCCESS)]
    assert (await run(kubelet)).exit_code == 0
    offered = kubelet.asked[0].headers["Sec-WebSocket-Protocol"]
    assert offered == "v5.channel.k8s.io,v4.channel.k8s.io"


async def test_arguments_arrive_as_they_are(kubelet):
    """Whatever is in them: they are encoded once."""
    command = ("sh", "-c", "echo 100% & 'a+b' ?x=1#y; \n", "ü", "")
    kubelet.frames = [frame(3, SUCCESS)]
    await run(kubelet, *command)
    assert tuple(kubelet.asked[0].query.getall("command")) == command
    assert kubelet.asked[0].query["container"] == "app"
    assert "stdin" not in kubelet.asked[0].query


async def test_long_output_is_cut_and_said_to_be(kubelet):
    """It is read to its end, so that the program is not held up, and dropped."""
    kubelet.frames = [frame(1, b"x" * 70), frame(1, b"y" * 70), frame(2, b"e" * 100), frame(3, SUCCESS)]
    ended = await run(kubelet)
    assert ended.stdout == "x" * 70 + "y" * 30
    assert ended.stderr == "e" * 100
    assert ended.truncated


@pytest.mark.parametrize("frames", [[], [frame(1, b"half")], [frame(3, b"")]])
async def test_a_connection_that_ends_without_a_status_leaves_it_open(kubelet, frames):
    """The program may still be running: nobody may say that it failed."""
    kubelet.frames = frames
    with pytest.raises(Unavailable, match="may still be running"):
        await run(kubelet)


async def test_time_that_is_up_cuts_the_connection(kubelet):
    """And says that the program may go on."""
    kubelet.frames = [frame(1, b"x"), 5.0]
    with pytest.raises(Unavailable, match=r"not ended within 0\.2 s; it may still be running"):
        await run(kubelet, seconds=0.2)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("error executing command in container: cmd wait: x: exit status 7", 7),
        ('OCI runtime exec failed: exec: "x": executable file not found in $PATH', Invalid),
        ("error dialing backend: EOF", Unavailable),
    ],
)
async def test_an_internal_error_is_read_as_what_it_says(kubelet, message, expected):
    """A code in words, a program that is not there, or nobody knows."""
    kubelet.frames = [frame(3, {"status": "Failure", "reason": "InternalError", "message": message})]
    if isinstance(expected, int):
        assert (await run(kubelet)).exit_code == expected
        return
    with pytest.raises(expected, match=message.split(":")[0]):
        await run(kubelet)


@pytest.mark.parametrize(("status", "error"), [(403, Forbidden), (404, NotFound), (400, Invalid), (500, Unavailable)])
async def test_a_refusal_comes_with_the_servers_reason(kubelet, status, error):
    """A failed handshake loses its text, so it is asked for again; nothing runs by that."""
    kubelet.refusal = (status, "because of this")
    with pytest.raises(error, match="exec ps: because of this"):
        await run(kubelet)
    with pytest.raises(error, match="because of this"):
        await streams(kubelet).logs(f"{POD}/log", {}, limit=10, timeout_seconds=5)


async def test_credentials_that_ran_out_are_renewed_once(kubelet):
    """A token in a kubeconfig lives an hour."""
    kubelet.frames = [frame(3, SUCCESS)]
    kubelet.log = b"hello"
    for works in (True, False):
        api = Credentials(kubelet.url, "old")
        renewed = []

        async def renew(api=api, works=works, renewed=renewed):
            renewed.append(1)
            api.token = "fresh" if works else "old"

        inside = PodStreams(api, connect_seconds=5, renew=renew)
        run_it = inside.exec(f"{POD}/exec", ["ps"], container="app", timeout_seconds=5, limit=9)
        if works:
            assert (await run_it).exit_code == 0
            api.token = "old"
            assert await inside.logs(f"{POD}/log", {}, limit=9, timeout_seconds=5) == "hello"
            assert len(renewed) == 2
        else:
            with pytest.raises(Forbidden):
                await run_it
            assert len(renewed) <= 2


async def test_the_end_of_a_long_log_is_kept(kubelet):
    """The newest lines are the evidence."""
    kubelet.log = b"".join(b"line %06d\n" % number for number in range(50_000))
    text = await streams(kubelet).logs(f"{POD}/log", {"container": "app", "tailLines": 9}, limit=24, timeout_seconds=5)
    assert text == "line 049998\nline 049999\n"
    assert kubelet.asked[0].query["tailLines"] == "9"


async def test_a_server_that_is_away_is_worth_another_try():
    """It answers nothing, so it is not a refusal."""
    api = Credentials("http://127.0.0.1:9")
    inside = PodStreams(api, connect_seconds=1)
    with pytest.raises(Unavailable):
        await inside.exec(f"{POD}/exec", ["ps"], container="app", timeout_seconds=3, limit=9)
    with pytest.raises(Unavailable):
        await inside.logs(f"{POD}/log", {}, limit=9, timeout_seconds=3)
