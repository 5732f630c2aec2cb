"""Messages in the shapes that their real writers use."""

import hashlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from compose.demo.kgroot import Event

Message = dict[str, Any]


def rfc3339(at: datetime, *, digits: int = 6) -> str:
    """A time as Go writers put it; with nine digits as those of KGroot do."""
    text = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return f"{text}{'0' * (digits - 6)}Z"


def event_normalized(event: Event, tenant: str) -> Message:
    """What KGroot's alert receiver makes of an alert, or its exporter of an event."""
    about = event.about
    return {
        "etype": event.etype,
        "event_id": event.eid,
        "event_time": rfc3339(event.at, digits=9),
        "client_id": tenant,
        "reason": event.reason,
        "severity": event.severity,
        "status": "firing",
        "message": event.message,
        "subject": {"kind": about.kind, "ns": about.namespace, "name": about.name, "uid": about.uid},
    }


def vector_event(event: Event, tenant: str, starts: datetime) -> Message:
    """The same as Vector writes it: with labels and the alert, whose fingerprint is all that repeats share."""
    labels = alert_labels(event)
    alert = {"fingerprint": fingerprint(labels), "startsAt": rfc3339(starts), "status": "firing"}
    return {**event_normalized(event, tenant), "labels": labels, "annotations": {}, "alerts": alert}


def alerts_enriched(event: Event, tenant: str, related: Sequence[str]) -> Message:
    """An event with what KGroot's enricher found out about it."""
    about = event.about
    return {
        **event_normalized(event, tenant),
        "enrichment": {
            "enriched_at": rfc3339(datetime.now(UTC), digits=9),
            "resource": {"kind": about.kind, "ns": about.namespace, "name": about.name, "uid": about.uid},
            "related_resources": [{"rid": rid} for rid in related],
            "topology": {},
            "group_id": f"group-{event.eid[:8]}",
            "group_count": 1,
            "is_grouped": False,
            "similar_alerts": [],
        },
    }


def normalizer_v2(event: Event, cluster: str) -> Message:
    """An event of the second normalizer, which names no tenant."""
    about = event.about
    return {
        "event_id": event.eid,
        "cluster_name": cluster,
        "timestamp": rfc3339(event.at),
        "event_type_abstract": "POD_UNHEALTHY",
        "namespace": about.namespace,
        "pod_name": about.name if about.kind == "Pod" else None,
        "node": None,
        "service": None,
        "reason": event.reason,
        "message": event.message,
        "severity": event.severity.lower(),
        "involved_object_kind": about.kind,
        "involved_object_name": about.name,
        "raw_event_id": str(uuid.uuid4()),
    }


def v2_event_id() -> str:
    """An event id as the second normalizer makes them."""
    return f"evt-{uuid.uuid4().hex[:16]}"


def raw_event(event: Event) -> Message:
    """A Kubernetes event as the exporter writes it: its uid is the event id, and it names no tenant."""
    about, at = event.about, event.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "metadata": {"uid": event.eid, "name": f"{about.name}.{event.eid[:8]}", "namespace": about.namespace},
        "reason": event.reason,
        "message": event.message,
        "type": "Warning",
        "involvedObject": {"kind": about.kind, "uid": about.uid, "namespace": about.namespace, "name": about.name},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "eventTime": None,
        "source": {"component": "kubelet"},
    }


def alertmanager_body(event: Event, tenant: str) -> Message:
    """The body of Alertmanager's webhook. It knows nothing of KGroot's event ids."""
    labels = alert_labels(event) | {"tenant": tenant}
    annotations = {"summary": event.message}
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{event.reason}"}}',
        "status": "firing",
        "receiver": "rootmend",
        "groupLabels": {"alertname": event.reason},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "http://alertmanager.example:9093",
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": annotations,
                "startsAt": rfc3339(event.at),
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus.example:9090/graph",
                "fingerprint": fingerprint(labels),
            }
        ],
    }


def rca_result(
    symptom: Event, causes: Sequence[tuple[Event, float]], *, tenant: str, cluster: str, writer: str
) -> Message:
    """What another RCA engine found out about an event.

    Args:
        symptom: the event.
        causes: each with the engine's confidence, 0 to 1.
        tenant: whose it is.
        cluster: where it is.
        writer: the engine.
    """
    return {
        "schema": "rca.result/v1",
        "result_id": str(uuid.uuid4()),
        "tenant": tenant,
        "cluster": cluster,
        "incident_id": symptom.eid,
        "produced_at": rfc3339(datetime.now(UTC)),
        "writer": writer,
        "subject": _subject(symptom),
        "causes": [
            {"event_id": cause.eid, "reason": cause.reason, "confidence": sure, "hops": 1, "subject": _subject(cause)}
            for cause, sure in causes
        ],
    }


def alert_labels(event: Event) -> dict[str, str]:
    """The labels of a Prometheus alert about an object, with those of the exporter that was scraped."""
    about = event.about
    return {
        "alertname": event.reason,
        "severity": event.severity.lower(),
        "namespace": about.namespace,
        about.kind.lower(): about.name,
        "job": "kube-state-metrics",
        "instance": "10.244.0.9:8080",
    }


def fingerprint(labels: dict[str, str]) -> str:
    """Sixteen hexadecimal digits that equal labels share, as Alertmanager's fingerprint."""
    text = "\n".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _subject(event: Event) -> Message:
    about = event.about
    return {"kind": about.kind, "ns": about.namespace, "name": about.name, "uid": about.uid}
