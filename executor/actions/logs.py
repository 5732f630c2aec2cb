"""Read what a container wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from executor.actions.base import Action, Planned, Stamp, TargetFacts, World
from executor.actions.manifests import Seconds
from executor.actions.naming import Aim, existing, ref_of
from executor.actions.needs import PODS_OF, Right
from executor.actions.pods import PodParams, pod_meant
from executor.model import PlannedStep


class LogsParams(PodParams):
    """Parameters of ``kubectl_logs``."""

    previous: bool = Field(False, description="Of the run before the present one: why a container crashed")
    tail: int = Field(100, ge=1, le=10_000, description="Most lines, counted from the end")
    since: Seconds | None = Field(None, ge=1, description="Only lines that are not older")
    max_bytes: int = Field(16_384, ge=1, le=65_536, description="Most bytes, counted from the end")


class KubectlLogs(Action[LogsParams]):
    """Read the last lines of a container's log, when the step's turn comes: they are evidence of that moment."""

    name = "kubectl_logs"
    aliases = ("kubernetes/logs", "kubernetes/getLogs")
    params_model = LogsParams
    rights = (*PODS_OF, Right(("get",), "Pod", "log"))
    simulated = "pod and container are looked up; the log is read in its turn"
    targets = "none"
    example = """\
action: kubectl_logs
params: {resource: pod, previous: true, tail: 50}
output_var: last_words
"""

    async def plan(self, params: LogsParams, facts: TargetFacts, world: World) -> Planned:
        """Find pod and container."""
        pod, container = await pod_meant(params, facts, world)
        meta = pod["metadata"]
        named = {"resource": "Pod", "name": meta["name"], "namespace": meta["namespace"], "container": container}
        return Planned(params=params.model_copy(update=named).model_dump(mode="json", exclude_none=True))

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Read."""
        params = LogsParams.model_validate(step.params)
        pod = await existing(Aim("Pod", params.name or "", params.namespace or ""), None, world)
        text = await world.cluster.logs(
            ref_of(pod),
            container=params.container or "",
            limit=params.max_bytes,
            tail=params.tail,
            since_seconds=None if params.since is None else int(params.since),
            previous=params.previous,
        )
        return {"object": str(ref_of(pod)), "container": params.container, "log": text, "lines": len(text.splitlines())}
