"""What the API server passes through to the kubelet: programs in containers, and what containers wrote."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from executor.errors import Invalid, RemediationError, Unavailable
from executor.ports import ExecResult
from services.kubernetes.failures import OWN_MANAGER, failure
from services.outgoing.one_server import no_redirects

if TYPE_CHECKING:
    from services.kubernetes.cluster import Renew

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
"""The subprotocols of exec that end with a status, newest first."""

_STDOUT, _STDERR, _STATUS = 1, 2, 3
_MOST_READ = 32 * 1024 * 1024
_CHUNK = 64 * 1024
_OK, _UNAUTHORIZED = 200, 401
_IN_WORDS = re.compile(r"exit status (\d{1,3})$")
_NOT_FOUND = "executable file not found"


class PodStreams:
    """The streaming side of one API server. Each call has a connection of its own, so that cutting it hurts nobody.

    Args:
        api: a ``kubernetes.aio`` ApiClient: address, certificates and credentials are taken from it.
        connect_seconds: longest wait for the connection.
        renew: called once when the credentials are refused.
    """

    def __init__(self, api: Any, *, connect_seconds: float, renew: Renew | None = None) -> None:
        self._api = api
        self._connect_seconds = connect_seconds
        self._renew = renew
        self._for: tuple[tuple[str, str], ...] = ()

    def made_for(self, headers: tuple[tuple[str, str], ...]) -> PodStreams:
        """The same, with headers that say whom its requests are made for."""
        other = PodStreams(self._api, connect_seconds=self._connect_seconds, renew=self._renew)
        other._for = headers
        return other

    async def exec(
        self, path: str, command: Sequence[str], *, container: str, timeout_seconds: float, limit: int
    ) -> ExecResult:
        """Run a program; ``path`` is the pod's, with ``/exec``. See ``executor.ports.Cluster.exec``."""
        what = f"exec {command[0]}"
        words = [("container", container), ("stdout", "true"), ("stderr", "true")]
        query = urlencode([*words, *(("command", word) for word in command)])
        heard = _Heard(limit)
        try:
            async with (
                asyncio.timeout(timeout_seconds),
                self._session() as session,
                await self._dial(session, self._url(path, query), what) as socket,
            ):
                async for message in socket:
                    heard.take(message)
        except TimeoutError as error:
            raise Unavailable(f"{what}: not ended within {timeout_seconds:g} s; it may still be running") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{what}: {error or type(error).__name__}") from error
        return heard.result(what)

    async def logs(self, path: str, query: Mapping[str, Any], *, limit: int, timeout_seconds: float) -> str:
        """The end of a log, at most ``limit`` bytes; ``path`` is the pod's, with ``/log``."""
        url = self._url(path, urlencode({**query, "limitBytes": _MOST_READ}))
        try:
            async with asyncio.timeout(timeout_seconds), self._session() as session:
                answer = await self._ask(session, url)
                if answer.status != _OK:
                    raise failure(answer.status, _status(await answer.read()), "logs")
                kept = b""
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    kept = (kept + chunk)[-limit:]
        except TimeoutError as error:
            raise Unavailable(f"logs: no answer within {timeout_seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"logs: {error or type(error).__name__}") from error
        return kept.decode(errors="replace")

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=self._api.rest_client.ssl_context, force_close=True)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_seconds)
        held = no_redirects("the API server", "kubernetes.kubeconfig")  # credentials are meant for it alone
        return aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=True, trace_configs=[held])

    def _url(self, path: str, query: str) -> URL:
        # Encoded here: a second encoding could change what an argument says.
        return URL(f"{self._api.configuration.host}{path}?{query}", encoded=True)

    async def _options(self) -> dict[str, Any]:
        headers = {"User-Agent": OWN_MANAGER}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], "", "GET", None)
        known = self._api.configuration
        whole = CIMultiDict([*headers.items(), *self._for])
        options = {"headers": whole, "server_hostname": known.tls_server_name, "proxy": known.proxy}
        return {key: value for key, value in options.items() if value}

    async def _ask(self, session: aiohttp.ClientSession, url: URL) -> aiohttp.ClientResponse:
        answer = await session.get(url, **await self._options())
        if answer.status == _UNAUTHORIZED and self._renew is not None:
            answer.close()
            await self._renew()
            answer = await session.get(url, **await self._options())
        return answer

    async def _dial(self, session: aiohttp.ClientSession, url: URL, what: str) -> aiohttp.ClientWebSocketResponse:
        for last in (self._renew is None, True):
            options = await self._options()
            try:
                # A message of one frame is as long as the kubelet's buffer; the limit is for what is none.
                socket: aiohttp.ClientWebSocketResponse = await session.ws_connect(
                    url, protocols=PROTOCOLS, max_msg_size=_MOST_READ, **options
                )
            except aiohttp.WSServerHandshakeError as error:
                if error.status != _UNAUTHORIZED or last or self._renew is None:
                    raise await self._refused(session, url, error.status, what) from error
                await self._renew()
            else:
                return socket
        raise AssertionError("the last try returns or raises")

    async def _refused(self, session: aiohttp.ClientSession, url: URL, status: int, what: str) -> RemediationError:
        """The server's reason. The failed handshake has lost it, and without an upgrade nothing is ever run."""
        answer = await self._ask(session, url)
        told = _status(await answer.read()) if answer.status == status else {}
        return failure(status, told or {"message": f"the server refuses it with HTTP {status}"}, what)


class _Heard:
    """What came back so far."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._streams = {_STDOUT: bytearray(), _STDERR: bytearray()}
        self._status = b""
        self._cut = False

    def take(self, message: aiohttp.WSMessage) -> None:
        """One frame: the first byte is its channel."""
        if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            return
        data = message.data.encode() if isinstance(message.data, str) else message.data
        channel, rest = (data[0], data[1:]) if data else (0, b"")
        if channel == _STATUS:
            self._status += rest
        elif (kept := self._streams.get(channel)) is not None:
            room = self._limit - len(kept)
            kept += rest[: max(room, 0)]
            self._cut = self._cut or len(rest) > room

    def result(self, what: str) -> ExecResult:
        """How it ended; without a status nobody knows."""
        answer = _status(self._status)
        if not answer:
            raise Unavailable(f"{what}: the connection ended before the program did; it may still be running")
        out, err = (bytes(self._streams[channel]).decode(errors="replace") for channel in (_STDOUT, _STDERR))
        return ExecResult(_exit_code(answer, what), out, err, self._cut)


def _exit_code(answer: Mapping[str, Any], what: str) -> int:
    if answer.get("status") == "Success":
        return 0
    causes = (answer.get("details") or {}).get("causes") or ()
    for cause in causes:
        if cause.get("reason") == "ExitCode":
            return int(cause.get("message") or 1)
    told = str(answer.get("message") or answer.get("reason") or "no reason is given")
    if found := _IN_WORDS.search(told):
        # Some runtimes say the code in their text only.
        return int(found[1])
    if _NOT_FOUND in told:
        raise Invalid(f"{what}: {told}")
    # The runtime failed, not the program, and whether that was started is in no field.
    raise Unavailable(f"{what}: {told}")


def _status(content: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(content or b"{}")
    except orjson.JSONDecodeError:
        return {"message": content[:200].decode(errors="replace").strip()}
    return answer if isinstance(answer, dict) else {}
