"""The kinds of every API server, so that a Role can be written without asking one."""

from __future__ import annotations

from executor.errors import Invalid
from services.kubernetes.kinds import KindIndex, Resource

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


BUILT_IN = KindIndex(_resource(line) for line in _BUILT_IN.strip().splitlines())


def resource_of(word: str) -> Resource:
    """The resource of a kind; one of an extension is written ``PLURAL.GROUP`` and taken for one of namespaces.

    Raises:
        Invalid: it is no built-in kind, and names no group.
    """
    if (found := BUILT_IN.find(word)) is not None:
        return found
    plural, _, group = word.lower().partition(".")
    if not group:
        raise Invalid(f"{BUILT_IN.unknown(word)}; write a kind of an extension as PLURAL.GROUP: rollouts.argoproj.io")
    return Resource(word.partition(".")[0], plural if plural.endswith("s") else f"{plural}s", group, "", True)
