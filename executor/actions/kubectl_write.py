"""Patch and scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from executor.actions.base import TargetFacts, World
from executor.actions.editing import Edit
from executor.actions.manifests import Patch
from executor.actions.objects import ObjectEdit, ObjectParams
from executor.errors import PlanError
from executor.ports import KubeObject, PatchKind


class PatchParams(ObjectParams):
    """Parameters of ``kubectl_patch``."""

    patch: Patch = Field(description="YAML text or data; for `json` a list of operations")
    type: Literal["strategic", "merge", "json"] = Field(
        "strategic", description="strategic merges lists by name; merge replaces them; json is RFC 6902"
    )


class KubectlPatch(ObjectEdit[PatchParams]):
    """Change fields of an object."""

    name = "kubectl_patch"
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

    def edit(self, params: PatchParams, extras: Mapping[str, Any]) -> Edit:
        """The patch as written."""
        return Edit(params.patch, params.type)


class ScaleParams(ObjectParams):
    """Parameters of ``kubectl_scale``."""

    replicas: int = Field(ge=0, description="How many pods are wanted")


class KubectlScale(ObjectEdit[ScaleParams]):
    """Set the number of replicas."""

    name = "kubectl_scale"
    params_model = ScaleParams
    verb = "scale"
    undo_words = "the prior number of replicas is set again, unless somebody else scaled meanwhile"
    example = """\
action: kubectl_scale
params: {resource: deployment, replicas: 3}
"""

    async def live(self, params: ScaleParams, facts: TargetFacts, world: World) -> KubeObject:
        """The object, if it can be scaled."""
        found = await super().live(params, facts, world)
        if not isinstance(found.get("spec", {}).get("replicas"), int):
            raise PlanError(f"a {found['kind']} has no replicas that could be set")
        return found

    def edit(self, params: ScaleParams, extras: Mapping[str, Any]) -> Edit:
        """Replicas in the object itself: the scale subresource could not carry the stamp in the same write."""
        how: PatchKind = "merge"
        return Edit({"spec": {"replicas": params.replicas}}, how)

    def summary(self, params: ScaleParams, live: KubeObject, extras: Mapping[str, Any]) -> str:
        """From how many to how many."""
        return f"replicas of {live['kind']} {live['metadata']['name']}: {live['spec']['replicas']} -> {params.replicas}"
