"""Delete an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from executor.actions.backups import backup_name, keep, kept
from executor.actions.base import Action, Found, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.diff import MISSING, FieldChange
from executor.actions.manifests import Seconds
from executor.actions.masking import LAST_APPLIED, is_secret
from executor.actions.naming import aim, existing, ref_of
from executor.actions.needs import BACKUP, OBJECT, Right
from executor.actions.objects import ObjectParams, named
from executor.actions.snapshots import planned_of, refuse_drift
from executor.actions.stamps import undo_stamp, without_stamps
from executor.errors import Conflict, Drifted, NotFound
from executor.model import Access, Change, ObjectRef, PlannedStep
from executor.ports import KubeObject
from matcher.pods import controller_of

RECREATABLE = frozenset(
    {
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "ConfigMap",
        "Secret",
        "Ingress",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
        "CronJob",
    }
)
"""Kinds that are nothing more than their manifest. Others lose something for good: data, an address, a run."""

_KEPT_META = ("name", "namespace", "labels", "annotations", "finalizers", "ownerReferences")


class DeleteParams(ObjectParams):
    """Parameters of ``kubectl_delete``."""

    grace_seconds: Seconds | None = Field(
        None, description="Time to end; left out, the object's own; 0 does not wait for the kubelet of a pod"
    )


class KubectlDelete(Action[DeleteParams]):
    """Delete an object. A pod of a controller comes back as a new one."""

    name = "kubectl_delete"
    aliases = ("kubernetes/delete",)
    access = Access.WRITE
    params_model = DeleteParams
    rights = (Right(("get", "delete"), OBJECT),)
    undone = "created again, where its controller does so or its manifest is all there is to it; else not at all"
    targets = "the object that is deleted"
    example = """\
action: kubectl_delete
params: {resource: pod, name: "{{ incident.resource.name }}"}
"""

    def rights_for(self, params: Mapping[str, Any], kinds: Sequence[str]) -> tuple[Right, ...]:
        """What can be created again needs the right to do so; a pod is made anew by its controller."""
        again = tuple(Right(("create",), kind) for kind in kinds if kind in RECREATABLE)
        return (*self.rights, *again, *((BACKUP,) if "Secret" in kinds else ()))

    async def plan(self, params: DeleteParams, facts: TargetFacts, world: World) -> Planned:
        """Look at the object, and say whether it can come back."""
        live = await existing(aim(params.resource, params.name, params.namespace, facts), facts, world)
        undo, lasting = _way_back(live)
        ref = ref_of(live)
        change = Change(
            ref=ref,
            verb="delete",
            summary=f"delete {ref}",
            before=planned_of(live, []),
            undo=undo,
            irreversible=lasting,
        )
        full = params.model_copy(update=named(live))
        return Planned(params=full.model_dump(mode="json", exclude_none=True), changes=(change,))

    async def dry_run(self, step: PlannedStep, world: World) -> None:
        """Ask the server whether it would let us delete it."""
        await world.cluster.delete(_ref(step), grace_seconds=_grace(step), dry_run=True)

    async def prepare(self, step: PlannedStep, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """Compare the object with the plan, and save it whole when it can be created again."""
        ref, planned = _ref(step), step.changes[0].before or {}
        found = await world.cluster.get(ref.kind, ref.name, ref.namespace)
        live = refuse_drift(planned, found, ref, stamp, leaving=_grace(step) == 0)
        saved: dict[str, Any] = {"ref": ref.model_dump(mode="json"), "uid": ref.uid, "before": None}
        if live["kind"] not in RECREATABLE or controller_of(live) is not None:
            return saved
        if is_secret(live):
            return {**saved, "backup": {"name": backup_name(stamp.execution, ref.name), "namespace": ref.namespace}}
        return {**saved, "before": _manifest(live)}

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Delete it, and no other of its name: the uid is the condition."""
        ref = _ref(step)
        if "backup" in saved:
            live = await world.cluster.get(ref.kind, ref.name, ref.namespace)
            if live is not None and live["metadata"]["uid"] == ref.uid:
                whole = FieldChange((), _manifest(live), MISSING)
                await keep(world.cluster, live, [whole], stamp, saved["backup"]["name"])
        try:
            await world.cluster.delete(ref, grace_seconds=_grace(step))
        except NotFound:
            return {"object": str(ref), "uid": ref.uid, "deleted": False}
        except Conflict as error:
            raise Drifted(f"{ref} was deleted and created anew just now") from error
        return {"object": str(ref), "uid": ref.uid, "deleted": True}

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """Done when the object with this uid is gone; on its way is enough unless nobody is to wait for the end."""
        ref = _ref(step)
        live = await world.cluster.get(ref.kind, ref.name, ref.namespace)
        gone = live is None or live["metadata"]["uid"] != ref.uid
        if live is not None and _grace(step) != 0:
            gone = gone or "deletionTimestamp" in live["metadata"]
        output = {"object": str(ref), "uid": ref.uid, "deleted": True}
        return Recovery(Found.DONE, output) if gone else Recovery(Found.NOT_DONE)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Create the object again from what was saved."""
        ref = _ref(step)
        live = await world.cluster.get(ref.kind, ref.name, ref.namespace)
        if live is not None and "deletionTimestamp" not in live["metadata"]:
            return f"{ref} is there"
        manifest = await _saved_manifest(saved, stamp, world)
        if manifest is None:
            return f"{ref}: {step.changes[0].undo or 'it cannot be brought back'}"
        meta = manifest["metadata"]
        meta = {**meta, "annotations": {**(meta.get("annotations") or {}), **undo_stamp(stamp).annotations()}}
        # A Conflict says that the old one is still on its way out; the runner tries again.
        await world.cluster.create({**manifest, "metadata": meta})
        return f"{ref} is created again"


async def _saved_manifest(saved: Mapping[str, Any], stamp: Stamp, world: World) -> dict[str, Any] | None:
    if "backup" not in saved:
        before: dict[str, Any] | None = saved["before"]
        return before
    changes = await kept(world.cluster, saved["backup"]["name"], saved["backup"]["namespace"], stamp)
    return dict(changes[0].before) if changes else None


def _way_back(live: KubeObject) -> tuple[str, bool]:
    """How the object comes back, in words, and whether it does not."""
    controller = controller_of(live)
    if controller is not None:
        return f"nothing to put back: {controller['kind']} {controller['name']} makes a new one", False
    if live["kind"] in RECREATABLE:
        return "it is created again from what was saved", False
    return "", True


def _manifest(live: KubeObject) -> dict[str, Any]:
    meta = {key: value for key, value in live["metadata"].items() if key in _KEPT_META}
    annotations = without_stamps(meta.get("annotations"))
    annotations.pop(LAST_APPLIED, None)
    body = {key: value for key, value in live.items() if key not in ("metadata", "status")}
    return {**body, "metadata": {**meta, "annotations": annotations}}


def _ref(step: PlannedStep) -> ObjectRef:
    ref = step.changes[0].ref
    if ref is None:
        raise Drifted(f"the plan of {step.name} names no object")
    return ref


def _grace(step: PlannedStep) -> int | None:
    grace = step.params.get("grace_seconds")
    return None if grace is None else int(grace)
