"""An object as it matters to a change: what authors write, without what servers and controllers keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from executor.actions.base import Stamp
from executor.actions.diff import FieldChange, Path, changes_between, told, value_at
from executor.actions.masking import LAST_APPLIED, is_secret, masked
from executor.actions.stamps import refuse_newer, stamped, without_stamps
from executor.errors import Drifted
from executor.model import ObjectRef
from executor.ports import KubeObject

_ENVELOPE = frozenset({"apiVersion", "kind", "metadata", "status"})
_AUTHORED = ("finalizers", "ownerReferences")


def body_of(item: KubeObject) -> dict[str, Any]:
    """Everything but envelope and status; values of a Secret are masked."""
    return {key: value for key, value in masked(item).items() if key not in _ENVELOPE}


def comparable(item: KubeObject) -> dict[str, Any]:
    """The object for finding what a change changed. For a Secret this holds its data: never store it."""
    meta = item.get("metadata", {})
    annotations = without_stamps(meta.get("annotations"))
    if is_secret(item):
        annotations.pop(LAST_APPLIED, None)
    authored = {key: meta[key] for key in _AUTHORED if key in meta}
    kept = {key: value for key, value in item.items() if key not in _ENVELOPE}
    return {**kept, "metadata": {"labels": meta.get("labels") or {}, "annotations": annotations, **authored}}


def planned_of(item: KubeObject, fields: Iterable[FieldChange]) -> dict[str, Any]:
    """What a plan keeps of an object, to notice before acting that somebody else changed it."""
    meta = item["metadata"]
    if is_secret(item):
        # Even a digest of its data could be guessed from; the version says as well that it changed.
        return {"uid": meta["uid"], "resource_version": meta["resourceVersion"], "fields": []}
    return {"uid": meta["uid"], "body": body_of(item), "fields": [change.to_json() for change in fields]}


def prior_of(item: KubeObject) -> dict[str, Any]:
    """What is saved with the intent: the object before the change; a Secret's data stays in the cluster."""
    meta = masked(item).get("metadata", {})
    return {
        **body_of(item),
        "labels": meta.get("labels") or {},
        "annotations": without_stamps(meta.get("annotations")),
    }


def refuse_drift(
    planned: Mapping[str, Any], live: KubeObject | None, ref: ObjectRef, stamp: Stamp, *, leaving: bool = False
) -> KubeObject:
    """The live object, if it still is what the plan saw.

    Earlier steps of the same execution may have changed it; their stamp says so.

    Args:
        planned: what the plan saw.
        live: the object now.
        ref: it.
        stamp: of this step.
        leaving: it may be on its way out.

    Raises:
        Drifted: it is gone, was created anew, or was changed meanwhile; the text says what.
    """
    if live is None:
        raise Drifted(f"{ref} is gone")
    meta = live["metadata"]
    if meta["uid"] != planned["uid"]:
        raise Drifted(f"{ref} was deleted and created anew since the plan was made")
    if meta.get("deletionTimestamp") and not leaving:
        raise Drifted(f"{ref} is being deleted")
    refuse_newer(live, stamp, ref)
    if stamped(live).execution != stamp.execution:
        _compare(planned, live, ref)
    return live


def _compare(planned: Mapping[str, Any], live: KubeObject, ref: ObjectRef) -> None:
    if "body" not in planned:
        if live["metadata"]["resourceVersion"] != planned["resource_version"]:
            raise Drifted(f"{ref} was changed since the plan was made")
        return
    fields = [FieldChange.from_json(field) for field in planned["fields"]]
    touched = {change.path for change in fields}
    drifted = changes_of_others(ref.kind, planned["body"], live, touched)
    now = comparable(live)
    drifted += [
        FieldChange(change.path, change.before, value_at(now, change.path))
        for change in fields
        if change.path[0] == "metadata" and value_at(now, change.path) != change.before
    ]
    if drifted:
        raise Drifted(f"{ref} was changed since the plan was made: {told(drifted)}")


def changes_of_others(
    kind: str, before: Mapping[str, Any], live: KubeObject, touched: Iterable[Path]
) -> list[FieldChange]:
    """What somebody changed in an object since ``before`` (a ``body_of``), apart from what moves by itself.

    Args:
        kind: of the object.
        before: its body then.
        live: the object now.
        touched: fields that count in any case, because we want to change them.
    """
    ours = set(touched)
    found = changes_between(before, body_of(live))
    return [change for change in found if change.path in ours or not _moves_by_itself(kind, change.path)]


def _moves_by_itself(kind: str, path: Path) -> bool:
    """Fields that controllers keep moving: autoscalers the replicas, the node controller the taints."""
    return path[:2] == ("spec", "replicas") or (kind == "Node" and path[:2] == ("spec", "taints"))


def outline(body: Any, path: Path = ()) -> list[Path]:
    """The fields that a patch names, for one that must not be shown with its values."""
    if isinstance(body, list) and all(isinstance(entry, Mapping) and "op" in entry for entry in body):
        return [tuple(str(entry.get("path", "")).strip("/").split("/")) for entry in body]
    if isinstance(body, Mapping):
        if not path:
            body = {key: value for key, value in body.items() if key not in ("apiVersion", "kind", "type")}
        return [found for key, value in body.items() for found in outline(value, (*path, str(key)))]
    return [path]
