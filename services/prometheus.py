"""Prometheus over its HTTP API: asked with PromQL, and told numbers through a Pushgateway."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from executor.data_ports import Sample, Series
from executor.errors import Invalid, NotConfigured, StepFailed, Unavailable
from executor.ports import Http
from runbooks.findings import did_you_mean

_MAX_BYTES = 4 * 1024 * 1024
_BAD_REQUEST, _UNPROCESSABLE = 400, 422
_UNAUTHORIZED = (401, 403)
_SHOWN = 300
_PUSH_SECONDS = 10.0


class PrometheusMetrics:
    """Implements ``executor.data_ports.Metrics``.

    Args:
        http: the one way out.
        url: of the server; empty when there is none.
        token: bearer token, or empty.
        queries: PromQL templates by name.
    """

    def __init__(self, http: Http, url: str, *, token: str = "", queries: Mapping[str, str] | None = None) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._token = token
        self._queries = dict(queries or {})

    def named(self, name: str) -> str:
        """The PromQL template of ``metrics.NAME``.

        Raises:
            NotConfigured: the settings do not know it.
        """
        if name in self._queries:
            return self._queries[name]
        advice = did_you_mean(name, self._queries) or "prometheus.queries in the settings gives names to PromQL"
        raise NotConfigured(f"metrics.{name} is not known; {advice}")

    async def instant(self, query: str, *, timeout_seconds: float) -> Sequence[Sample]:
        """The value of each series now.

        Raises:
            Invalid: the query is wrong, or gives a text.
            Unavailable: no usable answer came.
        """
        data = await self._ask("query", {"query": query}, timeout_seconds)
        kind, result = data.get("resultType"), data.get("result") or ()
        if kind == "scalar":
            return (Sample({}, _value(result)),)
        if kind != "vector":
            raise Invalid(f"{query} gives a {kind}, and a number is needed: ask about one moment")
        return tuple(Sample(_labels(item), _value(item["value"])) for item in result)

    async def window(
        self, query: str, start: datetime, end: datetime, *, step_seconds: float, timeout_seconds: float
    ) -> Sequence[Series]:
        """The values of each series over a time.

        Raises:
            Invalid: the query is wrong.
            Unavailable: no usable answer came.
        """
        asked = {"query": query, "start": start.timestamp(), "end": end.timestamp(), "step": f"{step_seconds:g}"}
        data = await self._ask("query_range", asked, timeout_seconds)
        return tuple(
            Series(_labels(item), tuple((float(point[0]), _value(point)) for point in item["values"]))
            for item in data.get("result") or ()
        )

    async def _ask(self, path: str, asked: Mapping[str, Any], timeout_seconds: float) -> Mapping[str, Any]:
        if not self._url:
            raise NotConfigured("there is no Prometheus: set prometheus.url")
        status, _, text = await self._http.request(
            "POST",
            f"{self._url}/api/v1/{path}",
            headers=_headers(self._token, "application/x-www-form-urlencoded"),
            body=urlencode({**asked, "timeout": f"{timeout_seconds:g}s"}),
            timeout_seconds=timeout_seconds,
            max_bytes=_MAX_BYTES,
        )
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, Mapping) or "status" not in answer:
            raise Unavailable(f"Prometheus answered {status} and not in its own words: {text[:_SHOWN]!r}")
        if status in (_BAD_REQUEST, _UNPROCESSABLE):
            raise Invalid(f"Prometheus refuses {asked['query']}: {str(answer.get('error'))[:_SHOWN]}")
        if answer["status"] != "success" or not isinstance(answer.get("data"), Mapping):
            raise Unavailable(f"Prometheus answered {status}: {str(answer.get('error'))[:_SHOWN]}")
        if answer.get("warnings"):
            # A partial answer (of Thanos or Mimir) is missing data.
            raise Unavailable(f"Prometheus answered with warnings: {'; '.join(answer['warnings'])[:_SHOWN]}")
        data: Mapping[str, Any] = answer["data"]
        return data


class MetricsPublisher:
    """Implements ``executor.data_ports.MetricsSink``.

    Args:
        http: the one way out.
        event: told each number, for the own page of metrics.
        pushgateway_url: empty when there is none.
        token: bearer token, or empty.
    """

    def __init__(self, http: Http, event: Callable[..., None], *, pushgateway_url: str = "", token: str = "") -> None:
        self._http = http
        self._event = event
        self._url = pushgateway_url.rstrip("/")
        self._token = token

    async def publish(self, group: Mapping[str, str], values: Mapping[str, float]) -> str:
        """Publish gauges; of the same group and name the last value counts.

        Raises:
            Unavailable: the Pushgateway does not answer.
            Invalid: it refuses a name or a label.
        """
        for name, value in values.items():
            self._event("runbook.metric", runbook=group.get("runbook", ""), metric=name, value=value)
        if not self._url:
            return "own metrics"
        path = "".join(f"/{_part(name)}{_segment(value)}" for name, value in sorted(group.items()))
        status, _, text = await self._http.request(
            "POST",
            f"{self._url}/metrics/job/rootmend{path}",
            headers=_headers(self._token, "text/plain; version=0.0.4"),
            body=_exposition(values),
            timeout_seconds=_PUSH_SECONDS,
        )
        if status in (_BAD_REQUEST, _UNPROCESSABLE, *_UNAUTHORIZED):
            raise Invalid(f"the Pushgateway refuses the metrics ({status}): {text.strip()[:_SHOWN]}")
        if not 200 <= status < 300:  # noqa: PLR2004 - every HTTP status of success
            raise Unavailable(f"the Pushgateway answered {status}: {text.strip()[:_SHOWN]}")
        return "own metrics and Pushgateway"


def _part(name: str) -> str:
    return quote(name, safe="")


def _segment(value: str) -> str:
    """A label's value in the path; the Pushgateway takes base64 for what a path cannot hold."""
    if value and "/" not in value:
        return f"/{quote(value, safe='')}"
    return "@base64/" + (base64.urlsafe_b64encode(value.encode()).decode() or "=")


def _exposition(values: Mapping[str, float]) -> str:
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415 - few need it

    registry = CollectorRegistry()
    for name, value in values.items():
        try:
            Gauge(name, "Published by a runbook", registry=registry).set(value)
        except ValueError as error:
            raise Invalid(f"{name} cannot be published: {error}") from error
    return generate_latest(registry).decode()


def _headers(token: str, kind: str) -> dict[str, str]:
    return {"Content-Type": kind, **({"Authorization": f"Bearer {token}"} if token else {})}


def _labels(item: Mapping[str, Any]) -> Mapping[str, str]:
    return {str(name): str(value) for name, value in (item.get("metric") or {}).items()}


def _value(pair: Sequence[Any]) -> float:
    """The second of time and value; histograms have none."""
    try:
        return float(pair[1])
    except (TypeError, ValueError, IndexError) as error:
        raise StepFailed(f"Prometheus gave {pair!r} where a number belongs") from error
