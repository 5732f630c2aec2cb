"""The blast radius as a tree: what a plan touches, what hangs on it, and why, from the live cluster and the graph."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from executor import health
from matcher.kinds import RUNBOOK
from matcher.ports import KubeObject, LiveObjects
from safety.blast import WORKLOADS
from safety.disruption import guards, selects
from services.pipeline.around import split


@dataclass(slots=True)
class Branch:
    """One object of the tree.

    Attributes:
        resource: ``Kind/namespace/name``.
        why: each edge that leads here, such as ``owner reference`` or ``SELECTS in the graph``.
        counted: who counts it: ``live``, ``graph``.
    """

    resource: str
    why: list[str] = field(default_factory=list)
    counted: set[str] = field(default_factory=set)
    below: dict[str, Branch] = field(default_factory=dict)

    def add(self, resource: str, why: str, *counted: str) -> Branch:
        """The branch to an object, with one more reason."""
        branch = self.below.setdefault(resource, Branch(resource))
        if why not in branch.why:
            branch.why.append(why)
        branch.counted.update(counted)
        return branch

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "resource": self.resource,
            "why": self.why,
            "counted_by": sorted(self.counted),
            "below": [one.to_json() for one in self.below.values()],
        }


class Edges(Protocol):
    """The graph's edges around objects."""

    async def edges(self, touched: Sequence[str], tenant: str, cluster: str = "") -> Sequence[tuple[str, str, str]]:
        """Touched resource, kind of edge, and what hangs on it."""
        ...


class BlastTree:
    """Draws trees.

    Args:
        live: the API server.
        graph: the edges of the graph.
    """

    def __init__(self, live: LiveObjects, graph: Edges) -> None:
        self._live = live
        self._graph = graph

    async def of(self, touched: Sequence[str], tenant: str, cluster: str) -> tuple[Branch, ...]:
        """A tree for each object that is touched."""
        roots = {resource: Branch(resource, ["touched by the plan"], {"live", "graph"}) for resource in touched}
        await asyncio.gather(*(self._grow(root) for root in roots.values()))
        for resource, how, other in await self._graph.edges(list(roots), tenant, cluster):
            kind = split(other)[0]
            counted = ("graph",) if kind in ("Pod", "Service") else ()
            roots[resource].add(other, f"{how} in the graph", *counted)
        return tuple(roots.values())

    async def _grow(self, root: Branch) -> None:
        kind, namespace, name = split(root.resource)
        if kind == RUNBOOK:
            return
        item = await self._live.get(kind, name, namespace)
        if item is None:
            root.why.append("it does not exist yet")
            return
        pods = await self._pods(root, item)
        await self._beside(root, namespace, pods or ([item] if kind == "Pod" else []))

    async def _pods(self, root: Branch, item: KubeObject) -> list[KubeObject]:
        """The pods of a workload, through its owner references, or those on a node."""
        kind, namespace, name = split(root.resource)
        if kind == "Node":
            found = await self._live.list("Pod", fields=f"spec.nodeName={name}")
            pods = [pod for pod in found if not health.stays(pod)]
            for pod in pods:
                root.add(_named(pod), "runs on the node", "live")
            return pods
        if kind not in WORKLOADS:
            return []
        owners = {item["metadata"]["uid"]: root}
        if kind == "Deployment":
            for each in await self._live.list("ReplicaSet", namespace):
                if _owner(each) in owners and (each.get("spec") or {}).get("replicas"):
                    owners[each["metadata"]["uid"]] = root.add(_named(each), "owner reference")
        pods = [pod for pod in await self._live.list("Pod", namespace) if _owner(pod) in owners]
        for pod in pods:
            owners[_owner(pod)].add(_named(pod), "owner reference", "live")
        return pods

    async def _beside(self, root: Branch, namespace: str, pods: Sequence[KubeObject]) -> None:
        """Services that send to the pods, and budgets that guard them."""
        spaces = {pod["metadata"].get("namespace", "") for pod in pods} or ({namespace} if namespace else set())
        for space in sorted(spaces):
            services, budgets = await asyncio.gather(
                self._live.list("Service", space), self._live.list("PodDisruptionBudget", space)
            )
            labels = [pod["metadata"].get("labels") or {} for pod in pods if pod["metadata"].get("namespace") == space]
            for service in services:
                selector = (service.get("spec") or {}).get("selector")
                if selector and any(selects({"matchLabels": selector}, one) for one in labels):
                    root.add(_named(service), "selects its pods")
            for budget in budgets:
                if any(guards(budget, space, one) for one in labels):
                    allowed = (budget.get("status") or {}).get("disruptionsAllowed", "an unknown number of")
                    root.add(_named(budget), f"guards its pods: {allowed} disruptions allowed")


def _owner(item: Mapping[str, Any]) -> str:
    owners = (item.get("metadata") or {}).get("ownerReferences") or ()
    return next((str(owner.get("uid")) for owner in owners if owner.get("controller")), "")


def _named(item: Mapping[str, Any]) -> str:
    meta = item["metadata"]
    return "/".join(filter(None, (item.get("kind", ""), meta.get("namespace", ""), meta["name"])))
