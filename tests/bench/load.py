"""Messages, and the open loop that produces them: on time, whatever becomes of those before."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import orjson
from confluent_kafka import Producer

from tests.bench.runbook import REASON
from tests.bench.site import CLUSTER, Site


def rca_results(site: Site, count: int, reason: str = REASON) -> list[dict[str, Any]]:
    """RCA results over all workloads in turn, each with a cause of its own, so that each opens an incident."""
    made = []
    for number in range(count):
        workload = site.workloads[number % len(site.workloads)]
        made.append(
            {
                "schema": "rca.result/v1",
                "result_id": str(uuid4()),
                "tenant": site.tenant,
                "cluster": CLUSTER,
                "incident_id": str(uuid4()),
                "reason": "BenchSymptom",
                "severity": "ERROR",
                "writer": "bench",
                "subject": {"kind": "Pod", "ns": site.namespace, "name": workload.pod},
                "causes": [{"event_id": str(uuid4()), "reason": f"{reason}-{uuid4().hex[:8]}", "confidence": 0.95}],
            }
        )
    return made


def produce(
    bootstrap: str, topic: str, messages: Sequence[Mapping[str, Any]], rate: float
) -> tuple[dict[str, float], float]:
    """Produce at a fixed rate.

    Args:
        bootstrap: brokers.
        topic: where to.
        messages: JSON objects with an ``incident_id``.
        rate: messages a second; 0 for as fast as possible.

    Returns:
        The time (Unix, seconds) of each call of produce by ``incident_id``, and how late the latest one was.
    """
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "acks": "all"})
    bodies = [(message["incident_id"], orjson.dumps(message)) for message in messages]
    producer.list_topics(topic, timeout=10)  # connects, so that the first message does not wait for it
    sent: dict[str, float] = {}
    latest = 0.0
    began = time.perf_counter()
    for number, (event_id, body) in enumerate(bodies):
        if rate:
            due = began + number / rate
            while (left := due - time.perf_counter()) > 0:
                producer.poll(0)
                time.sleep(min(left, 0.01))
            latest = max(latest, time.perf_counter() - due)
        elif number % 1000 == 0:
            producer.poll(0)
        sent[event_id] = time.time()
        producer.produce(topic, body, key=event_id)
    producer.flush(30)
    return sent, latest
