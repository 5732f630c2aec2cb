"""Looking at a target: which objects say whether it is well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from executor import health
from executor.health import Reading
from executor.model import Access, ExecutionRecord, ObjectRef, StepStatus
from executor.phases import STEP
from executor.ports import Cluster, FreshSignals, KubeObject
from executor.reasons import leaves
from matcher.kinds import RUNBOOK

_KIND_AND_NAME = 2
_REVISION = "deployment.kubernetes.io/revision"


class Looker:
    """Reads the target of one execution.

    Args:
        target: the owning workload or the node.
        since: when the steps were done.
    """

    def __init__(
        self, cluster: Cluster, fresh: FreshSignals, record: ExecutionRecord, target: ObjectRef, since: datetime
    ) -> None:
        self._cluster = cluster
        self._fresh = fresh
        self._record = record
        self._target = target
        self._since = since
        self._started = record.started_at or since
        self._newest: tuple[tuple[object, ...], set[str]] | None = None

    async def look(self, now: datetime) -> Reading:
        """One look. What cannot be read proves nothing."""
        try:
            return await self._look(now)
        except Exception as error:  # noqa: BLE001 - whatever cannot be read proves nothing, and ends nothing
            return Reading(None, f"it cannot be read: {error}")

    async def _look(self, now: datetime) -> Reading:
        target = self._target
        if target.kind == RUNBOOK:
            return by_its_steps(self._record)
        item = await self._cluster.get(target.kind, target.name, target.namespace)
        if item is None:
            return Reading(None, f"{target} is gone")
        if target.kind == "Node":
            return await self._node(item, now)
        if target.kind == "Pod":
            reading, subjects = health.pods(health.live([item]), self._started, self._since), [target]
        else:
            reading, subjects = await self._workload(item)
        return await self._with_signals(reading, subjects, now)

    async def _workload(self, item: KubeObject) -> tuple[Reading, list[ObjectRef]]:
        if item.get("kind") == "CronJob":
            jobs = await self._cluster.list("Job", self._target.namespace)
            return health.cronjob(item, jobs, self._started), [self._target]
        reading = health.workload(item, self._since)
        if reading.proof or reading.healthy is None or item.get("kind") == "Job":
            return reading, [self._target]
        mine = await self._pods(item)
        seen = health.pods(mine, self._started, self._since)
        subjects = [self._target, *(_ref(pod) for pod in mine)]
        if not reading.healthy:
            detail = reading.detail if seen.healthy in (True, None) else f"{reading.detail}; {seen.detail}"
            return replace(reading, detail=detail, restarts=seen.restarts, failures=seen.failures), subjects
        told = f"{reading.detail}; {seen.detail}"
        return replace(seen, detail=told, rolled_out=True), subjects

    async def _pods(self, item: KubeObject) -> list[KubeObject]:
        """Live pods of the current revision."""
        labels, namespace = _selector(item.get("spec", {}).get("selector") or {}), self._target.namespace
        if not labels:
            return []  # an empty selector would be every pod
        owners = {item["metadata"].get("uid", "")}
        if item.get("kind") == "Deployment":
            owners = await self._newest_set(item, labels)
        found = await self._cluster.list("Pod", namespace, labels=labels)
        return health.live(pod for pod in found if _owned_by(pod, owners))

    async def _newest_set(self, deployment: KubeObject, labels: str) -> set[str]:
        """The uid of the ReplicaSet of a Deployment's current revision; empty when there is none.

        A controller that has seen the latest change has written the revision into the Deployment, so an answer holds
        for as long as both stay the same.
        """
        meta = deployment["metadata"]
        revision = (meta.get("annotations") or {}).get(_REVISION)
        generation, seen = meta.get("generation", 0), deployment.get("status", {}).get("observedGeneration", 0)
        key = (meta.get("uid"), generation, revision)
        if self._newest is not None and self._newest[0] == key:
            return self._newest[1]
        sets = await self._cluster.list("ReplicaSet", self._target.namespace, labels=labels)
        mine = [one for one in sets if _owned_by(one, {meta.get("uid", "")})]
        newest = max(mine, key=_revision, default=None)
        owners = {newest["metadata"].get("uid", "")} if newest is not None else set()
        if owners and revision is not None and seen >= generation:
            self._newest = key, owners
        return owners

    async def _with_signals(self, reading: Reading, subjects: Sequence[ObjectRef], now: datetime) -> Reading:
        """New failing signals outweigh how well the objects look.

        Only those of the last settle time count: a signal starts the settle time again, it does not condemn for ever,
        because windowed alert rules fire for a while after the fix.
        """
        if not reading.healthy:
            return reading
        moment = max(self._since, now - timedelta(seconds=self._record.settle_seconds))
        tenant = str(self._record.incident.get("tenant", ""))
        lines = await self._fresh.since(tenant, self._record.plan.target_key, subjects, moment)
        if not lines:
            return reading
        return replace(reading, healthy=False, detail=f"new signals: {'; '.join(list(lines)[:3])}")

    async def _node(self, node: KubeObject, now: datetime) -> Reading:
        """A node is well when it is back, or when it was emptied and its pods' owners are well elsewhere."""
        alive, closed = health.ready(node), bool(node.get("spec", {}).get("unschedulable"))
        if alive and not closed:
            back = Reading(healthy=True, detail="the node is ready and takes pods", rolled_out=True)
            return await self._with_signals(back, [self._target], now)
        if not closed:
            return Reading(healthy=False, detail="the node is not ready and still takes pods")
        left = await self._left_behind(alive=alive)
        if left:
            return Reading(healthy=False, detail=f"{len(left)} pods are still on the node: {', '.join(left[:3])}")
        # Signals about the node itself are expected to go on: it was taken out of service because it is broken.
        return await self._evicted()

    async def _left_behind(self, *, alive: bool) -> list[str]:
        found = await self._cluster.list("Pod", fields=f"spec.nodeName={self._target.name}")
        leaving = [pod for pod in found if not health.stays(pod)]
        if not alive:
            # The kubelet of a dead node never confirms; the API server's promise is all there will be.
            leaving = [pod for pod in leaving if not pod["metadata"].get("deletionTimestamp")]
        return [f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}" for pod in leaving]

    async def _evicted(self) -> Reading:
        owners = _owners(self._record)
        bad: list[str] = []
        for owner in owners:
            item = await self._cluster.get(owner.kind, owner.name, owner.namespace)
            if item is None:
                continue  # replaced by a later revision, whose pods are not ours to judge
            reading = health.workload(item, self._since)
            wanted = item.get("spec", {}).get("replicas")
            if reading.healthy is False or (reading.healthy is None and wanted != 0):
                bad.append(f"{owner}: {reading.detail}")
        if bad:
            return Reading(healthy=False, detail="; ".join(bad[:3]))
        told = f"{len(owners)} owners of its pods are available" if owners else "no pods had to move"
        return Reading(healthy=True, detail=f"the node is cordoned and empty; {told}", rolled_out=True)


