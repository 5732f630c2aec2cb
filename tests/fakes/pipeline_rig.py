"""The whole pipeline on working fakes: processes that come and go over one durable world, with places to fail."""

from __future__ import annotations

import asyncio
import functools
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from fakes import actions as tiny_world
from fakes.actions import RecordingChat, RecordingHooks, Tiny, TinyCluster, VirtualClock
from fakes.graph_causes import FakeCausalGraph
from fakes.journal import Crash
from fakes.memory_gate import MemoryGate, State
from fakes.memory_store import MemoryStore
from fakes.recording_publisher import RecordingPublisher

from executor.actions.base import World
from executor.model import ObjectRef
from executor.planner import Planner
from executor.runner import Executor
from executor.settings import ExecutorSettings
from matcher.model import SignalStatus, Subject
from matcher.select import RunbookIndex
from matcher.target import TargetResolver
from runbooks.mappings import NO_MAPPINGS, Mappings
from runbooks.model import LoadedRunbook, Runbook
from safety.blast import GraphSays
from safety.model import Refusal
from safety.policy import PolicySettings
from safety.surroundings import CLEAR, Around, Footprint
from services.intake.settings import IntakeSettings
from services.kafka.model import Inbound, Outbound
from services.pipeline.act import Holding, Worker
from services.pipeline.commit import Committer
from services.pipeline.decide import Decider, DecideSettings
from services.pipeline.desk import ApprovalDesk
from services.pipeline.ingest import Ingest
from services.pipeline.permit import Permits
from services.pipeline.ruling import Rulings
from services.pipeline.sweep import Bridge, OrphanCare
from services.pipeline.vetting import NO_VETTING, Vetting
from services.records import DecisionKind, DecisionRecord, Repeat, RunbookUse
from services.settings import Topics

TENANT, CLUSTER, NAMESPACE = "acme", "kind", tiny_world.NAMESPACE
LEASE_SECONDS = 15.0
TOPICS = Topics()
RUNBOOK: Mapping[str, Any] = {
    "id": "raise-memory",
    "trigger": {"root_cause_reason": "OOMKilled", "min_confidence": 0.5},
    "safety": {"require_approval": False, "max_executions_per_hour": 50, "cooldown": 300},
    "steps": [{"name": "raise", "action": "set", "params": {"name": "{{ target.name }}", "value": "512Mi"}}],
    "verification": {"settle": 5, "timeout": 60},
}


def runbook(**changes: Any) -> LoadedRunbook:
    """The runbook with changes; a group such as ``safety`` is merged, and another text is another sha."""
    raw = dict(RUNBOOK)
    for name, value in changes.items():
        raw[name] = {**raw.get(name, {}), **value} if isinstance(value, dict) else value
    return LoadedRunbook(runbook=Runbook.model_validate(raw), sha=uuid5(NAMESPACE_OID, json.dumps(raw)).hex * 2)


class Failpoints:
    """Moments at which the world can fail. Outlives the processes, as their store does.

    Attributes:
        reached: every moment so far, such as ``before record``.
        at: the process dies at this moment, counted from 1; None for never.
    """

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.at: int | None = None
        self._once: dict[str, list[BaseException]] = defaultdict(list)

    def fail(self, moment: str, *errors: BaseException) -> None:
        """Raise these, one at each of the next times that the moment is reached."""
        self._once[moment] += errors

    def crash(self, moment: str) -> None:
        """The process dies the next time that the moment is reached."""
        self.fail(moment, Crash(moment))

    def reach(self, moment: str) -> None:
        self.reached.append(moment)
        if self._once[moment]:
            raise self._once[moment].pop(0)
        if self.at == len(self.reached):
            raise Crash(moment)


class Watched:
    """Passes everything on to ``inner``; calls of ``names`` can fail before and after they have had their effect."""

    def __init__(self, inner: Any, points: Failpoints, *names: str) -> None:
        self._inner, self._points, self._names = inner, points, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._names:
            return found

        @functools.wraps(found)
        async def watched(*args: Any, **kwargs: Any) -> Any:
            self._points.reach(f"before {name}")
            result = await found(*args, **kwargs)
            self._points.reach(f"after {name}")
            return result

        return watched


