"""What the receiver takes, what it refuses, and when it says that Kafka has it."""

from __future__ import annotations

import asyncio
import contextlib
import time

import httpx
import orjson
import pytest
from fakes.guards import token_guard
from fakes.recording_publisher import RecordingPublisher

from safety.access import ALERTS
from services.api.app import create_app
from services.api.receiver import Receiver
from services.api.server import ApiServer, CannotListen
from services.health import Health
from services.metrics import Metrics

TOKEN = "correct horse battery"
BODY = orjson.dumps(
    {
        "version": "4",
        "groupKey": '{}:{alertname="KubePodCrashLooping"}',
        "status": "firing",
        "alerts": [{"status": "firing", "labels": {"alertname": "KubePodCrashLooping"}, "annotations": {}}],
    }
)
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


@contextlib.asynccontextmanager
async def serving(publisher, **options):
    """The service's HTTP side with a receiver, over a real socket."""
    receiver = Receiver(publisher, "alerts", token_guard(TOKEN, ALERTS), **options)
    server = ApiServer(create_app(Health(), Metrics(), receiver), port=0)
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as http:
            yield http
    finally:
        await server.stop()


async def send(http, body=BODY, headers=None):
    return await http.post("/api/v1/alertmanager", content=body, headers=HEADERS if headers is None else headers)


async def test_a_webhook_is_put_on_kafka_unchanged_and_then_accepted():
    """Intake sees what Alertmanager sent, keyed so that the messages of a group stay in order."""
    publisher = RecordingPublisher()
    async with serving(publisher) as http:
        answer = await send(http)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    (message,) = publisher.messages
    assert (message.topic, message.value) == ("alerts", BODY)
    assert message.key == '{}:{alertname="KubePodCrashLooping"}'


async def test_the_answer_waits_for_kafka():
    """Success before the acknowledgement would lose the alert in a crash."""
    publisher = RecordingPublisher()
    publisher.delay_seconds = 0.5
    async with serving(publisher) as http:
        pending = asyncio.create_task(send(http))
        await asyncio.sleep(0.2)
        assert not pending.done()
        assert publisher.messages == []
        assert (await pending).status_code == 202
        assert len(publisher.messages) == 1


async def test_kafka_away_is_told_so_that_the_sender_repeats():
    """503 and Retry-After make Alertmanager keep the alert."""
    publisher = RecordingPublisher()
    publisher.away = True
    async with serving(publisher) as http:
        answer = await send(http)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        publisher.away = False
        assert (await send(http)).status_code == 202


async def test_a_kafka_that_hangs_is_answered_in_bounded_time():
    """The sender's own timeout must not be what ends the wait."""
    publisher = RecordingPublisher()
    publisher.delay_seconds = 30
    async with serving(publisher, produce_timeout_seconds=0.2) as http:
        began = time.monotonic()
        assert (await send(http)).status_code == 503
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xff\xfe"],
)
async def test_without_the_right_token_nothing_is_taken(given):
    """Whoever does not know the token cannot cause a remediation."""
    publisher = RecordingPublisher()
    headers = {"Content-Type": "application/json"}
    if given is not None:
        headers["Authorization"] = given.encode("latin-1")
    async with serving(publisher) as http:
        answer = await send(http, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert publisher.asked == 0


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "alerts"),
        (b'{"alerts": []}', "at least one"),
        (b'{"alerts": {"a": 1}}', "must be a list"),
        (b'{"alerts": [1]}', "has no labels"),
        (b'{"alerts": [{"labels": {}}]}', "neither firing nor resolved"),
    ],
)
async def test_what_is_no_webhook_is_told_to_its_sender(body, word):
    """A mistake in the sender's configuration shows there, not in the DLQ."""
    publisher = RecordingPublisher()
    async with serving(publisher) as http:
        answer = await send(http, body)
    assert answer.status_code == 400
    assert word in answer.json()["error"]
    assert publisher.asked == 0


async def test_another_content_type_is_refused():
    """A form of a web page is not a webhook."""
    async with serving(RecordingPublisher()) as http:
        answer = await send(http, headers={**HEADERS, "Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 415


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_the_limit_is_refused_however_it_is_sent(chunked):
    """Memory stays bounded also when the length is not declared."""
    publisher = RecordingPublisher()

    async def chunks():
        for _ in range(100):
            yield b" " * 1000

    async with serving(publisher, max_body_bytes=5_000) as http:
        with contextlib.suppress(httpx.TransportError):  # the server may close while the rest is being sent
            answer = await send(http, chunks() if chunked else b" " * 100_000)
            assert answer.status_code == 413
            assert "max_alerts" in answer.json()["error"]
        assert (await send(http)).status_code == 202
    assert len(publisher.messages) == 1


async def test_get_is_not_allowed():
    """The receiver only takes."""
    async with serving(RecordingPublisher()) as http:
        assert (await http.get("/api/v1/alertmanager")).status_code == 405


async def test_an_empty_token_is_no_token():
    """It would let everybody in."""
    with pytest.raises(ValueError, match="everybody"):
        token_guard("", ALERTS)


async def test_a_taken_port_is_told_and_does_not_end_the_process():
    """The message names the settings that choose the address."""
    async with serving(RecordingPublisher()) as http:
        taken = http.base_url.port
        with pytest.raises(CannotListen, match=r"api\.port"):
            await ApiServer(create_app(Health(), Metrics()), port=taken).start()
