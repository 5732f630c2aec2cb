"""The composition root: the one place that knows which adapter stands behind which port. Nothing connects at import."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

from redis.asyncio import Redis

from executor.actions import action_schemas
from executor.actions.base import World
from executor.dryrun import problems_by_dry_run, refused_by_dry_run
from executor.exec_rules import ExecRules
from executor.model import Plan
from executor.notify import Notifier
from executor.planner import Planner
from executor.runner import Executor
from executor.settings import ExecutorSettings
from matcher.bridge import BackOff
from matcher.calibration import with_tables
from matcher.diagnose import SelfEvident
from matcher.select import RunbookIndex
from matcher.target import TargetResolver
from runbooks.folder import RunbookFolder
from runbooks.mapping_files import MappingFiles
from safety.redis_gate import RedisGate
from services.api.runs import RunsApi
from services.browser import ChromiumScreens, browser_environment, find_browser, runs_as_root
from services.chat import SlackChat
from services.clock import SystemClock
from services.connections import open_gate, open_graph, policy_of
from services.data import with_data
from services.forecast import Forecaster
from services.graph.approvals import Neo4jApprovalStore
from services.graph.blast import Neo4jBlastRadius, UnknownTarget
from services.graph.causes import Neo4jCausalGraph
from services.graph.connect import Graph
from services.graph.durations import Neo4jDurations
from services.graph.executions import Neo4jExecutionStore
from services.graph.fresh import Neo4jFreshSignals
from services.graph.history_truth import GraphTruth
from services.graph.journal import Neo4jJournal
from services.graph.ledger import Neo4jDecisionLedger
from services.graph.permits import Neo4jPermitLedger
from services.graph.reader import Neo4jGraphReader
from services.graph.schedules import Neo4jScheduleState
from services.graph.versions import Neo4jVersions
from services.history.database import HistoryDatabase
from services.history.sink import SqlHistory
from services.hooks import MultiHooks
from services.http_client import HttpClient
from services.intake.settings import IntakeSettings
from services.kafka.bus import KafkaBus
from services.kubernetes.cluster import KubernetesCluster
from services.kubernetes.connect import connect as connect_cluster
from services.kubernetes.recent import RecentReads
from services.logs import LogHooks, masker
from services.metrics import Metrics
from services.people import make_people
from services.pipeline.act import Holding, Worker
from services.pipeline.blast import ClusterAndGraph
from services.pipeline.catalog import Catalog
from services.pipeline.commit import Committer
from services.pipeline.decide import Decider, DecideSettings
from services.pipeline.desk import ApprovalDesk
from services.pipeline.ingest import Ingest
from services.pipeline.permit import Permits
from services.pipeline.progress import Progress
from services.pipeline.questions import Questions
from services.pipeline.sweep import Bridge, Duty, OrphanCare
from services.plugins import all_actions
from services.schedule import Scheduler
from services.secrets import SecretProvider
from services.settings import Settings


class Role(StrEnum):
    """What a process does. One process does everything by default."""

    DECIDE = "decide"
    ACT = "act"
    APPROVALS = "approvals"
    API = "api"
    SCHEDULE = "schedule"


ALL_ROLES = tuple(Role)


@dataclass(slots=True)
class Parts:
    """Everything that a service needs, connected. ``close`` undoes it in reverse order."""

    settings: Settings
    holder: str
    clock: SystemClock
    metrics: Metrics
    hooks: MultiHooks
    graph: Graph
    redis: Redis
    gate: RedisGate
    cluster: KubernetesCluster
    bus: KafkaBus
    catalog: Catalog
    journal: Neo4jJournal
    executions: Neo4jExecutionStore
    ledger: Neo4jDecisionLedger
    approvals: Neo4jApprovalStore
    permits: Neo4jPermitLedger
    http: HttpClient
    stack: AsyncExitStack
    history: SqlHistory | None = None

    async def close(self) -> None:
        """Close every connection."""
        await self.stack.aclose()


def holder_name() -> str:
    """The name of this process in claims; a restarted process is another holder."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def open_history(settings: Settings, graph: Graph, stack: AsyncExitStack) -> SqlHistory:
    """The copy of the execution log in PostgreSQL; it connects when it runs."""
    url = settings.history.url.get_secret_value() if settings.history.url else ""
    masker.register(url)
    database = HistoryDatabase(url)
    stack.push_async_callback(database.close)
    truth = GraphTruth(graph, settings.redis.prefix, masker)
    chosen = settings.history
    return SqlHistory(database, truth, write_seconds=chosen.write_seconds, catch_up_seconds=chosen.catch_up_seconds)


