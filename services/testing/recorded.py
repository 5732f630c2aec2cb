"""What was recorded of the world around one incident, as ports that answer from it and never guess.

A plan keeps the body (spec, data) of each object that it changes, and what its reads gave; the journal adds labels and
annotations. Nothing else of the cluster is on record: a question about anything else is ``NotRecorded``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NoReturn

from executor.actions.base import Action, ActionTable, Planned, TargetFacts, World
from executor.actions.naming import aim
from executor.errors import PlanError, RemediationError
from executor.model import Change, ObjectRef
from executor.ports import ExecResult, KubeObject, PatchKind
from services.masking import MASK
from services.testing.merging import STRATEGIC_GROUPS, patched
from services.testing.wrapping import Wrapped

Json = Mapping[str, Any]


class NotRecorded(RemediationError):
    """It was not recorded, so nobody can say."""


class Unrecorded(Mapping[str, Any]):
    """A part of an object that was not recorded: whoever looks into it hears so."""

    def __init__(self, what: str) -> None:
        self._what = what

    def _no(self) -> NoReturn:
        raise NotRecorded(f"{self._what} was not recorded")

    def __getitem__(self, key: str) -> Any:
        self._no()

    def __iter__(self) -> Iterator[str]:
        self._no()

    def __len__(self) -> int:  # noqa: PLE0303 - it never returns
        self._no()


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as far as it was recorded.

    Attributes:
        body: spec, data and the like; no envelope.
        labels, annotations: None where they were not recorded.
    """

    ref: ObjectRef
    body: Json
    labels: Json | None = None
    annotations: Json | None = None
    whole: KubeObject | None = None

    def item(self) -> KubeObject:
        """As the API server would give it; what is not known is ``Unrecorded``."""
        if self.whole is not None:
            return self.whole
        known = {"labels": self.labels, "annotations": self.annotations}
        meta = {
            "name": self.ref.name,
            "namespace": self.ref.namespace,
            "uid": self.ref.uid,
            "resourceVersion": "",
            **{key: dict(value) for key, value in known.items() if value is not None},
        }
        # A change is found by comparing before and after: labels and annotations that neither side has do no harm.
        # Whoever would change them is refused in `RecordedCluster.patch`.
        return {
            "apiVersion": self.ref.api_version,
            "kind": self.ref.kind,
            "metadata": meta,
            "status": Unrecorded(f"the status of {self.ref}"),
            **self.body,
        }


