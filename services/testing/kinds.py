"""The kinds that the fake API server serves."""

from __future__ import annotations

from services.kubernetes.kinds import KindIndex, Resource

_SERVED = """
v1 Pod pods po
v1 Node nodes no
v1 Namespace namespaces ns
v1 ConfigMap configmaps cm
v1 Secret secrets
v1 Service services svc
v1 ServiceAccount serviceaccounts sa
v1 PersistentVolumeClaim persistentvolumeclaims pvc
v1 Event events ev
apps/v1 Deployment deployments deploy
apps/v1 ReplicaSet replicasets rs
apps/v1 StatefulSet statefulsets sts
apps/v1 DaemonSet daemonsets ds
apps/v1 ControllerRevision controllerrevisions
batch/v1 Job jobs
batch/v1 CronJob cronjobs cj
policy/v1 PodDisruptionBudget poddisruptionbudgets pdb
autoscaling/v2 HorizontalPodAutoscaler horizontalpodautoscalers hpa
example.com/v1 Widget widgets
"""
_CLUSTER_WIDE = ("Node", "Namespace")


def _resource(line: str) -> Resource:
    api_version, kind, plural, *short = line.split()
    group, _, version = api_version.rpartition("/")
    return Resource(kind, plural, group, version, kind not in _CLUSTER_WIDE, kind.lower(), tuple(short))


SERVED = KindIndex(_resource(line) for line in _SERVED.strip().splitlines())
