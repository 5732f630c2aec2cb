"""What a runbook acts on: the top controller of the cause's subject, or the node. Read live, never guessed.

    pod lives         its controller, the controller's controller, ... each read live
    pod is gone       the graph's CONTROLS chain as a hint, then the owners that its name allows; each verified live
    workload          itself (then its controllers)
    autoscaler        the workload that it scales
    volume claim      the one workload whose pods mount it
    no target wanted  a runbook that is asked for by name, for no workload, stands for itself
    node              itself
    anything else     no target, with the reason

A cause whose subject the graph has lost is looked for at the symptom's own object, and taken only when that object's
live state shows the cause (a container that was OOMKilled, a node that is not ready).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from matcher._cache import SharedLookups
from matcher.errors import LiveUnavailable
from matcher.kinds import RUNBOOK, canonical_kind
from matcher.model import Cause, Signal, Subject, Target
from matcher.pods import (
    claims_of,
    controller_of,
    could_have_made,
    is_uid,
    metadata,
    name_was_cut,
    node_shows,
    pick_container,
    possible_owners,
    shows,
    template_of,
)
from matcher.ports import CausalGraph, KubeObject, LiveObjects
from runbooks.findings import nearest

WORKLOADS = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "ReplicationController"}
)
"""Kinds that stand for themselves, or for what controls them."""

_DEEPEST = 5
_BY_NAME = {
    "ReplicaSet": "replicaset-name",
    "StatefulSet": "statefulset-name",
    "DaemonSet": "daemonset-name",
    "Job": "job-name",
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NoTarget:
    """There is nothing that a runbook could act on, and why."""

    reason: str


class _Nothing(Exception):
    """Carries a NoTarget out of a chain of look-ups."""


class TargetResolver:
    """Finds targets, a storm of repeats at the cost of one look-up.

    Args:
        live: the live cluster.
        graph: asked for hints when a pod is gone.
        cluster: name of the live cluster; signals of other clusters have no target here. None takes all signals
            for this cluster's.
        cache_seconds: how long an answer is good for.
        cache_size: the most answers that are kept.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        live: LiveObjects,
        graph: CausalGraph,
        *,
        cluster: str | None = None,
        cache_seconds: float = 3.0,
        cache_size: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._live = live
        self._graph = graph
        self._cluster = cluster
        self._known: SharedLookups[tuple[str, ...], Target | NoTarget] = SharedLookups(cache_seconds, cache_size, clock)

    async def resolve(self, cause: Cause, signal: Signal) -> Target | NoTarget:
        """The target of a cause.

        Raises:
            LiveUnavailable: the cluster (or the graph, where its hint was needed) gave no answer; try again later.
        """
        if self._cluster is not None and signal.cluster != self._cluster:
            return NoTarget(f"the signal is about cluster {signal.cluster}, this process acts on {self._cluster}")
        if signal.run is not None and not signal.run.targeted:
            return Target(signal.cluster, RUNBOOK, signal.run.runbook, resolved_by="none")
        subject = cause.subject if cause.subject.name else signal.subject
        hint = signal.labels.get("container", "") if _same(subject, signal.subject) else ""
        key = (signal.tenant, signal.cluster, cause.reason, cause.subject.name and "cause", *_parts(subject), hint)
        return await self._known.get(key, lambda: self._resolve(cause, signal, subject, hint))

    async def _resolve(self, cause: Cause, signal: Signal, subject: Subject, hint: str) -> Target | NoTarget:
        if not subject.name or not subject.kind:
            return NoTarget("neither the cause nor the signal says what it is about")
        try:
            if not cause.subject.name:
                await self._require_evidence(subject, cause.reason)
            return await self._of(subject, signal, cause.reason, hint)
        except _Nothing as nothing:
            return NoTarget(str(nothing))

    async def _of(self, subject: Subject, signal: Signal, reason: str, hint: str) -> Target:
        kind = canonical_kind(subject.kind)
        if kind == "Pod":
            return await self._of_pod(subject, signal, reason, hint)
        if kind == "Node":
            node = await self._node(subject)
            return _target(signal.cluster, node, "Node", resolved_by="self", node=_name(node))
        if kind in WORKLOADS:
            return await self._of_workload(replace(subject, kind=kind), signal.cluster, hint)
        if kind == "HorizontalPodAutoscaler":
            return await self._of_autoscaler(subject, signal.cluster, hint)
        if kind == "PersistentVolumeClaim":
            return await self._of_claim(subject, signal.cluster, hint)
        raise _Nothing(f"a runbook acts on workloads and nodes; the cause is about {kind} {subject.name}")

    async def _of_pod(self, subject: Subject, signal: Signal, reason: str, hint: str) -> Target:
        pod = await self._pod(subject)
        if pod is None:
            owner, how = await self._owner_of_gone(subject, signal.tenant)
            top = await self._top(owner, subject.namespace)
            container = pick_container(template_of(top), reason, hint)
            return replace(_target(signal.cluster, top, _kind(top), how, container=container), pod=subject.name)
        namespace = str(metadata(pod).get("namespace") or subject.namespace)
        if controller_of(pod) is None:
            raise _Nothing(f"pod {namespace}/{_name(pod)} has no controller, nothing would bring it back")
        top = await self._top(pod, namespace)
        target = _target(signal.cluster, top, _kind(top), "owner", container=pick_container(pod, reason, hint))
        return replace(target, pod=_name(pod), node=str((pod.get("spec") or {}).get("nodeName") or ""))

    async def _of_workload(self, subject: Subject, cluster: str, hint: str) -> Target:
        found = await self._get(subject.kind, subject.name, subject.namespace)
        if found is None:
            others = [_name(item) for item in await self._list(subject.kind, subject.namespace)]
            near = nearest(subject.name, others)
            hint = f"; did you mean {near}?" if near else ""
            raise _Nothing(f"{subject.kind} {subject.namespace}/{subject.name} does not exist{hint}")
        top = await self._top(_typed(found, subject.kind), subject.namespace)
        how = "self" if metadata(top).get("uid") == metadata(found).get("uid") else "owner"
        return _target(cluster, top, _kind(top), how, container=pick_container(template_of(top), "", hint))

    async def _of_autoscaler(self, subject: Subject, cluster: str, hint: str) -> Target:
        """The workload that an autoscaler scales."""
        found = await self._get("HorizontalPodAutoscaler", subject.name, subject.namespace)
        if found is None:
            raise _Nothing(f"HorizontalPodAutoscaler {subject.namespace}/{subject.name} does not exist")
        scaled: Mapping[str, Any] = (found.get("spec") or {}).get("scaleTargetRef") or {}
        kind, name = canonical_kind(str(scaled.get("kind", ""))), str(scaled.get("name", ""))
        if kind not in WORKLOADS:
            raise _Nothing(f"HorizontalPodAutoscaler {subject.name} scales {kind} {name}, which is no workload")
        return await self._of_workload(replace(subject, kind=kind, name=name, uid=""), cluster, hint)

    async def _of_claim(self, subject: Subject, cluster: str, hint: str) -> Target:
        """The workload whose pods mount a claim; several, or none, is no answer."""
        pods = [pod for pod in await self._list("Pod", subject.namespace) if subject.name in claims_of(pod)]
        owned = [pod for pod in pods if controller_of(pod) is not None]
        tops = {str(metadata(top).get("uid")): top for top in [await self._top(p, subject.namespace) for p in owned]}
        if len(tops) != 1 or len(owned) != len(pods):
            who = ", ".join(sorted(_name(top) for top in tops.values())) or "no workload"
            raise _Nothing(f"PersistentVolumeClaim {subject.namespace}/{subject.name} is mounted by {who}, not by one")
        (top,) = tops.values()
        return _target(cluster, top, _kind(top), "mount", container=pick_container(template_of(top), "", hint))

    async def _top(self, item: KubeObject, namespace: str) -> KubeObject:
        """Follow the controller references up; every step is read live and must be the very owner (uid)."""
        for _ in range(_DEEPEST):
            reference = controller_of(item)
            if reference is None:
                return item
            kind, name = canonical_kind(str(reference.get("kind", ""))), str(reference.get("name", ""))
            if kind == "Node":
                raise _Nothing(
                    f"pod {namespace}/{_name(item)} is a static pod of node {name}; only a file there can fix it"
                )
            owner = await self._get(kind, name, namespace)
            if owner is None or (reference.get("uid") and metadata(owner).get("uid") != reference["uid"]):
                raise _Nothing(f"{kind} {namespace}/{name}, the controller of {_name(item)}, is gone")
            item = _typed(owner, kind)
        raise _Nothing(f"{_name(item)} has more than {_DEEPEST} controllers above it")

    async def _pod(self, subject: Subject) -> KubeObject | None:
        """The live pod, by name or by the uid that stands in the name's place."""
        if not is_uid(subject.name):
            if not subject.namespace:
                raise _Nothing(f"pod {subject.name} comes without a namespace")
            return await self._get("Pod", subject.name, subject.namespace)
        pods = await self._list("Pod", subject.namespace)
        return next((pod for pod in pods if metadata(pod).get("uid") == subject.name), None)

    async def _node(self, subject: Subject) -> KubeObject:
        """The live node, by name, uid or address: the graph knows all three forms."""
        if not is_uid(subject.name):
            node = await self._get("Node", subject.name)
            if node is not None:
                return node
        found = [node for node in await self._list("Node", "") if subject.name in _aliases(node)]
        if len(found) != 1:
            raise _Nothing(f"node {subject.name} does not exist" if not found else f"{subject.name} is several nodes")
        return found[0]

    async def _owner_of_gone(self, subject: Subject, tenant: str) -> tuple[KubeObject, str]:
        """A live controller of a pod that no longer exists."""
        for hint in await _ask(self._graph.controllers_of(subject, tenant), "the graph"):
            kind = canonical_kind(hint.kind)
            if kind not in WORKLOADS or (subject.namespace and hint.namespace not in {"", subject.namespace}):
                continue
            owner = await self._get(kind, hint.name, hint.namespace or subject.namespace)
            if owner is not None:
                return _typed(owner, kind), "graph"
        found = [] if is_uid(subject.name) else await self._by_name(subject)
        if len(found) == 1:
            return found[0], _BY_NAME[_kind(found[0])]
        why = "neither the graph nor its name leads to" if not found else "its name could come from more than one of"
        raise _Nothing(f"pod {subject.namespace}/{subject.name} is gone, and {why} its controller")

    async def _by_name(self, subject: Subject) -> list[KubeObject]:
        if name_was_cut(subject.name):
            sets = await self._list("ReplicaSet", subject.namespace)
            return [_typed(s, "ReplicaSet") for s in sets if could_have_made(_name(s), subject.name)]
        found = []
        for kind, name in possible_owners(subject.name):
            owner = await self._get(kind, name, subject.namespace)
            if owner is not None:
                found.append(_typed(owner, kind))
        return found

    async def _require_evidence(self, subject: Subject, reason: str) -> None:
        kind = canonical_kind(subject.kind)
        shown = False
        if kind == "Pod":
            pod = await self._pod(subject)
            shown = pod is not None and shows(pod, reason)
        elif kind == "Node":
            shown = node_shows(await self._node(subject), reason)
        if not shown:
            raise _Nothing(f"it is not known what {reason} is about, and {kind} {subject.name} shows no sign of it")

    async def _get(self, kind: str, name: str, namespace: str = "") -> KubeObject | None:
        return await _ask(self._live.get(kind, name, namespace), f"the cluster about {kind} {name}")

    async def _list(self, kind: str, namespace: str) -> list[KubeObject]:
        return list(await _ask(self._live.list(kind, namespace), f"the cluster about its {kind}s"))


