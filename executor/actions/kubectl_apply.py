"""Apply manifests: objects that exist are merged by the server, others are created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from executor.actions.base import Action, Found, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.creating import perform_create, plan_create, prepare_create, recover_create, undo_create
from executor.actions.editing import (
    Edit,
    perform_edit,
    plan_edit,
    prepare_edit,
    recover_edit,
    try_edit,
    undo_edit,
)
from executor.actions.manifests import Manifests
from executor.actions.masking import reveal
from executor.actions.needs import BACKUP, OBJECT, Right
from executor.actions.spelling import KubeParams
from executor.errors import Drifted, Owned, PlanError
from executor.model import Access, Change, PlannedStep
from executor.ports import KubeObject

CLUSTER_WIDE = frozenset(
    {
        "Namespace",
        "Node",
        "PersistentVolume",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "StorageClass",
        "PriorityClass",
        "IngressClass",
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
        "APIService",
    }
)
"""Kinds that take no namespace. Others of extensions say so by an empty ``metadata.namespace``."""


class ApplyParams(KubeParams):
    """Parameters of ``kubectl_apply``."""

    manifest: Manifests = Field(description="YAML text of one or several documents, or data")
    namespace: str | None = Field(None, description="For manifests that name none; left out, it is the incident's")
    force: bool | None = Field(
        None,
        description="Fields that another manager owns: true takes them over, false refuses; left out, a human is asked",
    )


class KubectlApply(Action[ApplyParams]):
    """Bring objects to the state of their manifests."""

    name = "kubectl_apply"
    aliases = ("kubernetes/apply",)
    access = Access.WRITE
    params_model = ApplyParams
    rights = (
        Right(("get",), OBJECT),
        Right(("create", "delete"), OBJECT, change="create"),
        Right(("patch",), OBJECT, change="apply"),
    )
    example = """\
action: kubectl_apply
params:
  manifest: |
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: limits}
    data: {mode: careful}
"""

    def rights_for(self, params: Mapping[str, Any], kinds: Sequence[str]) -> tuple[Right, ...]:
        """Create what is not there, change what is, and take both back."""
        return (*self.rights, BACKUP) if "Secret" in kinds else self.rights

    async def plan(self, params: ApplyParams, facts: TargetFacts, world: World) -> Planned:
        """Look which objects exist, and ask the server what each would become."""
        manifests = [_placed(manifest, params.namespace or facts.namespace) for manifest in params.manifest]
        planned = [await self._change(manifest, params, world) for manifest in manifests]
        reasons = tuple(reason for _, reason in planned if reason)
        full = params.model_copy(update={"manifest": manifests, "force": bool(params.force or reasons)})
        return Planned(
            params=full.model_dump(mode="json", exclude_none=True),
            changes=tuple(change for change, _ in planned),
            approval_reasons=reasons,
        )

    async def _change(self, manifest: KubeObject, params: ApplyParams, world: World) -> tuple[Change, str]:
        """The change of one object, and why it needs a human."""
        live = await _find(manifest, world)
        if live is None:
            return plan_create(manifest), ""
        try:
            edit = Edit(manifest, "apply", force=bool(params.force))
            return await plan_edit(edit, live, world, verb="apply"), ""
        except Owned as error:
            if params.force is False:
                raise PlanError(f"{error}; force: true takes the fields over") from error
            forced = await plan_edit(Edit(manifest, "apply", force=True), live, world, verb="apply")
            return forced, f"it takes over fields of another manager: {error}"

    async def dry_run(self, step: PlannedStep, world: World) -> None:
        """Ask the server whether it would accept each object."""
        for change, manifest, force in self._parts(step):
            if change.verb == "create":
                revealed = await reveal(manifest, world.secrets)
                with revealed.hiding():
                    await world.cluster.create(revealed.value, dry_run=True)
            elif change.ref is not None:
                await try_edit(Edit(manifest, "apply", force=force), change.ref, world)

    async def prepare(self, step: PlannedStep, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """Compare each object with the plan."""
        return {"objects": [await self._prepare(part, stamp, world) for part in self._parts(step)]}

    async def _prepare(
        self, part: tuple[Change, dict[str, Any], bool], stamp: Stamp, world: World
    ) -> Mapping[str, Any]:
        change, manifest, force = part
        live = await _find(manifest, world)
        if change.verb == "create":
            return prepare_create(change, live, stamp)
        return await prepare_edit(change, Edit(manifest, "apply", force=force), live, stamp, world)

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Apply each, in the order of the manifest."""
        outputs = []
        for (change, manifest, force), one in zip(self._parts(step), saved["objects"], strict=True):
            if change.verb == "create":
                outputs.append(await perform_create(manifest, one, stamp, world))
            else:
                outputs.append(await perform_edit(Edit(manifest, "apply", force=force), one, stamp, world))
        return {"objects": outputs}

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """Done when every object says so; else the rest can still be applied."""
        answers = []
        for change, one in zip(step.changes, saved["objects"], strict=True):
            ask = recover_create if change.verb == "create" else recover_edit
            answers.append(await ask(one, stamp, world))
        if all(answer.found is Found.DONE for answer in answers):
            return Recovery(Found.DONE, {"objects": [answer.output for answer in answers]})
        return Recovery(Found.NOT_DONE, detail="; ".join(answer.detail for answer in answers if answer.detail))

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Take each back, last first; what cannot be taken back does not stop the others."""
        lines, problems = [], []
        for change, one in reversed(list(zip(step.changes, saved["objects"], strict=True))):
            undo = undo_create if change.verb == "create" else undo_edit
            try:
                lines.append(await undo(one, stamp, world))
            except Drifted as error:
                problems.append(str(error))
        if problems:
            raise Drifted("; ".join([*problems, *lines]))
        return "; ".join(lines)

    def _parts(self, step: PlannedStep) -> list[tuple[Change, dict[str, Any], bool]]:
        params = ApplyParams.model_validate(step.params)
        return [
            (change, manifest, bool(params.force))
            for change, manifest in zip(step.changes, params.manifest, strict=True)
        ]


async def _find(manifest: KubeObject, world: World) -> KubeObject | None:
    # The group in the word, because kinds of different groups share names.
    group, slash, _ = manifest["apiVersion"].partition("/")
    kind = f"{manifest['kind']}.{group}" if slash else manifest["kind"]
    meta = manifest["metadata"]
    return await world.cluster.get(kind, meta["name"], meta.get("namespace", ""))


def _placed(manifest: dict[str, Any], namespace: str) -> dict[str, Any]:
    meta = dict(manifest["metadata"])
    if manifest["kind"] in CLUSTER_WIDE:
        return manifest
    if not meta.get("namespace"):
        if not namespace:
            raise PlanError(f"{manifest['kind']} {meta['name']} names no namespace, and the incident has none")
        meta["namespace"] = namespace
    return {**manifest, "metadata": meta}
