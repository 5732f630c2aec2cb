"""A tiny world with counting actions: values by name that steps set, and a workload that is well when a value is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fakes.journal import Crashes, MemoryJournal
from fakes.memory_approvals import MemoryApprovalStore

from executor.actions.base import Action, Found, Params, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.engine import ManualApproval, RunRunbook
from executor.errors import Drifted, Invalid, LeaseLost, NotConfigured, Paused, PlanError, StepFailed, Unavailable
from executor.model import Access, Change, ExecutionRecord, ObjectRef, Plan, PlannedStep, Status
from executor.ports import KubeObject
from executor.runner import Executor
from executor.settings import ExecutorSettings
from matcher.model import Cause, Incident, Match, Origin, Signal, SignalStatus, Subject, Target
from runbooks.model import LoadedRunbook, Runbook
from safety._seal import SEAL
from safety.model import Permit

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAMESPACE = "shop"


class VirtualClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.on_sleep: list[Any] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds
        for hook in self.on_sleep:
            hook()
        await asyncio.sleep(0)


class TinyCluster:
    """Objects that tests put there. ``broken`` makes every read fail."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.broken = False
        self.before_read: list[Any] = []

    def put(self, item: dict[str, Any]) -> None:
        meta = item["metadata"]
        self.objects[item["kind"], meta.get("namespace", ""), meta["name"]] = item

    async def get(self, kind: str, name: str, namespace: str = "") -> KubeObject | None:
        self._read()
        return self.objects.get((kind, namespace, name))

    async def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[KubeObject]:
        self._read()
        wanted = dict(part.split("=") for part in labels.split(",") if part)
        node = fields.removeprefix("spec.nodeName=") if fields else None
        return [
            item
            for (its_kind, its_namespace, _), item in self.objects.items()
            if its_kind == kind
            and namespace in ("", its_namespace)
            and wanted.items() <= item["metadata"].get("labels", {}).items()
            and (node is None or item.get("spec", {}).get("nodeName") == node)
        ]

    async def delete(self, ref: ObjectRef, *, grace_seconds: int | None = None, dry_run: bool = False) -> None:
        del self.objects[ref.kind, ref.namespace, ref.name]

    def _read(self) -> None:
        for hook in self.before_read:
            hook()
        if self.broken:
            raise Unavailable("the API server is away")


class RecordingHooks:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, name: str, **facts: Any) -> None:
        self.events.append((name, facts))

    def named(self, name: str) -> list[dict[str, Any]]:
        return [facts for event, facts in self.events if event == name]


class RecordingChat:
    def __init__(self) -> None:
        self.posted: list[tuple[str, str]] = []
        self.configured = True
        self.broken = False

    async def post(self, channel: str, text: str) -> str:
        if not self.configured:
            raise NotConfigured
        if self.broken:
            raise RuntimeError("chat exploded")
        self.posted.append((channel, text))
        return str(len(self.posted))


class SwitchGuard:
    """Pause switch and lease of one process."""

    def __init__(self) -> None:
        self.paused = ""
        self.lost = False
        self.asked = 0

    async def check(self, execution_id: str, target_key: str, epoch: int) -> None:
        self.asked += 1
        if self.lost:
            raise LeaseLost
        if self.paused:
            raise Paused(self.paused)


class ListedSignals:
    """Signals with their times."""

    def __init__(self) -> None:
        self.lines: list[tuple[datetime, str]] = []

    async def since(
        self, tenant: str, target_key: str, subjects: Sequence[ObjectRef], moment: datetime
    ) -> Sequence[str]:
        return [line for at, line in self.lines if at > moment]


class NoPort:
    """A port that these actions never use."""


@dataclass
class Tiny:
    """The world that the actions change.

    Attributes:
        values: by name; ``stamps`` says who wrote each.
        effects: every side effect in order: exactly-once is counted here.
    """

    crashes: Crashes = field(default_factory=Crashes)
    values: dict[str, Any] = field(default_factory=lambda: {"memory": "256Mi"})
    stamps: dict[str, tuple[str, str]] = field(default_factory=dict)
    effects: list[str] = field(default_factory=list)
    refuse_dry_run: str = ""
    saved_too: dict[str, Any] = field(default_factory=dict)
    performing: Any = None

    def effect(self, what: str) -> None:
        """A side effect, with the moments around it at which a process can die."""
        self.crashes.reach(f"before effect {what}")
        self.effects.append(what)

    def effected(self, what: str) -> None:
        self.crashes.reach(f"after effect {what}")


