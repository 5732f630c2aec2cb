"""The kinds of every API server, so that nobody has to be asked for them."""

from __future__ import annotations

from collections.abc import Mapping

from services.kubernetes.kinds import Resource

_BUILT_IN = """
v1 Pod pods po
v1 Node nodes no
v1 Namespace namespaces ns
v1 ConfigMap configmaps cm
v1 Secret secrets
v1 Service services svc
v1 Endpoints endpoints ep
v1 ServiceAccount serviceaccounts sa
v1 PersistentVolumeClaim persistentvolumeclaims pvc
v1 PersistentVolume persistentvolumes pv
v1 ReplicationController replicationcontrollers rc
v1 ResourceQuota resourcequotas quota
v1 LimitRange limitranges limits
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
networking.k8s.io/v1 Ingress ingresses ing
networking.k8s.io/v1 IngressClass ingressclasses
networking.k8s.io/v1 NetworkPolicy networkpolicies netpol
storage.k8s.io/v1 StorageClass storageclasses sc
scheduling.k8s.io/v1 PriorityClass priorityclasses pc
discovery.k8s.io/v1 EndpointSlice endpointslices
coordination.k8s.io/v1 Lease leases
rbac.authorization.k8s.io/v1 Role roles
rbac.authorization.k8s.io/v1 RoleBinding rolebindings
rbac.authorization.k8s.io/v1 ClusterRole clusterroles
rbac.authorization.k8s.io/v1 ClusterRoleBinding clusterrolebindings
"""
_CLUSTER_WIDE = frozenset(
    {"Node", "Namespace", "PersistentVolume", "IngressClass", "StorageClass", "PriorityClass"}
    | {"ClusterRole", "ClusterRoleBinding"}
)


def _resource(line: str) -> Resource:
    api_version, kind, plural, *short = line.split()
    group, _, version = api_version.rpartition("/")
    return Resource(kind, plural, group, version, kind not in _CLUSTER_WIDE, kind.lower(), tuple(short))


RESOURCES: Mapping[str, Resource] = {one.kind: one for one in map(_resource, _BUILT_IN.strip().splitlines())}
"""By kind; no two of them share one."""