async def assemble(settings: Settings, *, context_named: bool = False) -> Parts:
    """Connect to everything.

    Args:
        settings: checked already.
        context_named: a person named the cluster on the command line.

    Raises:
        NotConfigured: the cluster is neither named nor the practice cluster.
    """
    async with AsyncExitStack() as stack:
        clock = SystemClock()
        metrics = Metrics()
        hooks = MultiHooks(metrics, LogHooks())
        history: SqlHistory | None = None
        for secret in (settings.neo4j.password, settings.redis.url, settings.prometheus.token):
            masker.register(secret.get_secret_value() if secret else "")
        graph = open_graph(settings)
        stack.push_async_callback(graph.close)
        if settings.history.url:
            history = open_history(settings, graph, stack)
            hooks = MultiHooks(metrics, LogHooks(), history)
        redis = Redis.from_url(settings.redis.url.get_secret_value())
        stack.push_async_callback(redis.aclose)
        cluster = await connect_cluster(
            settings.kubernetes.kubeconfig,
            settings.kubernetes.context,
            settings.kubernetes.practice_id,
            allow_context=True if context_named else None,
            timeout_seconds=settings.kubernetes.request_timeout_seconds,
        )
        stack.push_async_callback(cluster.close)
        http = HttpClient()
        stack.push_async_callback(http.close)
        journal = Neo4jJournal(graph)
        stack.push_async_callback(journal.close)
        known = action_schemas(all_actions())
        catalog = Catalog(
            RunbookFolder(settings.runbooks.folders, actions=known),
            hooks,
            MappingFiles(settings.runbooks.mapping_files),
            Neo4jVersions(graph),
            known,
        )
        bus = KafkaBus(
            settings.kafka.bootstrap_servers,
            client=settings.kafka.client,
            on_lag=lambda topic, partition, value: hooks.event("lag", topic=topic, partition=partition, value=value),
        )
        return Parts(
            settings=settings,
            holder=holder_name(),
            clock=clock,
            metrics=metrics,
            hooks=hooks,
            graph=graph,
            redis=redis,
            gate=open_gate(settings, redis, graph, clock),
            cluster=cluster,
            bus=bus,
            catalog=catalog,
            journal=journal,
            executions=Neo4jExecutionStore(graph, settings.default_cluster),
            ledger=Neo4jDecisionLedger(graph, settings.matching.default_tenant, settings.default_cluster),
            approvals=Neo4jApprovalStore(graph),
            permits=Neo4jPermitLedger(graph),
            http=http,
            stack=stack.pop_all(),
            history=history,
        )


def world(parts: Parts) -> World:
    """The ports that actions act through."""
    settings = parts.settings
    acting = World(
        cluster=parts.cluster,
        http=parts.http,
        chat=SlackChat(
            settings.slack.token.get_secret_value() if settings.slack.token else None,
            base_url=settings.slack.base_url,
            channel=settings.slack.channel,
        ),
        graph=Neo4jGraphReader(parts.graph),
        secrets=SecretProvider(
            os.environ,
            prefix=settings.secrets.env_prefix,
            folder=settings.secrets.folder,
            on_read=masker.register,
        ),
        clock=parts.clock,
        people=make_people(settings, parts.http, parts.clock, masker.register),
        screens=open_screens(settings),
        exec_rules=ExecRules(settings.actions.exec.enabled, settings.actions.exec.allow),
    )
    return with_data(acting, settings, parts.hooks.event)


def open_screens(settings: Settings) -> ChromiumScreens:
    """The browser for pictures of pages; it is started when a step asks for one."""
    chosen = settings.screenshots
    return ChromiumScreens(
        find_browser(chosen.browser, os.environ),
        chosen.reports,
        updates=chosen.update_baselines,
        sandbox=chosen.sandbox == "auto" and not runs_as_root(),
        max_parallel=chosen.max_parallel,
        environment=browser_environment(os.environ),
    )


