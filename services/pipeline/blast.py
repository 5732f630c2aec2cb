"""The two counts of the blast radius, from the live cluster and from the graph."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import structlog

from matcher.kinds import RUNBOOK
from matcher.ports import KubeObject, LiveObjects
from safety.blast import WORKLOADS, GraphSays, Touched, count
from safety.surroundings import Around, Footprint
from services.kubernetes.recent import RecentCount
from services.pipeline.around import LookAround, split

_ENDED = ("Succeeded", "Failed")

log = structlog.get_logger(__name__)


class Counted(Protocol):
    """The graph's answer: a count, or None with the reason."""

    @property
    def count(self) -> int | None:
        """How many resources are affected; None when the graph cannot say."""
        ...

    @property
    def reason(self) -> str:
        """Why it cannot say, or what it had to assume."""
        ...

    @property
    def age_seconds(self) -> float | None:
        """Since the graph was brought up to date about the least recent of the objects; None without a date."""
        ...


class GraphCount(Protocol):
    """Counts what depends on objects, in the graph."""

    async def count(self, touched: Sequence[str], tenant: str, cluster: str = "") -> Counted:
        """Count each resource once."""
        ...


class ClusterAndGraph:
    """safety.blast.BlastSources for one tenant and cluster.

    Args:
        around: reads what surrounds a plan.
        crowd: remembers how many pods the whole cluster has, which may be thousands.
    """

    def __init__(
        self,
        live: LiveObjects,
        graph: GraphCount,
        tenant: str,
        cluster: str,
        *,
        around: LookAround | None = None,
        crowd: RecentCount | None = None,
    ) -> None:
        self._live = live
        self._graph = graph
        self._tenant = tenant
        self._cluster = cluster
        self._look_around = around or LookAround(live)
        self._crowd = crowd or RecentCount()

    async def live(self, touched: Sequence[str]) -> int | None:
        """Replicas of workloads, pods of nodes, one for anything else."""
        return count(await asyncio.gather(*(self._weigh(resource) for resource in touched)))

    async def graph(self, touched: Sequence[str]) -> GraphSays:
        """What the graph says depends on them."""
        known, new = await self._apart(touched)
        if new and not known:
            return GraphSays(len(new), 0.0)
        answer = await self._graph.count(known, self._tenant, self._cluster)
        if answer.reason:
            log.info("blast.graph", why=answer.reason, count=answer.count, touched=list(touched))
        return GraphSays(None if answer.count is None else answer.count + len(new), answer.age_seconds)

    async def _apart(self, touched: Sequence[str]) -> tuple[list[str], list[str]]:
        """What the graph can know, and the jobs that the plan starts: nothing can depend on these yet."""
        jobs = [resource for resource in touched if split(resource)[0] == "Job"]
        found = await asyncio.gather(*(self._live.get("Job", split(job)[2], split(job)[1]) for job in jobs))
        new = [job for job, item in zip(jobs, found, strict=True) if item is None]
        return [resource for resource in touched if resource not in new], new

    async def pods(self, namespaces: Sequence[str]) -> int | None:
        """Pods that are there and have not ended."""
        if "" in namespaces or not namespaces:
            return await self._crowd.of(partial(self._running, ""))
        return sum(await asyncio.gather(*(self._running(one) for one in dict.fromkeys(namespaces))))

    async def _running(self, namespace: str) -> int:
        pods = await self._live.list("Pod", namespace)
        return sum(1 for pod in pods if pod.get("status", {}).get("phase") not in _ENDED)

    async def around(self, footprint: Footprint) -> Around:
        """See the port."""
        return await self._look_around.around(footprint)

    async def labels(self, touched: Sequence[str]) -> Mapping[str, Mapping[str, str] | None]:
        """Labels as they are now."""
        found = await asyncio.gather(*(self._labels(resource) for resource in touched))
        return dict(zip(touched, found, strict=True))

    async def _labels(self, resource: str) -> Mapping[str, str] | None:
        kind, namespace, name = split(resource)
        if kind == RUNBOOK:
            return {}  # a run without a target stands for itself
        try:
            item = await self._live.get(kind, name, namespace)
        except Exception as error:  # noqa: BLE001 - whatever keeps them from being read, they are unknown and that is a no
            log.info("blast.labels", resource=resource, error=str(error))
            return None
        return {} if item is None else dict(item.get("metadata", {}).get("labels") or {})

    async def _weigh(self, resource: str) -> Touched:
        kind, namespace, name = split(resource)
        if kind in WORKLOADS:
            found = await self._live.get(kind, name, namespace)
            if found is None:
                return Touched(resource, kind, replicas=1 if kind == "Job" else None)
            return Touched(resource, kind, replicas=desired_replicas(found))
        if kind == "Node":
            pods = await self._live.list("Pod", fields=f"spec.nodeName={name}")
            return Touched(resource, kind, pods=sum(1 for pod in pods if not _of_daemonset(pod)))
        return Touched(resource, kind)


def desired_replicas(workload: KubeObject) -> int | None:
    """How many pods a workload wants; None when it does not say."""
    spec: Mapping[str, Any] = workload.get("spec", {})
    status: Mapping[str, Any] = workload.get("status", {})
    kind = workload.get("kind")
    if kind == "DaemonSet":
        value = status.get("desiredNumberScheduled")
    elif kind == "Job":
        value = spec.get("parallelism", 1)
    else:
        value = spec.get("replicas", 1)
    return value if isinstance(value, int) else None


def _of_daemonset(pod: KubeObject) -> bool:
    owners = pod.get("metadata", {}).get("ownerReferences", ())
    return any(owner.get("controller") and owner.get("kind") == "DaemonSet" for owner in owners)
