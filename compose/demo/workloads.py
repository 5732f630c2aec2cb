"""The workloads of the demo. Their health depends on the field that a runbook changes: the stages of KWOK see to it."""

import base64
from typing import Any

from compose.practice.bootstrap import KUBELET_LABEL, node_manifest

Manifest = dict[str, Any]

LABEL = "practice.rootmend.dev/demo"
"""On everything that a run creates outside its namespace, and on the namespace; its value is the run's mark."""
NEEDS_MEMORY = "practice.rootmend.dev/needs-memory"
EXPIRED_DATA = "practice.rootmend.dev/expired-data"
PULL_SECRET = "regcred"  # noqa: S105 - the name of a Secret, not its content
REGISTRY = "registry.practice.rootmend.dev"
_EXPIRED = '{"auths":{}}'


def namespace(name: str, mark: str) -> Manifest:
    """The namespace of a run."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {LABEL: mark}}}


def deployment(
    space: str,
    app: str,
    image: str,
    *,
    replicas: int = 2,
    needs: str = "",
    limit: str = "256Mi",
    pod_spec: Manifest | None = None,
) -> Manifest:
    """A Deployment with one container.

    Args:
        space: its namespace.
        app: its name, and that of its label.
        image: of the container.
        replicas: how many pods.
        needs: the memory that its program needs; below it the container is OOM-killed. Empty: any will do.
        limit: the memory that it may have.
        pod_spec: what else the pods say.
    """
    annotations = {NEEDS_MEMORY: needs} if needs else {}
    container = {
        "name": "app",
        "image": image,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": limit}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": app, "namespace": space, "labels": {"app": app}},
        "spec": {
            "replicas": replicas,
            "progressDeadlineSeconds": 60,
            "selector": {"matchLabels": {"app": app}},
            "template": {
                "metadata": {"labels": {"app": app}, "annotations": annotations},
                "spec": {"containers": [container], **(pod_spec or {})},
            },
        },
    }


def service(space: str, app: str) -> Manifest:
    """The Service in front of a Deployment."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": app, "namespace": space, "labels": {"app": app}},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def expired_credentials(space: str, content: str = _EXPIRED) -> Manifest:
    """A pull secret that the private registry no longer takes."""
    kept = base64.b64encode(content.encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": PULL_SECRET, "namespace": space, "annotations": {EXPIRED_DATA: kept}},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": kept},
    }


def budget(space: str, app: str, least: int) -> Manifest:
    """A disruption budget. Pods that are not ready may go, else a dead node could never be drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": app, "namespace": space},
        "spec": {
            "minAvailable": least,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {"app": app}},
        },
    }


def node(name: str, mark: str) -> Manifest:
    """A node of one run. Its taint keeps everything away that does not ask for it."""
    made = node_manifest(1)
    labels = {**made["metadata"]["labels"], "kubernetes.io/hostname": name, LABEL: mark}
    return {
        **made,
        "metadata": {**made["metadata"], "name": name, "labels": labels},
        "spec": {"taints": [{"key": LABEL, "value": mark, "effect": "NoSchedule"}]},
    }


def prefers_node(mark: str) -> Manifest:
    """Pods that go to the node of the run first, and elsewhere when it takes none."""
    wish = {"matchExpressions": [{"key": LABEL, "operator": "In", "values": [mark]}]}
    return {
        "tolerations": [{"key": LABEL, "operator": "Equal", "value": mark, "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": wish}]}
        },
    }


KUBELET_DIES: Manifest = {"metadata": {"labels": {KUBELET_LABEL: None}}}
"""The patch by which KWOK stops playing a node's kubelet."""
