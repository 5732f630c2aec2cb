"""Words of the matcher, as values: Signal, Cause, Diagnosis, Target, Incident, Match."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from runbooks.model import LoadedRunbook


class SignalStatus(StrEnum):
    """Whether the alert says that something is wrong, or that it is over."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Subject:
    """The Kubernetes object that a signal or cause is about. Kind is canonical (``ReplicaSet``), the rest as sent."""

    kind: str
    name: str
    namespace: str = ""
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message came from, for the DLQ, for counting each input once, and for the logs."""

    topic: str
    partition: int
    offset: int


class Asked(StrEnum):
    """Who asks for a runbook by name."""

    MANUAL = "manual"
    API = "api"
    SCHEDULE = "schedule"


@dataclass(frozen=True, slots=True)
class Run:
    """A runbook that is asked for by name, instead of being found by a cause.

    Attributes:
        runbook: its id.
        version: the only version that will do; empty for the one in force.
        targeted: whether it is asked for a target (the signal's subject); else it acts on no workload.
        parameters: values for its parameters, JSON; they go before those of the settings.
        by: who asks, as they say.
        dry_run: only plan it and say what it would do.
    """

    runbook: str
    source: Asked
    version: str = ""
    targeted: bool = True
    parameters: Mapping[str, Any] = field(default_factory=dict)
    by: str = ""
    reason: str = ""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """One alert or event as received, normalised.

    Attributes:
        event_id: the sender's id; equals ``Episodic.eid`` in the graph. Not a basis for deduplication.
        event_time: when it happened, UTC, truncated to microseconds.
        shape: which message shape it came in (``alertmanager``, ``event_normalized``, ``raw_event``,
            ``normalizer_v2``, ``alerts_enriched``, ``rca_result``, ``run_request``).
        alert_key: stable over firing and resolved deliveries of the same alert.
        received_at: the broker's time of the message, UTC. Windows are measured with it, because an Alertmanager
            alert keeps its ``startsAt`` over all of its deliveries; None reads as ``event_time``.
        annotations: of an Alertmanager alert, as its rule wrote them; mappings look at them.
        run: the runbook that is asked for by name; None for everything that happened by itself.
    """

    event_id: str
    tenant: str
    cluster: str
    reason: str
    severity: str
    status: SignalStatus
    subject: Subject
    event_time: datetime
    shape: str
    alert_key: str
    origin: Origin
    message: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    received_at: datetime | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    run: Run | None = None

    @property
    def seen_at(self) -> datetime:
        """When the signal reached us; the same however often the message is read."""
        return self.received_at or self.event_time


@dataclass(frozen=True, slots=True)
class Cause:
    """A candidate root cause of a signal.

    Attributes:
        raw_score: what the writer said, 0 to 1; NULL in the graph reads as 0.
        writer: who wrote it (``kgroot-live``, ``kgroot-enhanced_v1``, or the RCA engine's own name).
        confidence: calibrated, 0 to 1.
    """

    event_id: str
    reason: str
    subject: Subject
    raw_score: float
    writer: str
    confidence: float
    hops: int | None = None
    event_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """A signal as intake hands it on.

    Attributes:
        causes: raw causes that the message itself named; None when it named none and the graph has to be asked.
        notes: what intake had to put right, for people (a time in the future, a text that was cut).
    """

    signal: Signal
    causes: tuple[Cause, ...] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A signal with its causes, most credible first. ``rca_from``: ``message``, ``graph`` or ``both``."""

    signal: Signal
    causes: tuple[Cause, ...]
    rca_from: str


@dataclass(frozen=True, slots=True)
class Target:
    """What a runbook acts on: the top controller of the subject, or the node.

    Attributes:
        container: the container that the cause is about, where it is known or the workload has just one.
        resolved_by: how it was found (``owner``, ``self``, ``graph``, ``replicaset-name``, ``statefulset-name``,
            ``daemonset-name``, ``job-name``, ``none`` where a runbook was asked for without a target).
        pod: name of the pod that the cause is about, when there is one (it may be gone).
    """

    cluster: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""
    container: str = ""
    pod: str = ""
    node: str = ""
    resolved_by: str = "self"

    @property
    def key(self) -> str:
        """The identity that locks and fingerprints use: cluster/namespace/Kind/name."""
        return f"{self.cluster}/{self.namespace}/{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Incident:
    """Signals of one problem on one target.

    Attributes:
        id: uuid5 of tenant, fingerprint and opened_at, so that a message read twice meets its own record.
        fingerprint: SHA-256 of tenant, cluster, cause reason and target key, hex, 32 characters.
        repeat_count: how many inputs belong to it so far.
    """

    id: str
    fingerprint: str
    tenant: str
    cluster: str
    signal: Signal
    cause: Cause
    target: Target
    opened_at: datetime
    last_seen: datetime
    repeat_count: int = 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A runbook that was looked at. ``lost_because`` is empty for the winner."""

    runbook_id: str
    version: str
    sha: str
    score: tuple[int, ...]
    lost_because: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """An incident with the runbook that answers it, and why this one won.

    Attributes:
        parameters: values that a mapping took from the alert; they go before those of the settings.
        suggested: why the runbook is only suggested, so that a human has to say yes; empty when it is not.
        notify_channel: who hears of a suggestion.
    """

    incident: Incident
    runbook: LoadedRunbook
    candidates: tuple[Candidate, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    suggested: str = ""
    notify_channel: str = ""


@dataclass(frozen=True, slots=True)
class NoMatch:
    """No runbook answers the incident; every candidate keeps its reason."""

    incident: Incident
    candidates: tuple[Candidate, ...]
    reason: str
