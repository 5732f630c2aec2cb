"""Drain a node: cordon it, and evict its pods as their disruption budgets allow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from executor import health
from executor.actions.base import Action, Found, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.editing import perform_edit, plan_edit, prepare_edit, undo_edit
from executor.actions.manifests import Seconds
from executor.actions.needs import Right
from executor.actions.nodes import CORDON, NodeParams, node_of, schedulable
from executor.actions.pods_to_move import Moving, NotMovable, sort_pods
from executor.actions.waiting import limit_of
from executor.errors import Blocked, Conflict, Drifted, NotFound, PlanError, StepFailed
from executor.model import Access, Change, ObjectRef, PlannedStep

_AT_ONCE = 5
_FIRST_PAUSE, _LONGEST_PAUSE, _FACTOR = 1.0, 5.0, 1.5
_LISTED = 5
_FIRST_LOOK = 0.25


class DrainParams(NodeParams):
    """Parameters of ``kubectl_drain``."""

    ignore_daemonsets: bool = Field(False, description="Leave pods of DaemonSets; they would come straight back")
    delete_emptydir_data: bool = Field(False, description="Evict pods whose emptyDir data is lost with them")
    grace_seconds: Seconds | None = Field(None, description="Time for each pod to end; left out, the pod's own")
    timeout: Seconds | None = Field(None, description="Longest time for all; left out, the step's own")


class KubectlDrain(Action[DrainParams]):
    """Cordon a node and evict its pods, never against a disruption budget.

    On a node whose kubelet is dead nobody confirms that a pod has ended: there, a pod that is marked for deletion
    counts as gone.
    """

    name = "kubectl_drain"
    aliases = ("kubernetes/drain",)
    access = Access.WRITE
    params_model = DrainParams
    rights = (
        Right(("get", "patch"), "Node"),
        Right(("list",), "Pod", everywhere=True),
        Right(("create",), "Pod", "eviction", everywhere=True),
    )
    undone = "the node takes pods again, if it did before; the evicted ones run elsewhere"
    targets = "the node, and each pod that is evicted"
    example = """\
