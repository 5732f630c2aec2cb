"""Which container of an object's pod template is meant, and where that template is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from executor.actions.base import TargetFacts
from executor.errors import PlanError
from executor.ports import KubeObject
from runbooks.findings import did_you_mean

_PLACES: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("spec", "template", "spec"),
    "StatefulSet": ("spec", "template", "spec"),
    "DaemonSet": ("spec", "template", "spec"),
    "ReplicaSet": ("spec", "template", "spec"),
    "ReplicationController": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
_LISTS = ("containers", "initContainers")


def place_of(item: KubeObject) -> tuple[str, ...]:
    """Where the pod spec stands that can be changed.

    Raises:
        PlanError: the object has none, or it cannot be changed.
    """
    if item["kind"] in _PLACES:
        return _PLACES[item["kind"]]
    reason = "cannot be changed once it is made" if item["kind"] in ("Pod", "Job") else "has no containers"
    raise PlanError(f"a {item['kind']} {reason}; one of {', '.join(_PLACES)} can be set")


def pod_spec(item: KubeObject) -> Mapping[str, Any]:
    """The pod spec of a workload."""
    here: Any = item
    for key in place_of(item):
        here = here.get(key) or {}
    found: Mapping[str, Any] = here
    return found


def containers_of(spec: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """All containers by name, init containers last."""
    return {entry["name"]: entry for part in _LISTS for entry in spec.get(part) or ()}


def container_named(spec: Mapping[str, Any], name: str | None, facts: TargetFacts | None, what: str) -> str:
    """The container that a step means: the one it names, the incident's, or the only one.

    Raises:
        PlanError: there is no such container, or nobody said which of several.
    """
    known = containers_of(spec)
    if name:
        if name not in known:
            raise PlanError(f"{what} has no container {name!r}; {did_you_mean(name, known)}")
        return name
    if facts is not None and facts.container in known:
        return facts.container
    regular = [entry["name"] for entry in spec.get("containers") or ()]
    if len(regular) == 1:
        return str(regular[0])
    raise PlanError(f"{what} has the containers {', '.join(regular) or 'none'}: give container")


def container_patch(item: KubeObject, entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A strategic patch of containers by their names.

    The other containers of the list stay; whether one is an init container is looked up.
    """
    place = place_of(item)
    lists: dict[str, list[Mapping[str, Any]]] = {}
    init = {entry["name"] for entry in pod_spec(item).get("initContainers") or ()}
    for entry in entries:
        lists.setdefault("initContainers" if entry["name"] in init else "containers", []).append(entry)
    body: dict[str, Any] = dict(lists)
    for key in reversed(place):
        body = {key: body}
    return body
