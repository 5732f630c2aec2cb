"""Kubernetes' patch forms, worked out without a server, for the kinds whose lists are known."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import jsonpatch

from executor.errors import Invalid

MERGE_KEYS: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
    "ports": "containerPort",
    "conditions": "type",
    "taints": "key",
    "secrets": "name",
    "ownerReferences": "uid",
}
"""The key by which a strategic merge knows the elements of a list; every other list is replaced as a whole."""

STRATEGIC_GROUPS = frozenset(
    {"", "apps", "batch", "policy", "autoscaling", "networking.k8s.io", "rbac.authorization.k8s.io"}
)
"""API groups whose kinds take a strategic merge; custom resources do not."""


def merge(item: Any, patch: Any) -> Any:
    """RFC 7386: null takes a field away, lists are replaced."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(item) if isinstance(item, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def strategic(item: Any, patch: Any) -> Any:
    """Strategic merge: lists of named things are merged by name."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(item) if isinstance(item, Mapping) and patch.get("$patch") != "replace" else {}
    for key, value in patch.items():
        if key == "$patch":
            continue
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, list) and key in MERGE_KEYS and all(isinstance(entry, Mapping) for entry in value):
            merged[key] = _merge_list(merged.get(key) or [], value, _key(MERGE_KEYS[key], value))
        else:
            merged[key] = strategic(merged.get(key), value)
    return merged


def patched(item: Mapping[str, Any], body: Any, how: str) -> dict[str, Any]:
    """The object after a patch of one of the forms ``strategic``, ``merge``, ``json``.

    Raises:
        Invalid: the operations of a JSON patch do not fit the object.
    """
    if how == "json":
        try:
            result: dict[str, Any] = jsonpatch.apply_patch(item, body)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            raise Invalid(f"the patch does not apply: {error}") from error
        return result
    made = merge(item, body) if how == "merge" else strategic(item, body)
    return dict(made)


def _key(key: str, entries: list[Any]) -> str:
    # The ports of a Service go by `port`, those of a container by `containerPort`.
    return "port" if key == "containerPort" and all("port" in entry for entry in entries) else key


def _merge_list(items: list[Any], patch: list[Any], key: str) -> list[Any]:
    merged = [copy.deepcopy(item) for item in items]
    for entry in patch:
        at = next((at for at, item in enumerate(merged) if item.get(key) == entry.get(key)), None)
        if entry.get("$patch") == "delete":
            merged = [item for item in merged if item.get(key) != entry.get(key)]
        elif at is None:
            merged.append(strategic({}, entry))
        else:
            merged[at] = strategic(merged[at], entry)
    return merged
