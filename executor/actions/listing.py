"""List objects, and count the ready pods of a workload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from executor.actions.base import Action, Planned, Stamp, TargetFacts, World
from executor.actions.fields import read_field
from executor.actions.kubectl_read import StatusParams
from executor.actions.manifests import Seconds
from executor.actions.masking import masked
from executor.actions.naming import aim, existing
from executor.actions.needs import OBJECT, Right
from executor.actions.objects import named
from executor.actions.rollout import rolled
from executor.actions.spelling import KubeParams
from executor.actions.waiting import Look, wait_for
from executor.errors import PlanError
from executor.model import PlannedStep
from executor.ports import KubeObject
from matcher.kinds import canonical_kind


class ListParams(KubeParams):
    """Parameters of ``kubectl_list``."""

    resource: str = Field(min_length=1, description="Kind, in any spelling: `pods`, `deploy`")
    namespace: str | None = Field(None, description="Namespace; left out, it is the incident's")
    all_namespaces: bool = Field(False, description="Of every namespace")
    labels: str = Field("", description="Label selector: `app=web,tier in (a,b)`")
    fields: str = Field("", description="Field selector: `status.phase=Failed`")
    field: str | None = Field(None, description="One field of each, as in kubectl_get; left out, whole objects")
    limit: int = Field(100, ge=1, le=1000, description="More objects than these are an error, never cut off in silence")


class KubectlList(Action[ListParams]):
    """List objects of a kind, or one field of each. Values of Secrets are masked."""

    name = "kubectl_list"
    aliases = ("kubernetes/list",)
    params_model = ListParams
    rights = (Right(("list",), OBJECT),)
    simulated = "it is read while planning"
    targets = "none"
    example = """\
action: kubectl_list
params: {resource: pods, labels: "app={{ target.name }}", fields: "status.phase=Failed", field: metadata.name}
output_var: failed_pods
"""

    def rights_for(self, params: Mapping[str, Any], kinds: Sequence[str]) -> tuple[Right, ...]:
        """In one namespace, or in all."""
        return (Right(("list",), OBJECT, everywhere=bool(params.get("all_namespaces"))),)

    async def plan(self, params: ListParams, facts: TargetFacts, world: World) -> Planned:
        """Read."""
        kind = canonical_kind(params.resource)
        if not kind or "/" in params.resource:
            raise PlanError(f"resource {params.resource!r} is not a kind, such as pods; kubectl_get reads one object")
        if params.all_namespaces and params.namespace:
            raise PlanError("all_namespaces and a namespace contradict each other")
        place = "" if params.all_namespaces else params.namespace or facts.namespace
        full = params.model_copy(update={"resource": kind, "namespace": place or None})
        return Planned(params=full.model_dump(mode="json", exclude_none=True), result=await _listed(full, world))

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Read."""
        return await _listed(ListParams.model_validate(step.params), world)


async def _listed(params: ListParams, world: World) -> list[Any]:
    place = params.namespace or ""
    found = await world.cluster.list(params.resource, place, labels=params.labels, fields=params.fields)
    if len(found) > params.limit:
        raise PlanError(f"{len(found)} {params.resource} are found, and limit is {params.limit}: narrow the selectors")
    items = sorted((masked(item) for item in found), key=_place)
    return [item if params.field is None else read_field(item, params.field) for item in items]


def _place(item: KubeObject) -> tuple[str, str]:
    """In one order each time: the plan is compared with itself when it is approved."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


class ReadyParams(StatusParams):
    """Parameters of ``kubectl_check_ready``."""

    min_ready_replicas: int | None = Field(
        None, ge=0, description="So many pods at least; left out, all that are wanted"
    )
    timeout: Seconds | None = Field(None, description="Wait so long for them; left out, it looks once")


class KubectlCheckReady(Action[ReadyParams]):
    """Check that enough pods of a workload are ready; the step fails when there are fewer."""

    name = "kubectl_check_ready"
    aliases = ("kubernetes/checkDeploymentReady", "kubernetes/checkReady")
    params_model = ReadyParams
    rights = (Right(("get",), OBJECT),)
    simulated = "the workload is looked up; its pods are counted in its turn"
    targets = "none"
    example = """\
action: kubectl_check_ready
params: {resource: deployment, min_ready_replicas: 2}
"""

    async def plan(self, params: ReadyParams, facts: TargetFacts, world: World) -> Planned:
        """Find the workload; counting comes in its turn."""
        wanted = aim(params.resource or facts.target.kind, params.name, params.namespace, facts)
        live = rolled(await existing(wanted, facts, world))
        return Planned(params=params.model_copy(update=named(live)).model_dump(mode="json", exclude_none=True))

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Count.

        Raises:
            StepFailed: too few are ready.
        """
        params = ReadyParams.model_validate(step.params)
        what = f"{params.resource}/{params.name}"
        counts: dict[str, int] = {}

        async def look() -> Look:
            item = await world.cluster.get(params.resource, params.name or "", params.namespace or "")
            if item is None:
                return Look(reached=False, detail=f"{what} does not exist", hopeless=True)
            ready, wanted = _ready(item)
            least = wanted if params.min_ready_replicas is None else params.min_ready_replicas
            counts.update(ready=ready, wanted=wanted, least=least)
            enough = ready >= least and (least > 0 or params.min_ready_replicas == 0)
            return Look(reached=enough, detail=f"{ready} of {wanted} are ready, and {least} are needed")

        seen = await wait_for(f"enough ready pods of {what}", look, params.timeout or 0.0, world)
        return {"object": what, "ready": counts["ready"], "wanted": counts["wanted"], "detail": seen.detail}


def _ready(item: KubeObject) -> tuple[int, int]:
    """How many pods are ready, and how many are wanted."""
    status, spec = item.get("status", {}), item["spec"]
    if item["kind"] == "DaemonSet":
        return int(status.get("numberReady") or 0), int(status.get("desiredNumberScheduled") or 0)
    return int(status.get("readyReplicas") or 0), int(spec.get("replicas", 1))
