"""Changing a live object: shown first, done once, recognised after a crash, and taken back field by field."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonpatch

from executor.actions.backups import backup_name, keep, kept
from executor.actions.base import Found, Recovery, Stamp, World
from executor.actions.diff import FieldChange, changes_between, dotted, reverted, told
from executor.actions.masking import Revealed, is_secret, reveal
from executor.actions.naming import ref_of
from executor.actions.snapshots import (
    body_of,
    changes_of_others,
    comparable,
    outline,
    planned_of,
    prior_of,
    refuse_drift,
)
from executor.actions.stamps import refuse_newer, stamped, undo_stamp
from executor.errors import Conflict, Drifted, Invalid, Owned, PlanError
from executor.model import Change, ObjectRef
from executor.ports import KubeObject, PatchKind

_TRIES = 5
PUT_BACK = "the fields get their prior values back, unless somebody else changed them meanwhile"


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one existing object.

    Attributes:
        body: patch in the form that ``how`` names; may hold references to secrets.
        force: for ``apply``: take over fields of other managers.
        manager: for ``apply``: who owns the fields from then on; empty for Rootmend.
    """

    body: Any
    how: PatchKind
    force: bool = False
    manager: str = ""

    async def sent(self, ref: ObjectRef, body: Any, world: World, *, dry_run: bool = False) -> KubeObject:
        """Send it with this body in place of its own: with secrets put in, or with conditions."""
        return await world.cluster.patch(
            ref, body, how=self.how, dry_run=dry_run, force=self.force, manager=self.manager
        )


async def plan_edit(edit: Edit, live: KubeObject, world: World, *, verb: str, summary: str = "") -> Change:
    """Ask the server what the object would become, and say what that changes.

    Args:
        edit: what to do.
        live: the object as it is.
        world: for the dry run.
        verb: for the change.
        summary: for people; the changed fields when empty.

    Raises:
        PlanError: the server refuses the change.
        Owned: another manager owns fields that an apply without force would change.
    """
    ref = ref_of(live)
    if is_secret(live):
        await _ask_owners(edit, ref, world)
        fields: list[FieldChange] = []
        summary = "; ".join(f"{dotted(path)}: *** -> ***" for path in outline(edit.body)) or "nothing changes"
    else:
        try:
            fields = await _fields(edit, live, ref, world)
        except Owned:
            raise
        except Invalid as error:
            raise PlanError(f"the server refuses the change: {error}") from error
    before = planned_of(live, fields)
    return Change(ref=ref, verb=verb, summary=summary or told(fields), before=before, undo=PUT_BACK)


async def _fields(edit: Edit, live: KubeObject, ref: ObjectRef, world: World) -> list[FieldChange]:
    # References to secrets stay in: what is stored of the answer must not hold their values.
    after = await edit.sent(ref, edit.body, world, dry_run=True)
    return list(changes_between(comparable(live), comparable(after)))


async def _ask_owners(edit: Edit, ref: ObjectRef, world: World) -> None:
    """Find out whether others own fields of a Secret, with values that give nothing away."""
    if edit.how != "apply" or edit.force:
        return
    body = dict(edit.body)
    for part, value in (("data", "e30="), ("stringData", "{}")):  # both are empty JSON, which most types accept
        if isinstance(body.get(part), Mapping):
            body[part] = dict.fromkeys(body[part], value)
    try:
        await edit.sent(ref, body, world, dry_run=True)
    except Owned:
        raise
    except Invalid:
        return  # of these values; the real ones are tried in the dry run


async def try_edit(edit: Edit, ref: ObjectRef, world: World) -> None:
    """Ask the server whether it would accept the change, secrets included."""
    revealed = await reveal(edit.body, world.secrets)
    with revealed.hiding():
        await edit.sent(ref, revealed.value, world, dry_run=True)


