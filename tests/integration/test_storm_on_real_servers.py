"""A storm of alerts with one cause, through Kafka to `rb serve`, with an observer on Redis and the API server.

The small one always runs; LONG_TESTS=1 runs 100,000 alerts on 5,000 pods.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fakes.served import Served, mark, pause, runbook, served, until
from fakes.web import Asked, Told, web

pytestmark = [pytest.mark.stack, pytest.mark.timeout(7200 if os.environ.get("LONG_TESTS") else 900)]

REASON = "StormOutOfMemory"
RUNBOOK = "fix-storm"
PER_HOUR, PER_HOUR_CLUSTER, AT_ONCE, BLAST = 4, 6, 2, 40
OBSERVER = Path(__file__).parents[1] / "fakes" / "storm_observer.py"


@dataclass(frozen=True, slots=True)
class Size:
    """How large a storm is.

    Attributes:
        seconds: longest wait for any one thing.
    """

    alerts: int
    apps: int
    pods_each: int
    seconds: float


SMALL = Size(2_000, 50, 2, 90)
FULL = Size(100_000, 250, 20, 3600)


@pytest.fixture(
    params=[
        pytest.param(SMALL, id="small"),
        pytest.param(
            FULL, id="full", marks=pytest.mark.skipif(not os.environ.get("LONG_TESTS"), reason="set LONG_TESTS=1")
        ),
    ]
)
def size(request) -> Size:
    return request.param


def slack(asked: Asked) -> Told:
    """Slack's Web API, as far as messages need it."""
    if not asked.path.endswith("/chat.postMessage"):
        return Told(404, {"ok": False, "error": "unknown_method"})
    return Told(200, {"ok": True, "channel": "C0000001", "ts": f"{time.time():.6f}", "message": {}})


def told_people(server: Any) -> list[str]:
    """The texts that were posted."""
    found = []
    for asked in server.asked:
        try:
            found.append(json.loads(asked.body)["text"])
        except ValueError:
            found.append(asked.body)
    return found


def settings(url: str) -> dict[str, Any]:
    causes = {"reason": 30, "runbook": 30, "namespace": 30, "cluster": 100}
    return {
        "slack": {"token": "xoxb-storm", "base_url": f"{url}/", "channel": "#oncall"},
        "matching": {"self_evident_reasons": [REASON], "retry_refused": "1s"},
        # A share of the cluster's pods is not what is tried here: listing thousands for each plan would take the time.
        "gate": {"max_executions_per_hour": PER_HOUR_CLUSTER, "max_blast_percent_cluster": None},
        "breaker": {
            "enabled": True,
            "causes": causes,
            "causes_window": "20s",
            "quiet": "5s",
            # What fails, and what was not fixed, is left to other tests: here the cause alone is a storm.
            "failures": dict.fromkeys(causes, 1000),
            "not_fixed": dict.fromkeys(causes, 1000),
        },
    }


def fix() -> dict[str, Any]:
    """A fix that does not fix it, and is rolled back: what was begun before the storm ends in it."""
    message = {"slack": {"channel": "#oncall", "message": "{{ target.name }}: {{ outcome }}"}}
    return runbook(
        REASON,
        mark("stormmark"),
        pause(5),
        mark("stormmark", "twice", id="second"),
        id=RUNBOOK,
        trigger={"root_cause_reason": REASON, "min_confidence": 0.5},
        safety={"max_executions_per_hour": PER_HOUR, "max_concurrent": AT_ONCE, "blast_radius_limit": BLAST},
        verification={"settle": "1s", "timeout": "2s", "on_not_fixed": "rollback"},
        notification={"on_failure": message, "on_rollback": message},
    )


async def sick(world: Served, namespace: str, size: Size) -> dict[str, list[str]]:
    """Deployments whose pods never come up, and the pods by app."""
    slots = asyncio.Semaphore(8)

    async def one(number: int) -> None:
        async with slots:
            # Nobody schedules them: they stay pending, and cost the practice cluster nothing.
            await world.app(f"app-{number:03}", namespace, size.pods_each, schedulerName="nobody")

    await asyncio.gather(*(one(number) for number in range(size.apps)))

    async def there() -> dict[str, list[str]] | None:
        found: dict[str, list[str]] = {}
        for pod in await world.admin.list("Pod", namespace):
            meta = pod["metadata"]
            found.setdefault(meta["labels"]["app"], []).append(meta["name"])
        return found if sum(map(len, found.values())) == size.apps * size.pods_each else None

    pods = await until(there, "all pods", size.seconds)
    assert pods is not None
    return pods


def alert(world: Served, namespace: str, pod: str) -> tuple[str, bytes]:
    """What Alertmanager says about one pod."""
    labels = {"alertname": REASON, "namespace": namespace, "pod": pod, "cluster": world.name, "tenant": world.name}
    one = {
        "status": "firing",
        "labels": labels,
        "annotations": {},
        "startsAt": datetime.now(UTC).isoformat(),
        "fingerprint": f"storm-{pod}",
    }
    return "alerts", json.dumps({"status": "firing", "alerts": [one]}).encode()


