"""Small controllers for the practice cluster: a kubelet whose pods are as well as a rule says, and Prometheus.

KWOK makes every pod ready that none of its stages stops, and knows no probes, volumes or metrics. The nodes here are
not KWOK's (they lack its label), so that this kubelet alone decides about their pods. Everything else, scheduler and
controllers, is real.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from executor.errors import RemediationError
from executor.model import ObjectRef

Item = Mapping[str, Any]
Rule = Callable[[Item], str]
"""Looks at a pod; the answer is why it is not well (a reason of the kubelet's), or one of the words below, or empty."""

UNREADY = "Unready"
"""It runs, and does not answer its readiness probe."""
EVICTED = "Evicted"
DONE = "Done"
"""Its program has ended well."""
BROKEN = "Broken"
"""Its program has ended badly."""

MARK = "practice.rootmend.dev/catalog"
"""Label of nodes and pods that belong to one run, and key of the taint that keeps all others away."""

_TICK = 0.4
_HEARTBEAT = 2.0
_NAMESPACE = re.compile(r'namespace="([^"]+)"')


@dataclass
class Node:
    """A node that this kubelet plays.

    Attributes:
        pressure: says whether its disk is full.
        alive: whether the kubelet answers.
        beat: when it told its state last.
    """

    name: str
    pressure: Callable[[], bool] = bool
    alive: bool = True
    cpu: str = "16"
    beat: float = 0.0


@dataclass
class Kubelet:
    """Plays the kubelet of some nodes.

    Attributes:
        cluster: as an administrator.
        mark: value of the label of its pods and nodes.
        rules: by namespace; without one every pod is well.
        stuck: namespaces whose pods do not end when they are asked to.
    """

    cluster: Any
    mark: str
    nodes: dict[str, Node] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    stuck: set[str] = field(default_factory=set)

    async def add(self, name: str, *, cpu: str = "16", taints: tuple[Mapping[str, str], ...] = ()) -> Node:
        """A new node, for pods that tolerate the mark."""
        own = {"key": MARK, "value": self.mark, "effect": "NoSchedule"}
        labels = {"kubernetes.io/hostname": name, MARK: self.mark, "kubernetes.io/os": "linux"}
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": [own, *taints]},
        }
        await self.cluster.create(body)
        node = self.nodes[name] = Node(name, cpu=cpu)
        await self._beat(node)
        return node

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            for node in tuple(self.nodes.values()):  # others may be added meanwhile
                if node.alive and asyncio.get_running_loop().time() - node.beat > _HEARTBEAT:
                    await _tolerant(self._beat(node))
            found = await _tolerant(self.cluster.list("Pod", labels=f"{MARK}={self.mark}")) or ()
            mine = [pod for pod in found if self._answers(pod["spec"].get("nodeName", ""))]
            await asyncio.gather(*(_tolerant(self._look_after(pod)) for pod in mine))
            await asyncio.sleep(_TICK)

    def _answers(self, node: str) -> bool:
        return node in self.nodes and self.nodes[node].alive

    async def _beat(self, node: Node) -> None:
        node.beat = asyncio.get_running_loop().time()
        full = node.pressure()
        now = _now()
        conditions = [
            {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now},
            {"type": "DiskPressure", "status": str(full), "reason": "Disk", "lastHeartbeatTime": now},
        ]
        room = {"cpu": node.cpu, "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"}
        await self._status(
            ObjectRef(kind="Node", name=node.name), conditions=conditions, capacity=room, allocatable=room
        )

    async def _status(self, ref: ObjectRef, **status: Any) -> None:
        await self.cluster.patch(ref, {"status": status}, how="strategic", subresource="status")

    async def _look_after(self, pod: Item) -> None:
        meta, status = pod["metadata"], pod.get("status", {})
        namespace = meta["namespace"]
        ref = ObjectRef(kind="Pod", name=meta["name"], namespace=namespace, uid=meta["uid"])
        if meta.get("deletionTimestamp"):
            if namespace not in self.stuck:
                await self.cluster.delete(ref, grace_seconds=0)
            elif _ready(pod):
                await self._status(ref, conditions=[{"type": "Ready", "status": "False", "reason": "PodTerminating"}])
            return
        if status.get("phase") in ("Succeeded", "Failed"):
            return
        why = self.rules.get(namespace, lambda _: "")(pod)
        if (told := status.get("message", "")) != f"practice: {why}" or not told:
            await self._tell(ref, pod, why)

    async def _tell(self, ref: ObjectRef, pod: Item, why: str) -> None:
        ready = not why
        phase = {EVICTED: "Failed", BROKEN: "Failed", DONE: "Succeeded", "": "Running", UNREADY: "Running"}
        conditions = [{"type": kind, "status": str(ready)} for kind in ("Ready", "ContainersReady")]
        containers = [_container(one["name"], why) for one in pod["spec"]["containers"]]
        reason = {"reason": why} if why == EVICTED else {}
        await self._status(
            ref,
            phase=phase.get(why, "Pending"),
            message=f"practice: {why}",
            startTime=pod.get("status", {}).get("startTime") or _now(),
            conditions=conditions,
            containerStatuses=containers,
            **reason,
        )

    async def close(self) -> None:
        """Take the nodes away."""
        for name in tuple(self.nodes):
            await _tolerant(self.cluster.delete(ObjectRef(kind="Node", name=name)))


