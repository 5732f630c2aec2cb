"""The other ports that actions act through, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fakes.cluster import FakeCluster
from fakes.data import FakeFiles, FakeMetrics, FakeMetricsSink

from executor.actions.base import World
from executor.errors import MissingSecret, StepFailed


class FakeClock:
    """Virtual time: sleeping advances it, and lets others run.

    Implements the clocks of executor and safety.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) -> None:
        self._now = start
        self._elapsed = 0.0
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._elapsed += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(max(seconds, 0))
        self.on_sleep()
        await asyncio.sleep(0)


@dataclass(slots=True)
class Request:
    """One HTTP request that was made."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str | bytes
    timeout_seconds: float


class FakeHttp:
    """Answers from a queue, 200 when it is empty; an exception in the queue is raised.

    Attributes:
        requests: all that were made, in order.
        seen_keys: how often each Idempotency-Key came.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[tuple[int, str] | tuple[int, str, Mapping[str, str]] | Exception] = []
        self.seen_keys: dict[str, int] = {}

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: str | bytes,
        timeout_seconds: float,
        max_bytes: int = 0,
    ) -> tuple[int, Mapping[str, str], str]:
        self.requests.append(Request(method, url, dict(headers), body, timeout_seconds))
        key = headers.get("Idempotency-Key", "")
        self.seen_keys[key] = self.seen_keys.get(key, 0) + 1
        answer = self.answers.pop(0) if self.answers else (200, "")
        if isinstance(answer, Exception):
            raise answer
        if max_bytes and len(answer[1].encode()) > max_bytes:
            raise StepFailed(f"the answer is longer than {max_bytes} bytes")
        return answer[0], answer[2] if len(answer) > 2 else {}, answer[1]


class FakeChat:
    """Keeps messages. ``error`` is raised when set."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.error: Exception | None = None

    async def post(self, channel: str, text: str) -> str:
        if self.error is not None:
            raise self.error
        self.messages.append((channel, text))
        return f"ts-{len(self.messages)}"


class FakeSecrets:
    """Secrets from a dictionary."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self.values = dict(values or {})
        self.asked: list[str] = []
        self.forgotten: list[str] = []

    async def get(self, name: str) -> str:
        self.asked.append(name)
        if name not in self.values:
            raise MissingSecret(f"there is no secret {name!r}")
        return self.values[name]

    def forget(self, names: Collection[str]) -> None:
        self.forgotten += sorted(names)


class FakeGraphReader:
    """Gives prepared rows, and keeps what was asked."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    async def read(self, query: str, parameters: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        self.asked.append((query, dict(parameters)))
        return list(self.rows)


@dataclass(slots=True)
class FakeWorld:
    """All ports of actions; ``ports`` is what actions get."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    http: FakeHttp = field(default_factory=FakeHttp)
    chat: FakeChat = field(default_factory=FakeChat)
    graph: FakeGraphReader = field(default_factory=FakeGraphReader)
    secrets: FakeSecrets = field(default_factory=FakeSecrets)
    clock: FakeClock = field(default_factory=FakeClock)
    metrics: FakeMetrics = field(init=False)
    metrics_sink: FakeMetricsSink = field(default_factory=FakeMetricsSink)
    files: FakeFiles = field(default_factory=FakeFiles)
    more: dict[str, Any] = field(default_factory=dict)
    """Other ports of the world by name, for tests that bring their own: sql, shell, http_base."""

    def __post_init__(self) -> None:
        self.metrics = FakeMetrics(self.clock)

    @property
    def ports(self) -> World:
        """As actions see them."""
        own = {"metrics": self.metrics, "metrics_sink": self.metrics_sink, "files": self.files, **self.more}
        return World(self.cluster, self.http, self.chat, self.graph, self.secrets, self.clock, **own)
