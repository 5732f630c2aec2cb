"""Metrics of runbooks: what the fake says, a real Prometheus says."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from fakes.data import FakeMetrics
from fakes.nearby import nearby_client
from integration.prometheus_server import SCRAPE_SECONDS, run_monitoring

from executor.errors import Invalid, NotConfigured, Unavailable
from services.clock import SystemClock
from services.prometheus import MetricsPublisher, PrometheusMetrics

QUERIES = {"errorRate": 'errors{namespace="{{ namespace }}"}'}


class Real:
    """A Prometheus with values that were pushed."""

    def __init__(self, server, http):
        self.server, self.http = server, http
        self.metrics = PrometheusMetrics(http, server.prometheus, queries=QUERIES)

    async def feed(self, name, value, **labels):
        """Push a value, and wait until Prometheus has read it."""
        inner = ",".join(f'{key}="{text}"' for key, text in labels.items())
        await self.server.push(uuid4().hex, f"{name}{{{inner}}} {value}\n")
        async with asyncio.timeout(15):
            while not await self._known(name, labels):  # noqa: ASYNC110 - another process
                await asyncio.sleep(SCRAPE_SECONDS / 2)

    async def _known(self, name, labels):
        inner = ",".join(f'{key}="{text}"' for key, text in labels.items())
        return await self.metrics.instant(f"{name}{{{inner}}}", timeout_seconds=5)


class Fake:
    """The fake with values in memory."""

    def __init__(self):
        self.metrics = FakeMetrics(SystemClock())
        self.metrics.queries = QUERIES

    async def feed(self, name, value, **labels):
        self.metrics.add(name, float(value), **labels)


@pytest.fixture(scope="module")
async def monitoring(tmp_path_factory):
    async with run_monitoring(tmp_path_factory.mktemp("monitoring")) as server:
        yield server


@pytest.fixture
async def http():
    client = nearby_client()
    yield client
    await client.close()


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
def side(request, http):
    return Fake() if request.param == "fake" else Real(request.getfixturevalue("monitoring"), http)


@pytest.fixture
def name():
    return f"m_{uuid4().hex[:8]}"


async def ask(side, query):
    return await side.metrics.instant(query, timeout_seconds=5)


async def test_a_series_has_labels_and_a_value(side, name):
    """The labels are those that were given, beside the name."""
    await side.feed(name, 4.5, pod="a")
    (sample,) = await ask(side, name)
    assert sample.value == 4.5
    assert sample.labels["pod"] == "a"
    assert sample.labels["__name__"] == name


async def test_every_series_of_a_query_is_given(side, name):
    """A selector narrows them."""
    await side.feed(name, 1, pod="a")
    await side.feed(name, 2, pod="b")
    assert sorted(sample.value for sample in await ask(side, name)) == [1, 2]
    (one,) = await ask(side, f'{name}{{pod="b"}}')
    assert one.value == 2


async def test_what_was_never_measured_is_no_series(side, name):
    """Not a zero."""
    assert list(await ask(side, name)) == []


async def test_nan_stays_nan(side, name):
    """The adapter does not judge."""
    await side.feed(name, "NaN", pod="a")
    (sample,) = await ask(side, name)
    assert math.isnan(sample.value)


async def test_a_number_is_a_sample_without_labels(side):
    """PromQL's scalars are numbers too."""
    (sample,) = await ask(side, "42")
    assert (dict(sample.labels), sample.value) == ({}, 42)


@pytest.mark.parametrize("query", ["sum(", "a{b=}", "1 +"])
async def test_a_wrong_query_is_the_authors_mistake(side, query):
    """Trying again would not help."""
    with pytest.raises(Invalid):
        await ask(side, query)


async def test_a_window_has_a_point_for_each_step(side, name):
    """Points before the first measurement are missing, not zero."""
    await side.feed(name, 7, pod="a")
    end = datetime.now(UTC) + timedelta(seconds=2)
    found = await side.metrics.window(
        name, end - timedelta(seconds=600), end + timedelta(seconds=60), step_seconds=10, timeout_seconds=5
    )
    (series,) = found
    assert {value for _, value in series.points} == {7}
    assert 5 <= len(series.points) <= 9
    assert list(await side.metrics.window(name + "_x", end, end, step_seconds=10, timeout_seconds=5)) == []


def test_a_named_query_is_known_and_a_misspelt_one_names_the_nearest(side):
    """The names come from the settings."""
    assert side.metrics.named("errorRate") == QUERIES["errorRate"]
    with pytest.raises(NotConfigured, match="errorRate"):
        side.metrics.named("errorRat")


async def test_nobody_there_is_worth_another_try(http):
    """A server that is away, and one that is no Prometheus, gave no measurement."""
    with pytest.raises(Unavailable):
        await PrometheusMetrics(http, "http://127.0.0.1:1").instant("up", timeout_seconds=1)
    with pytest.raises(NotConfigured, match=r"prometheus\.url"):
        await PrometheusMetrics(http, "").instant("up", timeout_seconds=1)


@pytest.mark.stack
async def test_another_server_is_no_prometheus(http, monitoring):
    """A page that is no answer is not taken for one."""
    with pytest.raises(Unavailable, match="not in its own words"):
        await PrometheusMetrics(http, monitoring.pushgateway + "/nowhere").instant("up", timeout_seconds=5)


# Publishing


@pytest.mark.stack
@pytest.mark.parametrize("team", ["blue", "a/b c", ""])
async def test_published_numbers_can_be_asked_for(http, monitoring, name, team):
    """Whatever the labels hold, and the last value counts."""
    told = []
    sink = MetricsPublisher(
        http, lambda event, **facts: told.append((event, facts)), pushgateway_url=monitoring.pushgateway
    )
    for value in (1.0, 2.5):
        assert await sink.publish({"runbook": "rb-1", "team": team}, {name: value}) == "own metrics and Pushgateway"
    assert told[-1] == ("runbook.metric", {"runbook": "rb-1", "metric": name, "value": 2.5})
    metrics = PrometheusMetrics(http, monitoring.prometheus)
    async with asyncio.timeout(15):
        while not (found := [s for s in await metrics.instant(name, timeout_seconds=5) if s.value == 2.5]):  # noqa: ASYNC110 - as above
            await asyncio.sleep(SCRAPE_SECONDS / 2)
    assert found[0].labels["runbook"] == "rb-1"
    assert found[0].labels.get("team", "") == team
    assert found[0].labels["job"] == "rootmend"


async def test_a_pushgateway_that_is_away_is_worth_another_try(http):
    """The number is on the own page of metrics all the same."""
    told = []
    sink = MetricsPublisher(http, lambda event, **_: told.append(event), pushgateway_url="http://127.0.0.1:1")
    with pytest.raises(Unavailable):
        await sink.publish({"runbook": "r"}, {"m": 1.0})
    assert told == ["runbook.metric"]
