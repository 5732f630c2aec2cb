"""Canonical names of Kubernetes kinds: the graph and the messages spell them in several ways."""

from __future__ import annotations

_FORMS = {
    "Pod": ("pods", "po"),
    "Node": ("nodes", "no"),
    "Namespace": ("namespaces", "ns"),
    "Service": ("services", "svc"),
    "Deployment": ("deployments", "deploy"),
    "ReplicaSet": ("replicasets", "rs"),
    "StatefulSet": ("statefulsets", "sts"),
    "DaemonSet": ("daemonsets", "ds"),
    "Job": ("jobs",),
    "CronJob": ("cronjobs", "cj"),
    "ReplicationController": ("replicationcontrollers", "rc"),
    "PersistentVolume": ("persistentvolumes", "pv"),
    "PersistentVolumeClaim": ("persistentvolumeclaims", "pvc"),
    "HorizontalPodAutoscaler": ("horizontalpodautoscalers", "hpa"),
    "PodDisruptionBudget": ("poddisruptionbudgets", "pdb"),
    "ConfigMap": ("configmaps", "cm"),
    "Secret": ("secrets",),
    "Ingress": ("ingresses", "ing"),
    "Endpoints": ("endpoint", "ep"),
    "EndpointSlice": ("endpointslices",),
    "ServiceAccount": ("serviceaccounts", "sa"),
    "NetworkPolicy": ("networkpolicies", "netpol"),
    "Event": ("events", "ev"),
}
_CANONICAL = {form.lower(): kind for kind, forms in _FORMS.items() for form in (kind, *forms)}

RUNBOOK = "Runbook"
"""Kind of the target of a run that acts on no workload: the runbook stands for itself, and runs once at a time."""


def canonical_kind(kind: str) -> str:
    """``Replicaset``, ``replicasets`` and ``rs`` are ``ReplicaSet``; a kind that is not known stays as sent."""
    text = kind.strip()
    return _CANONICAL.get(text.lower(), text)
