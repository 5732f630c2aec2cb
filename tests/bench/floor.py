"""The floor: the same servers, driven by the barest loop in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.bench.load import produce
from tests.bench.site import Site, draw_events
from tests.bench.stats import Summary, summary


class Floor:
    """One floor process.

    Args:
        site: whose servers it drives.
        mode: ``latency`` (each message by itself, all the way to a claim) or ``batch`` (many messages together).
    """

    def __init__(self, site: Site, mode: str) -> None:
        self._site = site
        self._mode = mode
        self._process: Process | None = None

    @property
    def topic(self) -> str:
        """What it reads."""
        return self._site.topic("in", f"floor-{self._mode}")

    async def __aenter__(self) -> Self:
        topics = [self.topic, self._site.topic("handed-on", f"floor-{self._mode}")]
        await asyncio.to_thread(_make_topics, self._site.bootstrap, topics)
        config = self._site.folder / f"floor-{self._mode}.json"
        config.write_text(json.dumps(self._config(topics)), encoding="utf-8")
        config.chmod(0o600)  # it holds a password
        command = [sys.executable, "-m", "tests.bench.floor_process", str(config)]
        root = Path(__file__).parents[2]
        self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=root, limit=2**26)
        await self._line()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    def _config(self, topics: Sequence[str]) -> Mapping[str, Any]:
        addresses = self._site.addresses
        if addresses.neo4j is None or addresses.kubernetes is None:
            raise RuntimeError("the stack is not up")
        return {
            "mode": self._mode,
            "bootstrap": self._site.bootstrap,
            "read": topics[0],
            "handed_on": topics[1],
            "neo4j": addresses.neo4j.model_dump(),
            "redis": self._site.redis_url,
            "prefix": f"{self._site.prefix}floor:",
            "kubeconfig": str(addresses.kubernetes.kubeconfig),
            "namespace": self._site.namespace,
            "tenant": self._site.tenant,
        }

    async def _line(self) -> str:
        if self._process is None or self._process.stdout is None:
            raise RuntimeError("the floor was not started")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the floor process ended")
        return line.decode()

    async def report(self, ids: Sequence[str], patience: float = 60.0) -> dict[str, float]:
        """The time (Unix, seconds) at which each message was through; waits for the last of them."""
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the floor was not started")
        found: dict[str, float] = {}
        for _ in range(int(patience / 0.1)):
            self._process.stdin.write(b"report\n")
            await self._process.stdin.drain()
            found |= json.loads(await self._line())
            if found.keys() >= set(ids):
                break
            await asyncio.sleep(0.1)
        return found


class Latency(Floor):
    """Consume, one Cypher read, one API read, one Lua call, one Cypher write, produce, consume, one Cypher write."""

    def __init__(self, site: Site) -> None:
        super().__init__(site, "latency")

    async def round(self, messages: Sequence[Mapping[str, Any]], rate: float) -> Summary:
        """Milliseconds from the produce call to the claim."""
        await draw_events(self._site, messages)
        sent, _ = await asyncio.to_thread(produce, self._site.bootstrap, self.topic, messages, rate)
        done = await self.report(list(sent))
        return summary(
            ((done[key] - at) * 1000 for key, at in sent.items() if key in done), len(sent.keys() - done.keys())
        )


class Batch(Floor):
    """Consume many, one batched Cypher read, one pipelined Lua call, one batched write, produce, commit."""

    def __init__(self, site: Site) -> None:
        super().__init__(site, "batch")

    async def throughput(self, messages: Sequence[Mapping[str, Any]]) -> float:
        """Messages a second, from the first produce call to the last commit."""
        sent, _ = await asyncio.to_thread(produce, self._site.bootstrap, self.topic, messages, 0)
        done = await self.report(list(sent))
        return len(sent) / (max(done.values()) - min(sent.values()))


def _make_topics(bootstrap: str, names: Sequence[str]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(name, 1) for name in names]).values():
        future.result(15)
