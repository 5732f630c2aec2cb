"""Reading what surrounds a plan: vetoes, owners in Git, disruption budgets, and whether the target looks unwell."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog

from executor.errors import Forbidden, Invalid
from executor.revalidation import unwell
from matcher.kinds import RUNBOOK
from matcher.ports import KubeObject, LiveObjects
from safety.disruption import ROLLING, budgets_for, lost, replicas_of, works
from safety.ownership import ARGO_CD, Owner, owner_of, self_heals
from safety.surroundings import Around, Budget, Disabled, Footprint, Managed, Write, veto
from services.kubernetes.recent import RecentLists

T = TypeVar("T")

_GENERATIONS = 3
"""How far owners are looked for above an object: a pod, its ReplicaSet, its Deployment, and what made that."""
_SECONDS = 5.0
_APPLICATIONS = "applications.argoproj.io"
_OWN_GROUPS = ("", "apps", "batch", "policy", "autoscaling")

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Objects:
    """The objects of a plan, as they are now.

    Attributes:
        seen: by resource; None for one that does not exist.
    """

    seen: dict[str, KubeObject | None] = field(default_factory=dict)

    def there(self) -> list[tuple[str, KubeObject]]:
        """Those that exist."""
        return [(name, item) for name, item in self.seen.items() if item is not None]


class LookAround:
    """Reads what surrounds plans.

    Args:
        live: the API server; its answers may be a moment old.
        calm: the same for what hardly changes (namespaces, nodes, owners); its answers may be older.
        lists: disruption budgets, autoscalers and applications.
        argo_labels: further labels that name an Argo CD application.
    """

    def __init__(
        self,
        live: LiveObjects,
        calm: LiveObjects | None = None,
        lists: RecentLists | None = None,
        *,
        argo_labels: Iterable[str] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._live = live
        self._calm = calm or live
        self._lists = lists or RecentLists(live)
        self._argo_labels = tuple(argo_labels)
        self._now = now

    async def around(self, footprint: Footprint) -> Around:
        """What surrounds a plan. What cannot be read is None, with the reason."""
        problems: dict[str, str] = {}
        objects = await self._known("disabled", self._objects(footprint), problems)
        if objects is None:
            why = problems["disabled"]
            return Around(problems=dict.fromkeys(("disabled", "gitops", "budgets", "workload"), why))
        disabled, managed, needs = await asyncio.gather(
            self._known("disabled", self._vetoes(footprint, objects), problems),
            self._known("gitops", self._managed(footprint, objects), problems),
            self._known("budgets", self._budgets(footprint, objects), problems),
        )
        if needs is None:
            problems["workload"] = problems["budgets"]
        budgets, share = needs or (None, None)
        target = objects.seen.get(footprint.target)
        return Around(
            disabled=disabled,
            managed=managed,
            budgets=budgets,
            workload_percent=share,
            unwell=unwell(target, self._now()) if target else "",
            problems=problems,
        )

    async def _known(self, part: str, answer: Awaitable[T], problems: dict[str, str]) -> T | None:
        try:
            async with asyncio.timeout(_SECONDS):
                return await answer
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being read, it is unknown and that is a no
            problems[part] = str(error) or f"no answer within {_SECONDS:g} s"
            log.info("around.unread", part=part, error=problems[part])
            return None

    async def _objects(self, footprint: Footprint) -> Objects:
        names = [name for name in dict.fromkeys([footprint.target, *footprint.resources]) if _is_object(name)]
        found = await asyncio.gather(*(self._get(self._live, name) for name in names))
        return Objects(dict(zip(names, found, strict=True)))

    @staticmethod
    async def _get(reader: LiveObjects, resource: str) -> KubeObject | None:
        kind, namespace, name = split(resource)
        return await reader.get(kind, name, namespace)

    # Vetoes

    async def _vetoes(self, footprint: Footprint, objects: Objects) -> tuple[Disabled, ...]:
        """Marks on the objects, what owns them, their namespaces, and the nodes of pods that are touched."""
        there = objects.there()
        owners = await asyncio.gather(*(self._owners(name, item) for name, item in there))
        around = dict.fromkeys(f"Node/{pod['spec']['nodeName']}" for _, pod in there if _on_node(pod))
        spaces = {split(name)[1] for name in (footprint.target, *footprint.resources)} | set(footprint.namespaces)
        around |= dict.fromkeys(f"Namespace/{space}" for space in sorted(filter(None, spaces)))
        found = await asyncio.gather(*(self._get(self._calm, name) for name in around))
        beside = [(name, item) for name, item in zip(around, found, strict=True) if item is not None]
        everything = dict([*there, *(pair for above in owners for pair in above), *beside])
        marks = (veto(name, item.get("metadata") or {}) for name, item in everything.items())
        return tuple(mark for mark in marks if mark is not None)

    async def _owners(self, resource: str, item: KubeObject) -> list[tuple[str, KubeObject]]:
        """What owns an object, and what owns that.

        A custom resource that we may not read is passed over: whoever owns it can put the mark on the workload.
        """
        found: list[tuple[str, KubeObject]] = []
        for _ in range(_GENERATIONS):
            reference = _controller(item)
            if reference is None:
                break
            group = str(reference.get("apiVersion", "")).rpartition("/")[0]
            own = group in _OWN_GROUPS
            kind = str(reference["kind"]) if own else f"{reference['kind']}.{group}"
            namespace = split(resource)[1] if reference["kind"] != "Node" else ""
            try:
                above = await self._calm.get(kind, str(reference["name"]), namespace)
            except (Forbidden, Invalid):
                if own:
                    raise
                break
            if above is None or above["metadata"].get("uid") != reference.get("uid"):
                break
            item = above
            found.append(("/".join(filter(None, (str(reference["kind"]), namespace, str(reference["name"])))), item))
        return found

    # Owners in Git

    async def _managed(self, footprint: Footprint, objects: Objects) -> tuple[Managed, ...]:
        found: list[Managed] = []
        for write in footprint.writes:
            item = objects.seen.get(write.resource)
            if item is None or not write.declared:
                continue
            owner = owner_of(item.get("metadata") or {}, self._argo_labels)
            if owner is None or (write.only_replicas and await self._scaled_by_another(write)):
                continue
            reverted = await self._self_heals(owner) if owner.reverts is None else owner.reverts
            found.append(Managed(write.resource, owner.tool, owner.name, reverted, write.patch))
        return tuple(found)

    async def _scaled_by_another(self, write: Write) -> bool:
        """Whether an autoscaler sets the replicas: then no manifest does."""
        kind, namespace, name = split(write.resource)
        scalers = await self._lists.list("HorizontalPodAutoscaler", namespace)
        wanted = [(one.get("spec") or {}).get("scaleTargetRef") or {} for one in scalers]
        return any((ref.get("kind"), ref.get("name")) == (kind, name) for ref in wanted)

    async def _self_heals(self, owner: Owner) -> bool:
        """Whether the application puts changes back; one that cannot be found or read does."""
        if owner.tool != ARGO_CD:
            return True
        name = owner.name.rpartition("_")[2] or owner.name  # the name may come with its namespace before it
        try:
            found = await self._lists.list(_APPLICATIONS, fields=f"metadata.name={name}")
        except (Forbidden, Invalid) as error:
            log.info("around.application", application=owner.name, error=str(error))
            return True
        return not found or any(self_heals(application) for application in found)

    # Disruption budgets

    async def _budgets(self, footprint: Footprint, objects: Objects) -> tuple[tuple[Budget, ...], float]:
        """The budgets that the plan needs, and the largest share of a workload that is down at once in percent."""
        disrupting = [write for write in footprint.writes if write.disrupts and objects.seen.get(write.resource)]
        if not disrupting:
            return (), 0.0
        workloads: dict[str, int] = {}
        pods: list[KubeObject] = []
        evicted: list[KubeObject] = []
        for write in disrupting:
            item = objects.seen[write.resource]
            if item is None:
                continue
            if split(write.resource)[0] in ROLLING:
                # Steps of one plan come one after the other: the worst of them counts.
                workloads[write.resource] = max(workloads.get(write.resource, 0), lost(write, item))
            elif split(write.resource)[0] == "Pod":
                (evicted if write.verb == "evict" else pods).append(item)
        ended = [pod for pod in pods if works(pod)]
        taken = [(_namespace(objects.seen[name]), _pod_labels(objects.seen[name]), n) for name, n in workloads.items()]
        taken += [(_namespace(pod), pod["metadata"].get("labels") or {}, 1) for pod in ended]
        spaces = {space for space, _, count in taken if count} | {_namespace(pod) for pod in evicted if works(pod)}
        listed = await asyncio.gather(*(self._lists.list("PodDisruptionBudget", one) for one in sorted(spaces)))
        budgets = budgets_for([one for found in listed for one in found], taken, evicted)
        return budgets, await self._share(workloads, ended, objects)

    async def _share(self, workloads: Mapping[str, int], ended: Sequence[KubeObject], objects: Objects) -> float:
        shares = [
            100 * count / max(1, replicas_of(item))
            for name, count in workloads.items()
            if (item := objects.seen[name]) is not None
        ]
        siblings: dict[str, int] = {}
        wanted: dict[str, int] = {}
        for pod in ended:
            name = f"Pod/{_namespace(pod)}/{pod['metadata']['name']}"
            above = [one for one in await self._owners(name, pod) if split(one[0])[0] in ROLLING]
            key, owner = above[-1] if above else (name, None)
            siblings[key] = siblings.get(key, 0) + 1
            wanted[key] = replicas_of(owner) if owner else 1
        shares += [100 * count / max(1, wanted[key]) for key, count in siblings.items()]
        return max(shares, default=0.0)


def split(resource: str) -> tuple[str, str, str]:
    """Kind, namespace and name of a resource as ``Plan.touched`` writes it; no namespace for cluster-scoped ones."""
    parts = resource.split("/")
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else (parts[0], "", parts[-1])  # noqa: PLR2004 - kind/ns/name


def _is_object(resource: str) -> bool:
    kind, _, name = split(resource)
    return bool(name) and kind != RUNBOOK


def _on_node(item: KubeObject) -> bool:
    return item.get("kind") == "Pod" and bool((item.get("spec") or {}).get("nodeName"))


def _controller(item: KubeObject) -> Mapping[str, Any] | None:
    owners = (item.get("metadata") or {}).get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def _namespace(item: KubeObject | None) -> str:
    return str(((item or {}).get("metadata") or {}).get("namespace", ""))


def _pod_labels(workload: KubeObject | None) -> Mapping[str, str]:
    template = ((workload or {}).get("spec") or {}).get("template") or {}
    return (template.get("metadata") or {}).get("labels") or {}
