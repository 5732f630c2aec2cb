"""Patch an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from executor.actions.base import Planned, TargetFacts, World
from executor.actions.editing import Edit
from executor.actions.manifests import Patch
from executor.actions.objects import ObjectEdit, ObjectParams
from executor.errors import Owned, PlanError
from executor.ports import KubeObject


class PatchParams(ObjectParams):
    """Parameters of ``kubectl_patch``."""

    patch: Patch = Field(description="YAML text or data; for `json` a list of operations")
    type: Literal["strategic", "merge", "json", "apply"] = Field(
        "strategic",
        description="strategic merges lists by name; merge replaces them; json is RFC 6902; apply is server-side apply",
    )
    field_manager: str | None = Field(
        None, min_length=1, max_length=128, description="For `apply`: who owns the fields from then on; else Rootmend"
    )
    force: bool = Field(False, description="For `apply`: take over fields of other managers; otherwise that is refused")

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        if self.type != "apply" and (self.field_manager or self.force):
            raise ValueError(f"field_manager and force mean something for type: apply only, and this is {self.type}")
        return self


class KubectlPatch(ObjectEdit[PatchParams]):
    """Change fields of an object."""

    name = "kubectl_patch"
    aliases = ("kubernetes/patch",)
    params_model = PatchParams
    example = """\
action: kubectl_patch
params:
  resource: deployment
  patch:
    spec: {template: {spec: {containers: [{name: app, resources: {limits: {memory: 512Mi}}}]}}}
"""

    async def live(self, params: PatchParams, facts: TargetFacts, world: World) -> KubeObject:
        """The object, once the patch has the shape that its type needs."""
        if (params.type == "json") is not isinstance(params.patch, list):
            needed = "a list of operations" if params.type == "json" else "a mapping"
            raise PlanError(f"a patch of type {params.type} is {needed}")
        return await super().live(params, facts, world)

    def completed(self, params: PatchParams, live: KubeObject, extras: Mapping[str, Any]) -> PatchParams:
        """With the object named; a manifest for ``apply`` names it itself."""
        full = super().completed(params, live, extras)
        if params.type != "apply":
            return full
        meta = {key: live["metadata"][key] for key in ("name", "namespace") if live["metadata"].get(key)}
        given = dict(params.patch.get("metadata") or {})
        if other := [key for key, value in meta.items() if given.get(key, value) != value]:
            raise PlanError(f"the patch says another {' and '.join(other)} than the step")
        named = {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": {**given, **meta}}
        return full.model_copy(update={"patch": {**params.patch, **named}})

    def edit(self, params: PatchParams, extras: Mapping[str, Any]) -> Edit:
        """The patch as written."""
        return Edit(params.patch, params.type, force=params.force, manager=params.field_manager or "")

    async def plan(self, params: PatchParams, facts: TargetFacts, world: World) -> Planned:
        """Show what the patch changes; for ``apply`` the server may say that the fields are somebody else's."""
        try:
            return await super().plan(params, facts, world)
        except Owned as error:
            raise PlanError(f"{error}; force: true takes the fields over") from error
