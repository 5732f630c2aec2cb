"""A causal graph in memory: KGroot's model with its faults (NULL confidence, cycles, lost subjects, other tenants)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from matcher.kinds import canonical_kind
from matcher.model import Cause, Signal, Subject


@dataclass(frozen=True)
class Episodic:
    """An event node. ``client_id`` None is NULL; ``about`` None is a lost ABOUT."""

    eid: str
    reason: str
    client_id: str | None = "default"
    about: Subject | None = None
    event_time: datetime | None = None


@dataclass(frozen=True)
class PotentialCause:
    """An edge from cause to symptom, as the writers leave it."""

    cause: str
    symptom: str
    confidence: float | None = None
    hops: int | None = None
    version: str | None = None


@dataclass
class FakeCausalGraph:
    """Implements ``matcher.ports.CausalGraph``.

    Attributes:
        controls: chain of controllers, nearest first, by (tenant, namespace, pod name) and by (tenant, uid).
        default_tenant: the one that nodes without ``client_id`` belong to.
        down: when set, every question raises it.
        asked: how many questions were put.
    """

    default_tenant: str = "default"
    episodics: dict[str, Episodic] = field(default_factory=dict)
    edges: list[PotentialCause] = field(default_factory=list)
    controls: dict[tuple[str, ...], tuple[Subject, ...]] = field(default_factory=dict)
    down: Exception | None = None
    asked: int = 0

    def event(self, eid: str, reason: str, **facts: object) -> None:
        """Add an event node."""
        self.episodics[eid] = Episodic(eid, reason, **facts)  # type: ignore[arg-type]

    def link(self, cause: str, symptom: str, **facts: object) -> None:
        """Add an edge; nothing keeps edges from being double, cyclic or across tenants."""
        self.edges.append(PotentialCause(cause, symptom, **facts))  # type: ignore[arg-type]

    def controlled(self, tenant: str, pod: Subject, *chain: Subject) -> None:
        """Say which controllers a pod has, under both of its identities."""
        self.controls[tenant, pod.namespace, pod.name] = chain
        if pod.uid:
            self.controls[tenant, pod.uid] = chain

    async def causes_of(self, signals: Sequence[Signal]) -> Mapping[str, tuple[Cause, ...]]:
        """Causes by event id; signals without one are missing."""
        self._ask()
        found: dict[str, tuple[Cause, ...]] = {}
        for signal in signals:
            causes = tuple(self._causes(signal))
            if causes:
                found[signal.event_id] = causes
        return found

    async def controllers_of(self, subject: Subject, tenant: str) -> tuple[Subject, ...]:
        """The chain above a subject, nearest first."""
        self._ask()
        by_name = self.controls.get((tenant, subject.namespace, subject.name))
        return by_name or self.controls.get((tenant, subject.uid or subject.name), ())

    def _ask(self) -> None:
        self.asked += 1
        if self.down is not None:
            raise self.down

    def _causes(self, signal: Signal) -> list[Cause]:
        symptom = self.episodics.get(signal.event_id)
        if symptom is None or not self._belongs(symptom, signal.tenant):
            return []
        best: dict[str, Cause] = {}
        for edge in self.edges:
            node = self.episodics.get(edge.cause)
            if edge.symptom != signal.event_id or node is None or not self._belongs(node, signal.tenant):
                continue
            cause = _cause(node, edge)
            known = best.get(node.eid)
            if known is None or cause.raw_score > known.raw_score:
                best[node.eid] = cause
        return list(best.values())

    def _belongs(self, node: Episodic, tenant: str) -> bool:
        return (node.client_id or self.default_tenant) == tenant


def _cause(node: Episodic, edge: PotentialCause) -> Cause:
    score = edge.confidence or 0.0
    about = node.about or Subject("", "")
    return Cause(
        event_id=node.eid,
        reason=node.reason,
        subject=Subject(canonical_kind(about.kind), about.name, about.namespace, about.uid),
        raw_score=score,
        writer=_writer(edge),
        confidence=score,
        hops=edge.hops,
        event_time=node.event_time,
    )


def _writer(edge: PotentialCause) -> str:
    if edge.version:
        return f"kgroot-{edge.version}"
    return "kgroot-live" if edge.hops is not None else "kgroot-unknown"
