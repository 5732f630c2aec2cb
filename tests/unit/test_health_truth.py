"""Health tells the truth about each dependency, each role and the event loop."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from services.api.app import create_app
from services.health import Health, Probe
from services.metrics import Metrics


async def up():
    return True


async def down():
    raise ConnectionError("refused redis://:hunter2@10.0.0.1")


def client(health, metrics=None):
    app = create_app(health, metrics or Metrics())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")


async def test_ready_only_when_everything_needed_answers():
    """One needed dependency that is down makes the whole not ready, and is named."""
    async with client(Health([Probe("kafka", up), Probe("neo4j", down)])) as http:
        answer = await http.get("/readyz")
    assert answer.status_code == 503
    body = answer.json()
    assert body["status"] == "not ready: neo4j"
    assert body["dependencies"]["kafka"]["up"] is True
    assert body["dependencies"]["neo4j"]["detail"].startswith("ConnectionError: refused")


async def test_a_password_in_an_error_is_not_told():
    """The detail of a failure is shown to whoever can reach the port."""
    async with client(Health([Probe("redis", down)])) as http:
        assert "hunter2" not in (await http.get("/readyz")).text


async def test_without_redis_the_pipeline_is_degraded_not_gone():
    """Redis away means approval only: traffic is still welcome, and the answer says what is missing."""
    probes = [Probe("kafka", up), Probe("redis", down, needed=False, when_down="approval only")]
    async with client(Health(probes)) as http:
        answer = await http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded: approval only"


async def test_a_check_may_say_no_or_give_a_detail():
    """False is down; a text is a detail of an answer that is fine."""

    async def says_no():
        return False

    async def says_more():
        return "3 runbooks"

    readiness = await Health([Probe("a", says_no), Probe("b", says_more)]).readiness()
    assert [(a.up, a.detail) for a in readiness.answers] == [(False, ""), (True, "3 runbooks")]


async def test_a_dependency_that_hangs_counts_as_down_in_bounded_time():
    """The prober gets its answer although a dependency gives none."""

    async def hangs():
        await asyncio.sleep(60)

    began = time.monotonic()
    readiness = await Health([Probe("kafka", hangs), Probe("neo4j", hangs)], timeout_seconds=0.1).readiness()
    assert time.monotonic() - began < 1
    assert not readiness.ready
    assert "no answer within" in readiness.answers[0].detail


async def test_many_probers_cost_one_round_of_questions():
    """Answers are shared for a short time, also among those who ask at once."""
    asked = 0
    now = 0.0

    async def count():
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)

    health = Health([Probe("kafka", count)], cache_seconds=2, monotonic=lambda: now)
    await asyncio.gather(*(health.readiness() for _ in range(20)))
    assert asked == 1
    now = 1.9
    await health.readiness()
    assert asked == 1
    now = 2.1
    await health.readiness()
    assert asked == 2


async def test_a_dependency_that_comes_back_is_ready_again():
    """An old failure is not remembered longer than the cache."""
    working = False

    async def check():
        return working

    health = Health([Probe("kafka", check)], cache_seconds=0)
    assert not (await health.readiness()).ready
    working = True
    assert (await health.readiness()).ready


async def test_dependencies_are_metrics_too():
    """What readyz says can be alerted on."""
    metrics = Metrics()
    async with client(Health([Probe("kafka", up), Probe("redis", down)], hooks=metrics), metrics) as http:
        await http.get("/readyz")
        page = (await http.get("/metrics")).text
    assert 'rootmend_dependency_up{name="kafka"} 1.0' in page
    assert 'rootmend_dependency_up{name="redis"} 0.0' in page


async def test_a_broken_role_makes_the_process_unhealthy():
    """A process whose consumer died must be restarted, although it still answers."""
    health = Health()
    health.role("decide")
    health.role("act", "stopped")
    async with client(health) as http:
        assert (await http.get("/healthz")).status_code == 200
        health.role("decide", "failed: ValueError")
        answer = await http.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "broken: decide"


async def test_dependencies_do_not_make_the_process_unhealthy():
    """Restarting does not bring Kafka back: alive and ready are different questions."""
    async with client(Health([Probe("kafka", down)])) as http:
        assert (await http.get("/healthz")).status_code == 200


async def test_a_blocked_event_loop_is_seen_afterwards():
    """A loop that was blocked shows how long, for the minute that follows."""
    health = Health()
    await health.start()
    try:
        await asyncio.sleep(0.05)
        time.sleep(0.6)  # noqa: ASYNC251 - blocking the loop is the point
        await asyncio.sleep(0.3)
        alive, detail = health.alive()
    finally:
        await health.stop()
    assert alive
    assert detail["event_loop"]["worst_lag_seconds_last_minute"] > 0.2


async def test_a_loop_that_does_not_come_round_is_not_alive():
    """Without a heartbeat for seconds, leases are lost: the process says so."""
    now = 0.0
    health = Health(monotonic=lambda: now)
    await health.start()
    try:
        now = 60.0
        alive, detail = health.alive()
    finally:
        await health.stop()
    assert (alive, detail["status"]) == (False, "broken: event loop")


@pytest.mark.parametrize("path", ["/api/v1/alertmanager"])
async def test_the_receiver_is_off_without_a_token(path):
    """Nobody can put alerts on Kafka through a service that was not told whom to trust."""
    async with client(Health()) as http:
        answer = await http.post(path, json={"alerts": []})
    assert answer.status_code == 404
    assert "api.receiver_token" in answer.json()["error"]
