"""What the API server in memory lets pass, fills in and selects."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from executor.errors import Invalid
from executor.model import ObjectRef
from executor.ports import PatchKind
from runbooks.quantities import Quantity
from services.testing import merging

Item = dict[str, Any]


def all_well(_pod: Mapping[str, Any]) -> str:
    """Every pod gets ready."""
    return ""


def bare(item: Item) -> Item:
    """An object without what the server counts."""
    meta = {key: value for key, value in item["metadata"].items() if key not in ("resourceVersion", "generation")}
    return {**item, "metadata": meta}


def patched(item: Item, body: Any, how: PatchKind, ref: ObjectRef) -> Item:
    """The object after a patch."""
    try:
        after = merging.patched(item, body, how)
    except Invalid as error:
        raise Invalid(f"{ref}: {error}") from error
    if isinstance(after.get("stringData"), Mapping):
        fill_in(after)
    return after


def fill_in(item: Item) -> None:
    """Defaults of the server."""
    if item["kind"] == "Secret" and item.get("stringData"):
        packed = {key: base64.b64encode(value.encode()).decode() for key, value in item.pop("stringData").items()}
        item["data"] = {**(item.get("data") or {}), **packed}
    if item["kind"] in ("Deployment", "StatefulSet", "ReplicaSet"):
        item["spec"].setdefault("replicas", 1)


def refuse_nonsense(item: Mapping[str, Any]) -> None:
    """Refuse what the server would."""
    template = (item.get("spec") or {}).get("template") or item
    for container in (template.get("spec") or {}).get("containers") or ():
        for part in ("limits", "requests"):
            for name, amount in ((container.get("resources") or {}).get(part) or {}).items():
                try:
                    Quantity(str(amount))
                except ValueError as error:
                    raise Invalid(f"{name}: quantities must match the regular expression: {amount}") from error


def owned_by(item: Item, uid: str) -> bool:
    """Whether an object has this owner."""
    return any(reference.get("uid") == uid for reference in item["metadata"].get("ownerReferences") or ())


def has(item: Item, labels: Mapping[str, str]) -> bool:
    """Whether an object has these labels."""
    known = item["metadata"].get("labels") or {}
    return all(known.get(key) == value for key, value in labels.items())


def selected(item: Item, labels: str) -> bool:
    """Whether a label selector takes an object."""
    wanted = dict(part.split("=", 1) for part in labels.replace("==", "=").split(",") if part)
    return has(item, wanted)


def fields_match(item: Item, fields: str) -> bool:
    """Whether a field selector takes an object."""
    for part in filter(None, fields.split(",")):
        path, value = part.split("=", 1)
        here: Any = item
        for key in path.split("."):
            here = here.get(key, "") if isinstance(here, Mapping) else ""
        if here != value:
            return False
    return True
