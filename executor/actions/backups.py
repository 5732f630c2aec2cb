"""Prior Secrets, kept in the cluster beside them: their data never leaves it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from executor.actions.base import Stamp
from executor.actions.diff import FieldChange
from executor.errors import Conflict, NotFound
from executor.model import ObjectRef
from executor.ports import Cluster, KubeObject

_LONGEST_NAME = 253
LABEL = "rootmend.dev/execution"


def backup_name(execution: str, name: str) -> str:
    """The name of the Secret that keeps what a Secret held before this execution."""
    return f"rootmend-backup-{execution[:8]}-{name}"[:_LONGEST_NAME].rstrip("-.")


async def keep(cluster: Cluster, live: KubeObject, changes: Iterable[FieldChange], stamp: Stamp, name: str) -> None:
    """Save what a step is about to change in a Secret, and the whole prior object for people.

    What a first try saved is kept: a second one sees its own changes.

    Args:
        cluster: where the Secret is.
        live: the Secret before the change.
        changes: with the real values.
        stamp: of the step.
        name: of the backup.
    """
    entry = {_key(stamp): _packed([change.to_json() for change in changes])}
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": live["metadata"]["namespace"],
            "labels": {LABEL: stamp.execution, "app.kubernetes.io/managed-by": "rootmend"},
            "annotations": stamp.annotations(),
        },
        "type": "rootmend.dev/backup",
        "data": {"prior": _packed({"type": live.get("type"), "data": live.get("data") or {}}), **entry},
    }
    try:
        await cluster.create(body)
    except Conflict:
        known = await cluster.get("Secret", name, live["metadata"]["namespace"])
        if known is None:
            raise
        if _key(stamp) not in (known.get("data") or {}):
            await cluster.patch(_ref(known), {"data": entry}, how="merge")


async def kept(cluster: Cluster, name: str, namespace: str, stamp: Stamp) -> list[FieldChange] | None:
    """What a step changed in a Secret, with the real values; None when the step never got to it."""
    backup = await cluster.get("Secret", name, namespace)
    packed = ((backup or {}).get("data") or {}).get(_key(stamp))
    if packed is None:
        return None
    return [FieldChange.from_json(change) for change in orjson.loads(base64.b64decode(packed))]


async def discard_backups(cluster: Cluster, execution: str, saved: Iterable[Mapping[str, Any] | None]) -> int:
    """Delete the backups of an execution, once nobody will undo it any more.

    Args:
        cluster: where they are.
        execution: its id.
        saved: what its steps saved with their intents (``StepRun.before``).

    Returns:
        How many were deleted.
    """
    count = 0
    for name, namespace in sorted({place for before in saved for place in _places(before)}):
        backup = await cluster.get("Secret", name, namespace)
        # The name holds only the beginning of the execution's id.
        if backup is None or (backup["metadata"].get("labels") or {}).get(LABEL) != execution:
            continue
        try:
            await cluster.delete(_ref(backup))
        except NotFound:
            continue
        count += 1
    return count


def _places(saved: Any) -> Iterator[tuple[str, str]]:
    if isinstance(saved, Mapping):
        backup = saved.get("backup")
        if isinstance(backup, Mapping) and {"name", "namespace"} <= set(backup):
            yield backup["name"], backup["namespace"]
        for value in saved.values():
            yield from _places(value)
    elif isinstance(saved, list | tuple):
        for value in saved:
            yield from _places(value)


def _key(stamp: Stamp) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", f"step.{stamp.step}")


def _packed(value: Any) -> str:
    return base64.b64encode(orjson.dumps(value)).decode()


def _ref(item: KubeObject) -> ObjectRef:
    meta = item["metadata"]
    return ObjectRef(kind="Secret", name=meta["name"], namespace=meta["namespace"], uid=meta["uid"], api_version="v1")