async def prepare_edit(
    change: Change, edit: Edit, found: KubeObject | None, stamp: Stamp, world: World
) -> dict[str, Any]:
    """Compare the object with the plan, and give what must be saved to take the change back.

    Args:
        change: as planned.
        edit: to be made.
        found: the object, read just now.
        stamp: of the step.
        world: for a dry run, when an earlier step changed the object.

    Raises:
        Drifted: it is no longer what the plan saw.
    """
    ref, planned = _ref(change), change.before or {}
    live = refuse_drift(planned, found, ref, stamp)
    last = stamped(live)
    done = last.by(stamp)
    fields = planned["fields"]
    if not done and last.execution == stamp.execution and not is_secret(live):
        # An earlier step changed the object after the plan was made.
        fields = [field.to_json() for field in await _fields(edit, live, ref, world)]
    saved = {
        "ref": ref.model_dump(mode="json"),
        "uid": ref.uid,
        "resource_version": live["metadata"]["resourceVersion"],
        "annotated": bool(live["metadata"].get("annotations")),
        "before": prior_of(live),
        "fields": fields,
        "done": done,
    }
    if is_secret(live):
        saved["backup"] = {"name": backup_name(stamp.execution, ref.name), "namespace": ref.namespace}
    return saved


async def perform_edit(edit: Edit, saved: Mapping[str, Any], stamp: Stamp, world: World) -> dict[str, Any]:
    """Make the change, stamped, on the very object and version that was prepared.

    When only status or metadata moved meanwhile the change is made on the newer version.

    Raises:
        Drifted: somebody changed the object between prepare and now.
        Conflict: it kept moving.
    """
    ref = ObjectRef.model_validate(saved["ref"])
    revealed = await reveal(edit.body, world.secrets)
    version, annotated = saved["resource_version"], saved["annotated"]
    if saved["done"]:
        return output_of(await _still(ref, world), saved["fields"], revealed)
    if "backup" in saved:
        await _keep_secret(edit, revealed, saved, stamp, world)
    for _ in range(_TRIES):
        body = conditional(edit, revealed.value, ref.uid, version, stamp, annotated=annotated)
        try:
            with revealed.hiding():
                after = await edit.sent(ref, body, world)
        except Conflict:
            live = await _still(ref, world)
            if stamped(live).by(stamp):
                return output_of(live, saved["fields"], revealed)
            refuse_newer(live, stamp, ref)
            _refuse_changed(saved, live, ref)
            version, annotated = live["metadata"]["resourceVersion"], bool(live["metadata"].get("annotations"))
        else:
            return output_of(after, saved["fields"], revealed)
    raise Conflict(f"{ref} kept changing: {_TRIES} tries")


async def _keep_secret(edit: Edit, revealed: Revealed, saved: Mapping[str, Any], stamp: Stamp, world: World) -> None:
    ref = ObjectRef.model_validate(saved["ref"])
    live = await _still(ref, world)
    if live["metadata"]["resourceVersion"] != saved["resource_version"]:
        raise Conflict(f"{ref} was changed just now")
    with revealed.hiding():
        after = await edit.sent(ref, revealed.value, world, dry_run=True)
    changes = changes_between(comparable(live), comparable(after))
    await keep(world.cluster, live, changes, stamp, saved["backup"]["name"])


async def _still(ref: ObjectRef, world: World) -> KubeObject:
    live = await world.cluster.get(ref.kind, ref.name, ref.namespace)
    if live is None or live["metadata"]["uid"] != ref.uid:
        raise Drifted(f"{ref} is gone" if live is None else f"{ref} was deleted and created anew")
    return live


def _refuse_changed(saved: Mapping[str, Any], live: KubeObject, ref: ObjectRef) -> None:
    known = {key: value for key, value in saved["before"].items() if key not in ("labels", "annotations")}
    touched = {FieldChange.from_json(field).path for field in saved["fields"]}
    changes = changes_of_others(ref.kind, known, live, touched)
    if changes or is_secret(live):
        raise Drifted(f"{ref} was changed by somebody else just now: {told(changes)}")


def conditional(edit: Edit, body: Any, uid: str, version: str, stamp: Stamp, *, annotated: bool) -> Any:
    """The patch with its preconditions and its stamp, in its own form."""
    if edit.how == "json":
        head = [] if annotated else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
        marks = [
            {"op": "add", "path": f"/metadata/annotations/{key.replace('/', '~1')}", "value": value}
            for key, value in stamp.annotations().items()
        ]
        # Not `test`: a version that differs has to be a conflict, not an invalid patch.
        conditions = [
            {"op": "replace", "path": "/metadata/uid", "value": uid},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
        ]
        return [*conditions, *head, *marks, *body]
    meta = dict(body.get("metadata") or {})
    annotations = {**(meta.get("annotations") or {}), **stamp.annotations()}
    return {**body, "metadata": {**meta, "uid": uid, "resourceVersion": version, "annotations": annotations}}


