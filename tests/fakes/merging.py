"""Kubernetes' patch forms, as far as the tests need them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "ports": "containerPort",
}


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


def _key(key: str, entries: list[Any]) -> str:
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