async def _ask(question: Awaitable[T], what: str) -> T:
    try:
        return await question
    except Exception as error:  # whatever went wrong at the port, it is no answer to act upon
        raise LiveUnavailable(f"could not ask {what}: {error}") from error


def _same(one: Subject, other: Subject) -> bool:
    return (canonical_kind(one.kind), one.namespace, one.name) == (
        canonical_kind(other.kind),
        other.namespace,
        other.name,
    )


def _parts(subject: Subject) -> tuple[str, ...]:
    return (canonical_kind(subject.kind), subject.namespace, subject.name, subject.uid)


def _name(item: KubeObject) -> str:
    return str(metadata(item).get("name", ""))


def _kind(item: KubeObject) -> str:
    return canonical_kind(str(item.get("kind", "")))


def _typed(item: KubeObject, kind: str) -> KubeObject:
    """Items of a list come without their kind."""
    return item if item.get("kind") else {**item, "kind": kind}


def _aliases(node: KubeObject) -> set[str]:
    addresses = (node.get("status") or {}).get("addresses") or ()
    return {str(metadata(node).get("uid", "")), *(str(address.get("address", "")) for address in addresses)}


def _target(
    cluster: str, item: KubeObject, kind: str, resolved_by: str, *, container: str = "", node: str = ""
) -> Target:
    return Target(
        cluster=cluster,
        kind=kind,
        name=_name(item),
        namespace=str(metadata(item).get("namespace") or ""),
        uid=str(metadata(item).get("uid") or ""),
        container=container,
        node=node,
        resolved_by=resolved_by,
    )
