"""Hold a rollout, and let it go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executor.actions.base import TargetFacts, World
from executor.actions.editing import Edit
from executor.actions.objects import ObjectEdit
from executor.actions.rollout import RestartParams
from executor.errors import PlanError
from executor.ports import KubeObject


class KubectlRolloutPause(ObjectEdit[RestartParams]):
    """Hold the rollout of a Deployment: changes of its pod template wait until it is resumed."""

    name = "kubectl_rollout_pause"
    aliases = ("kubernetes/rolloutPause",)
    params_model = RestartParams
    verb = "pause"
    undo_words = "the rollout goes on, if it did before"
    example = """\
action: kubectl_rollout_pause
params: {resource: deployment}
"""

    async def live(self, params: RestartParams, facts: TargetFacts, world: World) -> KubeObject:
        """The Deployment; nothing else can be paused."""
        named = params.model_copy(update={"resource": params.resource or facts.target.kind})
        found = await super().live(named, facts, world)
        if found["kind"] != "Deployment":
            raise PlanError(f"a {found['kind']} has no rollout that can be paused; only a Deployment has")
        return found

    def edit(self, params: RestartParams, extras: Mapping[str, Any]) -> Edit:
        """What kubectl sets."""
        return Edit({"spec": {"paused": True}}, "merge")

    def summary(self, params: RestartParams, live: KubeObject, extras: Mapping[str, Any]) -> str:
        """Says when it is so already."""
        already = " (it is paused already)" if live["spec"].get("paused") else ""
        return f"pause the rollout of Deployment {live['metadata']['name']}{already}"


class KubectlRolloutResume(KubectlRolloutPause):
    """Let a held rollout go on: everything that waited is rolled out now."""

    name = "kubectl_rollout_resume"
    aliases = ("kubernetes/rolloutResume",)
    verb = "resume"
    undo_words = "the rollout is paused again, if it was before"
    example = """\
action: kubectl_rollout_resume
params: {resource: deployment}
"""

    def edit(self, params: RestartParams, extras: Mapping[str, Any]) -> Edit:
        """Take the field away."""
        return Edit({"spec": {"paused": None}}, "merge")

    def summary(self, params: RestartParams, live: KubeObject, extras: Mapping[str, Any]) -> str:
        """Says when it is so already."""
        already = "" if live["spec"].get("paused") else " (it is not paused)"
        return f"resume the rollout of Deployment {live['metadata']['name']}{already}"
