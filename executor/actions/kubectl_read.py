"""Look at objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from executor import health
from executor.actions.base import Action, Planned, Stamp, TargetFacts, World
from executor.actions.fields import read_field
from executor.actions.manifests import Seconds
from executor.actions.masking import masked
from executor.actions.naming import WORKLOADS, Aim, aim, existing
from executor.actions.needs import OBJECT, PODS_OF, Right
from executor.actions.objects import ObjectParams, named
from executor.actions.rollout import rolled
from executor.actions.waiting import Look, limit_of, rollout, wait_for
from executor.model import PlannedStep
from executor.ports import KubeObject
from matcher.pods import controller_of


class GetParams(ObjectParams):
    """Parameters of ``kubectl_get``."""

    field: str | None = Field(
        None, description="One field: `spec.containers[0].image`, `spec.containers[name=app].image`; left out, all"
    )


class KubectlGet(Action[GetParams]):
    """Read an object, or one of its fields. Values of Secrets are masked."""

    name = "kubectl_get"
    aliases = ("kubernetes/get",)
    params_model = GetParams
    rights = (Right(("get",), OBJECT),)
    example = """\
action: kubectl_get
params: {resource: pod, field: "spec.containers[0].resources.limits.memory"}
output_var: current_memory
"""

    def rights_for(self, params: Mapping[str, Any], kinds: Sequence[str]) -> tuple[Right, ...]:
        """A pod that is gone is followed to the one in its place."""
        return PODS_OF if "Pod" in kinds else self.rights

    async def plan(self, params: GetParams, facts: TargetFacts, world: World) -> Planned:
        """Read."""
        wanted = aim(params.resource, params.name, params.namespace, facts)
        found = await or_successor(wanted, facts, world)
        result = masked(found)
        return Planned(
            params=params.model_dump(mode="json", exclude_none=True),
            result=result if params.field is None else read_field(result, params.field),
        )

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Read what the parameters name."""
        params = GetParams.model_validate(step.params)
        word, _, inside = params.resource.partition("/")
        found = await existing(Aim(word, params.name or inside, params.namespace or ""), None, world)
        return masked(found) if params.field is None else read_field(masked(found), params.field)


async def or_successor(wanted: Aim, facts: TargetFacts, world: World) -> KubeObject:
    """The object; for the incident's pod, when it is gone, one that its owner has put in its place."""
    if wanted.kind != "Pod" or wanted.name != facts.pod or facts.target.kind not in WORKLOADS:
        return await existing(wanted, facts, world)
    found = await world.cluster.get(wanted.kind, wanted.name, wanted.namespace)
    if found is not None:
        return found
    successors = await pods_of(facts.target.kind, facts.target.name, wanted.namespace, world)
    if not successors:
        return await existing(wanted, facts, world)
    return max(successors, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))


async def pods_of(kind: str, name: str, namespace: str, world: World) -> list[KubeObject]:
    """Live pods of a workload, found by its selector and confirmed by their owners."""
    owner = await world.cluster.get(kind, name, namespace)
    labels = ((owner or {}).get("spec", {}).get("selector") or {}).get("matchLabels") or {}
    if owner is None or not labels:
        return []
    uids = {owner["metadata"]["uid"]}
    if kind == "Deployment":
        sets = await world.cluster.list("ReplicaSet", namespace)
        uids = {item["metadata"]["uid"] for item in sets if (controller_of(item) or {}).get("uid") in uids}
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    pods = await world.cluster.list("Pod", namespace, labels=selector)
    return [pod for pod in health.live(pods) if (controller_of(pod) or {}).get("uid") in uids]


class StatusParams(ObjectParams):
    """Parameters of ``kubectl_rollout_status``."""

    resource: str = Field("", description="Kind or KIND/NAME; left out, it is the incident's workload")
    timeout: Seconds | None = Field(None, description="Longest wait; left out, the step's own timeout")


class KubectlRolloutStatus(Action[StatusParams]):
    """Wait until the rollout of a workload is complete and available."""

    name = "kubectl_rollout_status"
    aliases = ("kubernetes/rolloutStatus",)
    params_model = StatusParams
    rights = (Right(("get",), OBJECT),)
    example = """\
action: kubectl_rollout_status
params: {resource: deployment, timeout: 2m}
"""

    async def plan(self, params: StatusParams, facts: TargetFacts, world: World) -> Planned:
        """Find the workload; the waiting comes when its turn comes."""
        wanted = aim(params.resource or facts.target.kind, params.name, params.namespace, facts)
        live = rolled(await existing(wanted, facts, world))
        return Planned(params=params.model_copy(update=named(live)).model_dump(mode="json", exclude_none=True))

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Wait."""
        params = StatusParams.model_validate(step.params)
        what = f"{params.resource}/{params.name}"
        since = world.clock.now()

        async def look() -> Look:
            item = await world.cluster.get(params.resource, params.name or "", params.namespace or "")
            return rollout(item, since, what)

        limit = limit_of(params.timeout, step)
        seen = await wait_for(f"a complete rollout of {what}", look, limit, world)
        return {"object": what, "complete": True, "detail": seen.detail}
