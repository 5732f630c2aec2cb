"""The local Slack speaks as Slack documents it: driven by the real SDK, through the client that the product uses."""

from __future__ import annotations

import asyncio
from urllib.request import getproxies

import aiohttp
import pytest
from fakes.served import until
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from compose.slack import LocalSlack
from compose.slack.server import NotAcknowledged
from executor.errors import NotConfigured, Permanent, Unavailable
from services.approvals.surface import ComeBackLater
from services.chat import SlackChat
from services.slack.client import SlackApi, proxy_for, web_client
from services.slack.socket import Socket

PROXY = "http://127.0.0.1:9"
"""Nothing listens there: whatever is sent to it fails."""
BUTTON = {
    "type": "actions",
    "elements": [
        {"type": "button", "action_id": "go", "value": "v", "text": {"type": "plain_text", "text": "Go"}},
    ],
}


@pytest.fixture
async def slack():
    async with LocalSlack(ack_seconds=30) as made:
        made.workspace.add_user("U1", "Ada", "ada@example.com")
        yield made


@pytest.fixture
def api(slack):
    return SlackApi(slack.bot_token, base_url=slack.base_url)


async def test_a_message_is_posted_changed_and_answered_in_its_thread(slack, api):
    """Names are taken for posting, ids for changing; threads are kept apart from the channel."""
    posted = await api.call("chat.postMessage", channel="#sre", text="hello", blocks=[BUTTON])
    assert (posted["channel"], posted["ok"]) == ("C0SRE", True)
    await api.call("chat.update", channel="C0SRE", ts=posted["ts"], text="bye")
    await api.call("chat.postMessage", channel="C0SRE", text="below", thread_ts=posted["ts"])
    (root,) = slack.messages()
    assert (root.text, root.edits, root.button("go")) == ("bye", 1, None)
    assert [one.text for one in slack.thread(root)] == ["below"]


@pytest.mark.parametrize(
    ("method", "arguments", "code"),
    [
        ("chat.postMessage", {"channel": "#nowhere", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "#sre"}, "no_text"),
        ("chat.postMessage", {"channel": "#sre", "text": "x", "thread_ts": "1.1"}, "thread_not_found"),
        ("chat.postMessage", {"channel": "#sre", "text": "x" * 40_001}, "msg_too_long"),
        ("chat.postMessage", {"channel": "#sre", "text": "x", "blocks": [BUTTON] * 51}, "invalid_blocks"),
        ("chat.update", {"channel": "C0SRE", "ts": "1.1", "text": "x"}, "message_not_found"),
        ("chat.update", {"channel": "#sre", "ts": "1.1", "text": "x"}, "channel_not_found"),
        ("views.open", {"trigger_id": "none", "view": {}}, "invalid_trigger_id"),
        ("chat.postEphemeral", {"channel": "C0SRE", "user": "U9", "text": "x"}, "user_not_in_channel"),
        ("chat.nonsense", {}, "unknown_method"),
    ],
)
async def test_errors_are_those_that_slack_documents(slack, method, arguments, code):
    """The SDK raises them with their code."""
    client = web_client(slack.bot_token, slack.base_url, 10)
    with pytest.raises(SlackApiError) as raised:
        await client.api_call(method, json=arguments)
    assert raised.value.response["error"] == code


async def test_errors_come_in_our_words(slack, api):
    """What passes, what is not set up, and what is refused are told apart; how long to wait is what Slack said."""
    slack.limit("chat.postMessage", 7)
    with pytest.raises(ComeBackLater) as later:
        await api.call("chat.postMessage", channel="#sre", text="x")
    assert later.value.seconds == 7
    slack.fail("chat.postMessage", "internal_error")
    with pytest.raises(Unavailable):
        await api.call("chat.postMessage", channel="#sre", text="x")
    slack.fail("chat.postMessage", "invalid_auth")
    with pytest.raises(NotConfigured, match="does not accept the token"):
        await api.call("chat.postMessage", channel="#sre", text="x")
    with pytest.raises(NotConfigured, match="cannot post to #nowhere"):
        await api.call("chat.postMessage", "#nowhere", channel="#nowhere", text="x")
    with pytest.raises(Permanent, match="invalid_blocks"):
        await api.call("chat.postMessage", channel="#sre", text="x", blocks=[{"type": "section"}])
    await slack.away()
    with pytest.raises(Unavailable, match="does not answer"):
        await api.call("chat.postMessage", channel="#sre", text="x")
    await slack.back()
    assert (await api.call("chat.postMessage", channel="#sre", text="x"))["ok"]


