"""Which pods of a node can be evicted, and which would be lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from executor.actions.naming import ref_of
from executor.model import ObjectRef
from executor.ports import KubeObject
from matcher.pods import controller_of

_MIRROR = "kubernetes.io/config.mirror"
_ENDED = ("Succeeded", "Failed")


class NotMovable(Exception):
    """Some pods cannot be evicted without loss."""


@dataclass(frozen=True, slots=True)
class Moving:
    """A pod that will be evicted; ``owner`` starts another one."""

    ref: ObjectRef
    owner: str

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"namespace": self.ref.namespace, "name": self.ref.name, "uid": self.ref.uid, "owner": self.owner}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Moving:
        """The inverse of ``to_json``."""
        ref = ObjectRef(kind="Pod", name=data["name"], namespace=data["namespace"], uid=data["uid"], api_version="v1")
        return cls(ref, data["owner"])


def sort_pods(pods: Iterable[KubeObject], *, ignore_daemonsets: bool, delete_emptydir_data: bool) -> list[Moving]:
    """The pods to evict, by namespace and name.

    Static pods stay (the kubelet keeps them), and so do pods that are on their way out. Pods of DaemonSets stay when
    that was asked for.

    Raises:
        NotMovable: a pod has no controller and would not come back, belongs to a DaemonSet, or would lose the data
            of an emptyDir; the text names each.
    """
    moving: list[Moving] = []
    problems: list[str] = []
    for pod in pods:
        ended = pod.get("status", {}).get("phase") in _ENDED
        if _MIRROR in (pod["metadata"].get("annotations") or {}) or pod["metadata"].get("deletionTimestamp"):
            continue
        owner = controller_of(pod)
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        if owner is not None and owner.get("kind") == "DaemonSet":
            if not ignore_daemonsets:
                problems.append(f"{name} belongs to a DaemonSet (ignore_daemonsets: true leaves it)")
            continue
        if owner is None and not ended:
            problems.append(f"{name} has no controller and would not come back")
        elif _has_emptydir(pod) and not ended and not delete_emptydir_data:
            problems.append(f"{name} would lose the data of its emptyDir (delete_emptydir_data: true accepts that)")
        else:
            told = f"{owner['kind']} {owner['name']}" if owner is not None else "nobody, it has ended"
            moving.append(Moving(ref_of(pod), told))
    if problems:
        raise NotMovable("; ".join(problems))
    return sorted(moving, key=lambda pod: (pod.ref.namespace, pod.ref.name))


def _has_emptydir(pod: KubeObject) -> bool:
    return any("emptyDir" in volume for volume in pod.get("spec", {}).get("volumes") or ())
