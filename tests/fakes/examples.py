"""The published example runbooks, and what makes the practice cluster sick in the way that they are about."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fakes.served import Served, until

from compose.demo.kgroot import About
from compose.practice.bootstrap import node_manifest
from executor.model import ObjectRef

EXAMPLES = Path(__file__).resolve().parents[3] / "shared" / "examples"
ABSENT = "the example files are not on this machine"
NEEDS_MEMORY = "practice.rootmend.dev/needs-memory"
EXPIRED_DATA = "practice.rootmend.dev/expired-data"
_EXPIRED = "eyJhdXRocyI6e319"  # {"auths":{}}


def put(world: Served, name: str, as_name: str = "") -> Path:
    """An example file, as it stands, into the watched folder; in one move as an editor does."""
    path = world.folder / "runbooks" / (as_name or name)
    part = path.with_suffix(".part")
    shutil.copyfile(EXAMPLES / name, part)
    part.rename(path)
    return path


def workload(name: str, namespace: str, *, needs: str = "", limit: str = "256Mi", **parts: Any) -> dict[str, Any]:
    """A Deployment whose container is OOM-killed while its limit is below what it needs.

    Args:
        name: of it.
        namespace: of it.
        needs: memory that the program needs; empty: any will do.
        limit: memory that it may have; empty: no limit.
        parts: ``image``, ``replicas``, ``deadline`` (seconds of a rollout without progress), the rest is of the pods.
    """
    container = {"name": "app", "image": parts.pop("image", "example.com/app:1")}
    if limit:
        container["resources"] = {"requests": {"memory": "64Mi"}, "limits": {"memory": limit}}
    spec = {"replicas": parts.pop("replicas", 2), "selector": {"matchLabels": {"app": name}}}
    spec["progressDeadlineSeconds"] = parts.pop("deadline", 60)
    notes = {NEEDS_MEMORY: needs} if needs else {}
    spec["template"] = {
        "metadata": {"labels": {"app": name}, "annotations": notes},
        "spec": {"containers": [container], **parts},
    }
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def expired(namespace: str) -> dict[str, Any]:
    """A pull secret that the registry of the practice cluster takes no more."""
    meta = {"name": "regcred", "namespace": namespace, "annotations": {EXPIRED_DATA: _EXPIRED}}
    kind = "kubernetes.io/dockerconfigjson"
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": kind, "data": {f".{kind[14:]}": _EXPIRED}}


def own_node(name: str) -> dict[str, Any]:
    """A node that takes nobody who does not ask for it."""
    made = node_manifest(1)
    labels = {**made["metadata"]["labels"], "kubernetes.io/hostname": name}
    spec = {"taints": [{"key": "only", "value": name, "effect": "NoSchedule"}]}
    return {**made, "metadata": {**made["metadata"], "name": name, "labels": labels}, "spec": spec}


def prefers(node: str) -> dict[str, Any]:
    """Of pods: that node first, and another one when it takes none."""
    wish = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    affinity = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": wish}]}
    tolerated = {"key": "only", "operator": "Equal", "value": node, "effect": "NoSchedule"}
    return {"tolerations": [tolerated], "affinity": {"nodeAffinity": affinity}}


async def known(world: Served, kind: str, name: str, namespace: str = "") -> None:
    """Tell the graph of an object, as the state watcher does."""
    await world.query(
        "MERGE (r:Resource {rid: $rid}) SET r.client_id = $name, r.kind = $kind, r.ns = $ns, r.name = $app, "
        "r.updated_at = datetime()",
        rid=About(kind, name, namespace).rid,
        kind=kind,
        ns=namespace,
        app=name,
    )


async def deployed(world: Served, manifest: Mapping[str, Any]) -> None:
    """A Deployment that its controller has looked at, known to the graph."""
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    await world.admin.create(manifest)

    async def seen() -> bool:
        found = await world.deployment(name, namespace)
        return "observedGeneration" in found.get("status", {})

    await until(seen, f"the controller knows {name}")
    await known(world, "Deployment", name, namespace)


async def pods(world: Served, app: str, namespace: str) -> list[Mapping[str, Any]]:
    """The pods of an app that are not on their way out."""
    found = await world.admin.list("Pod", namespace, labels=f"app={app}")
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]


async def sick(world: Served, app: str, namespace: str, reason: str) -> str:
    """The name of a pod whose container waits, or died last, for a reason."""

    async def look() -> str:
        return next((pod["metadata"]["name"] for pod in await pods(world, app, namespace) if reason in _told(pod)), "")

    return await until(look, f"a pod of {app} in {reason}", 60)


async def ready(world: Served, app: str, namespace: str, count: int) -> list[Mapping[str, Any]]:
    """The pods of an app, once all are ready."""

    async def look() -> list[Mapping[str, Any]]:
        found = [pod for pod in await pods(world, app, namespace) if is_ready(pod)]
        return found if len(found) == count else []

    return await until(look, f"{count} ready pods of {app}", 60)


def is_ready(item: Mapping[str, Any]) -> bool:
    """Whether a pod or a node says so."""
    conditions = item.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def node_is(world: Served, name: str, *, well: bool) -> None:
    """Wait for a node to be ready, or not, and for its taints to say the same."""

    async def look() -> bool:
        found = await world.admin.get("Node", name)
        taints = {taint["key"] for taint in (found or {}).get("spec", {}).get("taints") or ()} - {"only"}
        return found is not None and is_ready(found) is well and bool(taints) is not well

    await until(look, f"node {name} is {'' if well else 'not '}ready", 60)


async def remove_node(world: Served, name: str) -> None:
    """Take a node away, with the pods that nobody would confirm to be gone."""
    for pod in await world.admin.list("Pod", fields=f"spec.nodeName={name}"):
        meta = pod["metadata"]
        ref = ObjectRef(kind="Pod", name=meta["name"], namespace=meta["namespace"])
        await world.admin.delete(ref, grace_seconds=0)
    await world.admin.delete(ObjectRef(kind="Node", name=name))


def limit_of(deployment: Mapping[str, Any]) -> str:
    """The memory limit of the first container; empty for none."""
    resources = deployment["spec"]["template"]["spec"]["containers"][0].get("resources") or {}
    return str((resources.get("limits") or {}).get("memory", ""))


async def approve(world: Served, execution_id: str, by: str = "ada", *words: str) -> str:
    """Say yes as people do; what the command said."""
    done = await world.rb("approvals", "approve", execution_id, "--yes", "--by", by, "--reason", "looked", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _told(pod: Mapping[str, Any]) -> set[str]:
    found = set()
    for status in pod.get("status", {}).get("containerStatuses") or ():
        now, last = status.get("state") or {}, status.get("lastState") or {}
        for state in (now.get("waiting"), now.get("terminated"), last.get("terminated")):
            found.add((state or {}).get("reason", ""))
    return found