class CountingStore(MemoryStore):
    """A store that knows, beside its counts, which decision took which input.

    Attributes:
        taken: the decisions that counted an input, by (topic, partition, offset).
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(now)
        self.taken: dict[tuple[str, int, int], set[str]] = defaultdict(set)

    async def record(self, batch: Sequence[DecisionRecord | Repeat]) -> None:
        before = {number: dict(stored.high) for number, stored in self.decisions.items()}
        await super().record(batch)
        for part in batch:
            number = part.id if isinstance(part, DecisionRecord) else part.decision_id
            for origin in part.origins:
                if origin.offset > before.get(number, {}).get((origin.topic, origin.partition), -1):
                    self.taken[origin.topic, origin.partition, origin.offset].add(number)

    async def since(
        self, tenant: str, target_key: str, subjects: Sequence[ObjectRef], moment: datetime
    ) -> Sequence[str]:
        """As executor.ports.FreshSignals: decisions about the target that took an input later than the moment."""
        return [
            stored.record.id
            for stored in self.decisions.values()
            if stored.record.incident is not None
            and (stored.record.signal.tenant, stored.record.incident.target.key) == (tenant, target_key)
            and stored.last_seen > moment
            and stored.record.kind is not DecisionKind.RESOLVED
        ]


class OneEach:
    """safety.blast.BlastSources: every resource counts one. ``broken`` is raised instead."""

    def __init__(self) -> None:
        self.broken: Exception | None = None
        self.unknown = False
        self.there: int | None = 10
        self.labelled: dict[str, dict[str, str] | None] = {}
        self.graph_age: float | None = 1.0
        self.surroundings = CLEAR
        self.footprints: list[Footprint] = []

    async def pods(self, namespaces: Sequence[str]) -> int | None:
        return self.there

    async def labels(self, touched: Sequence[str]) -> dict[str, dict[str, str] | None]:
        if self.broken:
            raise self.broken
        return {resource: self.labelled.get(resource, {}) for resource in touched}

    async def live(self, touched: Sequence[str]) -> int | None:
        if self.broken:
            raise self.broken
        return len(touched)

    async def graph(self, touched: Sequence[str]) -> GraphSays:
        return GraphSays(None if self.unknown else len(touched), self.graph_age)

    async def around(self, footprint: Footprint) -> Around:
        if self.broken:
            raise self.broken
        self.footprints.append(footprint)
        return self.surroundings


class SecretShelf:
    """Implements executor.ports.Secrets."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def get(self, name: str) -> str:
        return self.values[name]

    def forget(self, names: Collection[str]) -> None:
        """Nothing is kept here."""


