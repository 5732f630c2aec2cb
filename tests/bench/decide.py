"""How many inputs a second are decided when they come all at once: repeats, and refusals."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, TopicPartition

from tests.bench import floor, runbook
from tests.bench.load import produce, rca_results
from tests.bench.product import Product
from tests.bench.site import Site, draw_events

_COUNT = 5000
_WEAK = 0.2
"""Confidence of the causes; the runbook asks for more, so that the gate refuses and the incident stands decided."""


async def measure(site: Site, results: Path, *, rounds: int) -> dict[str, Any]:
    """Rounds of refusals (every input is an incident of its own), of repeats (of a few incidents), and of the floor."""
    books = site.folder / "decide-runbooks"
    runbook.write(books)
    settings = site.settings("decide", books)
    refused: list[float] = []
    repeated: list[float] = []
    lowest: list[float] = []
    async with Product(settings, results / "serve-decide.log") as product, floor.Batch(site) as barest:
        first = _storm(site)
        await _throughput(site, _distinct(site, 200))
        await _throughput(site, first)
        for _ in range(rounds):
            refused.append(await _throughput(site, _distinct(site, _COUNT)))
            repeated.append(await _throughput(site, _again(first, _COUNT)))
            lowest.append(await barest.throughput(await _drawn(site, _distinct(site, _COUNT))))
        warnings = product.warnings()
    return {
        "inputs": _COUNT,
        "refusals_per_second": [round(one) for one in refused],
        "repeats_per_second": [round(one) for one in repeated],
        "floor_per_second": [round(one) for one in lowest],
        "ratio_refusals": round(statistics.median(lowest) / statistics.median(refused), 2),
        "ratio_repeats": round(statistics.median(lowest) / statistics.median(repeated), 2),
        "warnings": warnings,
    }


def _weak(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [m | {"causes": [m["causes"][0] | {"confidence": _WEAK}]} for m in messages]


def _storm(site: Site) -> list[dict[str, Any]]:
    """One incident for each workload."""
    return _weak(rca_results(site, len(site.workloads)))


def _distinct(site: Site, count: int) -> list[dict[str, Any]]:
    """An incident for each message; of symptoms with names of their own, so that none is folded into another."""
    return [m | {"reason": f"BenchSymptom-{uuid4().hex[:8]}"} for m in _weak(rca_results(site, count))]


def _again(first: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """Further results about the same incidents, each with an event id of its own."""
    return [
        dict(first[n % len(first)]) | {"incident_id": str(uuid4()), "result_id": str(uuid4())} for n in range(count)
    ]


async def _drawn(site: Site, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    await draw_events(site, messages)
    return messages


async def _throughput(site: Site, messages: Sequence[Mapping[str, Any]]) -> float:
    """Inputs a second, from the first produce call until the offsets of all are committed."""
    topic = site.topic("rca", "decide")
    sent, _ = await asyncio.to_thread(produce, site.bootstrap, topic, messages, 0)
    done = await asyncio.to_thread(_await_commit, site, topic)
    return len(messages) / (done - min(sent.values()))


def _await_commit(site: Site, topic: str, patience: float = 120.0) -> float:
    """The time (Unix, seconds) when the product had committed everything that is in the topic."""
    place = TopicPartition(topic, 0)
    consumer = Consumer({"bootstrap.servers": site.bootstrap, "group.id": f"{site.name}-decide-decide"})
    try:
        _, high = consumer.get_watermark_offsets(place, timeout=10)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if consumer.committed([place], timeout=10)[0].offset >= high:
                return time.time()
            time.sleep(0.02)
    finally:
        consumer.close()
    raise RuntimeError("the product did not decide everything in time")
