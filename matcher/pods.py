"""What a pod's own status and name tell, as pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matcher.ports import KubeObject
from matcher.reasons import same_reason

_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_RANDOM = re.compile(r"[bcdfghjklmnpqrstvwxz2456789]{5}")
"""The alphabet of generated name endings: no vowels, no digits that look like letters."""

_LONGEST_GENERATED = 63
_LONGEST_BASE = 58


def is_uid(text: str) -> bool:
    """Whether a name is really a uid (the graph's second identity of a pod)."""
    return _UID.fullmatch(text) is not None


def metadata(item: KubeObject) -> Mapping[str, Any]:
    """The object's metadata, empty when it has none."""
    return item.get("metadata") or {}


def controller_of(item: KubeObject) -> Mapping[str, Any] | None:
    """The owner reference of the object's controller."""
    references: Sequence[Mapping[str, Any]] = metadata(item).get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def possible_owners(pod_name: str) -> Iterator[tuple[str, str]]:
    """(kind, name) of controllers that could have made a pod of this name, unless the name was cut."""
    base, _, ending = pod_name.rpartition("-")
    if not base:
        return
    if _RANDOM.fullmatch(ending):
        yield "ReplicaSet", base
        yield "DaemonSet", base
        yield "Job", base
    if ending.isdecimal() and len(ending) <= 5:  # noqa: PLR2004 - nobody runs 100,000 replicas
        yield "StatefulSet", base


def name_was_cut(pod_name: str) -> bool:
    """Whether the pod's name is as long as generated names get: its owner's name may go on behind the cut."""
    return len(pod_name) == _LONGEST_GENERATED


def could_have_made(owner_name: str, pod_name: str) -> bool:
    """Whether a pod name that was cut begins with what is left of the owner's name."""
    return f"{owner_name}-"[:_LONGEST_BASE] == pod_name[:_LONGEST_BASE] and bool(
        _RANDOM.fullmatch(pod_name[_LONGEST_BASE:])
    )


def shows(pod: KubeObject, reason: str) -> bool:
    """Whether a container of the pod is, or was last, in this state: evidence in the live object."""
    return any(same_reason(seen, reason) for status in _statuses(pod) for seen in _reasons(status))


def node_shows(node: KubeObject, reason: str) -> bool:
    """Whether the node's conditions say that it is not ready, where that is the reason."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return same_reason(reason, "NodeNotReady") and any(
        condition.get("type") == "Ready" and condition.get("status") != "True" for condition in conditions
    )


def pick_container(pod: KubeObject, reason: str, hint: str) -> str:
    """The container that a cause is about; empty when that is not certain.

    Args:
        pod: the live pod, or a workload's pod template.
        reason: the cause's reason.
        hint: the container that the signal names.

    A signal's word counts when the pod has such a container; then a container whose state shows the reason, then the
    only one in trouble, then the only one there is.
    """
    spec: Mapping[str, Any] = pod.get("spec") or {}
    names = [str(c.get("name", "")) for c in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))]
    if hint in names:
        return hint
    statuses = _statuses(pod)
    showing = [s for s in statuses if any(same_reason(seen, reason) for seen in _reasons(s))]
    troubled = [s for s in statuses if _waits(s) or same_reason(_last(s), "OOMKilled")]
    for found in (showing, troubled):
        if len(found) == 1:
            return str(found[0].get("name", ""))
    main = [str(c.get("name", "")) for c in spec.get("containers") or ()]
    return main[0] if len(main) == 1 else ""


def claims_of(pod: KubeObject) -> set[str]:
    """Names of the volume claims that a pod mounts."""
    volumes: Sequence[Mapping[str, Any]] = (pod.get("spec") or {}).get("volumes") or ()
    return {str((volume.get("persistentVolumeClaim") or {}).get("claimName") or "") for volume in volumes} - {""}


def template_of(workload: KubeObject) -> KubeObject:
    """The pod template of a workload, empty when it has none."""
    spec: Mapping[str, Any] = workload.get("spec") or {}
    if workload.get("kind") == "CronJob" or "jobTemplate" in spec:
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    template: KubeObject = spec.get("template") or {}
    return template


def _statuses(pod: KubeObject) -> list[Mapping[str, Any]]:
    status: Mapping[str, Any] = pod.get("status") or {}
    return [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]


def _part(status: Mapping[str, Any], when: str, what: str) -> str:
    return str((((status.get(when) or {}).get(what)) or {}).get("reason") or "")


def _waits(status: Mapping[str, Any]) -> bool:
    # Every container waits while its pod starts; these two words are no trouble.
    return _part(status, "state", "waiting") not in {"", "ContainerCreating", "PodInitializing"}


def _last(status: Mapping[str, Any]) -> str:
    return _part(status, "lastState", "terminated")


def _reasons(status: Mapping[str, Any]) -> tuple[str, ...]:
    return (_part(status, "state", "waiting"), _part(status, "state", "terminated"), _last(status))
