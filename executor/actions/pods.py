"""Which pod and container a step looks into."""

from __future__ import annotations

from pydantic import Field

from executor.actions.base import TargetFacts, World
from executor.actions.containers import container_named
from executor.actions.kubectl_read import or_successor, pods_of
from executor.actions.naming import WORKLOADS, aim, existing
from executor.actions.objects import ObjectParams
from executor.errors import PlanError
from executor.ports import KubeObject


class PodParams(ObjectParams):
    """What every action inside a pod takes."""

    resource: str = Field(
        "",
        description="`pod`, `pod/NAME` or a workload, of which a ready pod is taken; else the incident's pod",
    )
    container: str | None = Field(None, description="Left out, it is the incident's, or the only one")


async def pod_meant(params: PodParams, facts: TargetFacts, world: World) -> tuple[KubeObject, str]:
    """The pod, and the name of the container in it.

    The incident's pod is followed to its successor when it is gone.

    Raises:
        PlanError: there is none, or nobody said which container.
    """
    pod = await _pod(params, facts, world)
    what = f"Pod {pod['metadata']['name']}"
    return pod, container_named(pod["spec"], params.container, facts, what)


async def _pod(params: PodParams, facts: TargetFacts, world: World) -> KubeObject:
    word = params.resource or ("pod" if facts.pod or params.name else facts.target.kind)
    wanted = aim(word, params.name, params.namespace, facts)
    if wanted.kind not in WORKLOADS:
        found = await or_successor(wanted, facts, world)
        if found["kind"] != "Pod":
            raise PlanError(f"a {found['kind']} is no pod and has none")
        return found
    await existing(wanted, facts, world)
    pods = await pods_of(wanted.kind, wanted.name, wanted.namespace, world)
    if not pods:
        raise PlanError(f"{wanted} has no pod")
    return max(pods, key=_preference)


def _preference(pod: KubeObject) -> tuple[bool, str, str]:
    """Ready ones first, then the newest; the name makes the choice the same each time."""
    conditions = pod.get("status", {}).get("conditions") or ()
    ready = any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)
    return ready, str(pod["metadata"].get("creationTimestamp", "")), pod["metadata"]["name"]