@dataclass
class Process:
    """One process of the pipeline; what it knows dies with it."""

    ingest: Ingest
    decider: Decider
    permits: Permits
    committer: Committer
    desk: ApprovalDesk
    bridge: Bridge
    care: OrphanCare
    worker: Worker
    holding: Holding
    gate: MemoryGate
    executor: Executor

    async def die(self) -> None:
        """As kill -9: nothing of what runs in this process goes on."""
        lanes = self.worker._keyed._lanes
        tasks = [lane.task for lane in lanes.values() if lane.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        lanes.clear()

    async def quiet(self) -> None:
        """Until nothing runs in this process any more."""
        await self.worker._keyed.join()


class Rig:
    """The durable world, and what it takes to start processes in it.

    Args:
        runbooks: what is in force; may be changed while processes run.
        handoff: whether a process hands its permits to its own worker, or only to Kafka.
    """

    def __init__(self, *runbooks: LoadedRunbook, handoff: bool = True, **settings: Any) -> None:
        self.runbooks = list(runbooks or (runbook(),))
        self.mappings: Mappings = NO_MAPPINGS
        self.handoff = handoff
        self.settings = DecideSettings(**settings)
        self.points = Failpoints()
        self.clock = VirtualClock()
        self.store = CountingStore(self.clock.now)
        self.gate_state = State()
        self.policy = PolicySettings()
        self.rulings: Rulings | None = None
        self.vetting: Vetting = NO_VETTING
        self.graph = FakeCausalGraph(default_tenant=TENANT)
        self.cluster = TinyCluster()
        self.tiny = Tiny()
        self.tiny.values = {}
        self.kafka = RecordingPublisher()
        self.hooks = RecordingHooks()
        self.chat = RecordingChat()
        self.blast = OneEach()
        self.secrets = SecretShelf()
        self.actions = tiny_world.actions(self.tiny)
        self.redact: Callable[[str], str] = lambda text: text
        self.good = "512Mi"
        self.offsets: dict[tuple[str, int], int] = defaultdict(int)
        self.sent: list[Inbound] = []
        self.apps: list[str] = []
        self.starts = 0
        self.reader: Any = None
        self.cluster.before_read.append(self._react)
        self.app("app")

    def app(self, name: str) -> None:
        """A workload that is well when the value of its name is ``good``."""
        self.apps.append(name)
        self.tiny.values[name] = "256Mi"

    def _react(self) -> None:
        for name in self.apps:
            well = self.tiny.values[name] == self.good
            for item in (
                tiny_world.deployment(available=int(well)),
                tiny_world.replica_set(),
                tiny_world.pod(ready=well),
            ):
                self.cluster.put(_renamed(item, name))

    # Messages

    def event(
        self,
        app: str = "app",
        *,
        status: str = "firing",
        explained: bool = True,
        event_id: str = "",
        pod: str = "1",
        partition: int = 0,
        reason: str = "KubePodCrashLooping",
    ) -> Inbound:
        """An alert about a pod of ``app``; when it is explained, the graph knows that the app ran out of memory."""
        name = event_id or f"event-{len(self.sent)}"
        if explained and status == "firing":
            self.explain(name, app)
        body = {
            "etype": "prom.alert",
            "event_id": name,
            "event_time": self.clock.now().isoformat(),
            "reason": reason,
            "severity": "WARNING",
            "status": status,
            "message": "it restarts",
            "subject": {"kind": "Pod", "name": f"{app}-{pod}", "ns": NAMESPACE},
        }
        return self.raw(json.dumps(body).encode(), TOPICS.events, partition)

    def alert(self, name: str, app: str = "app", *, pod: str = "1", value: str = "", **labels: str) -> Inbound:
        """An alert of Alertmanager about a pod of ``app``; nothing in the graph explains it."""
        told = {"alertname": name, "namespace": NAMESPACE, "deployment": app, "pod": f"{app}-{pod}", **labels}
        alert = {
            "status": "firing",
            "labels": {**told, "tenant": TENANT, "cluster": CLUSTER},
            "annotations": {"value": value} if value else {},
            "startsAt": self.clock.now().isoformat(),
            "fingerprint": f"{name}-{app}",
        }
        return self.raw(json.dumps({"status": "firing", "alerts": [alert]}).encode(), TOPICS.alerts)

    def explain(self, event_id: str, app: str = "app", confidence: float = 0.8) -> None:
        """The graph learns the cause of an event."""
        self.graph.event(event_id, "KubePodCrashLooping", client_id=TENANT)
        cause = f"cause-of-{event_id}"
        self.graph.event(cause, "OOMKilled", client_id=TENANT, about=Subject("Deployment", app, NAMESPACE))
        self.graph.link(cause, event_id, confidence=confidence, hops=1)

    def rca(self, event_id: str, app: str = "app", pod: str = "1") -> Inbound:
        """An RCA result about an event."""
        body = {
            "schema": "rca.result/v1",
            "result_id": f"r-{len(self.sent)}",
            "tenant": TENANT,
            "cluster": CLUSTER,
            "incident_id": event_id,
            "produced_at": self.clock.now().isoformat(),
            "writer": "kgroot-live",
            "subject": {"kind": "Pod", "name": f"{app}-{pod}", "ns": NAMESPACE},
            "causes": [
                {
                    "event_id": f"told-{event_id}",
                    "reason": "OOMKilled",
                    "confidence": 0.8,
                    "subject": {"kind": "Deployment", "name": app, "ns": NAMESPACE},
                }
            ],
        }
        return self.raw(json.dumps(body).encode(), TOPICS.rca)

    def raw(self, value: bytes | None, topic: str = TOPICS.events, partition: int = 0) -> Inbound:
        """Any message, at the end of its partition. Each is a millisecond later than the one before."""
        self.clock.passed += 0.001
        offset = self.offsets[topic, partition]
        self.offsets[topic, partition] += 1
        message = Inbound(topic, partition, offset, None, value, (), self.clock.now())
        self.sent.append(message)
        return message

    def requests(self, start: int = 0) -> list[Inbound]:
        """What Kafka holds of the requests."""
        found = [m for m in self.kafka.messages if m.topic == TOPICS.requests]
        return [
            Inbound(m.topic, 0, number, m.key.encode(), m.value, m.headers, self.clock.now())
            for number, m in enumerate(found)
            if number >= start
        ]

    def published(self, topic: str) -> list[dict[str, Any]]:
        """What was published on a topic, read as JSON."""
        return [json.loads(m.value) for m in self.kafka.messages if m.topic == topic]

    # Processes

    def process(self) -> Process:
        """Start one."""
        self.starts += 1
        gate = MemoryGate(self.policy, self.clock, self.gate_state)
        seen_gate: Any = Watched(gate, self.points, "ask", "confirm", "release")
        store: Any = Watched(
            self.store, self.points, "record", "close", "claim", "intend", "outcome", "finish", "answer", "followed"
        )
        publisher: Any = Watched(self.kafka, self.points, "publish")
        none: Any = tiny_world.NoPort()
        cluster: Any = self.cluster
        world = World(cluster, none, self.chat, self.reader or none, self.secrets, self.clock)
        holding = Holding(seen_gate, self.clock, LEASE_SECONDS)
        executor = Executor(
            actions=self.actions,
            world=world,
            journal=store,
            guard=holding,
            clock=self.clock,
            hooks=self.hooks,
            fresh=self.store,
            settings=ExecutorSettings(),
            redact=self.redact,
        )
        worker = Worker(
            holder=f"process-{self.starts}",
            executor=executor,
            holding=holding,
            permits=store,
            executions=store,
            journal=store,
            gate=seen_gate,
            publisher=publisher,
            topics=TOPICS,
            clock=self.clock,
            hooks=self.hooks,
            lease_seconds=LEASE_SECONDS,
        )
        permits = self._permits(world, seen_gate)
        decider = Decider(
            graph=self.graph,
            targets=TargetResolver(
                self.cluster, self.graph, cluster=CLUSTER, cache_seconds=1.0, clock=self.clock.monotonic
            ),
            runbooks=lambda: RunbookIndex(self.runbooks, self.mappings),
            permits=permits,
            ledger=store,
            clock=self.clock,
            hooks=self.hooks,
            settings=self.settings,
        )
        committer = Committer(
            ledger=store,
            gate=seen_gate,
            publisher=publisher,
            topics=TOPICS,
            hooks=self.hooks,
            handoff=worker.submit if self.handoff else None,
        )
        return Process(
            ingest=Ingest(
                settings=IntakeSettings(default_tenant=TENANT, default_cluster=CLUSTER),
                decider=decider,
                committer=committer,
                ledger=store,
                topics=TOPICS,
                clock=self.clock,
                hooks=self.hooks,
            ),
            decider=decider,
            permits=permits,
            committer=committer,
            desk=ApprovalDesk(
                approvals=store,
                executions=store,
                ledger=store,
                permits=permits,
                committer=committer,
                publisher=publisher,
                topics=TOPICS,
                runbook=self.pinned,
                match=lambda *found: RunbookIndex(self.runbooks, self.mappings).match(*found),
                clock=self.clock,
                hooks=self.hooks,
            ),
            bridge=Bridge(store, decider, committer, self.clock),
            care=OrphanCare(
                executions=store,
                gate=seen_gate,
                publisher=publisher,
                topics=TOPICS,
                clock=self.clock,
                worker=worker,
            ),
            worker=worker,
            holding=holding,
            gate=gate,
            executor=executor,
        )

    async def pinned(self, use: RunbookUse) -> LoadedRunbook | Refusal:
        """The version that a decision chose, if it still is in force here."""
        found = (one for one in self.runbooks if (one.runbook.id, one.sha) == (use.id, use.sha))
        return next(found, Refusal("runbook_gone", f"there is no {use.id} {use.sha} any more"))

    def _permits(self, world: World, gate: Any) -> Permits:
        return Permits(
            planner=Planner(self.actions, world, {}, self.redact),
            gate=gate,
            sources=lambda *_: self.blast,
            policy_settings=self.policy,
            clock=self.clock,
            hooks=self.hooks,
            approval_timeout=timedelta(minutes=30),
            least_cooldown=timedelta(seconds=60),
            rulings=self.rulings,
            vetting=self.vetting,
        )

    # What came of it

    def decisions(self, *kinds: DecisionKind) -> list[DecisionRecord]:
        """Recorded decisions, those of some kinds or all, in the order in which they came about."""
        return [d.record for d in self.store.decisions.values() if not kinds or d.record.kind in kinds]

    def only(self, kind: DecisionKind) -> DecisionRecord:
        """The one decision of a kind."""
        (found,) = self.decisions(kind)
        return found

    def count(self, decision: DecisionRecord) -> int:
        """How many inputs a decision has."""
        return self.store.decisions[decision.id].count

    def outcomes(self) -> list[str]:
        """How the executions ended, or where they stand."""
        return [str(e.record.outcome or e.record.status) for e in self.store.executions.values()]

    def effects(self) -> list[str]:
        """Every side effect in the world."""
        return self.tiny.effects


def _renamed(item: Any, name: str) -> Any:
    """The workload ``app`` under another name; its uids are its own."""
    text = json.dumps(item).replace('"app', f'"{name}').replace('"uid-app', f'"uid-{name}')
    made = json.loads(text)
    for uid in ("d1", "r1"):
        made = json.loads(json.dumps(made).replace(f'"{uid}"', f'"{uid}-{name}"'))
    return made


def outbound_ids(messages: Iterable[Outbound], topic: str, field: str) -> list[str]:
    """One field of all messages on a topic."""
    return [str(json.loads(m.value)[field]) for m in messages if m.topic == topic]


def resolved(record: DecisionRecord) -> DecisionRecord:
    """The decision as if its alert were over."""
    return replace(record, signal=replace(record.signal, status=SignalStatus.RESOLVED))