class SetParams(Params):
    name: str
    value: Any
    namespace: str = NAMESPACE
    fail: str = ""
    irreversible: bool = False


class SetValue(Action[SetParams]):
    """Sets a value; conditional on what was planned, stamped, and undone to what was saved."""

    name = "set"
    aliases = ("assign",)
    access = Access.WRITE
    idempotent = False
    params_model = SetParams

    def __init__(self, tiny: Tiny) -> None:
        self.tiny = tiny
        self.failures = 0

    async def plan(self, params: SetParams, facts: TargetFacts, world: World) -> Planned:
        old = self.tiny.values.get(params.name)
        if params.fail == "plan":
            raise PlanError("unsuitable")
        change = Change(
            ref=ObjectRef(kind="Value", name=params.name, namespace=params.namespace),
            verb="patch",
            summary=f"{params.name}: {old} -> {params.value}",
            before={"value": old},
            undo="" if params.irreversible else "set it back",
            irreversible=params.irreversible,
        )
        return Planned(params.model_dump(), (change,))

    async def dry_run(self, step: PlannedStep, world: World) -> None:
        if self.tiny.refuse_dry_run:
            raise Invalid(self.tiny.refuse_dry_run)

    async def prepare(self, step: PlannedStep, stamp: Stamp, world: World) -> Mapping[str, Any]:
        if step.params["fail"] == "temporary" and self.failures < 2:
            self.failures += 1
            raise Unavailable("try again")
        name, before = step.params["name"], step.changes[0].before or {}
        if self.tiny.values.get(name) != before["value"]:
            raise Drifted(f"{name} is {self.tiny.values.get(name)}")
        return {"value": self.tiny.values.get(name), **self.tiny.saved_too}

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        name, value = step.params["name"], step.params["value"]
        if step.params["fail"] == "permanent":
            raise StepFailed("it did not work")
        if step.params["fail"] == "bug":
            raise KeyError("oops")
        if step.params["fail"] == "hang":
            await asyncio.sleep(60)
        if self.tiny.performing is not None:
            await self.tiny.performing()
        self.tiny.effect(f"set {name}={value}")
        self.tiny.values[name] = value
        self.tiny.stamps[name] = (stamp.execution, stamp.step)
        self.tiny.effected(f"set {name}={value}")
        return {"value": value}

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        done = self.tiny.stamps.get(step.params["name"]) == (stamp.execution, stamp.step)
        return Recovery(Found.DONE if done else Found.NOT_DONE, {"value": step.params["value"]} if done else None)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        name = step.params["name"]
        if step.params["fail"] == "undo":
            raise Drifted("somebody else changed it")
        if self.tiny.stamps.get(name) != (stamp.execution, stamp.step):
            return "nothing to undo"
        self.tiny.effect(f"undo {name}={saved['value']}")
        self.tiny.values[name] = saved["value"]
        del self.tiny.stamps[name]
        self.tiny.effected(f"undo {name}={saved['value']}")
        return f"{name} is {saved['value']} again"


class NameParams(Params):
    name: str = "memory"
    fail: str = ""


class Look(Action[NameParams]):
    """Reads a value."""

    name = "look"
    params_model = NameParams

    def __init__(self, tiny: Tiny) -> None:
        self.tiny = tiny
        self.looks = 0

    async def plan(self, params: NameParams, facts: TargetFacts, world: World) -> Planned:
        self.looks += 1
        if params.name not in self.tiny.values:
            raise PlanError(f"there is no value {params.name}")
        return Planned(params.model_dump(), result=self.tiny.values[params.name])


class Settle(Action[NameParams]):
    """Waits: planning gives no result, so it runs in its turn."""

    name = "settle"
    access = Access.NONE
    params_model = NameParams

    def __init__(self, tiny: Tiny) -> None:
        self.tiny = tiny
        self.waits = 0

    async def plan(self, params: NameParams, facts: TargetFacts, world: World) -> Planned:
        return Planned(params.model_dump())

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        self.waits += 1
        await world.clock.sleep(1)
        return {"waited": True}


