"""What every role needs, connected. Nothing connects at import."""

from __future__ import annotations

import os
import socket
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum

from redis.asyncio import Redis

from executor.actions import action_schemas
from runbooks.folder import RunbookFolder
from runbooks.mapping_files import MappingFiles
from safety.redis_breaker import RedisBreaker
from safety.redis_gate import RedisGate
from services.access.authenticator import Authenticator
from services.access.denials import Denials
from services.access.door import Door
from services.access.identities import Directory
from services.access.logins import Logins
from services.access.opening import open_access, open_authenticator, open_door
from services.approvals.opening import open_voters
from services.approvals.voters import Voters
from services.audit.trail import Neo4jTrail
from services.autonomy.keeper import AutonomyKeeper
from services.clock import SystemClock
from services.connections import freeze_book, open_breaker, open_gate, open_graph, policy_of
from services.freezes import FreezeBook
from services.graph.approvals import Neo4jApprovalStore
from services.graph.autonomy import Neo4jAutonomy
from services.graph.connect import Graph
from services.graph.executions import Neo4jExecutionStore
from services.graph.history_truth import GraphTruth
from services.graph.journal import Neo4jJournal
from services.graph.ledger import Neo4jDecisionLedger
from services.graph.permits import Neo4jPermitLedger
from services.graph.tokens import Neo4jTokens
from services.graph.versions import Neo4jVersions
from services.history.database import HistoryDatabase
from services.history.sink import SqlHistory
from services.hooks import MultiHooks
from services.http_client import HttpClient
from services.kafka.bus import KafkaBus
from services.kafka.masking import masked_values
from services.kubernetes.cluster import KubernetesCluster
from services.kubernetes.connect import connect as connect_cluster
from services.logs import LogHooks, masker
from services.metrics import Metrics
from services.outgoing.opening import runbook_client, service_client
from services.pipeline.catalog import Catalog
from services.pipeline.storms import StormWatch
from services.plugins import all_actions
from services.policies.files import PolicyFiles, Terms
from services.sealing import sealer
from services.secrets.configured import configured_secrets
from services.secrets.keys import read_keys
from services.secrets.make import Secrets, make_secrets
from services.settings import Settings
from services.signing.opening import open_reviewed
from services.signing.reviewed import Reviewed


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
    """Everything that a service needs, connected. ``close`` undoes it in reverse order.

    Attributes:
        http: calls the services that the settings name.
        web: calls what runbooks name.
    """

    settings: Settings
    holder: str
    clock: SystemClock
    metrics: Metrics
    hooks: MultiHooks
    graph: Graph
    redis: Redis
    gate: RedisGate
    breaker: RedisBreaker
    storms: StormWatch | None
    cluster: KubernetesCluster
    bus: KafkaBus
    catalog: Catalog
    reviewed: Reviewed
    policies: PolicyFiles
    autonomy: AutonomyKeeper | None
    journal: Neo4jJournal
    executions: Neo4jExecutionStore
    ledger: Neo4jDecisionLedger
    approvals: Neo4jApprovalStore
    permits: Neo4jPermitLedger
    http: HttpClient
    web: HttpClient
    freezes: FreezeBook
    secrets: Secrets
    door: Door
    authenticator: Authenticator
    denials: Denials
    directory: Directory
    voters: Voters
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


def open_policies(settings: Settings) -> PolicyFiles:
    """The files of policies; nothing is read yet."""
    return PolicyFiles(settings.policies.files, Terms(policy_of(settings), settings.policies.loosen))


def open_autonomy(settings: Settings, graph: Graph, clock: SystemClock, hooks: MultiHooks) -> AutonomyKeeper | None:
    """The ladder of autonomy; None where everything may run by itself."""
    if not settings.autonomy.enabled:
        return None
    return AutonomyKeeper(Neo4jAutonomy(graph), settings.autonomy.ladder(), clock, hooks)


async def assemble(settings: Settings, *, context_named: bool = False) -> Parts:
    """Connect to everything.

    Args:
        settings: checked already.
        context_named: a person named the cluster on the command line.

    Raises:
        NotConfigured: the cluster is neither named nor the practice cluster.
        ConfigError: a policy cannot be used.
        ConfigError: the roles cannot be used.
    """
    policies = open_policies(settings)
    policies.load()
    async with AsyncExitStack() as stack:
        clock = SystemClock()
        metrics = Metrics()
        hooks = MultiHooks(metrics, LogHooks())
        history: SqlHistory | None = None
        for secret in configured_secrets(settings):
            masker.register(secret)
        graph = open_graph(settings)
        stack.push_async_callback(graph.close)
        if settings.history.url:
            history = open_history(settings, graph, stack)
            hooks = MultiHooks(metrics, LogHooks(), history)
        graph.unreadable.tell = lambda kind, _id, _why: hooks.event("record.unreadable", kind=kind)
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
        http, web = service_client(settings), runbook_client(settings)
        stack.push_async_callback(http.close)
        stack.push_async_callback(web.close)
        secrets = make_secrets(settings.secrets, os.environ, clock, masker.register, cluster)
        stack.push_async_callback(secrets.store.close)
        door = open_door(settings, open_access(settings), hooks)
        tokens = Neo4jTokens(graph, settings.redis.prefix)
        logins = Logins(Neo4jTrail(graph), redis, settings.redis.prefix, clock)
        vouching = open_authenticator(settings, clock, tokens=tokens, reviewer=cluster, logins=logins)
        authenticator = await stack.enter_async_context(vouching)
        sealer.ring = await read_keys(settings.secrets.encryption, os.environ, secrets.store, masker.register)
        sealer.keep_lookalikes = settings.secrets.encryption.without_key == "keep"
        journal = Neo4jJournal(graph)
        stack.push_async_callback(journal.close)
        known = action_schemas(all_actions())
        reviewed = open_reviewed(settings)
        catalog = Catalog(
            RunbookFolder(settings.runbooks.folders, actions=known),
            hooks,
            MappingFiles(settings.runbooks.mapping_files),
            Neo4jVersions(graph),
            known,
            reviewed=reviewed,
        )
        breaker = open_breaker(settings, redis, graph, clock)
        bus = KafkaBus(
            settings.kafka.bootstrap_servers,
            client=settings.kafka.client,
            on_lag=lambda topic, partition, value: hooks.event("lag", topic=topic, partition=partition, value=value),
            mask=masked_values(settings.kafka.topics, masker),
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
            breaker=breaker,
            storms=StormWatch(breaker, hooks) if settings.breaker.enabled else None,
            cluster=cluster,
            bus=bus,
            catalog=catalog,
            reviewed=reviewed,
            policies=policies,
            autonomy=open_autonomy(settings, graph, clock, hooks),
            journal=journal,
            executions=Neo4jExecutionStore(graph, settings.default_cluster),
            ledger=Neo4jDecisionLedger(graph, settings.matching.default_tenant, settings.default_cluster),
            approvals=Neo4jApprovalStore(graph),
            permits=Neo4jPermitLedger(graph),
            http=http,
            web=web,
            freezes=freeze_book(settings, http, clock),
            secrets=secrets,
            door=door,
            authenticator=authenticator,
            denials=Denials(Neo4jTrail(graph), masker.text, clock),
            directory=Directory(settings.access.people),
            voters=open_voters(settings, graph, door.access, http, clock),
            stack=stack.pop_all(),
            history=history,
        )
