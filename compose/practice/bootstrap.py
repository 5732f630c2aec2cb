"""What is brought into the practice cluster at every `up`: accounts, the mark, nodes."""

import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from compose.errors import ServerFailed
from compose.practice import kubeconfig
from compose.practice.api import KubeApi

NAMESPACE = "rootmend-system"
ACCOUNT = "rootmend"
MARK = "rootmend-practice"
KUBELET_LABEL = "practice.rootmend.dev/kubelet"
"""Nodes with this label set to `running` are kept alive by KWOK; taking it away is how a kubelet dies."""

_MANIFESTS = ("rootmend-rbac.yaml", *(f"rootmend-rbac-{part}.yaml" for part in ("secrets", "exec", "jobs")))
_YEAR = 365 * 24 * 3600
_RENEW_BEFORE = 30 * 24 * 3600


def manifests() -> Iterator[dict[str, Any]]:
    """The objects that make the account of the pipeline."""
    for name in _MANIFESTS:
        yield from yaml.safe_load_all((files("compose") / "manifests" / name).read_text(encoding="utf-8"))


def registry_policy() -> Iterator[dict[str, Any]]:
    """The admission policy that plays the private registry."""
    text = (files("compose") / "practice" / "registry-policy.yaml").read_text(encoding="utf-8")
    yield from yaml.safe_load_all(text)


def apply_accounts(api: KubeApi, practice_id: str) -> None:
    """Apply RBAC and the mark by which the product knows that this is the practice cluster and no other."""
    for manifest in (*manifests(), *registry_policy()):
        api.apply(manifest)
    api.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": MARK, "namespace": "kube-system"},
            "data": {"id": practice_id},
        }
    )
    _let_read_mark(api)


def _let_read_mark(api: KubeApi) -> None:
    """The pipeline may read this one ConfigMap, here only: the right is no part of the product's manifest."""
    labels = {"app.kubernetes.io/part-of": "rootmend"}
    metadata = {"name": MARK, "namespace": "kube-system", "labels": labels}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [MARK], "verbs": ["get"]}]
    rbac = "rbac.authorization.k8s.io"
    api.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": rules})
    api.apply(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": MARK},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
        }
    )


def pipeline_token(api: KubeApi, server: str, authority: Path, current: Path) -> str:
    """A token for the pipeline: the one it has while that works for a month more, else a fresh one for a year."""
    token = kubeconfig.token_of(current)
    if token and kubeconfig.expires_at(token) > time.time() + _RENEW_BEFORE and _works(server, token, authority):
        return token
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token"
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": _YEAR},
    }
    return str(api.post(path, request)["status"]["token"])


def _works(server: str, token: str, authority: Path) -> bool:
    import httpx  # noqa: PLC0415 - slow to import, wanted only here

    try:
        with KubeApi(server, token, authority) as pipeline:
            pipeline.get("/api/v1/namespaces/default")
    except httpx.HTTPError:
        return False
    return True


def node_manifest(number: int) -> dict[str, Any]:
    """A node that KWOK brings to life."""
    name = f"practice-node-{number}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/role": "worker",
                "topology.kubernetes.io/zone": f"practice-{'abc'[(number - 1) % 3]}",
                "type": "kwok",
                KUBELET_LABEL: "running",
            },
            "annotations": {"node.alpha.kubernetes.io/ttl": "0"},
        },
    }


def ensure_nodes(api: KubeApi, count: int, *, patience: float = 60) -> None:
    """Create the missing nodes, remove those beyond the count, and wait until all have been Ready.

    A node that is there keeps its labels: somebody may be practising with a dead kubelet.
    """
    there = {node["metadata"]["name"]: node for node in api.get("/api/v1/nodes")["items"]}
    wanted = [node_manifest(number) for number in range(1, count + 1)]
    names = {node["metadata"]["name"] for node in wanted}
    for node in wanted:
        if node["metadata"]["name"] not in there:
            api.post("/api/v1/nodes", node)
    for name in there.keys() - names:
        if name.startswith("practice-node-"):
            api.delete(f"/api/v1/nodes/{name}")
    _await_ready(api, names, patience)


def _await_ready(api: KubeApi, names: set[str], patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        nodes = [node for node in api.get("/api/v1/nodes")["items"] if node["metadata"]["name"] in names]
        alive = [node for node in nodes if node["metadata"]["labels"].get(KUBELET_LABEL) == "running"]
        if len(nodes) == len(names) and all(_is_ready(node) for node in alive):
            return
        if time.monotonic() > deadline:
            raise ServerFailed(
                f"The nodes of the practice cluster were not Ready within {patience:.0f} s.",
                hint="Look at `rb logs kwok` and `rb logs kube-controller-manager`.",
            )
        time.sleep(0.2)


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
