"""What is known of an incident, as plain data: for conditions of triggers and for the templates of steps."""

from __future__ import annotations

from typing import Any

from matcher.kinds import RUNBOOK
from matcher.model import Incident, Signal
from runbooks.mappings import AlertFacts


def incident_facts(incident: Incident) -> dict[str, Any]:
    """``incident``: what is not known is left out, so that a template that needs it fails by name."""
    signal, cause = incident.signal, incident.cause
    return {
        "id": incident.id,
        "event_id": signal.event_id,
        "event_time": signal.event_time.isoformat(),
        "tenant": incident.tenant,
        "cluster": incident.cluster,
        "reason": cause.reason,
        "severity": signal.severity,
        "message": signal.message,
        "symptom": {"reason": signal.reason, "event_id": signal.event_id},
        "root_cause": {"reason": cause.reason, "event_id": cause.event_id},
        "rca_confidence": cause.confidence,
        "labels": dict(signal.labels),
        "resource": _resource(incident),
    }


def _resource(incident: Incident) -> dict[str, str]:
    """The cause's subject, with the workload that owns it as its controller."""
    subject, target = incident.cause.subject, incident.target
    owned = target.kind not in ("Pod", "Node", RUNBOOK)
    known = {
        "kind": subject.kind,
        "name": subject.name,
        "namespace": subject.namespace or target.namespace,
        "uid": subject.uid,
        "controller": target.name if owned else "",
        "controller_kind": target.kind if owned else "",
        "container_name": target.container,
        "node": target.name if target.kind == "Node" else target.node,
    }
    return {name: value for name, value in known.items() if value}


def target_facts(incident: Incident) -> dict[str, str]:
    """``target``: what a runbook acts on."""
    target = incident.target
    return {
        "kind": target.kind,
        "name": target.name,
        "namespace": target.namespace,
        "uid": target.uid,
        "container": target.container,
        "pod": target.pod,
        "node": target.name if target.kind == "Node" else target.node,
    }


def alert_facts(signal: Signal) -> AlertFacts:
    """What mappings and alert triggers look at. A signal that is no alert goes by its reason."""
    name = signal.labels.get("alertname") or signal.reason
    return AlertFacts(name, signal.subject.namespace, signal.labels, signal.annotations)
