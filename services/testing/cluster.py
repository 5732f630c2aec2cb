"""An API server in memory: versions, generations, patches, dry runs, selectors, evictions with budgets."""

from __future__ import annotations

import copy
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from executor.errors import Blocked, Conflict, Invalid, NotFound, Owned
from executor.model import ObjectRef
from executor.ports import ExecResult, KubeObject, PatchKind
from services.kubernetes.kinds import Resource
from services.testing.cluster_rules import (
    all_well,
    bare,
    fields_match,
    fill_in,
    has,
    owned_by,
    patched,
    refuse_nonsense,
    selected,
)
from services.testing.controllers import Health, settle
from services.testing.kinds import SERVED
from services.testing.merging import strategic

Item = dict[str, Any]
Program = Callable[[list[str]], ExecResult]
_SERVER_OWNED = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "deletionTimestamp")


@dataclass(slots=True)
class Call:
    """One request that the server got."""

    verb: str
    ref: str
    dry_run: bool = False
    body: Any = field(default=None, repr=False)


@dataclass(slots=True)
class _Failure:
    verb: str
    error: Exception
    kind: str
    left: int
    after: bool


class MemoryCluster:
    """Implements ``executor.ports.Cluster`` and ``matcher.ports.LiveObjects``.

    Attributes:
        calls: every request, in order.
        health: decides whether a pod gets ready; replace it to let pods fail.
        frozen: controllers do nothing while it is set.
        stuck_pods: deleted pods stay with a deletion time, as on a node whose kubelet is dead.
        owners: other managers of objects, by kind and name; an apply without force is refused for them.
        programs: what a program in a container does; replace it to let some run.
        written: logs, by container and whether it is the run before the present one.
        epoch: when objects are made, counted on by a second each.
        denied: rights that we do not have, as ``verb subresource``.
    """

    def __init__(self, *, nodes: int = 2) -> None:
        self._items: dict[tuple[str, str, str], Item] = {}
        self._version = 1000
        self._made = 0
        self._failures: deque[_Failure] = deque()
        self.calls: list[Call] = []
        self.health: Health = all_well
        self.frozen = False
        self.stuck_pods = False
        self.owners: dict[tuple[str, str], str] = {}
        self.programs: Program = _no_such_program
        self.written: dict[tuple[str, bool], str] = {}
        self.epoch = datetime(2026, 1, 1, tzinfo=UTC)
        self.denied: set[str] = set()
        for at in range(nodes):
            ready = {"conditions": [{"type": "Ready", "status": "True"}]}
            name = f"node-{at + 1}"
            self.insert({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}, "status": ready})

    # For the trial: seeding, looking, failing.

    def add(self, body: Mapping[str, Any]) -> Item:
        """Put an object in, as somebody else would have; controllers react."""
        made = self.insert(body)
        self._settle()
        return copy.deepcopy(made)

    def change(self, kind: str, name: str, namespace: str, patch: Mapping[str, Any]) -> Item:
        """Change an object as somebody else would; controllers react."""
        item = self._items[self._key(kind, name, namespace)]
        self._store(item, strategic(item, patch))
        self._settle()
        return self.look(kind, name, namespace) or {}

    def look(self, kind: str, name: str, namespace: str = "") -> Item | None:
        """Look at an object without a request."""
        return copy.deepcopy(self._items.get(self._key(kind, name, namespace)))

    def fail(self, verb: str, error: Exception, *, kind: str = "", times: int = 1, after: bool = False) -> None:
        """Let coming requests fail: ``after`` does what was asked and loses the answer. Dry runs do not count."""
        self._failures.append(_Failure(verb, error, kind, times, after))

    def count(self, verb: str) -> int:
        """How many requests of a verb came, dry runs left out."""
        return sum(call.verb == verb and not call.dry_run for call in self.calls)

    # The store, as the controllers see it.

    def items(self, kind: str, namespace: str | None = None) -> list[Item]:
        """Stored objects of a kind."""
        return [
            item
            for (known, place, _), item in sorted(self._items.items())
            if known == kind and namespace in (None, place)
        ]

    def insert(self, body: Mapping[str, Any]) -> Item:
        """Store a new object."""
        item = copy.deepcopy(dict(body))
        resource = self._resource(item["kind"], item.get("apiVersion", ""))
        meta = item.setdefault("metadata", {})
        self._made += 1
        if "generateName" in meta:
            meta["name"] = f"{meta.pop('generateName')}{self._made:05x}"
        meta["uid"] = str(uuid.uuid4())
        meta["generation"] = 1
        made_at = self.epoch + timedelta(seconds=self._made)
        meta["creationTimestamp"] = made_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        item.setdefault("apiVersion", resource.api_version)
        fill_in(item)
        self.touch(item)
        self._items[self._key(item["kind"], meta["name"], meta.get("namespace", ""))] = item
        return item

    def remove(self, item: Item) -> None:
        """Take an object out."""
        meta = item["metadata"]
        if item["kind"] == "Pod" and self.stuck_pods:
            meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self.touch(item)
            return
        self._items.pop(self._key(item["kind"], meta["name"], meta.get("namespace", "")), None)
        for owned in [other for other in self._items.values() if owned_by(other, meta["uid"])]:
            self.remove(owned)

    def touch(self, item: Item) -> None:
        """Give an object a new version."""
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)

    # The port.

    async def get(self, kind: str, name: str, namespace: str = "") -> KubeObject | None:
        """One object, or None."""
        resource = self._resource(kind)
        resource.path(namespace, name)
        self._called("get", f"{resource.kind}/{namespace}/{name}")
        return self.look(resource.kind, name, namespace)

    async def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[KubeObject]:
        """Objects of a kind."""
        resource = self._resource(kind)
        self._called("list", f"{resource.kind}/{namespace}")
        found = self.items(resource.kind, namespace or None)
        return [copy.deepcopy(item) for item in found if selected(item, labels) and fields_match(item, fields)]

    async def patch(
        self,
        ref: ObjectRef,
        body: Any,
        *,
        how: PatchKind,
        subresource: str = "",
        dry_run: bool = False,
        force: bool = False,
        manager: str = "",
    ) -> KubeObject:
        """Patch; the controllers react."""
        lost = self._called("patch", str(ref), dry_run=dry_run, body=body)
        item = self._items.get(self._ref_key(ref))
        if item is None and how == "apply":
            return await self.create(body, dry_run=dry_run)
        if item is None:
            raise NotFound(f"{ref} not found")
        owner = self.owners.get((ref.kind, ref.name))
        if how == "apply" and owner and not force:
            raise Owned(f'{ref}: conflict with "{owner}"')
        changed = self._checked(item, patched(item, body, how, ref))
        if not dry_run:
            changed = copy.deepcopy(self._store(item, changed))
            self._settle()
        return self._answer(changed, lost)

    async def replace(self, ref: ObjectRef, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Replace; the controllers react."""
        lost = self._called("replace", str(ref), dry_run=dry_run, body=body)
        item = self._items.get(self._ref_key(ref))
        if item is None:
            raise NotFound(f"{ref} not found")
        changed = self._checked(item, dict(body))
        if not dry_run:
            changed = copy.deepcopy(self._store(item, changed))
            self._settle()
        return self._answer(changed, lost)

    async def create(self, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Create; the controllers react."""
        meta = body["metadata"]
        lost = self._called("create", f"{body['kind']}/{meta.get('name')}", dry_run=dry_run, body=body)
        resource = self._resource(body["kind"], body.get("apiVersion", ""))
        resource.path(meta.get("namespace", ""), meta["name"])
        if self._key(body["kind"], meta["name"], meta.get("namespace", "")) in self._items:
            raise Conflict(f"{body['kind']} {meta['name']} already exists")
        refuse_nonsense(body)
        if dry_run:
            return copy.deepcopy(dict(body))
        made = copy.deepcopy(self.insert(body))
        self._settle()
        return self._answer(made, lost)

    async def delete(self, ref: ObjectRef, *, grace_seconds: int | None = None, dry_run: bool = False) -> None:
        """Delete; the controllers react."""
        lost = self._called("delete", str(ref), dry_run=dry_run)
        item = self._found(ref)
        if not dry_run:
            self.remove(item)
            self._settle()
        self._answer({}, lost)

    async def evict(self, ref: ObjectRef, *, grace_seconds: int | None = None, dry_run: bool = False) -> None:
        """Evict, unless a budget forbids it."""
        lost = self._called("evict", str(ref), dry_run=dry_run)
        item = self._found(ref)
        self._refuse_over_budget(item)
        if not dry_run:
            self.remove(item)
            self._settle()
        self._answer({}, lost)

    async def allowed(self, verb: str, ref: ObjectRef, subresource: str = "") -> bool:
        """Whether we have the right."""
        return f"{verb} {subresource}" not in self.denied

    async def exec(
        self, ref: ObjectRef, command: Sequence[str], *, container: str, timeout_seconds: float, limit: int
    ) -> ExecResult:
        """Run a program in a container."""
        lost = self._called("exec", str(ref), body=list(command))
        self._container(ref, container)
        made = self.programs(list(command))
        if lost is not None:
            raise lost
        cut = len(made.stdout) > limit or len(made.stderr) > limit
        return replace(made, stdout=made.stdout[:limit], stderr=made.stderr[:limit], truncated=cut)

    async def logs(
        self,
        ref: ObjectRef,
        *,
        container: str,
        limit: int,
        tail: int | None = None,
        since_seconds: int | None = None,
        previous: bool = False,
    ) -> str:
        """What a container wrote."""
        self._called("logs", str(ref))
        self._container(ref, container)
        lines = self.written.get((container, previous), "").splitlines(keepends=True)
        return "".join(lines if tail is None else lines[len(lines) - tail :])[-limit:]

    # Inside.

    def _container(self, ref: ObjectRef, name: str) -> None:
        pod = self._found(ref)
        if all(entry["name"] != name for entry in pod["spec"].get("containers") or ()):
            raise Invalid(f"container {name} is not valid for pod {ref.name}")

    def _settle(self) -> None:
        if not self.frozen:
            settle(self)

    def _called(self, verb: str, ref: str, *, dry_run: bool = False, body: Any = None) -> Exception | None:
        self.calls.append(Call(verb, ref, dry_run, copy.deepcopy(body)))
        for failure in self._failures:
            if failure.verb == verb and not dry_run and ref.startswith(failure.kind):
                failure.left -= 1
                if failure.left <= 0:
                    self._failures.remove(failure)
                if not failure.after:
                    raise failure.error
                return failure.error
        return None

    def _answer(self, item: Item, lost: Exception | None) -> Item:
        if lost is not None:
            raise lost
        return copy.deepcopy(item)

    def _resource(self, kind: str, api_version: str = "") -> Resource:
        found = SERVED.find(kind, api_version)
        if found is None:
            raise SERVED.unknown(kind, api_version)
        return found

    def _key(self, kind: str, name: str, namespace: str) -> tuple[str, str, str]:
        resource = self._resource(kind)
        return resource.kind, namespace if resource.namespaced else "", name

    def _ref_key(self, ref: ObjectRef) -> tuple[str, str, str]:
        return self._key(ref.kind, ref.name, ref.namespace)

    def _found(self, ref: ObjectRef) -> Item:
        item = self._items.get(self._ref_key(ref))
        if item is None:
            raise NotFound(f"{ref} not found")
        if ref.uid and item["metadata"]["uid"] != ref.uid:
            raise Conflict(f"{ref}: the uid in the precondition does not match")
        return item

    def _checked(self, item: Item, changed: Item) -> Item:
        """What the server would store, or its refusal."""
        meta, now = changed.get("metadata", {}), item["metadata"]
        for condition in ("uid", "resourceVersion"):
            if meta.get(condition) not in (None, now[condition]):
                raise Conflict(f"{now['name']}: {condition} does not match, the object was modified")
        refuse_nonsense(changed)
        if item["kind"] == "Deployment" and changed["spec"].get("selector") != item["spec"].get("selector"):
            raise Invalid("spec.selector: field is immutable")
        kept = {key: now[key] for key in _SERVER_OWNED if key in now}
        return {**changed, "metadata": {**meta, **kept}, "status": item.get("status", {})}

    def _store(self, item: Item, changed: Item) -> Item:
        before = copy.deepcopy(item)
        status = changed.get("status", item.get("status"))
        item.clear()
        item.update(copy.deepcopy(changed))
        if status:
            item["status"] = status
        if bare(before) == bare(item):
            return item
        if before.get("spec") != item.get("spec"):
            item["metadata"]["generation"] += 1
        self.touch(item)
        return item

    def _refuse_over_budget(self, pod: Item) -> None:
        namespace = pod["metadata"]["namespace"]
        for budget in self.items("PodDisruptionBudget", namespace):
            wanted = budget["spec"].get("selector", {}).get("matchLabels") or {}
            pods = [other for other in self.items("Pod", namespace) if has(other, wanted)]
            if not has(pod, wanted):
                continue
            least = budget["spec"].get("minAvailable")
            least = len(pods) - budget["spec"].get("maxUnavailable", 1) if least is None else least
            if sum(not self.health(other) for other in pods) - 1 < least:
                raise Blocked(f"cannot evict pod: the disruption budget {budget['metadata']['name']} needs {least}")


def _no_such_program(command: list[str]) -> ExecResult:
    raise Invalid(f"exec {command[0]}: no such file or directory")
