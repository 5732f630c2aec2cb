"""Writes the causal graph the way KGroot's live writer does: topology, events, scored edges between them.

Also its weak sides: a pod is known under two names, most edges carry no tenant, and a pod that is deleted takes what
events were about with it.
"""

import asyncio
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from compose.demo.cluster import Cluster, Json
from compose.demo.graph import Graph

_WATCHED = ("Deployment", "ReplicaSet", "Pod", "Service")
_TEMPORAL_WINDOW = 300.0
"""Seconds between cause and symptom after which their closeness in time says nothing."""


@dataclass(frozen=True, slots=True)
class About:
    """What an event is about. Without a uid (alerts have none) it is named by namespace and name."""

    kind: str
    name: str
    namespace: str = ""
    uid: str = ""

    @property
    def rid(self) -> str:
        """As KGroot names it."""
        kind = self.kind.lower()
        if kind == "node":
            return f"node:{self.name}"
        return f"{kind}:{self.uid}" if self.uid else f"{kind}:{self.namespace}:{self.name}"


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the graph."""

    reason: str
    about: About
    message: str
    severity: str = "WARNING"
    etype: str = "k8s.event"
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    eid: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True)
class Score:
    """The live writer's parts of a confidence, each 0 to 1.

    Attributes:
        temporal: how close in time.
        hops: between the two resources; the writer never links events of one resource.
        domain: how well the two reasons are known to go together.
    """

    temporal: float
    hops: int
    domain: float

    @property
    def confidence(self) -> float:
        """0.3 of closeness in time, 0.3 of closeness in the topology, 0.4 of domain knowledge."""
        return 0.3 * self.temporal + 0.3 / (self.hops + 1) + 0.4 * self.domain


def score(cause: Event, symptom: Event, *, domain: float, hops: int = 1) -> Score:
    """Score an edge by the distance in time of its events."""
    gap = abs((symptom.at - cause.at).total_seconds())
    return Score(max(0.0, 1.0 - gap / _TEMPORAL_WINDOW), hops, domain)


class KgrootWriter:
    """Writes for one tenant and cluster."""

    def __init__(self, graph: Graph, tenant: str, cluster: str) -> None:
        self._graph = graph
        self._tenant = tenant
        self._cluster = cluster

    async def prepare(self) -> None:
        """Create the constraints that KGroot creates."""
        await self._graph.run("kgroot_constraints")

    async def events(self, events: Sequence[Event]) -> None:
        """Write events and what they are about."""
        await self._graph.run("kgroot_events", rows=[self._event_row(event) for event in events])

    async def link(self, cause: Event, symptoms: Iterable[Event], *, domain: float) -> None:
        """Write an edge from a cause to each symptom."""
        rows = []
        for symptom in symptoms:
            parts = score(cause, symptom, domain=domain)
            facts = {
                "confidence": parts.confidence,
                "hops": parts.hops,
                "temporal_score": parts.temporal,
                "distance_score": 1 / (parts.hops + 1),
                "domain_score": parts.domain,
            }
            rows.append({"cause": cause.eid, "symptom": symptom.eid, "facts": facts})
        await self._graph.run("kgroot_links", rows=rows)

    def _event_row(self, event: Event) -> Json:
        about = event.about
        facts = {
            "client_id": self._tenant,
            "etype": event.etype,
            "severity": event.severity,
            "reason": event.reason,
            "message": event.message,
            "event_time": event.at,
        }
        known = {"client_id": self._tenant, "kind": about.kind, "ns": about.namespace, "name": about.name}
        uid = about.uid or (about.name if about.kind == "Node" else "")
        return {
            "eid": event.eid,
            "facts": facts,
            "rid": about.rid,
            "about": {**known, "cluster": self._cluster, **({"uid": uid} if uid else {})},
        }

    async def mirror(self, cluster: Cluster, namespace: str, nodes: str) -> None:
        """Write the topology of a namespace as it is now.

        Args:
            cluster: where it is.
            namespace: its name.
            nodes: selects the nodes that are written too. Nodes that others use stay as they are in the graph: a
                Resource has one tenant.
        """
        found = await asyncio.gather(
            *(cluster.find(kind, namespace) for kind in _WATCHED), cluster.find("Node", labelSelector=nodes)
        )
        objects = [item for items in found for item in items]
        rows = [{"rid": _rid(item), "facts": self._facts(item)} for item in objects]
        await self._graph.run("kgroot_resources", rows=rows)
        await self._graph.run("kgroot_relations", rows=list(_relations(objects)))
        uids = [item["metadata"]["uid"] for item in objects if item["kind"] == "Pod"]
        await self._graph.run("kgroot_gone", client_id=self._tenant, ns=namespace, uids=uids)

    def _facts(self, item: Json) -> Json:
        meta, spec, status = item["metadata"], item.get("spec", {}), item.get("status", {})
        labels = meta.get("labels") or {}
        facts = {
            "client_id": self._tenant,
            "kind": item["kind"],
            "uid": meta["uid"],
            "ns": meta.get("namespace", ""),
            "name": meta["name"],
            "cluster": self._cluster,
            "labels_kv": [f"{key}={value}" for key, value in sorted(labels.items())],
            "labels_json": json.dumps(labels, sort_keys=True),
            "status_json": json.dumps({"phase": status["phase"]} if "phase" in status else {}),
        }
        if item["kind"] == "Pod":
            image = spec["containers"][0]["image"]
            facts |= {"node": spec.get("nodeName", ""), "podIP": status.get("podIP", ""), "image": image}
        return facts


def _rid(item: Json) -> str:
    meta = item["metadata"]
    return About(item["kind"], meta["name"], meta.get("namespace", "")).rid


def _relations(objects: Sequence[Json]) -> Iterator[dict[str, Any]]:
    by_uid = {item["metadata"]["uid"]: item for item in objects}
    for item in objects:
        for owner in item["metadata"].get("ownerReferences") or ():
            if owner["uid"] in by_uid:
                yield {"source": _rid(by_uid[owner["uid"]]), "type": "CONTROLS", "target": _rid(item)}
        if item["kind"] == "Pod" and (node := item["spec"].get("nodeName")):
            yield {"source": _rid(item), "type": "RUNS_ON", "target": About("Node", node).rid}
        if item["kind"] == "Service":
            wanted = (item["spec"].get("selector") or {}).items()
            for pod in objects:
                if pod["kind"] == "Pod" and wanted and wanted <= (pod["metadata"].get("labels") or {}).items():
                    yield {"source": _rid(item), "type": "SELECTS", "target": _rid(pod)}
