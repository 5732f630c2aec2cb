"""Which object a step means: what its author wrote, and what the incident fills in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from executor.actions.base import TargetFacts, World
from executor.errors import PlanError
from executor.model import ObjectRef
from executor.ports import KubeObject
from matcher.kinds import RUNBOOK, canonical_kind

WORKLOADS = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "ReplicationController"}
)


@dataclass(frozen=True, slots=True)
class Aim:
    """An object by name, not yet looked at."""

    kind: str
    name: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace + '/' if self.namespace else ''}{self.name}"


def aim(resource: str, name: str | None, namespace: str | None, facts: TargetFacts) -> Aim:
    """What ``resource``, ``name`` and ``namespace`` of a step mean.

    ``deployment/web`` and ``deployment`` with ``name: web`` are the same. A name that is left out is the incident's
    workload, pod or node, whichever fits the kind; a namespace that is left out is the incident's.

    Raises:
        PlanError: nothing fits, or two names contradict each other.
    """
    word, _, inside = resource.strip().partition("/")
    kind = canonical_kind(word)
    if kind == RUNBOOK:
        raise PlanError("the runbook was asked for without a target: name the object, or ask for it with a target")
    if not kind or "/" in inside:
        raise PlanError(f"resource {resource!r} is not KIND or KIND/NAME, such as deployment or deployment/web")
    if inside and name and inside != name:
        raise PlanError(f"resource says {inside!r} and name says {name!r}")
    return Aim(kind, name or inside or _name_of(kind, facts), namespace or facts.namespace)


def _name_of(kind: str, facts: TargetFacts) -> str:
    target = facts.target
    if same_kind(kind, target.kind):
        return target.name
    if kind == "Pod" and facts.pod:
        return facts.pod
    if kind == "Node" and facts.node:
        return facts.node
    if target.kind == RUNBOOK:
        raise PlanError(f"no {kind} is named, and the runbook was asked for without a target")
    if target.kind == "Pod" and kind in WORKLOADS:
        raise PlanError(f"the pod {target.name} has no controller, so there is no {kind} to act on")
    advice = (
        f"write resource: {target.kind.lower()}" if kind in WORKLOADS and target.kind in WORKLOADS else "give a name"
    )
    raise PlanError(f"no {kind} is named, and the incident is about {target}: {advice}")


def same_kind(word: str, kind: str) -> bool:
    """Whether two words mean one kind; kinds of extensions are compared as they are spelt."""
    one, other = canonical_kind(word).lower(), canonical_kind(kind).lower()
    return one == other or one.partition(".")[0].removesuffix("s") == other.partition(".")[0].removesuffix("s")


async def existing(wanted: Aim, facts: TargetFacts | None, world: World) -> KubeObject:
    """The live object.

    Raises:
        PlanError: it does not exist; when the incident's owner is of another kind, the text says so.
    """
    found = await world.cluster.get(wanted.kind, wanted.name, wanted.namespace)
    if found is not None:
        return found
    advice = ""
    if facts is not None and wanted.kind in WORKLOADS and facts.target.name == wanted.name:
        advice = f"; the incident's owner is {facts.target}: write resource: {facts.target.kind.lower()}"
    raise PlanError(f"there is no {wanted}{advice}")


def ref_of(item: KubeObject) -> ObjectRef:
    """A reference to a live object, uid included."""
    meta: Mapping[str, Any] = item.get("metadata", {})
    return ObjectRef(
        kind=item.get("kind", ""),
        name=meta.get("name", ""),
        namespace=meta.get("namespace", ""),
        uid=meta.get("uid", ""),
        api_version=item.get("apiVersion", ""),
    )
