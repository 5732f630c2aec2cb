"""Blast radius: how many resources a plan may affect, counted by the live cluster and by the graph.

What counts: a workload its desired replicas (at least 1), a node 1 and its pods that are not of a DaemonSet, anything
else 1. Both counts are absolute; a source that cannot say makes the answer unknown, and unknown is a no.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from safety.model import BlastRadius
from safety.surroundings import Around, Footprint

T = TypeVar("T")

WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"})


@dataclass(frozen=True, slots=True)
class Touched:
    """An object that a plan touches, with what the live cluster says of it.

    Attributes:
        resource: its identity, as in ``Plan.touched``.
        kind: canonical kind.
        replicas: desired replicas of a workload (for a DaemonSet the scheduled ones, for a Job its parallelism).
        pods: pods on a node, without those of DaemonSets.
    """

    resource: str
    kind: str
    replicas: int | None = None
    pods: int | None = None


@dataclass(frozen=True, slots=True)
class GraphSays:
    """What the dependency graph says.

    Attributes:
        count: resources that are affected; None when it cannot say.
        age_seconds: since it was brought up to date about the least recent of the objects; None when it has no date.
    """

    count: int | None
    age_seconds: float | None = None


class BlastSources(Protocol):
    """The two independent counts. Each may raise, or answer None for "I cannot say"."""

    async def live(self, touched: Sequence[str]) -> int | None:
        """Resources that the live cluster says are affected."""
        ...

    async def graph(self, touched: Sequence[str]) -> GraphSays | None:
        """What the dependency graph says is affected; None, or without a count, when it does not know the objects."""
        ...


class Surroundings(Protocol):
    """What else the gate may want to know of the live cluster. Each may raise; what is unknown is a no."""

    async def pods(self, namespaces: Sequence[str]) -> int | None:
        """Pods that are there in these namespaces; with an empty name among them, in all of the cluster."""
        ...

    async def labels(self, touched: Sequence[str]) -> Mapping[str, Mapping[str, str] | None]:
        """Labels of each object; none for one that does not exist yet, None for one that cannot be read."""
        ...

    async def around(self, footprint: Footprint) -> Around:
        """Vetoes, owners and disruption budgets around a plan; what cannot be read is None in the answer."""
        ...


class Sources(BlastSources, Surroundings, Protocol):
    """Everything that is measured of a plan."""


def weigh(item: Touched) -> int | None:
    """How many resources one object stands for, or None when that is not known."""
    if item.kind in WORKLOADS:
        return None if item.replicas is None or item.replicas < 0 else max(1, item.replicas)
    if item.kind == "Node":
        return None if item.pods is None or item.pods < 0 else 1 + item.pods
    return 1


def count(items: Iterable[Touched]) -> int | None:
    """The live count over all objects, each once; None when one is not known, or when there is none."""
    weights = {item.resource: weigh(item) for item in items}
    known = [weight for weight in weights.values() if weight is not None]
    return sum(known) if weights and len(known) == len(weights) else None


def combine(
    touched: Sequence[str], *, live: int | None, graph: int | None, age_seconds: float | None = None
) -> BlastRadius:
    """The blast radius from both counts.

    A source cannot see less than the plan itself names, so each known count is at least the number of resources.
    """
    resources = tuple(dict.fromkeys(touched))

    def at_least(value: int | None) -> int | None:
        return None if value is None or value < 0 else max(value, len(resources))

    return BlastRadius(graph=at_least(graph), live=at_least(live), resources=resources, graph_age_seconds=age_seconds)


async def measure(touched: Sequence[str], sources: BlastSources, *, timeout_seconds: float = 5) -> BlastRadius:
    """Ask both sources at once.

    Args:
        touched: what the plan touches, ``Plan.touched``.
        sources: where the counts come from.
        timeout_seconds: for each source; one that takes longer does not know.
    """
    live, graph = await asyncio.gather(
        known(sources.live(touched), timeout_seconds=timeout_seconds),
        known(sources.graph(touched), timeout_seconds=timeout_seconds),
    )
    says = graph or GraphSays(None)
    return combine(touched, live=live, graph=says.count, age_seconds=says.age_seconds)


async def known(answer: Awaitable[T], *, timeout_seconds: float = 5) -> T | None:
    """What a source says, or None when it raises or takes too long."""
    try:
        async with asyncio.timeout(timeout_seconds):
            return await answer
    except Exception:  # noqa: BLE001 - whatever keeps it from answering, it is unknown and that is a no
        return None