def make_worker(parts: Parts, acting: World) -> Worker:
    """The act role."""
    settings = parts.settings
    holding = Holding(parts.gate, parts.clock, settings.execution.lease_seconds)
    progress = Progress(parts.bus, settings.kafka.topics, parts.clock)
    executor = Executor(
        actions=all_actions(),
        world=acting,
        journal=parts.journal,
        guard=holding,
        clock=parts.clock,
        hooks=MultiHooks(parts.hooks, progress),
        fresh=Neo4jFreshSignals(parts.graph, settings.matching.default_tenant),
        redact=masker.text,
        approvals=parts.approvals,
        settings=ExecutorSettings(approval_timeout_seconds=settings.approvals.timeout.total_seconds()),
    )
    return Worker(
        progress=progress,
        holder=parts.holder,
        executor=executor,
        holding=holding,
        permits=parts.permits,
        executions=parts.executions,
        journal=parts.journal,
        gate=parts.gate,
        publisher=parts.bus,
        topics=settings.kafka.topics,
        clock=parts.clock,
        hooks=parts.hooks,
        max_concurrent=settings.execution.max_concurrent,
        lease_seconds=settings.execution.lease_seconds,
    )


def make_permits(parts: Parts, acting: World, reads: RecentReads) -> Permits:
    """Planning and asking the gate."""
    settings = parts.settings
    tenant = settings.matching.default_tenant
    counting = Neo4jBlastRadius(parts.graph, tenant, UnknownTarget.REFUSE)
    return Permits(
        planner=Planner(
            all_actions(),
            replace(acting, cluster=reads),
            settings.runbooks.parameters,
            redact=masker.text,
            runbooks=lambda: parts.catalog.runbooks,
            max_depth=settings.execution.max_depth,
        ),
        gate=parts.gate,
        sources=lambda tenant, cluster: ClusterAndGraph(reads, counting, tenant, cluster),
        policy_settings=policy_of(settings),
        clock=parts.clock,
        hooks=parts.hooks,
        approval_timeout=settings.approvals.timeout,
        least_cooldown=settings.gate.cooldown,
        unknown_blast_asks=settings.gate.unknown_target == "approval",
        rehearse=partial(rehearse, acting),
        runbooks=lambda: parts.catalog.runbooks,
    )


async def rehearse(acting: World, plan: Plan) -> str:
    """Why the API server would not take a write of the plan, whatever its runbook says of dry runs."""
    asked = plan.model_copy(update={"dry_run_first": True})
    return await refused_by_dry_run(asked, all_actions(), acting, ExecutorSettings())


def make_forecaster(parts: Parts, index: RunbookIndex) -> Forecaster:
    """What would be done, without Kafka and without doing it."""
    settings = parts.settings
    acting, reads = world(parts), RecentReads(parts.cluster)
    causes = Neo4jCausalGraph(parts.graph, settings.matching.default_tenant)
    return Forecaster(
        index=index,
        targets=TargetResolver(reads, causes, cluster=settings.default_cluster),
        permits=make_permits(parts, acting, reads),
        rehearse=lambda plan: problems_by_dry_run(plan.steps, all_actions(), acting, ExecutorSettings()),
        history=Neo4jDurations(parts.graph),
        clock=parts.clock,
    )


def make_decider(parts: Parts, permits: Permits, reads: RecentReads) -> Decider:
    """The decide path as values."""
    settings = parts.settings
    matching = settings.matching
    causes = Neo4jCausalGraph(parts.graph, matching.default_tenant)
    return Decider(
        graph=causes,
        # Looking for targets is what a storm does most; its answers are good for three seconds anyway.
        targets=TargetResolver(RecentReads(reads, seconds=3.0), causes, cluster=settings.default_cluster),
        runbooks=lambda: parts.catalog.index,
        permits=permits,
        ledger=parts.ledger,
        clock=parts.clock,
        hooks=parts.hooks,
        settings=DecideSettings(
            window=matching.window,
            max_age=matching.max_age,
            max_signal_age=matching.max_signal_age,
            retry_refused=matching.retry_refused,
            lookups=matching.lookups,
            back_off=BackOff(
                first=matching.bridge.first_delay,
                factor=matching.bridge.factor,
                longest=matching.bridge.max_delay,
                deadline=matching.bridge.deadline,
            ),
            tables=with_tables(matching.calibration),
            self_evident=SelfEvident(matching.self_evident_reasons),
            alert_confidence=matching.alert_confidence,
        ),
    )


