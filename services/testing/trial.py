"""One scenario: plan, ask the gate, run with the real executor, and look at what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from executor.actions.base import Action, ActionTable, Found, Planned, Recovery, Stamp, TargetFacts, World
from executor.context import target_ref
from executor.errors import RemediationError, StepFailed
from executor.footprint import footprint_of
from executor.model import Access, ExecutionRecord, Plan, PlannedStep, Status, StepRun, StepStatus
from executor.people_ports import People
from executor.planner import Planner
from executor.ports import Clock, Cluster
from executor.runner import Executor
from matcher.model import Cause, Incident, Match, Origin, Signal, SignalStatus, Subject, Target
from safety.blast import measure
from safety.model import ApprovalNeeded, BlastRadius, Permit, Refusal
from safety.policy import PolicySettings
from services.beside import FolderFiles
from services.clock import SystemClock
from services.pipeline.answers import flat_facts
from services.pipeline.asking import question
from services.pipeline.blast import ClusterAndGraph
from services.testing.acceptance import Happening, LoadedPack, Scenario, StepAnswer
from services.testing.approving import DeclaredAnswers
from services.testing.journal import MemoryJournal
from services.testing.permits import permitted
from services.testing.practice import Practice, Watched
from services.testing.trial_world import (
    DeclaredHttp,
    DeclaredMetrics,
    DeclaredRows,
    DeclaredSecrets,
    Notes,
    Quiet,
    Sent,
    Told,
    TrialClock,
    memory_cluster,
)

STAND_IN = "rootmend-trial"
"""Name of the healthy workload that stands for the target of a runbook that has none."""


@dataclass(frozen=True, slots=True)
class Course:
    """What came of a scenario.

    Attributes:
        status: the outcome, or ``refused``, ``approval``, ``plan_failed``.
        assumptions: what the trial took for granted, for the report.
    """

    status: str
    verdict: str = ""
    check: str = ""
    message: str = ""
    steps: tuple[StepRun, ...] = ()
    plan: Plan | None = None
    kpis: Mapping[str, float] = field(default_factory=dict)
    errors: tuple[tuple[str, str], ...] = ()
    sent: tuple[Sent, ...] = ()
    assumptions: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Lab:
    """What the trials of a run share.

    Attributes:
        live: ports that are real in this run, by their names in ``World``.
        parameters: values that count for every runbook.
    """

    actions: ActionTable
    policy: PolicySettings
    live: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)


async def run_scenario(pack: LoadedPack, scenario: Scenario, lab: Lab, practice: Practice | None = None) -> Course:
    """Try one scenario, in memory or on the practice cluster."""
    objects, notes = _objects(pack, scenario), Notes()
    if practice is None:
        cluster = memory_cluster(objects, scenario.fakes)
        return await _trial(pack, scenario, lab, Site(cluster, TrialClock(), notes))
    async with practice.deployed(objects) as namespace:
        declared = scenario.incident.target.split("/")[1] if scenario.incident else "default"
        real = Watched(practice.cluster, notes, namespace, declared)
        return await _trial(pack, scenario, lab, Site(real, SystemClock(), notes, namespace))


@dataclass(frozen=True, slots=True)
class Site:
    """Where a scenario takes place.

    Attributes:
        namespace: that stands for every namespace of the scenario; empty for those that it names.
    """

    cluster: Cluster
    clock: Clock
    notes: Notes
    namespace: str = ""


async def _trial(pack: LoadedPack, scenario: Scenario, lab: Lab, site: Site) -> Course:
    notes, clock, began = site.notes, site.clock, time.monotonic()
    world, assumptions = _world(pack, scenario, lab, site)
    incident = await _incident(pack, scenario, site)
    match = Match(incident, pack.runbook, ())
    actions = WithAnswers(lab.actions, scenario.fakes.steps)
    number = str(uuid5(NAMESPACE_URL, f"{pack.path.name}/{scenario.name}"))
    parameters = {pack.runbook.runbook.id: {**lab.parameters, **scenario.params}}
    try:
        plan = await Planner(actions, world, parameters).plan(match, number)
        # A plan that only reads and tells affects nothing; what it looks at stands for it.
        touched = plan.touched or (str(target_ref(plan.context["target"])),)
        sources = ClusterAndGraph(world.cluster, _NoGraph(), "trial", "trial")
        blast = await measure(touched, sources)
        around = replace(await sources.around(footprint_of(plan, touched)), frozen=())
    except RemediationError as error:
        return Course("plan_failed", message=str(error), assumptions=assumptions, sent=tuple(notes.sent))
    if blast.graph is None:
        blast = BlastRadius(blast.live, blast.live, blast.resources, graph_age_seconds=0.0)
    request = replace(
        question(match, number, timedelta(0)),
        namespaces=plan.namespaces,
        plan_hash=plan.hash,
        blast=blast,
        around=around,
        approval_reasons=plan.approval_reasons,
    )
    answer = await permitted(request, lab.policy, clock, approved_by="the scenario" if scenario.approve else "")
    stopped = Course("refused", plan=plan, assumptions=assumptions, sent=tuple(notes.sent))
    if isinstance(answer, Refusal):
        return replace(stopped, check=answer.check, message=answer.message)
    if isinstance(answer, ApprovalNeeded):
        return replace(stopped, status="approval", check="approval", message="; ".join(answer.reasons))
    record, journal = _record(match, plan, number, clock), MemoryJournal()
    journal.open(record, answer.token)
    ended = await _run(answer, record, journal, world=world, actions=actions, yes=scenario.approve)
    return _course(ended, notes, world.cluster, assumptions, time.monotonic() - began)


def _objects(pack: LoadedPack, scenario: Scenario) -> list[Mapping[str, Any]]:
    """The Kubernetes objects of a scenario."""
    objects = [*scenario.fakes.cluster]
    for name in scenario.fakes.manifests:
        given = pack.data(name)
        objects += given if isinstance(given, list) else [given]
    return [*objects, _stand_in()] if scenario.incident is None else objects


def _world(pack: LoadedPack, scenario: Scenario, lab: Lab, site: Site) -> tuple[World, tuple[str, ...]]:
    """The ports of a scenario, and what is taken for granted."""
    fakes, notes = scenario.fakes, site.notes
    assumptions = [f"{one.name}: {one.description}".rstrip(": ") for one in pack.runbook.runbook.assumptions]
    if scenario.incident is None:
        assumptions.append("no incident is declared: a healthy workload stands for the target")
    fixture = pack.data(scenario.fixture) if scenario.fixture else None
    rows, metrics, told = (
        DeclaredRows(fakes.sql, fakes.graph, notes),
        DeclaredMetrics(fakes.metrics, notes),
        Told(notes),
    )
    ports: dict[str, Any] = {
        "cluster": site.cluster,
        "http": DeclaredHttp(fakes.http, fixture, notes),
        "chat": told,
        "graph": rows,
        "secrets": DeclaredSecrets(scenario.secrets),
        "clock": site.clock,
        "metrics": metrics,
        "metrics_sink": metrics,
        "sql": rows,
        "files": FolderFiles(),
        "people": People(told, told, told, {"jira": told}),
    }
    assumptions += [f"{name} is the real one" for name in lab.live if name != "http_base"]
    return World(**{**ports, **lab.live}), tuple(assumptions)


def _stand_in() -> Mapping[str, Any]:
    labels = {"app": STAND_IN}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": STAND_IN, "namespace": "default"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


async def _incident(pack: LoadedPack, scenario: Scenario, site: Site) -> Incident:
    cluster, clock = site.cluster, site.clock
    said = scenario.incident or Happening(target=f"Deployment/default/{STAND_IN}")
    kind, *place = said.target.split("/")
    namespace, name = (place[0], place[1]) if len(place) > 1 else ("", place[-1] if place else "")
    namespace = site.namespace if namespace and site.namespace else namespace
    item = await cluster.get(kind, name, namespace)
    uid = item["metadata"]["uid"] if item else ""
    pod, container = await _pod_of(cluster, item, namespace)
    reasons = pack.runbook.runbook.trigger.root_cause_reason
    reason = said.reason or next((one for one in reasons if "*" not in one), "Manual")
    subject = Subject("Node", name) if kind == "Node" else Subject("Pod", pod or f"{name}-0", namespace)
    if said.about:
        about_kind, _, about_name = said.about.partition("/")
        subject = Subject(about_kind, about_name, namespace)
    target = Target("trial", kind, name, namespace, uid, said.container or container, pod, resolved_by="owner")
    now = clock.now()
    signal = Signal(
        event_id="trial", tenant="trial", cluster="trial", reason=said.symptom or reason, severity=said.severity,
        status=SignalStatus.FIRING, subject=subject, event_time=now, shape="alertmanager", alert_key="trial",
        origin=Origin("trial", 0, 0), message=said.message, labels=said.labels,
    )  # fmt: skip
    cause = Cause("trial-cause", reason, subject, said.confidence, "trial", said.confidence)
    return Incident("trial-incident", "trial", "trial", "trial", signal, cause, target, now, now)


async def _pod_of(cluster: Cluster, item: Any, namespace: str) -> tuple[str, str]:
    """The first pod of a workload and its first container."""
    labels = ((item or {}).get("spec", {}).get("selector") or {}).get("matchLabels") or {}
    if not labels:
        return "", ""
    pods = await cluster.list("Pod", namespace, labels=",".join(f"{k}={v}" for k, v in labels.items()))
    containers = item["spec"].get("template", {}).get("spec", {}).get("containers") or [{}]
    return (pods[0]["metadata"]["name"] if pods else ""), str(containers[0].get("name", ""))


class _NoGraph:
    """There is no graph in a trial: what it would count is taken from the cluster."""

    async def count(self, touched: Sequence[str], tenant: str, cluster: str = "") -> _NoCount:
        """Nothing is known."""
        return _NoCount()


@dataclass(frozen=True, slots=True)
class _NoCount:
    count: int | None = None
    reason: str = ""
    age_seconds: float | None = 0.0


def _record(match: Match, plan: Plan, number: str, clock: Clock) -> ExecutionRecord:
    runbook = match.runbook.runbook
    return ExecutionRecord(
        id=number,
        plan=plan,
        incident={**flat_facts(match.incident), "trigger_type": "trial"},
        status=Status.RUNNING,
        cooldown_seconds=0,
        settle_seconds=runbook.verification.settle.total_seconds(),
        verify_timeout_seconds=runbook.verification.timeout.total_seconds(),
        on_not_fixed=runbook.verification.on_not_fixed.value,
        notification=runbook.notification.model_dump(mode="json", exclude_none=True),
        requested_at=clock.now(),
        started_at=clock.now(),
    )


class _Free:
    """Nobody pauses a trial."""

    async def check(self, execution_id: str, target_key: str, epoch: int) -> None:
        """Every step may start."""

    def event(self, name: str, **_: Any) -> None:
        """Nobody listens."""


async def _run(
    permit: Permit, record: ExecutionRecord, journal: MemoryJournal, *, world: World, actions: ActionTable, yes: bool
) -> ExecutionRecord:
    free = _Free()
    executor = Executor(
        actions=actions,
        world=world,
        journal=journal,
        guard=free,
        clock=world.clock,
        hooks=free,
        fresh=Quiet(),
        approvals=DeclaredAnswers(yes=yes),
    )
    return await executor.run(permit, record)


def _course(
    ended: ExecutionRecord, notes: Notes, cluster: Cluster, assumptions: tuple[str, ...], seconds: float
) -> Course:
    calls = [
        Sent(call.verb, call.ref, str(call.body or "")) for call in getattr(cluster, "calls", ()) if not call.dry_run
    ]
    took = (ended.finished_at - ended.started_at).total_seconds() if ended.finished_at and ended.started_at else 0.0
    ran = [run for run in ended.steps if run.phase == "step" and run.status is not StepStatus.SKIPPED]
    failed = [run for run in ran if run.status in (StepStatus.FAILED, StepStatus.UNKNOWN)]
    errors = tuple(_errors(ended.steps))
    kpis = {
        "duration_seconds": took,
        "success_rate": 1 - len(failed) / len(ran) if ran else 0.0,
        "error_rate": len(failed) / len(ran) if ran else 0.0,
        **notes.published,
    }
    return Course(
        status=str(ended.outcome or "unfinished"),
        verdict=str(ended.verdict or ""),
        message=ended.error,
        steps=ended.steps,
        plan=ended.plan,
        kpis=kpis,
        errors=errors,
        sent=(*notes.sent, *calls),
        assumptions=assumptions,
        seconds=seconds,
    )


_ERROR_TYPES = {"schema_check": "schema_validation"}


def _errors(runs: Sequence[StepRun]) -> Iterator[tuple[str, str]]:
    """Type and text of each error: failed steps, and what checks of data found."""
    for run in runs:
        kind = _ERROR_TYPES.get(run.action, run.action)
        if run.status in (StepStatus.FAILED, StepStatus.UNKNOWN):
            yield kind, run.error
        listed = run.outputs.get("errors") or (run.output.get("errors") if isinstance(run.output, Mapping) else None)
        if isinstance(listed, list | tuple):
            yield from ((kind, str(one)) for one in listed)


class Answered(Action[Any]):
    """An action whose steps may have a declared answer."""

    def __init__(self, inner: Action[Any], answers: Mapping[str, StepAnswer]) -> None:
        self._inner = inner
        self._answers = answers
        self.name, self.aliases, self.params_model = inner.name, inner.aliases, inner.params_model
        self.access, self.idempotent = inner.access, inner.idempotent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def access_of(self, params: Mapping[str, Any]) -> Access:
        """As the action says."""
        return self._inner.access_of(params)

    def repeatable(self, params: Mapping[str, Any]) -> bool:
        """As the action says."""
        return self._inner.repeatable(params)

    async def plan(self, params: Any, facts: TargetFacts, world: World) -> Planned:
        """As the action does."""
        return await self._inner.plan(params, facts, world)

    async def dry_run(self, step: PlannedStep, world: World) -> None:
        """As the action does, unless the step is answered."""
        if step.id not in self._answers:
            await self._inner.dry_run(step, world)

    async def prepare(self, step: PlannedStep, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """As the action does, unless the step is answered."""
        return {} if step.id in self._answers else await self._inner.prepare(step, stamp, world)

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """The declared answer, or what the action does."""
        if step.id not in self._answers:
            return await self._inner.perform(step, saved, stamp, world)
        answer = self._answers[step.id]
        if answer.error:
            raise StepFailed(answer.error)
        return answer.output

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """As the action does; an answered step did nothing but what it says."""
        if step.id not in self._answers:
            return await self._inner.recover(step, saved, stamp, world)
        answer = self._answers[step.id]
        return Recovery(Found.NOT_DONE if answer.error else Found.DONE, answer.output)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """As the action does; an answered step changed nothing."""
        return "" if step.id in self._answers else await self._inner.undo(step, saved, stamp, world)


class WithAnswers(Mapping[str, Action[Any]]):
    """An action table in which single steps have declared answers."""

    def __init__(self, actions: ActionTable, answers: Mapping[str, StepAnswer]) -> None:
        self._actions = actions
        self._answers = answers

    def __getitem__(self, name: str) -> Action[Any]:
        found = self._actions[name]
        return Answered(found, self._answers) if self._answers else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._actions)

    def __len__(self) -> int:
        return len(self._actions)
