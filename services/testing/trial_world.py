"""The declared world of a scenario: every port answers what the pack says, keeps what it was sent, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import orjson

from executor.data_ports import Sample, Series, SqlAnswer
from executor.errors import Invalid, MissingSecret, Unavailable
from runbooks.templates import TemplateError, evaluate
from services.testing.acceptance import Answered, Fakes, Measured, Rows, Sick
from services.testing.cluster import MemoryCluster

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""A Monday morning: inside of every usual change window."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Something that left for the world."""

    verb: str
    object: str
    body: str = ""


@dataclass(slots=True)
class Notes:
    """What the world was sent and told."""

    sent: list[Sent] = field(default_factory=list)
    published: dict[str, float] = field(default_factory=dict)


class TrialClock:
    """Implements ``executor.ports.Clock``: waiting takes no time, work takes what it takes."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._began = time.monotonic()
        self._slept = 0.0

    def now(self) -> datetime:
        """The trial's time."""
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Seconds since the trial began."""
        return time.monotonic() - self._began + self._slept

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self._slept += max(seconds, 0)
        await asyncio.sleep(0)


class DeclaredHttp:
    """Implements ``executor.ports.Http``."""

    def __init__(self, answers: Sequence[Answered], fixture: Any, notes: Notes) -> None:
        self._answers = answers
        self._fixture = fixture
        self._notes = notes

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: str | bytes, timeout_seconds: float
    ) -> tuple[int, Mapping[str, str], str]:
        """The first declared answer that fits."""
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        self._notes.sent.append(Sent(method, url, text))
        for answer in self._answers:
            if _fits(answer, method, url, text):
                given = self._fixture if answer.fixture else answer.body
                told = given if isinstance(given, str) else orjson.dumps(given).decode()
                kind = "text/plain" if isinstance(given, str) else "application/json"
                return answer.status, {"content-type": kind}, told
        raise Unavailable(f"no answer is declared for {method} {url} (fakes.http)")


def _fits(answer: Answered, method: str, url: str, body: str) -> bool:
    addressed = fnmatchcase(url, answer.url) or fnmatchcase(urlsplit(url).path, answer.url)
    return answer.method in ("*", method.upper()) and addressed and answer.contains in body


class DeclaredRows:
    """Implements ``executor.data_ports.Sql`` and ``executor.ports.GraphReader``."""

    def __init__(self, sql: Sequence[Rows], graph: Sequence[Rows], notes: Notes) -> None:
        self._sql = sql
        self._graph = graph
        self._notes = notes

    def check(self, connection: str, *, write: bool) -> None:
        """Every connection is there."""

    async def read(self, first: str, second: Any, *rest: Any, **_: Any) -> Any:
        """Rows: of the graph for (query, parameters), of a database for (connection, statement, parameters)."""
        if not rest:
            return list(_rows(self._graph, first, "fakes.graph").rows)
        return SqlAnswer(rows=_rows(self._sql, str(second), "fakes.sql").rows)

    async def write(self, connection: str, statement: str, *_: Any, **__: Any) -> SqlAnswer:
        """Rows of a write."""
        self._notes.sent.append(Sent("sql", connection, statement))
        found = _rows(self._sql, statement, "fakes.sql")
        return SqlAnswer(rows=found.rows, changed=found.changed)


def _rows(answers: Sequence[Rows], statement: str, where: str) -> Rows:
    for answer in answers:
        if answer.contains in statement:
            return answer
    raise Invalid(f"no answer is declared for {statement[:100]!r} ({where})")


class DeclaredMetrics:
    """Implements ``executor.data_ports.Metrics`` and ``MetricsSink``."""

    def __init__(self, answers: Sequence[Measured], notes: Notes) -> None:
        self._answers = answers
        self._notes = notes

    def named(self, name: str) -> str:
        """Each name of the settings is a query of its own."""
        return name

    async def instant(self, query: str, *, timeout_seconds: float) -> Sequence[Sample]:
        """The declared values."""
        return [Sample({"series": str(at)}, value) for at, value in enumerate(self._values(query))]

    async def window(
        self, query: str, start: datetime, end: datetime, *, step_seconds: float, timeout_seconds: float
    ) -> Sequence[Series]:
        """The declared values, the same all the time."""
        moments = (start.timestamp(), end.timestamp())
        return [Series({"series": str(at)}, [(m, v) for m in moments]) for at, v in enumerate(self._values(query))]

    async def publish(self, group: Mapping[str, str], values: Mapping[str, float]) -> str:
        """Keep what a runbook publishes."""
        self._notes.published.update(values)
        return "the report"

    def _values(self, query: str) -> Sequence[float]:
        for answer in self._answers:
            if answer.contains in query:
                return answer.values
        raise Invalid(f"no answer is declared for {query[:100]!r} (fakes.metrics)")


class DeclaredSecrets:
    """Implements ``executor.ports.Secrets``."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    async def get(self, name: str) -> str:
        """The made-up value."""
        if name not in self._values:
            raise MissingSecret(f"no secret {name!r} is declared (secrets)")
        return self._values[name]

    def forget(self, names: Collection[str]) -> None:
        """Nothing is kept: made-up values do not change."""


class Told:
    """Implements ``executor.ports.Chat``, ``Teams``, ``Pager`` and ``Mailer``: keeps what people would be told."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def __getattr__(self, name: str) -> Any:
        async def told(*args: Any, **kwargs: Any) -> str:
            self._notes.sent.append(Sent(name, str(args[0]) if args else "", f"{args[1:]} {kwargs or ''}".strip()))
            return f"told-{len(self._notes.sent)}"

        return told


class Quiet:
    """Implements ``executor.ports.FreshSignals``: nothing new is heard of."""

    async def since(self, *_: object) -> Sequence[str]:
        """No signals."""
        return ()


def memory_cluster(objects: Sequence[Mapping[str, Any]], fakes: Fakes) -> MemoryCluster:
    """The cluster with its objects, and with the sick pods."""
    cluster = MemoryCluster()
    cluster.health = lambda pod: _why_sick(pod, fakes.sick)
    for item in objects:
        meta = item.get("metadata", {})
        place = (str(item["kind"]), str(meta.get("name", "")), str(meta.get("namespace", "")))
        if cluster.look(*place) is None:
            cluster.add(item)
        else:
            # Declared twice: it was changed since, so that a workload has an earlier revision.
            cluster.change(*place, item)
    cluster.epoch = START
    return cluster


def _why_sick(pod: Mapping[str, Any], sick: Sequence[Sick]) -> str:
    labels = pod.get("metadata", {}).get("labels") or {}
    for one in sick:
        if all(labels.get(key) == value for key, value in one.labels.items()) and not _well(one.unless, pod):
            return one.why
    return ""


def _well(expression: str, pod: Mapping[str, Any]) -> bool:
    try:
        return evaluate(expression, {"pod": pod}) is True
    except TemplateError:
        return False  # what it asks for is not there