@dataclass(slots=True)
class Pipeline:
    """The roles of one process, put together."""

    ingest: Ingest | None
    worker: Worker | None
    duties: Sequence[tuple[str, Duty]]


def make_pipeline(parts: Parts, roles: Sequence[Role]) -> Pipeline:
    """Put the roles together."""
    settings = parts.settings
    topics = settings.kafka.topics
    acting = world(parts)
    worker = make_worker(parts, acting) if Role.ACT in roles else None
    reads = RecentReads(parts.cluster)
    permits = make_permits(parts, acting, reads)
    decider = make_decider(parts, permits, reads)
    committer = Committer(
        ledger=parts.ledger,
        gate=parts.gate,
        publisher=parts.bus,
        topics=topics,
        hooks=parts.hooks,
        handoff=worker.submit if worker else None,
        asked=Questions(Notifier(acting, parts.hooks, masker.text)).ask,
    )
    duties: list[tuple[str, Duty]] = [("versions", parts.catalog.follow)]
    ingest = None
    if Role.DECIDE in roles:
        ingest = Ingest(
            settings=_intake(settings),
            decider=decider,
            committer=committer,
            ledger=parts.ledger,
            topics=topics,
            clock=parts.clock,
            hooks=parts.hooks,
        )
        duties.append(("bridge", Bridge(parts.ledger, decider, committer, parts.clock).sweep))
    if Role.APPROVALS in roles:
        duties.append(("approvals", _desk(parts, permits, committer).sweep))
    if worker or Role.DECIDE in roles:
        care = OrphanCare(
            executions=parts.executions,
            gate=parts.gate,
            publisher=parts.bus,
            topics=topics,
            clock=parts.clock,
            worker=worker,
        )
        duties.append(("orphans", care.sweep))
    if Role.SCHEDULE in roles:
        duties.append(("schedule", _scheduler(parts).sweep))
    return Pipeline(ingest, worker, tuple(duties))


def make_runs_api(parts: Parts) -> RunsApi | None:
    """Runbooks over REST; None when no token is set."""
    settings = parts.settings
    token = settings.api.token
    if token is None:
        return None
    return RunsApi(
        runbooks=lambda: parts.catalog.runbooks,
        publisher=parts.bus,
        topic=settings.kafka.topics.run_requests,
        ledger=parts.ledger,
        executions=parts.executions,
        clock=parts.clock,
        token=token.get_secret_value(),
        tenant=settings.matching.default_tenant,
        cluster=settings.default_cluster,
        configured=settings.runbooks.parameters,
        max_body_bytes=settings.api.max_body_bytes,
        produce_timeout_seconds=settings.api.produce_timeout_seconds,
    )


def _scheduler(parts: Parts) -> Scheduler:
    settings = parts.settings
    return Scheduler(
        runbooks=lambda: parts.catalog.runbooks,
        state=Neo4jScheduleState(parts.graph),
        publisher=parts.bus,
        topic=settings.kafka.topics.run_requests,
        clock=parts.clock,
        tenant=settings.matching.default_tenant,
        cluster=settings.default_cluster,
    )


def _intake(settings: Settings) -> IntakeSettings:
    return IntakeSettings(
        default_tenant=settings.matching.default_tenant,
        default_cluster=settings.default_cluster,
        max_message_bytes=settings.kafka.max_message_bytes,
        run_requests=settings.kafka.topics.run_requests,
    )


def _desk(parts: Parts, permits: Permits, committer: Committer) -> ApprovalDesk:
    return ApprovalDesk(
        approvals=parts.approvals,
        executions=parts.executions,
        ledger=parts.ledger,
        permits=permits,
        committer=committer,
        publisher=parts.bus,
        topics=parts.settings.kafka.topics,
        runbook=parts.catalog.pinned,
        match=parts.catalog.match,
        clock=parts.clock,
        hooks=parts.hooks,
    )
