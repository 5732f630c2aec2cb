"""Restart a workload, or take it back to an earlier revision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from executor.actions.base import Stamp, TargetFacts, World
from executor.actions.diff import changes_between, told
from executor.actions.editing import Edit
from executor.actions.needs import REPLICA_SETS, Right, edits
from executor.actions.objects import ObjectEdit, ObjectParams
from executor.errors import PlanError
from executor.model import PlannedStep
from executor.ports import KubeObject

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
_REVISION = "deployment.kubernetes.io/revision"
_ROLLED = ("Deployment", "StatefulSet", "DaemonSet")


def rolled(item: KubeObject) -> KubeObject:
    """The object, if it rolls its pods out; PlanError when it does not."""
    if item["kind"] not in _ROLLED:
        raise PlanError(f"a {item['kind']} has no rollout; only {', '.join(_ROLLED)} do")
    return item


class RestartParams(ObjectParams):
    """Parameters of ``kubectl_rollout_restart``."""

    resource: str = Field("", description="Kind or KIND/NAME; left out, it is the incident's workload")


class KubectlRolloutRestart(ObjectEdit[RestartParams]):
    """Replace the pods of a workload, keeping to its rollout strategy."""

    name = "kubectl_rollout_restart"
    aliases = ("kubernetes/rolloutRestart",)
    params_model = RestartParams
    verb = "restart"
    undo_words = "nothing to put back: the pods are replaced by equal ones"
    undone = undo_words
    example = """\
action: kubectl_rollout_restart
params: {resource: deployment}
"""

    async def live(self, params: RestartParams, facts: TargetFacts, world: World) -> KubeObject:
        """The workload."""
        named = params.model_copy(update={"resource": params.resource or facts.target.kind})
        found = rolled(await super().live(named, facts, world))
        if found["spec"].get("paused"):
            raise PlanError(f"the rollout of {found['metadata']['name']} is paused: resume it first")
        return found

    async def extras(self, params: RestartParams, live: KubeObject, world: World) -> Mapping[str, Any]:
        """The moment of the restart, kept so that a second try is the same restart."""
        return {"at": world.clock.now().isoformat(timespec="seconds")}

    def edit(self, params: RestartParams, extras: Mapping[str, Any]) -> Edit:
        """The annotation that kubectl sets too."""
        annotations = {RESTARTED_AT: extras["at"]}
        return Edit({"spec": {"template": {"metadata": {"annotations": annotations}}}}, "strategic")

    def summary(self, params: RestartParams, live: KubeObject, extras: Mapping[str, Any]) -> str:
        """Without the time: it differs each time that the plan is made, and means the same."""
        return f"restart: all pods of {live['kind']} {live['metadata']['name']} are replaced"

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Nothing: taking the annotation away would restart everything once more."""
        return "nothing to put back: the pods were replaced by equal ones"


class UndoParams(RestartParams):
    """Parameters of ``kubectl_rollout_undo``."""

    to_revision: int | None = Field(None, ge=1, description="Revision to go back to; left out, the one before")


class KubectlRolloutUndo(ObjectEdit[UndoParams]):
    """Take the pod template back to an earlier revision."""

    name = "kubectl_rollout_undo"
    aliases = ("kubernetes/rolloutUndo",)
    params_model = UndoParams
    verb = "rollback"
    undo_words = "the pod template gets the values back that it has now, unless somebody else changed them"
    example = """\
action: kubectl_rollout_undo
params: {resource: deployment}
"""

    def rights_for(self, params: Mapping[str, Any], kinds: Sequence[str]) -> tuple[Right, ...]:
        """Earlier revisions are kept in ReplicaSets or in ControllerRevisions."""
        keepers = [REPLICA_SETS] if "Deployment" in kinds else []
        keepers += [Right(("list",), "ControllerRevision")] if set(kinds) - {"Deployment"} else []
        return (*edits(kinds), *keepers)

    async def live(self, params: UndoParams, facts: TargetFacts, world: World) -> KubeObject:
        """The workload."""
        named = params.model_copy(update={"resource": params.resource or facts.target.kind})
        return rolled(await super().live(named, facts, world))

    def completed(self, params: UndoParams, live: KubeObject, extras: Mapping[str, Any]) -> UndoParams:
        """With the revision that was found: by the time of acting "the one before" could be another."""
        return super().completed(params, live, extras).model_copy(update={"to_revision": extras["revision"]})

    async def extras(self, params: UndoParams, live: KubeObject, world: World) -> Mapping[str, Any]:
        """The earlier pod template, from the ReplicaSet or ControllerRevision that keeps it."""
        keeper = "ReplicaSet" if live["kind"] == "Deployment" else "ControllerRevision"
        items = await world.cluster.list(keeper, live["metadata"]["namespace"])
        revisions = {_revision(item): item for item in items if _owned(item, live)}
        known = sorted(number for number in revisions if number)
        wanted = params.to_revision or _before_last(live, known)
        if wanted not in revisions:
            listed = ", ".join(map(str, known)) or "none"
            raise PlanError(f"{live['kind']} {live['metadata']['name']} has no revision {wanted}; known: {listed}")
        return {"revision": wanted, "template": _template(revisions[wanted])}

    def edit(self, params: UndoParams, extras: Mapping[str, Any]) -> Edit:
        """The whole template, as kubectl does."""
        return Edit([{"op": "replace", "path": "/spec/template", "value": extras["template"]}], "json")

    def summary(self, params: UndoParams, live: KubeObject, extras: Mapping[str, Any]) -> str:
        """What the earlier revision had different."""
        changes = changes_between({"template": live["spec"]["template"]}, {"template": extras["template"]})
        return f"back to revision {extras['revision']}: {told(changes)}"


def _owned(item: KubeObject, owner: KubeObject) -> bool:
    references = item["metadata"].get("ownerReferences") or ()
    return any(reference.get("uid") == owner["metadata"]["uid"] for reference in references)


def _revision(item: KubeObject) -> int:
    if item["kind"] == "ControllerRevision":
        return int(item.get("revision") or 0)
    return int((item["metadata"].get("annotations") or {}).get(_REVISION) or 0)


def _before_last(live: KubeObject, known: list[int]) -> int:
    """The newest revision before the current one, which is the highest."""
    if len(known) < 2:  # noqa: PLR2004 - the current one and one before it
        raise PlanError(f"{live['kind']} {live['metadata']['name']} has no earlier revision to go back to")
    return known[-2]


def _template(item: KubeObject) -> dict[str, Any]:
    template: dict[str, Any] = item["data"]["spec"]["template"] if "data" in item else item["spec"]["template"]
    meta = template.get("metadata") or {}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != "pod-template-hash"}
    return {key: value for key, value in template.items() if key != "$patch"} | {"metadata": {**meta, "labels": labels}}