class TextParams(Params):
    text: str


class Calc(Action[TextParams]):
    """Gives back what the template calculated."""

    name = "calculate"
    access = Access.NONE
    params_model = TextParams

    async def plan(self, params: TextParams, facts: TargetFacts, world: World) -> Planned:
        return Planned(params.model_dump(), result=params.text)


class FireParams(Params):
    what: str
    undoable: bool = False


class Fire(Action[FireParams]):
    """A call to a server that can be neither asked nor, unless declared so, repeated."""

    name = "fire"
    access = Access.WRITE
    idempotent = False
    params_model = FireParams

    def __init__(self, tiny: Tiny) -> None:
        self.tiny = tiny

    async def plan(self, params: FireParams, facts: TargetFacts, world: World) -> Planned:
        undo = "call it off" if params.undoable else ""
        change = Change(verb="http", summary=f"call {params.what}", undo=undo, irreversible=not params.undoable)
        return Planned(params.model_dump(), (change,))

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        what = f"fire {step.params['what']}"
        self.tiny.effect(what)
        self.tiny.effected(what)
        return {"status": 200}


class Pair(Action[NameParams]):
    """Sets two values one after the other, so that it can die half-done; it may simply be repeated."""

    name = "pair"
    access = Access.WRITE
    idempotent = True
    params_model = NameParams

    def __init__(self, tiny: Tiny) -> None:
        self.tiny = tiny

    async def plan(self, params: NameParams, facts: TargetFacts, world: World) -> Planned:
        return Planned(params.model_dump(), (Change(verb="patch", summary="left and right", undo="set them back"),))

    async def prepare(self, step: PlannedStep, stamp: Stamp, world: World) -> Mapping[str, Any]:
        return {side: self.tiny.values.get(side) for side in ("left", "right")}

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        for side in ("left", "right"):
            self.tiny.effect(f"set {side}")
            self.tiny.values[side] = "new"
            self.tiny.effected(f"set {side}")

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        self.tiny.values.update(saved)
        return "both are back"


class Say(Action[TextParams]):
    """A message to people."""

    name = "say"
    access = Access.NOTIFY
    idempotent = False
    params_model = TextParams

    def __init__(self, tiny: Tiny) -> None:
        self.tiny = tiny

    async def plan(self, params: TextParams, facts: TargetFacts, world: World) -> Planned:
        return Planned(params.model_dump())

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        if step.params["text"] == "broken":
            raise StepFailed("chat is away")
        self.tiny.effect(f"say {step.params['text']}")
        self.tiny.effected(f"say {step.params['text']}")
        return "sent"


def actions(tiny: Tiny) -> dict[str, Action[Any]]:
    """All of them by name and alias."""
    own: list[Action[Any]] = [SetValue(tiny), Look(tiny), Settle(tiny), Calc(), Fire(tiny), Pair(tiny), Say(tiny)]
    made = [*own, ManualApproval(), RunRunbook()]
    return {name: action for action in made for name in (action.name, *action.aliases)}


def deployment(
    *, replicas: int = 1, total: int | None = None, available: int = 1, generation: int = 1, **status: Any
) -> dict[str, Any]:
    """The workload ``shop/app``."""
    return {
        "kind": "Deployment",
        "metadata": {"name": "app", "namespace": NAMESPACE, "uid": "d1", "generation": generation},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "app"}}},
        "status": {
            "observedGeneration": generation,
            "replicas": replicas if total is None else total,
            "updatedReplicas": replicas,
            "availableReplicas": available,
            **status,
        },
    }


def replica_set(uid: str = "r1", revision: int = 1) -> dict[str, Any]:
    return {
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"app-{uid}",
            "namespace": NAMESPACE,
            "uid": uid,
            "labels": {"app": "app"},
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
            "ownerReferences": [{"kind": "Deployment", "name": "app", "uid": "d1"}],
        },
    }


def pod(
    name: str = "app-1", *, owner: str = "r1", ready: bool = True, restarts: int = 0, **status: Any
) -> dict[str, Any]:
    container = {"name": "app", "restartCount": restarts, "state": {"running": {}}, **status}
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "labels": {"app": "app"},
            "creationTimestamp": (START + timedelta(seconds=1)).isoformat(),
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"app-{owner}", "uid": owner}],
        },
        "spec": {},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [container],
        },
    }


