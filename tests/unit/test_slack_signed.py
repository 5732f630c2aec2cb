"""Which requests over HTTP are Slack's: signature, time, and no second time."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
from httpx import ASGITransport, AsyncClient
from redis.exceptions import ConnectionError as RedisGone
from starlette.applications import Starlette
from starlette.routing import Route

from compose.slack import LocalSlack
from services.api.interactions import PATH, Interactions
from services.slack.signed import WINDOW_SECONDS, NotFromSlack, Signatures

NOW = 1_772_000_000.0


class Shared:
    """The part of Redis that is used: what several processes see."""

    def __init__(self):
        self.keys, self.away = {}, False

    async def set(self, key, value, *, nx, ex):
        if self.away:
            raise RedisGone("gone")
        assert nx
        assert ex >= 2 * WINDOW_SECONDS
        return None if key in self.keys else self.keys.setdefault(key, True)


@pytest.fixture
def slack():
    return LocalSlack()


def signatures(slack, redis=None, now=NOW):
    return Signatures(slack.signing_secret, redis, "test:", lambda: now)


def lower(headers):
    return {name.lower(): value for name, value in headers.items()}


async def test_a_signed_request_is_taken_once(slack):
    """Sent again within the window, byte for byte, it is refused; the next one is taken."""
    check = signatures(slack)
    body, headers = slack.signed({"n": 1}, NOW)
    await check.check(body, lower(headers))
    with pytest.raises(NotFromSlack, match="before"):
        await check.check(body, lower(headers))
    body, headers = slack.signed({"n": 2}, NOW)
    await check.check(body, lower(headers))


async def test_another_process_refuses_a_replay_too(slack):
    """What was taken is remembered for all."""
    shared = Shared()
    body, headers = slack.signed({"n": 1}, NOW)
    await signatures(slack, shared).check(body, lower(headers))
    with pytest.raises(NotFromSlack, match="before"):
        await signatures(slack, shared).check(body, lower(headers))


async def test_with_redis_away_a_process_still_refuses_its_own_replays(slack):
    """Clicks count, and the memory of the process is left."""
    shared = Shared()
    shared.away = True
    check = signatures(slack, shared)
    body, headers = slack.signed({"n": 1}, NOW)
    await check.check(body, lower(headers))
    with pytest.raises(NotFromSlack, match="before"):
        await check.check(body, lower(headers))


async def test_of_the_same_request_many_times_at_once_one_is_taken(slack):
    """No gap between looking and remembering."""
    check = signatures(slack, Shared())
    body, headers = slack.signed({"n": 1}, NOW)
    results = await asyncio.gather(*(check.check(body, lower(headers)) for _ in range(20)), return_exceptions=True)
    assert results.count(None) == 1


@pytest.mark.parametrize("off", [-WINDOW_SECONDS - 1, WINDOW_SECONDS + 1, -(10**9)])
async def test_a_request_outside_the_window_is_refused(slack, off):
    """Also when its signature is right."""
    body, headers = slack.signed({"n": 1}, NOW + off)
    with pytest.raises(NotFromSlack, match="older or newer"):
        await signatures(slack).check(body, lower(headers))


@pytest.mark.parametrize("off", [-WINDOW_SECONDS, WINDOW_SECONDS])
async def test_the_edge_of_the_window_is_inside(slack, off):
    """Five minutes are five minutes."""
    body, headers = slack.signed({"n": 1}, NOW + off)
    await signatures(slack).check(body, lower(headers))


@pytest.mark.parametrize(
    "change",
    [
        {"x-slack-signature": ""},
        {"x-slack-signature": "v0=" + "0" * 64},
        {"x-slack-signature": "v1=é"},
        {"x-slack-request-timestamp": ""},
        {"x-slack-request-timestamp": "now"},
        {"x-slack-request-timestamp": "-5"},
        {"x-slack-request-timestamp": "9" * 400},
        {"x-slack-request-timestamp": "١٧٧٢٠٠٠٠٠٠"},
        {"x-slack-request-timestamp": str(int(NOW) + 1)},
    ],
)
async def test_a_forged_request_is_refused_and_not_remembered(slack, change):
    """A wrong guess must not shut the right request out."""
    check = signatures(slack)
    body, headers = slack.signed({"n": 1}, NOW)
    with pytest.raises(NotFromSlack):
        await check.check(body, lower(headers) | change)
    with pytest.raises(NotFromSlack):
        await check.check(body + b"&x=1", lower(headers))
    await check.check(body, lower(headers))


async def test_a_signature_of_another_secret_is_refused(slack):
    """Who does not know the secret is not Slack."""
    body, headers = LocalSlack().signed({"n": 1}, NOW)
    with pytest.raises(NotFromSlack, match="not Slack's"):
        await signatures(slack).check(body, lower(headers))


async def test_the_memory_of_requests_is_bounded(slack, monkeypatch):
    """A flood of signed requests does not fill the memory; old ones are outside the window anyway."""
    monkeypatch.setattr("services.slack.signed._MOST_REMEMBERED", 10)
    check = signatures(slack)
    for number in range(50):
        body, headers = slack.signed({"n": number}, NOW)
        await check.check(body, lower(headers))
    assert len(check._seen) <= 10


class Taken:
    """Stands for the clicks."""

    def __init__(self):
        self.payloads, self.busy, self.reply = [], False, {}

    async def take(self, payload):
        self.payloads.append(payload)
        return self.reply


@pytest.fixture
def site(slack):
    clicks = Taken()
    app = Starlette(routes=[Route(PATH, Interactions(signatures(slack), clicks).__call__, methods=["POST"])])
    return SimpleNamespace(
        clicks=clicks, client=AsyncClient(transport=ASGITransport(app), base_url="http://test"), slack=slack
    )


async def test_the_endpoint_takes_what_is_signed_and_answers_with_the_mistakes(site):
    """200 with nothing for a click, with the mistakes for a dialog."""
    body, headers = site.slack.signed({"type": "block_actions"}, NOW)
    answer = await site.client.post(PATH, content=body, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    site.clicks.reply = {"response_action": "errors", "errors": {"reason": "why?"}}
    body, headers = site.slack.signed({"type": "view_submission"}, NOW)
    answer = await site.client.post(PATH, content=body, headers=headers)
    assert answer.json() == site.clicks.reply
    assert [one["type"] for one in site.clicks.payloads] == ["block_actions", "view_submission"]


async def test_the_endpoint_refuses_what_it_should_before_anything_is_done(site):
    """Replays, forgeries, other content types, bodies that are too large, no payload, and too much at once."""
    body, headers = site.slack.signed({"type": "block_actions"}, NOW)

    async def status(content, **changes):
        return (await site.client.post(PATH, content=content, headers=headers | changes)).status_code

    assert await status(body, **{"X-Slack-Signature": "v0=0"}) == 401
    assert await status(body, **{"Content-Type": "application/json"}) == 415
    assert await status(b"x" * 600_000) == 413
    assert await status(body) == 200
    assert await status(body) == 401
    site.clicks.busy = True
    assert await status(body) == 503
    site.clicks.busy = False
    assert len(site.clicks.payloads) == 1


@pytest.mark.parametrize("payload", ["[1]", "null", '"text"', "7"])
async def test_a_payload_that_is_no_object_is_told_so(site, payload):
    """Signed nonsense is a 400, not a trace."""
    body, headers = site.slack.signed(json.loads(payload), NOW)
    assert (await site.client.post(PATH, content=body, headers=headers)).status_code == 400
    assert site.clicks.payloads == []
