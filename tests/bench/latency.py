"""From an RCA message that is produced to the first step that starts, beside the floor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, TopicPartition

from tests.bench import floor, machine, runbook
from tests.bench.load import produce, rca_results
from tests.bench.product import Product
from tests.bench.site import Site, draw_events, run
from tests.bench.stats import Summary, middle, summary

_WARM_UP_SECONDS = 5.0
_STARTED = """
UNWIND $ids AS id
MATCH (d:Decision {event_id: id}) WHERE d.tenant = $tenant
OPTIONAL MATCH (d)-[:LED_TO]->(e:RunbookExecution)
OPTIONAL MATCH (e)-[:STEP]->(s:StepRun) WHERE s.phase = 'step'
RETURN id, d.kind AS kind, d.check AS check, e.outcome AS outcome, e.started_at AS claimed,
       min(s.started_at) AS started, e.finished_at AS finished
"""


@dataclass(frozen=True, slots=True)
class Round:
    """One round of messages, in milliseconds after their produce call."""

    decided: Summary
    claimed: Summary
    started: Summary
    verified: Summary
    kinds: Mapping[str, int]
    outcomes: Mapping[str, int]
    late_ms: float
    cpu: Mapping[str, float]
    busy_before: float
    machine_busy: float
    load: tuple[float, float, float]

    def to_json(self) -> dict[str, Any]:
        series = {name: getattr(self, name).to_json() for name in ("decided", "claimed", "started", "verified")}
        return {
            **series,
            "kinds": dict(self.kinds),
            "outcomes": dict(self.outcomes),
            "producer_late_ms": round(self.late_ms, 2),
            "cpu_ms_per_message": {name: round(value, 2) for name, value in self.cpu.items()},
            "cores_busy_before": round(self.busy_before, 3),
            "cores_busy_on_machine": round(self.machine_busy, 3),
            "load_average": self.load,
        }


async def measure(
    site: Site, results: Path, *, rate: float, seconds: float, rounds: int, patience: float
) -> dict[str, Any]:
    """Rounds of the product and of the floor, by turns, on the same servers.

    Args:
        site: with workloads.
        results: folder for the product's log.
        rate: messages a second.
        seconds: length of one round.
        rounds: how many of each.
        patience: how long a round waits for a quiet machine, in seconds.
    """
    books = site.folder / "latency-runbooks"
    runbook.write(books)
    settings = site.settings("latency", books)
    ours: list[Round] = []
    theirs: list[Summary] = []
    async with Product(settings, results / "serve-latency.log") as product, floor.Latency(site) as barest:
        await _warm_up(site, rate)
        await barest.round(rca_results(site, int(rate * _WARM_UP_SECONDS)), rate)
        for _ in range(rounds):
            busy = await machine.settle(patience)
            ours.append(await _round(site, product, rate, int(rate * seconds), busy))
            theirs.append(await barest.round(rca_results(site, int(rate * seconds)), rate))
        warnings = product.warnings()
    started, lowest = middle([one.started for one in ours]), middle(theirs)
    return {
        "rate_per_second": rate,
        "seconds": seconds,
        "rounds": [one.to_json() for one in ours],
        "floor_rounds": [one.to_json() for one in theirs],
        "started": started.to_json(),
        "decided": middle([one.decided for one in ours]).to_json(),
        "claimed": middle([one.claimed for one in ours]).to_json(),
        "verified": middle([one.verified for one in ours]).to_json(),
        "floor": lowest.to_json(),
        "ratio_p50": round(started.p50 / lowest.p50, 2),
        "ratio_p99": round(started.p99 / lowest.p99, 2),
        "warnings": warnings,
    }


async def _warm_up(site: Site, rate: float) -> None:
    """Until the consumers have their partitions, and every query is known to the graph."""
    for _ in range(10):
        messages = rca_results(site, int(rate * _WARM_UP_SECONDS))
        await draw_events(site, messages)
        await asyncio.to_thread(produce, site.bootstrap, site.topic("rca", "latency"), messages, rate)
        rows = await _settled(site, [message["incident_id"] for message in messages], 20)
        if all(row["finished"] for row in rows) and len(rows) == len(messages):
            return
    raise RuntimeError("the product did not answer the warm-up")


async def _round(site: Site, product: Product, rate: float, count: int, busy_before: float) -> Round:
    messages = rca_results(site, count)
    await draw_events(site, messages)
    ends = await asyncio.to_thread(_ends, site)
    pids = {"rb serve": product.pid, **site.pids}
    used, (busy, passed) = {name: machine.cpu_seconds(pid) for name, pid in pids.items()}, machine.busy_cores()
    sent, late = await asyncio.to_thread(produce, site.bootstrap, site.topic("rca", "latency"), messages, rate)
    busy_then, passed_then = machine.busy_cores()
    rows = await _settled(site, list(sent), 30)
    spent = {name: (machine.cpu_seconds(pid) - used[name]) * 1000 / count for name, pid in pids.items()}
    decided = await asyncio.to_thread(_published, site, ends, set(sent))
    return Round(
        decided=_after(sent, decided),
        claimed=_after(sent, _times(rows, "claimed")),
        started=_after(sent, _times(rows, "started")),
        verified=_after(sent, _times([row for row in rows if row["outcome"] == "success"], "finished")),
        kinds=_count(f"{row['kind']} {row['check'] or ''}".strip() for row in rows),
        outcomes=_count(str(row["outcome"]) for row in rows),
        late_ms=late * 1000,
        cpu=spent,
        busy_before=busy_before,
        machine_busy=(busy_then - busy) / (passed_then - passed) * machine.describe()["cores"],
        load=machine.load(),
    )


async def _settled(site: Site, ids: Sequence[str], patience: float) -> list[dict[str, Any]]:
    """What the graph says of these events once all of their executions have ended."""
    deadline = time.monotonic() + patience
    while True:
        await asyncio.sleep(1.0)
        rows = await run(site.graph, _STARTED, ids=list(ids), tenant=site.tenant)
        permits = [row for row in rows if row["kind"] == "permit"]
        done = len(rows) == len(ids) and all(row["finished"] for row in permits)
        if done or time.monotonic() > deadline:
            return rows


def _times(rows: Sequence[Mapping[str, Any]], column: str) -> dict[str, float]:
    return {row["id"]: row[column].to_native().timestamp() for row in rows if row[column] is not None}


def _after(sent: Mapping[str, float], then: Mapping[str, float]) -> Summary:
    return summary(((then[key] - at) * 1000 for key, at in sent.items() if key in then), len(sent.keys() - then.keys()))


def _count(words: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for word in words:
        found[word] = found.get(word, 0) + 1
    return found


def _consumer(site: Site) -> Consumer:
    return Consumer(
        {"bootstrap.servers": site.bootstrap, "group.id": f"{site.name}-reader", "enable.auto.commit": False}
    )


def _ends(site: Site) -> int:
    """Where the decisions end now."""
    consumer = _consumer(site)
    _, high = consumer.get_watermark_offsets(TopicPartition(site.topic("decisions", "latency"), 0), timeout=10)
    consumer.close()
    return int(high)


def _published(site: Site, start: int, wanted: set[str]) -> dict[str, float]:
    """When the decision of each event was produced: after it was durable. By the producer's own timestamps."""
    consumer = _consumer(site)
    consumer.assign([TopicPartition(site.topic("decisions", "latency"), 0, start)])
    found: dict[str, float] = {}
    while messages := consumer.consume(1000, 1.0):
        for message in messages:
            event_id = orjson.loads(message.value() or b"{}").get("event_id", "")
            if event_id in wanted:
                found.setdefault(event_id, message.timestamp()[1] / 1000)
    consumer.close()
    return found
