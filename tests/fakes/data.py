"""Metrics in memory: selectors of name and labels, numbers, and how far back a value still counts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from executor.data_ports import Sample, Series
from executor.errors import Invalid, NotConfigured, NotFound, Unavailable
from runbooks.findings import did_you_mean

LOOK_BACK_SECONDS = 300.0
_SELECTOR = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)?(?:\{(?P<labels>[^}]*)\})?")
_MATCHER = re.compile(r'\s*([a-zA-Z_]\w*)\s*=\s*"([^"]*)"\s*')
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d+)?|NaN|Inf)")


class FakeMetrics:
    """Implements ``executor.data_ports.Metrics``.

    Attributes:
        queries: PromQL templates by name.
        away: nobody answers.
        asked: every query, in order.
    """

    def __init__(self, clock) -> None:
        self._clock = clock
        self._series: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[float, float]]] = {}
        self.queries: dict[str, str] = {}
        self.away = False
        self.asked: list[str] = []

    def add(self, name: str, value: float, /, *, seconds_ago: float = 0, **labels: str) -> None:
        """A value of a series."""
        at = self._clock.now().timestamp() - seconds_ago
        points = self._series.setdefault((name, tuple(sorted(labels.items()))), [])
        points.append((at, value))
        points.sort()

    def named(self, name: str) -> str:
        if name not in self.queries:
            raise NotConfigured(f"metrics.{name} is not known; {did_you_mean(name, self.queries)}")
        return self.queries[name]

    async def instant(self, query: str, *, timeout_seconds: float) -> Sequence[Sample]:
        return self._at(query, self._clock.now().timestamp())

    async def window(
        self, query: str, start: datetime, end: datetime, *, step_seconds: float, timeout_seconds: float
    ) -> Sequence[Series]:
        found: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
        at, last = start.timestamp(), end.timestamp()
        while at <= last:
            for sample in self._at(query, at):
                found.setdefault(tuple(sample.labels.items()), []).append((at, sample.value))
            at += step_seconds
        return tuple(Series(dict(labels), points) for labels, points in found.items())

    def _at(self, query: str, moment: float) -> Sequence[Sample]:
        self.asked.append(query)
        if self.away:
            raise Unavailable("nobody answers")
        if _NUMBER.fullmatch(query.strip()):
            return (Sample({}, float(query)),)
        name, matchers = _selected(query)
        found = []
        for (own, labels), points in self._series.items():
            latest = [point for point in points if moment - LOOK_BACK_SECONDS <= point[0] <= moment]
            if own == name and latest and all(dict(labels).get(key) == value for key, value in matchers.items()):
                found.append(Sample({"__name__": own, **dict(labels)}, latest[-1][1]))
        return tuple(found)


def _selected(query: str) -> tuple[str, Mapping[str, str]]:
    selector = _SELECTOR.fullmatch(query.strip())
    if selector is None or not selector["name"]:
        raise Invalid(f"the fake cannot read {query}")
    parts = [part for part in (selector["labels"] or "").split(",") if part]
    found = [_MATCHER.fullmatch(part) for part in parts]
    if None in found:
        raise Invalid(f"the fake cannot read {query}")
    return selector["name"], dict(match.groups() for match in found)


class FakeMetricsSink:
    """Implements ``executor.data_ports.MetricsSink``: the last value of each group and name."""

    def __init__(self) -> None:
        self.published: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}

    async def publish(self, group: Mapping[str, str], values: Mapping[str, float]) -> str:
        assert all(math.isfinite(value) for value in values.values())
        self.published.setdefault(tuple(sorted(group.items())), {}).update(values)
        return "the fake"


class FakeFiles:
    """Implements ``executor.data_ports.Files`` with texts by name."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    async def text(self, folder: str, name: str, *, max_bytes: int) -> str:
        if name not in self.texts:
            raise NotFound(f"there is no file {name} beside the runbook; {did_you_mean(name, self.texts)}".rstrip("; "))
        return self.texts[name]
