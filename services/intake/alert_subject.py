"""What an Alertmanager alert is about, from its labels.

Prometheus labels mix two things: what the alert is about, and which exporter was scraped. The exporter's own pod must never
become the subject, therefore:

1. ``exported_*`` wins: Prometheus moves the metric's own label there when the scrape target has one of that name.
2. A workload label says more than a pod label beside it.
3. A pod whose name contains the name of a known exporter job that was scraped is the exporter; it does not count.
"""  # noqa: E501 - reads as prose

from __future__ import annotations

from collections.abc import Mapping

from matcher.model import Subject
from services.intake.fields import NOBODY, read_subject
from services.intake.settings import IntakeSettings

_WORKLOADS = (
    ("deployment", "Deployment"),
    ("statefulset", "StatefulSet"),
    ("daemonset", "DaemonSet"),
    ("replicaset", "ReplicaSet"),
    ("cronjob", "CronJob"),
    ("job_name", "Job"),
    ("horizontalpodautoscaler", "HorizontalPodAutoscaler"),
    ("persistentvolumeclaim", "PersistentVolumeClaim"),
)
_NODE_EXPORTERS = frozenset({"node-exporter", "kubelet", "cadvisor"})


def alert_subject(labels: Mapping[str, str], settings: IntakeSettings) -> Subject:
    """The object that an alert is about, or ``NOBODY``."""
    exporter = next((e for e in settings.exporters if e in labels.get("job", "")), "")
    namespace = _label(labels, "namespace")
    for label, kind in _WORKLOADS:
        if _label(labels, label):
            return read_subject(kind, _label(labels, label), namespace, None, f"labels[{label}]")
    pod = _label(labels, "pod") or labels.get("pod_name", "")
    if pod and not (exporter and "exported_pod" not in labels and exporter in pod):
        return read_subject("Pod", pod, namespace, labels.get("uid"), "labels[pod]")
    node = _label(labels, "node") or _scraped_node(labels, exporter)
    if node:
        return read_subject("Node", node, None, None, "labels[node]")
    if _label(labels, "service") and not exporter:
        return read_subject("Service", _label(labels, "service"), namespace, None, "labels[service]")
    if namespace and not exporter:
        return read_subject("Namespace", namespace, None, None, "labels[namespace]")
    return NOBODY


def _label(labels: Mapping[str, str], name: str) -> str:
    return labels.get(f"exported_{name}") or labels.get(name, "")


def _scraped_node(labels: Mapping[str, str], exporter: str) -> str:
    """Exporters that run on every node name the node as their instance, with a port."""
    if exporter not in _NODE_EXPORTERS:
        return ""
    return labels.get("instance", "").rpartition(":")[0] or labels.get("instance", "")