def _container(name: str, why: str) -> dict[str, Any]:
    if why in (DONE, BROKEN, EVICTED):
        ended = {"exitCode": 0 if why == DONE else 1, "reason": "Completed" if why == DONE else "Error"}
        state: dict[str, Any] = {"terminated": {**ended, "startedAt": _now(), "finishedAt": _now()}}
    else:
        # Strategic merging would keep the other state beside a new one.
        state = {"running": {"startedAt": _now()}, "waiting": None} if why in ("", UNREADY) else {}
        state = state or {"waiting": {"reason": why}, "running": None}
    return {"name": name, "image": "", "imageID": "", "restartCount": 0, "ready": not why, "state": state}


def _ready(pod: Item) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _tolerant(work: Awaitable[Any]) -> Any:
    """Controllers try again at the next look."""
    with suppress(RemediationError):
        return await work
    return None


async def resize_volumes(cluster: Any, claim: str, volume: str, namespace: str) -> None:
    """The storage provider: gives a claim what it asks for. Until it is cancelled."""
    ref = ObjectRef(kind="PersistentVolumeClaim", name=claim, namespace=namespace)
    while True:
        item = await _tolerant(cluster.get("PersistentVolumeClaim", claim, namespace))
        asked = item["spec"]["resources"]["requests"]["storage"] if item else ""
        if asked and (item["status"].get("capacity") or {}).get("storage") not in (None, asked):
            body = {"spec": {"capacity": {"storage": asked}}}
            await _tolerant(cluster.patch(ObjectRef(kind="PersistentVolume", name=volume), body, how="merge"))
            status = {"status": {"capacity": {"storage": asked}}}
            await _tolerant(cluster.patch(ref, status, how="merge", subresource="status"))
        await asyncio.sleep(_TICK)


async def autoscale(cluster: Any, name: str, namespace: str, wanted: int) -> None:
    """The autoscaler of a load that needs ``wanted`` pods. Until it is cancelled."""
    ref = ObjectRef(kind="HorizontalPodAutoscaler", name=name, namespace=namespace)
    while True:
        item = await _tolerant(cluster.get("HorizontalPodAutoscaler", name, namespace))
        if item:
            scaled = min(wanted, item["spec"]["maxReplicas"])
            target = ObjectRef(kind="Deployment", name=item["spec"]["scaleTargetRef"]["name"], namespace=namespace)
            live = await _tolerant(cluster.get("Deployment", target.name, namespace))
            if live and live["spec"]["replicas"] != scaled:
                await _tolerant(cluster.patch(target, {"spec": {"replicas": scaled}}, how="merge"))
            if (item.get("status") or {}).get("currentReplicas") != scaled:
                body = {"status": {"currentReplicas": scaled, "desiredReplicas": scaled}}
                await _tolerant(cluster.patch(ref, body, how="merge", subresource="status"))
        await asyncio.sleep(_TICK)


Measure = Callable[[str], Awaitable[float | None]]
"""From the text of a query to its value; None for no series."""


@asynccontextmanager
async def prometheus(measures: Mapping[str, Measure]) -> AsyncIterator[str]:
    """A server that speaks Prometheus's API; its address.

    Args:
        measures: by the namespace that a query names.
    """

    async def query(request: web.Request) -> web.Response:
        text = str((await request.post())["query"])
        found = _NAMESPACE.search(text)
        measure = measures.get(found[1]) if found else None
        value = await measure(text) if measure else None
        result = [] if value is None else [{"metric": {}, "value": [datetime.now(UTC).timestamp(), str(value)]}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})

    app = web.Application()
    app.add_routes([web.post("/api/v1/query", query)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
