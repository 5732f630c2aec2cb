"""What a workload, its pods or a node say about themselves: pure functions over API objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from executor.ports import KubeObject

_BAD_WAITS = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)


@dataclass(frozen=True, slots=True)
class Failure:
    """One death of one container; ``number`` counts the deaths of this container."""

    container: str
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the target.

    Attributes:
        healthy: None when there is nothing that could prove anything.
        detail: for people.
        proof: it is certain that it will not become healthy by itself.
        rolled_out: the controller has nothing left to do, healthy or not.
        restarts: restart count of each container, by ``pod/container``.
        failures: deaths since the fix.
    """

    healthy: bool | None
    detail: str
    proof: bool = False
    rolled_out: bool = False
    restarts: Mapping[str, int] = field(default_factory=dict)
    failures: frozenset[Failure] = frozenset()


@dataclass(frozen=True, slots=True)
class _Counts:
    wanted: int
    updated: int
    total: int
    available: int


def workload(item: KubeObject, since: datetime) -> Reading:
    """Whether a workload's controller says that the current revision is complete and available.

    Args:
        item: a Deployment, StatefulSet, DaemonSet, ReplicaSet or Job; other kinds prove nothing.
        since: older deadline conditions are of an earlier rollout.
    """
    kind = item.get("kind", "")
    if kind == "Job":
        return _job(item)
    counts = _counts(kind, item)
    if counts is None:
        return Reading(None, f"a {kind or 'object of unknown kind'} does not report whether it works")
    meta, status = item.get("metadata", {}), item.get("status", {})
    if status.get("observedGeneration", 0) < meta.get("generation", 0):
        return Reading(healthy=False, detail="the controller has not seen the latest change yet")
    if counts.wanted == 0:
        return Reading(None, "zero replicas are wanted, so nothing can prove that it works", rolled_out=True)
    if _deadline_passed(status, since):
        return Reading(healthy=False, detail="the rollout exceeded its progress deadline", proof=True)
    return _progress(counts, status)


def _progress(counts: _Counts, status: Mapping[str, Any]) -> Reading:
    wanted, told = counts.wanted, f"{counts.available} of {counts.wanted} available"
    if counts.updated < wanted:
        return Reading(healthy=False, detail=f"{counts.updated} of {wanted} replicas updated")
    if counts.total > counts.updated:
        return Reading(healthy=False, detail=f"{counts.total - counts.updated} old replicas are still there")
    if counts.available < wanted or status.get("unavailableReplicas") or status.get("numberUnavailable"):
        return Reading(healthy=False, detail=told, rolled_out=True)
    return Reading(healthy=True, detail=f"{told}, all of the current revision", rolled_out=True)


def _counts(kind: str, item: KubeObject) -> _Counts | None:
    spec, status = item.get("spec", {}), item.get("status", {})
    wanted = 1 if spec.get("replicas") is None else int(spec["replicas"])
    total, available = int(status.get("replicas") or 0), int(status.get("availableReplicas") or 0)
    if kind == "Deployment":
        return _Counts(wanted, int(status.get("updatedReplicas") or 0), total, available)
    if kind == "StatefulSet":
        done = status.get("updateRevision") == status.get("currentRevision")
        updated = total if done else int(status.get("updatedReplicas") or 0)
        return _Counts(wanted, updated, total, available)
    if kind == "ReplicaSet":
        return _Counts(wanted, total, total, available)
    if kind == "DaemonSet":
        wanted = int(status.get("desiredNumberScheduled") or 0)
        updated = int(status.get("updatedNumberScheduled") or 0)
        return _Counts(wanted, updated, updated, int(status.get("numberAvailable") or 0))
    return None


def _deadline_passed(status: Mapping[str, Any], since: datetime) -> bool:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            at = _time(condition.get("lastUpdateTime") or condition.get("lastTransitionTime"))
            return at is not None and at >= since.replace(microsecond=0)
    return False


def _job(item: KubeObject) -> Reading:
    held = {entry.get("type") for entry in item.get("status", {}).get("conditions") or () if _true(entry)}
    if "Complete" in held:
        return Reading(healthy=True, detail="the job is complete", rolled_out=True)
    if "Failed" in held:
        return Reading(healthy=False, detail="the job has failed", proof=True, rolled_out=True)
    return Reading(healthy=False, detail="the job is not complete yet")


