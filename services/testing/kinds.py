"""The kinds that the fake API server serves."""

from __future__ import annotations

from services.kubernetes.builtin import RESOURCES
from services.kubernetes.kinds import KindIndex, Resource

_SERVED = (
    *("Pod", "Node", "Namespace", "ConfigMap", "Secret", "Service", "ServiceAccount", "PersistentVolumeClaim", "Event"),
    *("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ControllerRevision", "Job", "CronJob"),
    *("PodDisruptionBudget", "HorizontalPodAutoscaler"),
)
_WIDGET = Resource("Widget", "widgets", "example.com", "v1", namespaced=True, singular="widget")

SERVED = KindIndex([*(RESOURCES[kind] for kind in _SERVED), _WIDGET])