def output_of(item: KubeObject, fields: Any, revealed: Revealed) -> dict[str, Any]:
    """What a change gave, for the journal and for later steps."""
    meta = item["metadata"]
    return {
        "object": str(ref_of(item)),
        "uid": meta["uid"],
        "generation": meta.get("generation"),
        "resource_version": meta["resourceVersion"],
        "changed": told(FieldChange.from_json(field) for field in fields),
        "after": revealed.hide_in(body_of(item)),
    }


async def recover_edit(saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
    """Ask the object whether the change was made: its stamp says so."""
    ref = ObjectRef.model_validate(saved["ref"])
    live = await world.cluster.get(ref.kind, ref.name, ref.namespace)
    if live is None or live["metadata"]["uid"] != ref.uid:
        return Recovery(Found.NOT_DONE, detail=f"{ref} is gone")
    if stamped(live).by(stamp):
        # The fields hold the references, and so name the secrets that the live object may show.
        return Recovery(Found.DONE, output_of(live, saved["fields"], await reveal(saved["fields"], world.secrets)))
    return Recovery(Found.NOT_DONE)


async def undo_edit(saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
    """Give the fields that we changed their prior values, and leave everything else alone.

    Raises:
        Drifted: somebody else changed one of them, or the object is another one now; a human decides.
    """
    ref = ObjectRef.model_validate(saved["ref"])
    if "backup" in saved:
        changes = await kept(world.cluster, saved["backup"]["name"], ref.namespace, stamp)
        if changes is None:
            return f"{ref}: nothing was changed"
        revealed = Revealed(None, [])
    else:
        # What was put in from secrets is saved as references; the live object holds the values.
        revealed = await reveal(saved["fields"], world.secrets)
        changes = [FieldChange.from_json(field) for field in revealed.value]
    with revealed.hiding():
        return revealed.hide(await _put_back(ref, changes, stamp, world, quiet="backup" in saved))


async def _put_back(ref: ObjectRef, changes: list[FieldChange], stamp: Stamp, world: World, *, quiet: bool) -> str:
    problem: Exception | None = None
    for attempt in range(_TRIES):
        live = await _still(ref, world)
        refuse_newer(live, stamp, ref)
        body = _undo_patch(live, changes, stamp, ref, quiet=quiet)
        if body is None:
            return f"{ref}: already as it was before"
        try:
            await world.cluster.patch(ref, body, how="json")
        except (Conflict, Invalid) as error:
            # Conflict: a newer version; Invalid: a test failed. Both mean: look again.
            problem = error
            await asyncio.sleep(0.02 * attempt)
        else:
            what = "" if quiet else f": {told(FieldChange(c.path, c.after, c.before) for c in changes)}"
            return f"{ref} is as it was before{what}"
    raise Conflict(f"{ref} could not be put back in {_TRIES} tries") from problem


def _undo_patch(
    live: KubeObject, changes: list[FieldChange], stamp: Stamp, ref: ObjectRef, *, quiet: bool
) -> list[dict[str, Any]] | None:
    meta = {"labels": {}, "annotations": {}, **live["metadata"]}
    view = {**live, "metadata": meta}
    try:
        restored, tests = reverted(view, changes)
    except Drifted as error:
        text = "somebody else changed its data meanwhile" if quiet else str(error)
        raise Drifted(f"{ref}: {text}") from (None if quiet else error)
    if restored == view:
        return None
    restored["metadata"]["annotations"] = {**restored["metadata"]["annotations"], **undo_stamp(stamp).annotations()}
    version = {"op": "replace", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]}
    return [*tests, version, *jsonpatch.make_patch(dict(live), restored).patch]


def _ref(change: Change) -> ObjectRef:
    if change.ref is None:
        raise PlanError(f"the change names no object: {change.summary}")
    return change.ref
