"""Creating an object that is not there, and taking that back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executor.actions.base import Found, Recovery, Stamp, World
from executor.actions.editing import output_of
from executor.actions.masking import Revealed, is_secret, reveal
from executor.actions.naming import ref_of
from executor.actions.stamps import refuse_newer, stamped
from executor.errors import Conflict, Drifted, NotFound
from executor.model import Change, ObjectRef
from executor.ports import KubeObject


def plan_create(manifest: KubeObject) -> Change:
    """The change of creating an object."""
    ref = ref_of(manifest)
    what = f"create {ref}"
    if is_secret(manifest):
        keys = sorted({*(manifest.get("data") or {}), *(manifest.get("stringData") or {})})
        what += f" with {', '.join(keys) or 'no keys'}"
    return Change(ref=ref, verb="create", summary=what, before=None, undo="it is deleted again")


def prepare_create(change: Change, live: KubeObject | None, stamp: Stamp) -> dict[str, Any]:
    """What is saved with the intent to create an object.

    Raises:
        Drifted: somebody else created it since the plan was made.
    """
    if live is not None and not stamped(live).by(stamp):
        raise Drifted(f"{change.ref} was created by somebody else since the plan was made")
    ref = change.ref.model_dump(mode="json") if change.ref is not None else {}
    return {"ref": ref, "created": True, "done": live is not None}


async def perform_create(
    manifest: Mapping[str, Any], saved: Mapping[str, Any], stamp: Stamp, world: World
) -> dict[str, Any]:
    """Create the object, stamped.

    Raises:
        Drifted: somebody else was faster.
    """
    revealed = await reveal(manifest, world.secrets)
    ref = ObjectRef.model_validate(saved["ref"])
    if saved["done"]:
        live = await world.cluster.get(ref.kind, ref.name, ref.namespace)
        if live is not None and stamped(live).by(stamp):
            return output_of(live, [], revealed)
    meta = dict(revealed.value["metadata"])
    meta["annotations"] = {**(meta.get("annotations") or {}), **stamp.annotations()}
    try:
        with revealed.hiding():
            made = await world.cluster.create({**revealed.value, "metadata": meta})
    except Conflict as error:
        found = await world.cluster.get(ref.kind, ref.name, ref.namespace)
        if found is None or not stamped(found).by(stamp):
            raise Drifted(f"{ref} was created by somebody else just now") from error
        made = found
    return output_of(made, [], revealed)


async def recover_create(saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
    """Whether the object is there and carries our stamp."""
    ref = ObjectRef.model_validate(saved["ref"])
    live = await world.cluster.get(ref.kind, ref.name, ref.namespace)
    if live is not None and stamped(live).by(stamp):
        return Recovery(Found.DONE, output_of(live, [], Revealed(None, [])))
    return Recovery(Found.NOT_DONE)


async def undo_create(saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
    """Delete the object again, if it is still ours.

    Raises:
        Drifted: the object that is there is not the one that we created.
    """
    ref = ObjectRef.model_validate(saved["ref"])
    live = await world.cluster.get(ref.kind, ref.name, ref.namespace)
    if live is None:
        return f"{ref}: already gone"
    refuse_newer(live, stamp, ref)
    if stamped(live).execution != stamp.execution:
        raise Drifted(f"{ref} is not the one that was created here, so it stays")
    try:
        await world.cluster.delete(ref_of(live))
    except NotFound:
        return f"{ref}: already gone"
    return f"{ref} is deleted again"