def cronjob(item: KubeObject, jobs: Iterable[KubeObject], started: datetime) -> Reading:
    """Whether the newest job of a CronJob ended well, one made by us included.

    Args:
        item: the CronJob.
        jobs: of its namespace.
        started: when the execution began; older jobs prove nothing about what it did.
    """
    uid = item.get("metadata", {}).get("uid")
    mine = [job for job in jobs if uid in [one.get("uid") for one in job["metadata"].get("ownerReferences") or ()]]
    newest = max(mine, key=lambda job: job["metadata"].get("creationTimestamp") or "", default=None)
    if newest is None or not _young(newest, started):
        return Reading(None, "it has started no job since, so nothing can prove that it works")
    reading = _job(newest)
    return replace(reading, detail=f"{newest['metadata']['name']}: {reading.detail}")


def live(pods: Iterable[KubeObject]) -> list[KubeObject]:
    """Pods that are not on their way out, and have not ended."""
    return [
        pod
        for pod in pods
        if not pod.get("metadata", {}).get("deletionTimestamp")
        and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    ]


def pods(items: Sequence[KubeObject], started: datetime, since: datetime) -> Reading:
    """Whether the live pods of a workload are well.

    Args:
        items: live pods of the current revision.
        started: when the execution began; pods made later count all their failures.
        since: when the steps were done; older pods count only later failures.
    """
    if not items:
        return Reading(None, "there are no pods, so nothing can prove that it works")
    restarts: dict[str, int] = {}
    failures: set[Failure] = set()
    problems: list[str] = []
    for pod in items:
        problems += _pod_problems(pod)
        for status in _containers(pod):
            name = f"{pod['metadata']['name']}/{status.get('name', '')}"
            restarts[name] = int(status.get("restartCount") or 0)
            failures |= _failures(name, status, since, young=_young(pod, started))
    detail = "; ".join(problems[:3]) if problems else f"{len(items)} pods ready"
    return Reading(not problems, detail, restarts=restarts, failures=frozenset(failures))


def _pod_problems(pod: KubeObject) -> list[str]:
    name, found = pod["metadata"]["name"], []
    for status in _containers(pod):
        reason = (status.get("state") or {}).get("waiting", {}).get("reason", "")
        dead = (status.get("state") or {}).get("terminated", {}).get("reason", "")
        last = (status.get("lastState") or {}).get("terminated", {}).get("reason", "")
        if reason in _BAD_WAITS:
            found.append(f"{name}/{status.get('name')} is in {reason}" + (f" after {last}" if last else ""))
        elif dead == "OOMKilled":
            found.append(f"{name}/{status.get('name')} was OOMKilled")
    conditions = pod.get("status", {}).get("conditions") or ()
    if not found and not any(entry.get("type") == "Ready" and _true(entry) for entry in conditions):
        found.append(f"{name} is not ready")
    return found


def _containers(pod: KubeObject) -> list[Mapping[str, Any]]:
    status = pod.get("status", {})
    return [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]


def _failures(name: str, status: Mapping[str, Any], since: datetime, *, young: bool) -> set[Failure]:
    count = int(status.get("restartCount") or 0)
    deaths = (
        (count, (status.get("lastState") or {}).get("terminated")),
        (count + 1, (status.get("state") or {}).get("terminated")),
    )
    return {
        Failure(name, number, death.get("reason", "Error"))
        for number, death in deaths
        if death and number and death.get("reason") != "Completed" and (young or _later(death, since))
    }


def _later(death: Mapping[str, Any], since: datetime) -> bool:
    at = _time(death.get("finishedAt"))
    return at is not None and at >= since.replace(microsecond=0)


def _young(pod: KubeObject, started: datetime) -> bool:
    made = _time(pod["metadata"].get("creationTimestamp"))
    return made is not None and made >= started.replace(microsecond=0)


def ready(node: KubeObject) -> bool:
    """Whether a node says that it is ready."""
    conditions = node.get("status", {}).get("conditions") or ()
    return any(entry.get("type") == "Ready" and _true(entry) for entry in conditions)


def stays(pod: KubeObject) -> bool:
    """Whether a pod belongs to its node and is not expected to leave: of a DaemonSet, static, or ended."""
    meta = pod.get("metadata", {})
    owned = any(owner.get("kind") == "DaemonSet" for owner in meta.get("ownerReferences") or ())
    static = "kubernetes.io/config.mirror" in (meta.get("annotations") or {})
    return owned or static or pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _true(condition: Mapping[str, Any]) -> bool:
    return condition.get("status") == "True"


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None