@asynccontextmanager
async def observed(world: Served, stack: Any, namespace: str) -> AsyncIterator[dict[str, Any]]:
    """The observer beside the storm; what it saw is there afterwards."""
    given = {
        "redis": world.settings["redis"]["url"],
        "prefix": f"{world.name}:",
        "tenant": world.name,
        "cluster": world.name,
        "runbook": RUNBOOK,
        "namespace": namespace,
        "kubeconfig": stack.admin_kubeconfig,
        "context": None,
        "mark": "stormmark",
        "limits": {
            "runbook_rate": PER_HOUR,
            "cluster_rate": PER_HOUR_CLUSTER,
            "concurrent": AT_ONCE,
            "changed_at_once": AT_ONCE,
            "blast": BLAST,
        },
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(OBSERVER), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(given).encode() + b"\n")
    await process.stdin.drain()
    assert await process.stdout.readline() == b"looking\n"
    seen: dict[str, Any] = {}
    try:
        yield seen
    finally:
        process.stdin.close()
        seen |= json.loads(await process.stdout.read())
        await process.wait()


async def first_ones(world: Served, alerts: list[tuple[str, bytes]], size: Size) -> int:
    """Executions that begin before the storm; how many alerts it took.

    They are told again until they do, as Alertmanager does: a busy API server may not have answered the first time.
    """
    sent, again = 0, 0.0

    async def begun() -> bool:
        nonlocal sent, again
        if time.monotonic() > again:
            await world.send(alerts)
            sent, again = sent + len(alerts), time.monotonic() + 10
        rows = await world.query(
            "MATCH (e:RunbookExecution) WHERE e.target_key STARTS WITH $name + '/' "
            "AND e.started_at IS NOT NULL RETURN count(e) AS n"
        )
        return rows[0]["n"] == len(alerts)

    await until(begun, "the first executions begin", size.seconds)
    return sent


async def test_in_a_storm_no_limit_is_exceeded_and_people_are_told_at_most_five_times(
    stack, size, tmp_path, record_property
):
    """What began before it ends, nothing new begins, one summary comes at its beginning and one when it is over."""
    async with web(slack) as chat, served(stack, tmp_path, settings=settings(chat.url)) as world:
        world.runbook("storm", fix())
        namespace = await world.namespace()
        pods = await sick(world, namespace, size)
        await world.serve()
        async with observed(world, stack, namespace) as seen:
            apps = sorted(pods)
            sent = await first_ones(world, [alert(world, namespace, pods[app][0]) for app in apps[:AT_ONCE]], size)
            every = [pod for names in zip(*(pods[app] for app in apps), strict=True) for pod in names]
            began = time.monotonic()
            while sent < size.alerts:
                part = [
                    alert(world, namespace, every[n % len(every)]) for n in range(sent, min(sent + 5000, size.alerts))
                ]
                await world.send(part)
                sent += len(part)

            async def consumed() -> bool:
                return sum((await world.committed("alerts")).values()) == size.alerts

            await until(consumed, "every alert is decided", size.seconds)
            took = time.monotonic() - began

            async def over() -> bool:
                return sum("Storm over" in text for text in told_people(chat)) == 1

            await until(over, "people hear that it is over", size.seconds)
            assert json.loads((await world.rb("breaker", "list", "--json")).stdout) == []

            async def ended() -> bool:
                rows = await world.query(
                    "MATCH (e:RunbookExecution) WHERE e.target_key STARTS WITH $name + '/' "
                    "AND e.started_at IS NOT NULL AND e.status <> 'done' RETURN count(e) AS n"
                )
                return rows[0]["n"] == 0

            await until(ended, "what began has ended", size.seconds)
        texts = told_people(chat)
        decisions = await world.query(
            "MATCH (d:Decision {cluster: $name}) RETURN d.kind AS kind, d.check AS check, count(*) AS n"
        )
        stopped = await world.query("MATCH (s:StormStop {scope: $name + ':'}) RETURN s.part AS part, s.open AS open")
        outcomes = await world.query(
            "MATCH (e:RunbookExecution) WHERE e.target_key STARTS WITH $name + '/' AND e.started_at IS NOT NULL "
            "RETURN e.outcome AS outcome, count(*) AS n"
        )
    numbers = {"alerts": size.alerts, "seconds": round(took, 1), "messages": len(texts), **seen, "decisions": decisions}
    record_property("storm", json.dumps(numbers, default=str))
    sys.stdout.write(json.dumps(numbers, default=str) + "\n")  # pytest -s shows it
    assert seen["blind"] == []
    assert seen["wrong"] == []
    assert seen["samples"] > 0
    assert seen["most"]["concurrent"] > 0, "the observer saw nothing of what ran"
    assert len(seen["executions"]) >= AT_ONCE
    parts = {(row["part"], row["open"]) for row in stopped}
    assert {(f"reason:{world.name}/{REASON}", True), (f"reason:{world.name}/{REASON}", False)} <= parts
    assert {(row["kind"], row["check"]) for row in decisions} >= {("refusal", "storm")}
    assert {row["outcome"] for row in outcomes} == {"rollback"}, "a rollback was stopped, or something else ran"
    assert len(texts) <= 5, texts
    assert sum("Storm: automation is stopped" in text for text in texts) == 1, texts
    assert sum("Storm over" in text for text in texts) == 1, texts
    (end,) = [text for text in texts if "Storm over" in text]
    assert "refusals" in end