def match_for(runbook: dict[str, Any], **target: Any) -> Match:
    """An incident of ``shop/app`` with this runbook."""
    subject = Subject("Pod", "app-0", NAMESPACE, "uid-0")
    found = Target("kind", "Deployment", "app", NAMESPACE, "d1", "app", "app-0", "node-1", "owner")
    if target:
        found = Target(**{"cluster": "kind", "kind": "Deployment", "name": "app", "namespace": NAMESPACE, **target})
        subject = Subject("Node", found.name) if found.kind == "Node" else subject
    signal = Signal(
        "e1", "acme", "kind", "BackOff", "ERROR", SignalStatus.FIRING, subject, START, "raw_event", "k1",
        Origin("alerts", 0, 1), "it crashed", {"team": "web"},
    )  # fmt: skip
    cause = Cause("e0", "OOMKilled", subject, 0.5, "kgroot-live", 0.9)
    incident = Incident("i1", "f1", "acme", "kind", signal, cause, found, START, START)
    given = {"id": "rb", "trigger": {"root_cause_reason": "OOMKilled"}, **runbook}
    return Match(incident, LoadedRunbook(runbook=Runbook.model_validate(given), sha="sha1"), ())


def record_of(plan: Plan, execution_id: str = "x1", **facts: Any) -> ExecutionRecord:
    """A redeemed execution of this plan."""
    target = plan.context["target"]
    incident = {"id": "i1", "event_id": "e1", "tenant": "acme", "target": target}
    base: dict[str, Any] = {"settle_seconds": 5, "verify_timeout_seconds": 60, "started_at": START}
    return ExecutionRecord(id=execution_id, plan=plan, incident=incident, status=Status.RUNNING, **{**base, **facts})


def permit_for(record: ExecutionRecord, token: int = 1, approval_id: str = "") -> Permit:
    """What the gate would give; only tests reach for the seal."""
    return Permit(SEAL, record.id, record.plan.hash, record.plan.target_key, token, START, approval_id)


class Bench:
    """One process after another over the same durable journal and the same world."""

    def __init__(self, crashes: Crashes | None = None) -> None:
        self.crashes = crashes or Crashes()
        self.tiny = Tiny(self.crashes)
        self.clock = VirtualClock()
        self.cluster = TinyCluster()
        self.chat = RecordingChat()
        self.hooks = RecordingHooks()
        self.guard = SwitchGuard()
        self.fresh = ListedSignals()
        self.journal = MemoryJournal(self.crashes)
        self.actions = actions(self.tiny)
        none: Any = NoPort()
        cluster: Any = self.cluster
        self.world = World(cluster, none, self.chat, none, none, self.clock)
        self.good = "512Mi"
        self.cluster.before_read.append(self.react)
        self.secret = "hunter2"
        self.approvals: MemoryApprovalStore | None = MemoryApprovalStore()

    def react(self) -> None:
        """The controller: the workload is well when the value is."""
        well = self.tiny.values.get("memory") == self.good
        self.cluster.put(deployment(available=int(well)))
        self.cluster.put(replica_set())
        self.cluster.put(pod(ready=well))

    def executor(self, **settings: Any) -> Executor:
        """A new process."""
        return Executor(
            actions=self.actions,
            world=self.world,
            journal=self.journal,
            guard=self.guard,
            clock=self.clock,
            hooks=self.hooks,
            fresh=self.fresh,
            settings=ExecutorSettings(**settings),
            redact=lambda text: text.replace(self.secret, "***"),
            approvals=self.approvals,
        )

    async def start(self, record: ExecutionRecord, approval_id: str = "") -> ExecutionRecord:
        """Redeem and run."""
        self.journal.open(record, 1)
        return await self.executor().run(permit_for(record, 1, approval_id), record)

    async def take_over(self, execution_id: str = "x1", approval_id: str = "") -> ExecutionRecord:
        """Another process adopts the execution and goes on."""
        epoch = self.journal.adopt(execution_id)
        record = await self.journal.load(execution_id)
        assert record is not None
        resumed = record.model_copy(update={"resumed": True})
        return await self.executor().run(permit_for(resumed, epoch, approval_id), resumed)
