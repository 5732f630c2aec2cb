"""What controllers and kubelets do, at once: workloads get their pods, pods get well or do not."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

Item = dict[str, Any]
Health = Callable[[Mapping[str, Any]], str]
"""Looks at a pod; the answer is why it does not get ready (``OOMKilled``, ``ImagePullBackOff``), or empty."""

_HASH = "pod-template-hash"
_REVISION = "deployment.kubernetes.io/revision"


class Store(Protocol):
    """What controllers need of the server."""

    health: Health

    def items(self, kind: str, namespace: str | None = None) -> list[Item]:
        """Stored objects of a kind."""
        ...

    def insert(self, body: Mapping[str, Any]) -> Item:
        """Store a new object."""
        ...

    def remove(self, item: Item) -> None:
        """Take an object out."""
        ...

    def touch(self, item: Item) -> None:
        """Give an object a new version."""
        ...


def settle(store: Store) -> None:
    """Let every controller finish its work."""
    for deployment in store.items("Deployment"):
        if not deployment["spec"].get("paused"):
            _deployment(store, deployment)
    for kind in ("StatefulSet", "DaemonSet", "ReplicaSet"):
        for owner in store.items(kind):
            if kind != "ReplicaSet" or not _owner(owner):
                _pods(store, owner, _hash(owner["spec"]["template"]))
                _report(store, owner)
    _machines(store)
    for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
        for owner in store.items(kind):
            _report(store, owner)
    for orphan in [pod for pod in store.items("Pod") if _owner(pod) and not _alive(store, _owner(pod))]:
        store.remove(orphan)


def _deployment(store: Store, deployment: Item) -> None:
    template_hash = _hash(deployment["spec"]["template"])
    sets = [item for item in store.items("ReplicaSet") if _owner(item) == deployment["metadata"]["uid"]]
    current = next((item for item in sets if item["metadata"]["labels"][_HASH] == template_hash), None)
    newest = max((int(item["metadata"]["annotations"][_REVISION]) for item in sets), default=0)
    if current is None:
        current = store.insert(_replica_set(deployment, template_hash, newest + 1))
    elif int(current["metadata"]["annotations"][_REVISION]) < newest:
        current["metadata"]["annotations"][_REVISION] = str(newest + 1)
    wanted = deployment["spec"].get("replicas", 1)
    for item in [*sets, current]:
        item["spec"]["replicas"] = wanted if item is current else 0
        _pods(store, item, template_hash)


def _replica_set(deployment: Item, template_hash: str, revision: int) -> Item:
    template = copy.deepcopy(deployment["spec"]["template"])
    template.setdefault("metadata", {}).setdefault("labels", {})[_HASH] = template_hash
    meta = deployment["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{meta['name']}-{template_hash}",
            "namespace": meta["namespace"],
            "labels": {**template["metadata"]["labels"]},
            "annotations": {_REVISION: str(revision)},
            "ownerReferences": [_reference(deployment)],
        },
        "spec": {"selector": deployment["spec"]["selector"], "template": template},
    }


def _pods(store: Store, owner: Item, template_hash: str) -> None:
    namespace = owner["metadata"]["namespace"]
    mine = [pod for pod in store.items("Pod", namespace) if _owner(pod) == owner["metadata"]["uid"]]
    nodes = [node for node in store.items("Node") if not node["spec"].get("unschedulable")]
    wanted = len(nodes) if owner["kind"] == "DaemonSet" else owner["spec"].get("replicas", 1)
    for pod in mine:
        if pod["metadata"]["labels"].get(_HASH) != template_hash and owner["kind"] != "DaemonSet":
            store.remove(pod)
    mine = [pod for pod in store.items("Pod", namespace) if _owner(pod) == owner["metadata"]["uid"]]
    if owner["kind"] != "DaemonSet":
        for pod in mine[wanted:]:
            store.remove(pod)
    for at in range(len(mine), wanted):
        node = nodes[at % len(nodes)]["metadata"]["name"] if nodes else ""
        store.insert(_pod(owner, template_hash, node))


def _pod(owner: Item, template_hash: str, node: str) -> Item:
    template = copy.deepcopy(owner["spec"]["template"])
    labels = {**(template.get("metadata", {}).get("labels") or {}), _HASH: template_hash}
    meta = owner["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{meta['name']}-",
            "namespace": meta["namespace"],
            "labels": labels,
            "ownerReferences": [_reference(owner)],
        },
        "spec": {**template["spec"], "nodeName": node},
    }


def _kubelet(store: Store, pod: Item) -> None:
    why = store.health(pod)
    ready = not why
    state: Item = {"running": {}} if ready else {"waiting": {"reason": why}}
    statuses = [
        {"name": container["name"], "ready": ready, "restartCount": int(not ready), "state": state}
        for container in pod["spec"].get("containers") or ()
    ]
    if why == "OOMKilled":
        for status in statuses:
            status["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
            status["lastState"] = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    conditions = [{"type": "Ready", "status": str(ready)}]
    status = {"phase": "Running", "conditions": conditions, "containerStatuses": statuses}
    if pod.get("status") != status and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
        pod["status"] = status
        store.touch(pod)


def _machines(store: Store) -> None:
    for kind, play in (("Pod", _kubelet), ("Job", _job)):
        for item in store.items(kind):
            play(store, item)


def _job(store: Store, job: Item) -> None:
    """It ends at once: well when a pod of its template would be well."""
    if not job.get("status"):
        kind = "Failed" if store.health(job["spec"]["template"]) else "Complete"
        job["status"] = {"conditions": [{"type": kind, "status": "True"}]}
        store.touch(job)


def _report(store: Store, owner: Item) -> None:
    sets = [owner, *(item for item in store.items("ReplicaSet") if _owner(item) == owner["metadata"]["uid"])]
    uids = {item["metadata"]["uid"] for item in sets}
    pods = [pod for pod in store.items("Pod", owner["metadata"]["namespace"]) if _owner(pod) in uids]
    ready = sum(pod.get("status", {}).get("conditions", [{}])[0].get("status") == "True" for pod in pods)
    total = len(pods)
    status: Item = {"observedGeneration": owner["metadata"]["generation"]}
    if owner["kind"] == "DaemonSet":
        status |= {"desiredNumberScheduled": total, "updatedNumberScheduled": total, "numberAvailable": ready}
    else:
        status |= {"replicas": total, "updatedReplicas": total, "readyReplicas": ready, "availableReplicas": ready}
    available = ready >= owner["spec"].get("replicas", 1)
    status["conditions"] = [{"type": "Available", "status": str(available)}]
    if owner["kind"] == "Deployment":
        reason = "NewReplicaSetAvailable" if available else "ProgressDeadlineExceeded"
        status["conditions"].append({"type": "Progressing", "status": str(available), "reason": reason})
    if owner.get("status") != status:
        owner["status"] = status
        store.touch(owner)


def _alive(store: Store, uid: str) -> bool:
    kinds = ("ReplicaSet", "StatefulSet", "DaemonSet", "Job", "Node")
    return any(item["metadata"]["uid"] == uid for kind in kinds for item in store.items(kind))


def _owner(item: Mapping[str, Any]) -> str:
    references = item["metadata"].get("ownerReferences") or ()
    return next((reference["uid"] for reference in references if reference.get("controller")), "")


def _reference(owner: Item) -> Item:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }


def _hash(template: Mapping[str, Any]) -> str:
    text = json.dumps(template, sort_keys=True).replace(f'"{_HASH}"', "")
    return hashlib.sha256(text.encode()).hexdigest()[:9]