def by_its_steps(record: ExecutionRecord) -> Reading:
    """What the steps of a runbook without a target prove.

    Success criteria are the evidence where there are some: each is looked at beside this. Without them the steps of a
    runbook that changes nothing are the evidence themselves: all of them gave what they were asked for. A change
    proves nothing by being made.
    """
    runs = [run for run in record.steps if run.phase == STEP and run.items is None]
    missed = [run.name for run in runs if run.status not in (StepStatus.SUCCEEDED, StepStatus.SKIPPED)]
    if record.plan.terms.criteria:
        return Reading(healthy=True, detail="there is no target", rolled_out=True)
    if any(step.access is Access.WRITE for step in leaves(record.plan.steps)):
        return Reading(None, "there is no target, and no success_criteria say whether its changes worked")
    if missed or not any(run.status is StepStatus.SUCCEEDED for run in runs):
        return Reading(None, f"there is no target, and not every step succeeded: {', '.join(missed) or 'none ran'}")
    return Reading(healthy=True, detail=f"it changes nothing, and its {len(runs)} steps succeeded", rolled_out=True)


def _owners(record: ExecutionRecord) -> list[ObjectRef]:
    """The owners of the pods that drain steps moved.

    From what was saved with the intent as well as from the output: a drain that was repeated after a crash gives
    only the pods that were left.
    """
    found: dict[str, ObjectRef] = {}
    for run in record.steps:
        for pod in (*_listed(run.before, "pods"), *_listed(run.output, "evicted")):
            owner = _owner(pod)
            if owner is not None:
                found[str(owner)] = owner
    return list(found.values())


def _listed(value: Any, key: str) -> Sequence[Any]:
    listed = value.get(key) if isinstance(value, Mapping) else None
    return listed if isinstance(listed, Sequence) else ()


def _owner(pod: Any) -> ObjectRef | None:
    """The owner that a drain noted as ``KIND NAME``; a pod that had ended has none."""
    words = str(pod.get("owner", "")).split() if isinstance(pod, Mapping) else []
    if len(words) != _KIND_AND_NAME:
        return None
    return ObjectRef(kind=words[0], name=words[1], namespace=pod.get("namespace", ""))


def _ref(item: KubeObject) -> ObjectRef:
    meta = item["metadata"]
    return ObjectRef(
        kind=item.get("kind") or "Pod", name=meta["name"], namespace=meta.get("namespace", ""), uid=meta.get("uid", "")
    )


def _owned_by(item: KubeObject, uids: set[str]) -> bool:
    owners: Sequence[Mapping[str, Any]] = item.get("metadata", {}).get("ownerReferences") or ()
    return any(owner.get("uid") in uids for owner in owners)


def _revision(item: KubeObject) -> tuple[int, str]:
    meta = item.get("metadata", {})
    number = str((meta.get("annotations") or {}).get(_REVISION, "0"))
    return (int(number) if number.isdigit() else 0, meta.get("creationTimestamp") or "")


def _selector(selector: Mapping[str, Any]) -> str:
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for rule in selector.get("matchExpressions") or ():
        values = ",".join(rule.get("values") or ())
        parts.append(
            {
                "In": f"{rule['key']} in ({values})",
                "NotIn": f"{rule['key']} notin ({values})",
                "Exists": rule["key"],
                "DoesNotExist": f"!{rule['key']}",
            }[rule["operator"]]
        )
    return ",".join(parts)
