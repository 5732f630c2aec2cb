"""Looks at a storm from outside, as a process of its own: Redis by its keys, the API server by a watch.

It knows the layout of the keys and the marks on objects, and nothing of the product's code. It looks until its
standard input is closed, then prints what it saw as one JSON document.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from typing import Any

from kubernetes import client, config, watch
from redis import Redis

_HOUR_MS = 3_600_000


class Looks:
    """What was seen, and what must not have been."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.most: dict[str, int] = defaultdict(int)
        self.samples = 0
        self.writes = 0
        self.wrong: list[str] = []
        self.executions: set[str] = set()
        self.lock = threading.Lock()

    def see(self, what: str, value: int) -> None:
        """A number that has a limit."""
        with self.lock:
            self.most[what] = max(self.most[what], value)
            if value > self.given["limits"][what]:
                self.wrong.append(f"{what}: {value} of {self.given['limits'][what]}")

    def must(self, holds: bool, what: str) -> None:
        """Something that is always so."""
        if not holds:
            with self.lock:
                self.wrong.append(what)


def watch_redis(looks: Looks, over: threading.Event) -> None:
    """Rates, what runs, and blast radii, as the keys tell them; every look is one transaction."""
    given, redis = looks.given, Redis.from_url(looks.given["redis"])
    tag = f"{given['prefix']}{{{given['tenant']}}}:"
    while not over.is_set():
        pipe = redis.pipeline(transaction=True)
        pipe.time()
        for kind, name in (("runbook", given["runbook"]), ("cluster", given["cluster"])):
            pipe.zrange(f"{tag}count:{kind}:{name}", 0, -1, withscores=True)
            pipe.zrange(f"{tag}flight:{kind}:{name}", 0, -1, withscores=True)
        seconds, runbook, live, cluster, cluster_live = pipe.execute()
        now = seconds[0] * 1000 + seconds[1] // 1000
        looks.see("runbook_rate", _counted(runbook, now))
        looks.see("cluster_rate", _counted(cluster, now))
        for members in (live, cluster_live):
            holding = [member.decode() for member, until in members if until > now]
            looks.must(len(holding) == len({each.partition(":")[2] for each in holding}), "one execution lives twice")
        holding = [member.decode() for member, until in live if until > now]
        looks.see("concurrent", len(holding))
        for each in holding:
            looks.see("blast", int(each.partition(":")[0]))
        with looks.lock:
            looks.samples += 1
        time.sleep(0.02)


def _counted(members: list[tuple[bytes, float]], now: int) -> int:
    """Executions of the last hour: confirmed ones by their time, provisional ones until they lapse."""
    return sum(1 for _, at in members if (at > 0 and at > now - _HOUR_MS) or (at < 0 and -at > now))


def watch_cluster(looks: Looks, over: threading.Event) -> None:
    """Every write on every Deployment of the namespace, in order."""
    given = looks.given
    config.load_kube_config(given["kubeconfig"], context=given["context"])
    apps = client.AppsV1Api()
    first = apps.list_namespaced_deployment(given["namespace"])
    version = first.metadata.resource_version
    holders: dict[str, list[str]] = defaultdict(list)
    marked: set[str] = set()
    while not over.is_set():
        stream = watch.Watch().stream(
            apps.list_namespaced_deployment, given["namespace"], resource_version=version, timeout_seconds=2
        )
        for event in stream:
            meta = event["object"].metadata
            version = meta.resource_version
            notes = meta.annotations or {}
            _write(looks, holders[meta.name], notes.get("rootmend.dev/execution"), meta.name)
            (marked.add if given["mark"] in notes else marked.discard)(meta.name)
            looks.see("changed_at_once", len(marked))


def _write(looks: Looks, holders: list[str], execution: str | None, name: str) -> None:
    """Who wrote last; a former holder must not come back while, or after, another one wrote."""
    if execution is None or (holders and holders[-1] == execution):
        return
    looks.must(execution not in holders, f"{execution} wrote on {name} again after another one")
    holders.append(execution)
    with looks.lock:
        looks.writes += 1
        looks.executions.add(execution)
    looks.see("runbook_rate", len(looks.executions))


def main() -> None:
    """Look until standard input is closed."""
    looks, over = Looks(json.loads(sys.stdin.readline())), threading.Event()
    failures: list[str] = []

    def safely(work: Any) -> None:
        try:
            work(looks, over)
        except Exception as error:  # noqa: BLE001 - an observer that went blind must say so
            failures.append(f"{work.__name__}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=safely, args=(work,)) for work in (watch_redis, watch_cluster)]
    for thread in threads:
        thread.start()
    sys.stdout.write("looking\n")
    sys.stdout.flush()
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    told = {"most": looks.most, "samples": looks.samples, "executions": sorted(looks.executions)}
    sys.stdout.write(json.dumps(told | {"wrong": looks.wrong[:50], "blind": failures}))


if __name__ == "__main__":
    main()