async def test_a_dialog_opens_once_and_only_while_its_trigger_lives(slack, api):
    """A trigger is good for one dialog, for a few seconds."""
    view = {"type": "modal", "title": {"type": "plain_text", "text": "T"}, "blocks": [{"type": "divider"}]}
    trigger = slack.workspace.trigger("U1")
    await api.call("views.open", trigger_id=trigger, view=view)
    assert slack.workspace.views[0]["user"] == "U1"
    with pytest.raises(Permanent, match="invalid_trigger_id"):
        await api.call("views.open", trigger_id=trigger, view=view)
    slack.workspace.trigger_seconds = -1
    with pytest.raises(Permanent, match="expired_trigger_id"):
        await api.call("views.open", trigger_id=slack.workspace.trigger("U1"), view=view)


async def test_an_account_is_looked_up_with_its_address_only_where_the_scope_allows(slack, api):
    """Without users:read.email the address is missing, and without users:read everything is."""
    assert (await api.look_up("users.info", user="U1"))["user"]["profile"]["email"] == "ada@example.com"
    slack.workspace.scopes.remove("users:read.email")
    assert "email" not in (await api.look_up("users.info", user="U1"))["user"]["profile"]
    with pytest.raises(Permanent, match="user_not_found"):
        await api.look_up("users.info", user="U9")


async def test_socket_mode_delivers_waits_for_the_acknowledgement_and_renews(slack):
    """Payload in, acknowledgement out; after a refresh and after an outage the SDK is there again."""
    heard = []

    async def take(payload):
        heard.append(payload)
        return {"response_action": "errors"} if payload.get("wrong") else {}

    with pytest.raises(NotAcknowledged):
        await slack.deliver({"type": "block_actions"})
    task = asyncio.create_task(Socket(slack.app_token, base_url=slack.base_url, take=take).run())

    async def connected():
        return slack.connections == 1

    try:
        await until(connected, "the app is connected", 60)
        assert await slack.deliver({"n": 1}) == {}
        assert await slack.deliver({"wrong": True}) == {"response_action": "errors"}
        before = len(slack.asked)
        await slack.renew()
        await until(connected, "the app has renewed its connection", 60)
        assert await slack.deliver({"n": 2}) == {}
        await slack.away()
        await slack.back()
        await until(connected, "the app is connected after the outage", 60)
        assert await slack.deliver({"n": 3}) == {}
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert heard == [{"n": 1}, {"wrong": True}, {"n": 2}, {"n": 3}]
    assert [method for method, _ in slack.asked[before:]].count("apps.connections.open") >= 2


async def test_the_app_token_opens_connections_and_a_ticket_is_good_once(slack):
    """A bot token is refused there, and nobody connects with an address that was used."""
    client = web_client(None, slack.base_url, 10)
    with pytest.raises(SlackApiError, match="not_allowed_token_type"):
        await client.apps_connections_open(app_token=slack.bot_token)
    url = (await client.apps_connections_open(app_token=slack.app_token))["url"]
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url) as socket:
            assert (await socket.receive_json())["type"] == "hello"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url)


def test_requests_are_signed_as_the_sdk_checks_them():
    """Its own verifier takes them, and takes nothing that was changed."""
    slack = LocalSlack()
    verifier = SignatureVerifier(slack.signing_secret)
    body, headers = slack.signed({"type": "block_actions"})
    assert verifier.is_valid_request(body, headers)
    assert not verifier.is_valid_request(body + b"x", headers)


async def test_addresses_of_this_machine_do_not_go_through_a_proxy(slack, monkeypatch):
    """HTTPS_PROXY is for the world outside; NO_PROXY is honoured. The SDK by itself would send them there."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, PROXY)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "chat.example.com,.corp")
    assert getproxies()["https"] == PROXY
    assert AsyncWebClient(base_url=slack.base_url).proxy == PROXY
    assert proxy_for("https://slack.com/api/") == PROXY
    assert proxy_for("wss://wss-primary.slack.com/link") == PROXY
    for address in (
        slack.base_url,
        "http://localhost:1/",
        "http://[::1]:1/",
        "https://chat.example.com/",
        "wss://a.corp/",
    ):
        assert proxy_for(address) is None, address
    assert (await SlackApi(slack.bot_token, base_url=slack.base_url).call("auth.test"))["ok"]
    assert await SlackChat(slack.bot_token, base_url=slack.base_url).post("#sre", "hello")