action: kubectl_drain
params: {node: "{{ incident.resource.name }}", ignore_daemonsets: true, delete_emptydir_data: true}
"""

    async def plan(self, params: DrainParams, facts: TargetFacts, world: World) -> Planned:
        """List the pods that would be evicted; refuse those that would be lost."""
        node = await node_of(params.node, facts, world)
        name = node["metadata"]["name"]
        pods = await _pods(name, params, world)
        already = "" if schedulable(node) else " (it is cordoned already)"
        cordon = await plan_edit(CORDON, node, world, verb="cordon", summary=f"cordon {name}{already}")
        cordon = cordon.model_copy(update={"undo": "the node takes pods again, if it did before"})
        full = params.model_copy(update={"node": name})
        return Planned(
            params=full.model_dump(mode="json", exclude_none=True),
            changes=(cordon, *(_eviction(pod) for pod in pods)),
        )

    async def dry_run(self, step: PlannedStep, world: World) -> None:
        """Ask the server whether it would let us cordon and evict; a budget that says no for now is no refusal."""
        node = _node_ref(step)
        await world.cluster.patch(node, CORDON.body, how=CORDON.how, dry_run=True)
        for change in step.changes[1:]:
            if change.ref is not None:
                try:
                    await world.cluster.evict(change.ref, dry_run=True)
                except (Blocked, NotFound, Conflict):
                    continue

    async def prepare(self, step: PlannedStep, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """Look at the node and its pods again.

        Raises:
            Drifted: there are more pods than the plan said, or one that would be lost.
        """
        params, ref = DrainParams.model_validate(step.params), _node_ref(step)
        node = await world.cluster.get(ref.kind, ref.name)
        saved = await prepare_edit(step.changes[0], CORDON, node, stamp, world)
        try:
            pods = await _pods(ref.name, params, world)
        except PlanError as error:
            raise Drifted(str(error)) from error
        if len(pods) > len(step.changes) - 1:
            raise Drifted(f"{len(pods)} pods are on {ref.name} now, and {len(step.changes) - 1} were planned")
        return {**saved, "pods": [pod.to_json() for pod in pods]}

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Cordon, evict, and wait until the pods are gone.

        Raises:
            StepFailed: pods are left when the time is over; the text names them and what holds them.
        """
        params = DrainParams.model_validate(step.params)
        deadline = world.clock.monotonic() + limit_of(params.timeout, step)
        cordoned = await perform_edit(CORDON, saved, stamp, world)
        pods = [Moving.from_json(pod) for pod in saved["pods"]]
        grace = None if params.grace_seconds is None else int(params.grace_seconds)
        eviction = _Eviction(world, deadline, grace)
        await eviction.run(pods)
        await _until_gone(pods, str(params.node), deadline, world)
        return {**cordoned, "node": params.node, "evicted": [pod.to_json() for pod in pods]}

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """Ask the node and each pod, by its uid; what was evicted is not evicted twice."""
        ref = _node_ref(step)
        node = await world.cluster.get(ref.kind, ref.name)
        pods = [Moving.from_json(pod) for pod in saved["pods"]]
        left = await _left(pods, ref.name, world, dead=node is not None and not health.ready(node))
        if node is None or schedulable(node) or left:
            return Recovery(Found.NOT_DONE, detail=f"{len(left)} of {len(pods)} pods are still there")
        return Recovery(Found.DONE, {"node": ref.name, "evicted": [pod.to_json() for pod in pods]})

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Let pods on the node again, if it took some before; the evicted ones run elsewhere."""
        return await undo_edit(saved, stamp, world)


class _Eviction:
    """Evicts pods side by side; one that a budget holds is tried again until the deadline."""

    def __init__(self, world: World, deadline: float, grace_seconds: int | None) -> None:
        self._world = world
        self._deadline = deadline
        self._grace = grace_seconds
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def run(self, pods: Iterable[Moving]) -> None:
        # All are waited for: one pod's error must not cut the eviction of another short.
        answers = await asyncio.gather(*(self._evict(pod) for pod in pods), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        if held := [answer for answer in answers if isinstance(answer, str) and answer]:
            raise StepFailed(f"{len(held)} pods could not be evicted in time: {'; '.join(held[:_LISTED])}")

    async def _evict(self, pod: Moving) -> str:
        """Evict one; the answer says what held it, or is empty."""
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self._slots:
                    await self._world.cluster.evict(pod.ref, grace_seconds=self._grace)
            except (NotFound, Conflict):
                return ""  # gone, or another one has its name now
            except Blocked as error:
                left = self._deadline - self._world.clock.monotonic()
                if left <= 0:
                    return str(error)
                await self._world.clock.sleep(min(pause, left))
                pause = min(pause * _FACTOR, _LONGEST_PAUSE)
            else:
                return ""


async def _until_gone(pods: list[Moving], node: str, deadline: float, world: World) -> None:
    pause = _FIRST_LOOK
    while True:
        live = await world.cluster.get("Node", node)
        left = await _left(pods, node, world, dead=live is None or not health.ready(live))
        if not left:
            return
        remaining = deadline - world.clock.monotonic()
        if remaining <= 0:
            names = ", ".join(str(pod.ref) for pod in left[:_LISTED])
            raise StepFailed(f"{len(left)} evicted pods have not ended in time: {names}")
        await world.clock.sleep(min(pause, remaining))
        pause = min(pause * _FACTOR, 2.0)


async def _left(pods: list[Moving], node: str, world: World, *, dead: bool) -> list[Moving]:
    here = await world.cluster.list("Pod", fields=f"spec.nodeName={node}")
    staying = {pod["metadata"]["uid"] for pod in here if not (dead and pod["metadata"].get("deletionTimestamp"))}
    return [pod for pod in pods if pod.ref.uid in staying]


async def _pods(node: str, params: DrainParams, world: World) -> list[Moving]:
    """The pods that a drain evicts.

    Raises:
        PlanError: some would be lost, or would lose data.
    """
    found = await world.cluster.list("Pod", fields=f"spec.nodeName={node}")
    try:
        return sort_pods(
            found, ignore_daemonsets=params.ignore_daemonsets, delete_emptydir_data=params.delete_emptydir_data
        )
    except NotMovable as error:
        raise PlanError(f"{node} cannot be drained: {error}") from error


def _eviction(pod: Moving) -> Change:
    return Change(
        ref=pod.ref, verb="evict", summary=f"evict {pod.ref} of {pod.owner}", undo=f"{pod.owner} starts it elsewhere"
    )


def _node_ref(step: PlannedStep) -> ObjectRef:
    ref = step.changes[0].ref if step.changes else None
    if ref is None:
        raise PlanError(f"the plan of {step.name} names no node")
    return ref