class RecordedCluster:
    """Implements ``executor.ports.Cluster`` for planning: reads and dry runs on what was recorded."""

    def __init__(self, objects: Mapping[tuple[str, str, str], Seen]) -> None:
        self._objects = objects

    def seen(self, kind: str, name: str, namespace: str = "") -> Seen:
        """What is known of an object."""
        found = self._objects.get((kind, namespace, name)) or self._objects.get((kind, "", name))
        if found is None:
            raise NotRecorded(f"{kind}/{namespace + '/' if namespace else ''}{name} was not recorded")
        return found

    async def get(self, kind: str, name: str, namespace: str = "") -> KubeObject | None:
        """The object as far as it is known."""
        return self.seen(kind, name, namespace).item()

    async def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[KubeObject]:
        """Lists were not recorded: that something was not among them is not known."""
        raise NotRecorded(f"which objects of kind {kind} there were was not recorded")

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
        """What a patch would give; only asked for while planning."""
        known = self.seen(ref.kind, ref.name, ref.namespace)
        if not dry_run:
            raise NotRecorded("nothing is written in a replay")
        group = known.ref.api_version.rpartition("/")[0]
        if how == "apply" or (how == "strategic" and group not in STRATEGIC_GROUPS):
            raise NotRecorded(f"what the API server makes of this {how} patch of {ref} was not recorded")
        self._refuse_unknown(known, body, how)
        return patched(known.item(), body, how)

    @staticmethod
    def _refuse_unknown(known: Seen, body: Any, how: str) -> None:
        if known.whole is not None:
            return
        for part in _touched_metadata(body, how):
            if part not in ("labels", "annotations") or getattr(known, part) is None:
                raise NotRecorded(f"metadata.{part} of {known.ref} was not recorded")

    async def replace(self, ref: ObjectRef, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Not known what the server would say."""
        raise NotRecorded(f"what the API server makes of a replaced {ref} was not recorded")

    async def create(self, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Not known what the server would say."""
        raise NotRecorded(f"what the API server makes of a new {body.get('kind')} was not recorded")

    async def delete(self, ref: ObjectRef, *, grace_seconds: int | None = None, dry_run: bool = False) -> None:
        """Not known what the server would say."""
        raise NotRecorded(f"whether {ref} could be deleted was not recorded")

    async def evict(self, ref: ObjectRef, *, grace_seconds: int | None = None, dry_run: bool = False) -> None:
        """Not known what the server would say."""
        raise NotRecorded(f"whether {ref} could be evicted was not recorded")

    async def allowed(self, verb: str, ref: ObjectRef, subresource: str = "") -> bool:
        """Not known."""
        raise NotRecorded(f"whether it was allowed to {verb} {ref} was not recorded")

    async def exec(
        self, ref: ObjectRef, command: Sequence[str], *, container: str, timeout_seconds: float, limit: int
    ) -> ExecResult:
        """Not known."""
        raise NotRecorded(f"what '{' '.join(command)}' gives in {ref} was not recorded")

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
        """Not known."""
        raise NotRecorded(f"the log of {ref} was not recorded")


def _touched_metadata(body: Any, how: str) -> list[str]:
    if how == "json":
        paths = [str(entry.get("path", "")).strip("/").split("/") for entry in body if isinstance(entry, Mapping)]
        return [path[1] for path in paths if path[0] == "metadata" and len(path) > 1]
    return list(body.get("metadata") or {}) if isinstance(body, Mapping) else []


class Silent:
    """Stands for every port that a replay must not ask, whichever methods it has."""

    def __init__(self, name: str = "") -> None:
        self._name = name

    def __getattr__(self, name: str) -> Silent:
        return Silent(f"{self._name}.{name}" if self._name else name)

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Refuse to answer."""
        raise NotRecorded(f"what '{self._name}' would have been answered was not recorded")


_PLAIN = frozenset({"exec_rules", "http_base"})
"""Values of a world that are no ports."""


def silent_world(**ports: Any) -> World:
    """A world in which only these ports answer."""
    silent: dict[str, Any] = {one.name: Silent(one.name) for one in fields(World) if one.name not in _PLAIN}
    return World(**{**silent, **ports})


class HiddenSecrets:
    """Implements ``executor.ports.Secrets``: no value is ever recorded, so each is the mask that stands for it."""

    async def get(self, name: str) -> str:
        """The mask."""
        return MASK

    def forget(self, names: Collection[str]) -> None:
        """Nothing is kept."""


class RecordedClock:
    """Implements ``executor.ports.Clock``: it stands at a recorded moment."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self) -> datetime:
        """The recorded moment."""
        return self._moment

    def monotonic(self) -> float:
        """Its seconds since 1970."""
        return self._moment.timestamp()

    async def sleep(self, seconds: float) -> None:
        """No time passes."""


def recorded_world(facts: Facts, moment: datetime) -> World:
    """The ports as they answer from what was recorded; every other one says that it was not."""
    return silent_world(cluster=RecordedCluster(facts.objects), clock=RecordedClock(moment))


@dataclass(frozen=True, slots=True)
class Facts:
    """What was recorded around one incident.

    Attributes:
        objects: by kind, namespace and name.
        steps: of the recorded plan, as JSON.
        reasons: why its actions wanted a human. Which of them did was not recorded, so each that is taken over does.
    """

    objects: Mapping[tuple[str, str, str], Seen]
    steps: Sequence[Json]
    reasons: tuple[str, ...] = ()


NOTHING = Facts({}, ())


def facts_of(execution: Json | None) -> Facts:
    """What an exported execution says of the world before it changed anything."""
    if execution is None:
        return NOTHING
    plan = execution["plan"]
    objects: dict[tuple[str, str, str], Seen] = {}
    for step in leaves((*plan["steps"], *plan.get("rollback", ()))):
        for change in step.get("changes") or ():
            _keep(objects, _changed(change))
        if step["action"] == "kubectl_get" and step.get("planned") and not step["params"].get("field"):
            _keep(objects, _read(step.get("result")))
    for run in execution.get("steps") or ():
        _add_prior(objects, run.get("before") or {})
    reasons = (reason for reason in plan["approval_reasons"] if not reason.startswith(_MADE_AGAIN))
    return Facts(objects, tuple(leaves(plan["steps"])), tuple(reasons))


_MADE_AGAIN = ("the runbook", "step ", "rollback step ", "procedure ")
"""How reasons begin that follow from the runbook and the changes: planning finds them by itself."""


def leaves(steps: Sequence[Json]) -> Iterator[Json]:
    """The steps of a recorded plan; of one that repeats, the step of each item."""
    for step in steps:
        yield from step.get("each") or (step,)


def _keep(objects: dict[tuple[str, str, str], Seen], seen: Seen | None) -> None:
    """The first look counts: a later one may see what an earlier step changed."""
    if seen is not None:
        objects.setdefault((seen.ref.kind, seen.ref.namespace, seen.ref.name), seen)


def _changed(change: Json) -> Seen | None:
    before, ref = change.get("before"), change.get("ref")
    if not before or not ref or "body" not in before:
        return None
    return Seen(ObjectRef.model_construct(**{"namespace": "", "uid": "", "api_version": "", **ref}), before["body"])


def _read(item: Any) -> Seen | None:
    if not isinstance(item, Mapping) or "kind" not in item or item["kind"] == "Secret":
        return None
    meta = item.get("metadata", {})
    ref = ObjectRef(
        kind=item["kind"],
        name=meta.get("name", ""),
        namespace=meta.get("namespace", ""),
        uid=meta.get("uid", ""),
        api_version=item.get("apiVersion", ""),
    )
    return Seen(ref, {}, whole=item)


def _add_prior(objects: dict[tuple[str, str, str], Seen], before: Json) -> None:
    """Labels and annotations, which only the journal keeps."""
    ref, prior = before.get("ref"), before.get("before")
    if not isinstance(ref, Mapping) or not isinstance(prior, Mapping) or "labels" not in prior:
        return
    key = (ref["kind"], ref.get("namespace", ""), ref["name"])
    known = objects.get(key)
    if known is not None and known.whole is None and known.labels is None:
        objects[key] = Seen(known.ref, known.body, prior["labels"], prior.get("annotations") or {})


class FromRecord(Wrapped):
    """An action that plans from what was recorded.

    The same action with the same parameters found then what it would find in the replay, so the recorded step is the
    answer. Otherwise it is planned anew, on what is on record.
    """

    def __init__(self, inner: Action[Any], facts: Facts) -> None:
        super().__init__(inner)
        self._facts = facts

    async def plan(self, params: Any, facts: TargetFacts, world: World) -> Planned:
        """The recorded answer, or a new one from what is on record."""
        given = params.model_dump(mode="json", exclude_none=True)
        if recorded := self._recorded(given, facts):
            return recorded
        if self.name == "kubectl_get":
            _refuse_unknown_field(given, facts, world)
        return await self._inner.plan(params, facts, world)

    def _recorded(self, given: Mapping[str, Any], facts: TargetFacts) -> Planned | None:
        forms = (given, _aimed(given, facts), *_placed(given, facts))
        for step in self._facts.steps:
            if step["action"] == self.name and not step.get("deferred") and step["params"] in forms:
                if step["access"] == "read" and not step.get("planned"):
                    continue  # it was only read later, in a changed world
                if step["access"] == "none" and step.get("planned"):
                    continue  # a calculation is done again
                changes = tuple(Change.model_construct(**_change(change)) for change in step.get("changes") or ())
                reasons = self._facts.reasons if step["access"] == "write" else ()
                return Planned(step["params"], changes, step.get("result"), reasons)
        return None


def _change(change: Json) -> dict[str, Any]:
    ref = change.get("ref")
    whole = {"namespace": "", "uid": "", "api_version": "", **ref} if ref else None
    told = {"before": None, "undo": "", "irreversible": False, **change}
    return {**told, "ref": ObjectRef.model_construct(**whole) if whole else None}


def _aimed(given: Mapping[str, Any], facts: TargetFacts) -> Mapping[str, Any]:
    """The parameters with object, name and namespace as planning fills them in."""
    if not isinstance(given.get("resource"), str):
        return given
    try:
        found = aim(given["resource"], given.get("name"), given.get("namespace"), facts)
    except PlanError:
        return given
    return {**given, "resource": found.kind, "name": found.name, "namespace": found.namespace}


def _placed(given: Mapping[str, Any], facts: TargetFacts) -> Iterator[Mapping[str, Any]]:
    """Manifests with their namespace as planning fills it in, and with the fields of others taken over or not."""
    manifests = given.get("manifest")
    if not isinstance(manifests, list):
        return
    namespace = given.get("namespace") or facts.namespace
    placed = [{**one, "metadata": {"namespace": namespace, **one.get("metadata", {})}} for one in manifests]
    for force in (False, True):
        yield {**given, "manifest": placed, "force": force}


def _refuse_unknown_field(given: Mapping[str, Any], facts: TargetFacts, world: World) -> None:
    """A field of an object that is known in parts must be in one of those parts."""
    found = aim(given["resource"], given.get("name"), given.get("namespace"), facts)
    cluster = world.cluster
    if not isinstance(cluster, RecordedCluster):
        return
    known = cluster.seen(found.kind, found.name, found.namespace)
    field = str(given.get("field") or "").strip().removeprefix("{").lstrip("$.")
    root = field.partition(".")[0].partition("[")[0]
    if known.whole is None and root not in known.body:
        raise NotRecorded(f"{field or 'the whole object'} of {known.ref} was not recorded")


class FromRecords(Mapping[str, Action[Any]]):
    """An action table that plans from what was recorded."""

    def __init__(self, actions: ActionTable, facts: Facts) -> None:
        self._actions = actions
        self._facts = facts
        self._made: dict[str, FromRecord] = {}

    def __getitem__(self, name: str) -> Action[Any]:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = FromRecord(self._actions[name], self._facts)
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._actions)

    def __len__(self) -> int:
        return len(self._actions)
