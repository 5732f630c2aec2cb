"""Root causes from KGroot's graph, however broken the edges are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from matcher.model import Cause, Signal, Subject
from services.graph.connect import Graph
from services.graph.identity import best, merged, rids, subject_of
from services.graph.values import moment

_WITHOUT_EID = frozenset({"alertmanager"})
"""Shapes whose event id is ours, not KGroot's."""

_EARLIER = timedelta(minutes=5)
_LATER = timedelta(minutes=2)
"""Around an alert: its writer and KGroot's do not share a clock, and KGroot may hear of it later than we do."""


class Neo4jCausalGraph:
    """Reads ``POTENTIAL_CAUSE``; implements ``matcher.ports.CausalGraph``.

    Args:
        default_tenant: nodes without ``client_id`` are this tenant's, and nobody else's.
        depth: how many edges to follow from the symptom. The confidence of a longer way is the product of its edges.
        per_symptom: most edges that are followed from one event.
    """

    def __init__(self, graph: Graph, default_tenant: str, *, depth: int = 1, per_symptom: int = 25) -> None:
        self._graph = graph
        self._default_tenant = default_tenant
        self._depth = depth
        self._per_symptom = per_symptom

    async def causes_of(self, signals: Sequence[Signal]) -> Mapping[str, tuple[Cause, ...]]:
        """Causes of each signal by its event id; one query for each step of depth, whatever the number of signals.

        Raises:
            GraphUnavailable, GraphRejected.
        """
        asking = Counter(event for event, _ in {(s.event_id, s.tenant) for s in signals})
        # The answer is keyed by event id: an id that two tenants send could give one the causes of the other.
        alike = await self._alike([s for s in signals if s.shape in _WITHOUT_EID])
        walks = {
            s.event_id: _Walk(s.event_id, s.tenant, alike.get(s.event_id, s.event_id))
            for s in signals
            if asking[s.event_id] == 1
        }
        for _ in range(self._depth):
            asked = {(event, walk.tenant) for walk in walks.values() for event in walk.frontier}
            if not asked:
                break
            edges = await self._edges(asked)
            for walk in walks.values():
                walk.follow(edges)
        return {walk.start: walk.causes() for walk in walks.values() if walk.found}

    async def _alike(self, signals: Sequence[Signal]) -> Mapping[str, str]:
        """The graph's own event of each alert that came without its id."""
        if not signals:
            return {}
        alerts = [
            {
                "event_id": signal.event_id,
                "tenant": signal.tenant,
                "untagged": signal.tenant == self._default_tenant,
                "reason": signal.reason,
                "rids": list(rids(signal.subject)),
                "since": min(signal.event_time, signal.seen_at) - _EARLIER,
                "until": signal.seen_at + _LATER,
            }
            for signal in signals
            if signal.subject.name
        ]
        rows = await self._graph.read("events_alike", alerts=alerts)
        return {row["event_id"]: row["eid"] for row in rows}

    async def _edges(self, asked: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], list[Cause]]:
        symptoms = [
            {"event_id": event, "tenant": tenant, "untagged": tenant == self._default_tenant}
            for event, tenant in sorted(asked)
        ]
        rows = await self._graph.read("causes_direct", symptoms=symptoms, per_symptom=self._per_symptom)
        edges: dict[tuple[str, str], list[Cause]] = {}
        for row in rows:
            edges.setdefault((row["symptom_id"], row["tenant"]), []).append(_cause(row))
        return edges

    async def controllers_of(self, subject: Subject, tenant: str) -> tuple[Subject, ...]:
        """The CONTROLS chain above a subject, nearest first, whichever of its nodes carries it.

        Raises:
            GraphUnavailable, GraphRejected.
        """
        rows = await self._graph.read(
            "controllers_of", rids=list(rids(subject)), tenant=tenant, untagged=tenant == self._default_tenant
        )
        return merged(subject_of(row) for row in rows)


class _Walk:
    """The way from one symptom along its causes. What was seen is not followed again, so cycles end."""

    def __init__(self, start: str, tenant: str, known_as: str) -> None:
        self.start = start
        self.tenant = tenant
        self.frontier: dict[str, float] = {known_as: 1.0}
        self.found: dict[tuple[str, str], Cause] = {}
        self._seen = {start, known_as}

    def follow(self, edges: Mapping[tuple[str, str], list[Cause]]) -> None:
        """Take the next step from every event of the frontier."""
        following: dict[str, float] = {}
        for event, so_far in self.frontier.items():
            for cause in edges.get((event, self.tenant), []):
                if cause.event_id in self._seen:
                    continue
                score = cause.raw_score * so_far
                self._keep(replace(cause, raw_score=score, confidence=score))
                following[cause.event_id] = max(score, following.get(cause.event_id, 0.0))
        self._seen |= following.keys()
        self.frontier = following

    def _keep(self, cause: Cause) -> None:
        key = (cause.event_id, cause.writer)
        if key not in self.found or self.found[key].raw_score < cause.raw_score:
            self.found[key] = cause

    def causes(self) -> tuple[Cause, ...]:
        """What was found, most credible first."""
        return tuple(sorted(self.found.values(), key=lambda c: (-c.raw_score, c.event_id, c.writer)))


def _cause(row: Mapping[str, Any]) -> Cause:
    score = _score(row["confidence"])
    hops = row["hops"]
    return Cause(
        event_id=row["event_id"],
        reason=row["reason"] or "",
        subject=best([subject_of(about) for about in row["about"]]),
        raw_score=score,
        writer=_writer(row["version"], hops),
        confidence=score,
        hops=int(hops) if isinstance(hops, int | float) else None,
        event_time=moment(row["event_time"]),
    )


def _score(confidence: object) -> float:
    """The edge's confidence within 0 to 1; NULL, and what is no number, counts as 0."""
    if not isinstance(confidence, int | float) or confidence != confidence:  # noqa: PLR0124 - NaN is not itself
        return 0.0
    return min(max(float(confidence), 0.0), 1.0)


def _writer(version: object, hops: object) -> str:
    """Who wrote an edge: the batch writer leaves its version, the live writer the number of hops."""
    if version:
        return f"kgroot-{version}"
    return "kgroot-live" if hops is not None else "kgroot-unknown"
