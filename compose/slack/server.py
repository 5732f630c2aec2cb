"""The local Slack as a server: the Web API at ``/api/``, Socket Mode at ``/link``, and people who click."""

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from aiohttp import WSMsgType, web

from compose.slack.workspace import APP, TEAM, Json, Message, SlackError, Workspace

_ACK_SECONDS = 3.0
_BOT_METHODS_BY_APP_TOKEN = frozenset({"apps.connections.open"})


class NotAcknowledged(Exception):
    """Nobody took what a person did; Slack shows them a warning sign."""


class LocalSlack:
    """A workspace behind a server on loopback.

    Attributes:
        workspace: everything in it.
        asked: each call of the Web API, oldest first: method and arguments.
        request_url: where interactions are sent over HTTP; empty: through Socket Mode.

    Args:
        ack_seconds: for so long an acknowledgement is waited for; Slack waits 3 s.
        port: 0 takes a free one, which is kept when it comes back.
    """

    def __init__(self, *, ack_seconds: float = _ACK_SECONDS, port: int = 0) -> None:
        self.workspace = Workspace()
        self.bot_token = f"xoxb-{secrets.token_hex(12)}"
        self.app_token = f"xapp-1-{APP}-{secrets.token_hex(12)}"
        self.signing_secret = secrets.token_hex(16)
        self.request_url = ""
        self.asked: list[tuple[str, Json]] = []
        self._ack_seconds = ack_seconds
        self._port = port
        self._runner: web.AppRunner | None = None
        self._tickets: set[str] = set()
        self._sockets: list[web.WebSocketResponse] = []
        self._acks: dict[str, asyncio.Future[Json]] = {}
        self._troubles: dict[str, deque[SlackError | int]] = {}

    @property
    def base_url(self) -> str:
        """Of the Web API, as ``slack.base_url`` takes it."""
        return f"http://127.0.0.1:{self._port}/api/"

    @property
    def settings(self) -> dict[str, str]:
        """What an app has to know, by the names of Rootmend's settings."""
        return {"token": self.bot_token, "base_url": self.base_url, "channel": "#sre"}

    @property
    def connections(self) -> int:
        """WebSockets that are open."""
        return len(self._sockets)

    async def __aenter__(self) -> Self:
        await self.back()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.away()

    async def back(self) -> None:
        """Listen, at the same address as before."""
        app = web.Application()
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_get("/link", self._link)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def away(self) -> None:
        """Stop listening; every connection breaks."""
        for socket in list(self._sockets):
            await socket.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def limit(self, method: str, retry_after: int, times: int = 1) -> None:
        """Answer the next calls of a method with 429."""
        self._troubles.setdefault(method, deque()).extend([retry_after] * times)

    def fail(self, method: str, error: str, times: int = 1) -> None:
        """Answer the next calls of a method with an error."""
        self._troubles.setdefault(method, deque()).extend([SlackError(error)] * times)

    # What everybody sees

    def messages(self, channel: str = "sre") -> list[Message]:
        """What stands in a channel, threads left out unless they are shown there too."""
        number = self.workspace.channels[channel]
        found = (one for one in self.workspace.messages if one.channel == number and not one.to)
        return [one for one in found if not one.thread or one.broadcast]

    def thread(self, root: Message) -> list[Message]:
        """The answers below a message."""
        return [one for one in self.workspace.messages if one.thread == root.ts and one.channel == root.channel]

    def whispers(self, user_id: str) -> list[str]:
        """What only one person was told."""
        return [one.text for one in self.workspace.messages if one.to == user_id]

    # What people do

    async def click(self, user_id: str, message: Message, action_id: str) -> Json:
        """Somebody clicks a button.

        Returns:
            What came back with the acknowledgement.

        Raises:
            LookupError: the message has no such button.
            NotAcknowledged: nobody took it in time.
        """
        button = message.button(action_id)
        if button is None:
            raise LookupError(f"the message has no button {action_id}")
        return await self.deliver(self.clicked(user_id, message, button))

    def clicked(self, user_id: str, message: Message, button: Mapping[str, Any]) -> Json:
        """The payload of a click."""
        name = next(name for name, number in self.workspace.channels.items() if number == message.channel)
        known = ("action_id", "block_id", "text", "value", "style", "type")
        action = {key: button[key] for key in known if key in button} | {"action_ts": f"{time.time():.6f}"}
        return {
            "type": "block_actions",
            "user": {"id": user_id, "username": user_id.lower(), "name": user_id.lower(), "team_id": TEAM},
            "api_app_id": APP,
            "token": "deprecated",
            "container": {
                "type": "message",
                "message_ts": message.ts,
                "channel_id": message.channel,
                "is_ephemeral": False,
            },
            "trigger_id": self.workspace.trigger(user_id),
            "team": {"id": TEAM, "domain": "local"},
            "enterprise": None,
            "is_enterprise_install": False,
            "channel": {"id": message.channel, "name": name},
            "message": self.workspace.told(message),
            "state": {"values": {}},
            "actions": [action],
        }

    async def submit(self, view: Mapping[str, Any], **values: str) -> Json:
        """Somebody sends a dialog.

        Args:
            view: one of ``workspace.views``.
            values: what is filled in, by the id of the block.

        Returns:
            What came back with the acknowledgement; ``response_action: errors`` keeps the dialog open.
        """
        return await self.deliver(self.submitted(view, **values))

    def submitted(self, view: Mapping[str, Any], **values: str) -> Json:
        """The payload of a dialog that is sent."""
        user_id = view["user"]
        state = {
            block["block_id"]: {
                block["element"]["action_id"]: _filled(block["element"]["type"], values.get(block["block_id"]))
            }
            for block in view["blocks"]
            if block["type"] == "input"
        }
        sent = {key: value for key, value in view.items() if key != "user"} | {"state": {"values": state}}
        return {
            "type": "view_submission",
            "team": {"id": TEAM, "domain": "local"},
            "user": {"id": user_id, "username": user_id.lower(), "name": user_id.lower(), "team_id": TEAM},
            "api_app_id": APP,
            "token": "deprecated",
            "trigger_id": self.workspace.trigger(user_id),
            "view": sent,
            "response_urls": [],
            "is_enterprise_install": False,
            "enterprise": None,
        }

    async def deliver(self, payload: Json) -> Json:
        """Send a payload to the app and wait for its acknowledgement."""
        return await (self._by_http(payload) if self.request_url else self._by_socket(payload))

    async def _by_socket(self, payload: Json) -> Json:
        if not self._sockets:
            raise NotAcknowledged("no app is connected")
        number = secrets.token_hex(8)
        self._acks[number] = asyncio.get_running_loop().create_future()
        envelope = {
            "envelope_id": number,
            "payload": payload,
            "type": "interactive",
            "accepts_response_payload": True,
        }
        try:
            await self._sockets[-1].send_json(envelope)
            async with asyncio.timeout(self._ack_seconds):
                return await self._acks[number]
        except (TimeoutError, ConnectionError) as error:
            raise NotAcknowledged("the app did not acknowledge in time") from error
        finally:
            del self._acks[number]

    async def _by_http(self, payload: Json) -> Json:
        body, headers = self.signed(payload)
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._ack_seconds)) as session:
                sent = session.post(self.request_url, data=body, headers=headers)
                async with sent as answer:
                    text = await answer.text()
        except (TimeoutError, aiohttp.ClientError) as error:
            raise NotAcknowledged("the app did not acknowledge in time") from error
        if answer.status != 200:  # noqa: PLR2004 - anything else is no acknowledgement
            raise NotAcknowledged(f"the app answered {answer.status}: {text}")
        return dict(json.loads(text)) if text else {}

    def signed(self, payload: Mapping[str, Any], at: float | None = None) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a request as Slack sends and signs it."""
        body = urlencode({"payload": json.dumps(payload)}).encode()
        stamp = str(int(time.time() if at is None else at))
        digest = hmac.new(self.signing_secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={digest.hexdigest()}",
        }
        return body, headers

    async def renew(self) -> None:
        """Ask every connection to come again, as Slack does every few hours, and close it."""
        for socket in list(self._sockets):
            await socket.send_json({"type": "disconnect", "reason": "refresh_requested", "debug_info": {}})
            self._sockets.remove(socket)

    # The server

    async def _api(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        given = await _arguments(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or str(given.pop("token", ""))
        self.asked.append((method, given))
        try:
            if (waiting := self._troubles.get(method)) and (trouble := waiting.popleft()) is not None:
                if isinstance(trouble, int):
                    told = {"ok": False, "error": "ratelimited"}
                    return web.json_response(told, status=429, headers={"Retry-After": str(trouble)})
                raise trouble
            return web.json_response({"ok": True, **self._called(method, given, token)})
        except SlackError as error:
            told = {"ok": False, "error": error.code}
            if error.problems:
                told |= {"errors": list(error.problems), "response_metadata": {"messages": list(error.problems)}}
            return web.json_response(told)

    def _called(self, method: str, given: Json, token: str) -> Json:
        if not token:
            raise SlackError("not_authed")
        if method in _BOT_METHODS_BY_APP_TOKEN:
            if not hmac.compare_digest(token, self.app_token):
                raise SlackError("not_allowed_token_type" if token == self.bot_token else "invalid_auth")
            ticket = secrets.token_hex(12)
            self._tickets.add(ticket)
            return {"url": f"ws://127.0.0.1:{self._port}/link?ticket={ticket}&app_id={APP}"}
        if not hmac.compare_digest(token, self.bot_token):
            raise SlackError("invalid_auth")
        work = self.workspace.method(method)
        if work is None:
            raise SlackError("unknown_method")
        return work(given)

    async def _link(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=404)
        self._tickets.remove(ticket)  # good for one connection
        socket = web.WebSocketResponse(heartbeat=30)
        await socket.prepare(request)
        debug = {"host": "local", "approximate_connection_time": 3600}
        connection = {"app_id": APP}
        told = {"type": "hello", "num_connections": len(self._sockets) + 1, "debug_info": debug}
        await socket.send_json(told | {"connection_info": connection})
        self._sockets.append(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._acknowledged(message.data)
        finally:
            if socket in self._sockets:
                self._sockets.remove(socket)
        return socket

    def _acknowledged(self, text: str) -> None:
        answer = json.loads(text)
        waiting = self._acks.get(answer.get("envelope_id", ""))
        if waiting is not None and not waiting.done():
            waiting.set_result(answer.get("payload") or {})


async def _arguments(request: web.Request) -> Json:
    """Arguments as JSON, as a form, or in the address."""
    if request.content_type == "application/json":
        given = await request.json()
        return dict(given) if isinstance(given, dict) else {}
    form = await request.post() if request.method == "POST" else {}
    return {**request.query, **{key: value for key, value in form.items() if isinstance(value, str)}}


def _filled(kind: str, value: str | None) -> Json:
    if kind == "static_select":
        return {"type": kind, "selected_option": {"value": value} if value else None}
    return {"type": kind, "value": value}
