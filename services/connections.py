"""The graph and the gate as the settings name them: one place for the pipeline and for the commands."""

from __future__ import annotations

from dataclasses import replace

from redis.asyncio import Redis

from executor.ports import Clock, Http
from safety.policy import PolicySettings
from safety.redis_breaker import RedisBreaker
from safety.redis_gate import RedisGate
from services.clock import SystemClock
from services.freezes import FreezeBook
from services.graph.connect import Graph, GraphSettings, connect
from services.graph.history import Neo4jGateHistory
from services.graph.pauses import Neo4jPauseLog
from services.graph.storms import Neo4jStormLog
from services.settings import Settings
from services.settings_limits import counted

_COMMAND_GATE_SECONDS = 3.0
"""A person waits for the answer of a command: more patience than the pipeline has."""


def open_graph(settings: Settings, *, command: bool = False) -> Graph:
    """The graph; nothing is sent yet.

    Args:
        settings: checked already.
        command: for one command: few connections, and it gives up sooner than the pipeline.
    """
    neo4j = settings.neo4j
    wanted = GraphSettings(
        uri=neo4j.uri,
        user=neo4j.user,
        password=neo4j.password.get_secret_value(),
        database=neo4j.database,
        encrypted=neo4j.ca_file is not None,
        ca_file=neo4j.ca_file,
    )
    return connect(replace(wanted, pool=4, acquire_seconds=5, retry_seconds=5) if command else wanted)


def policy_of(settings: Settings) -> PolicySettings:
    """The gate's own limits."""
    gate = settings.gate
    return PolicySettings(
        protected_namespaces=tuple(gate.protected_namespaces),
        max_blast_radius=gate.max_blast_radius,
        max_blast_percent_workload=gate.max_blast_percent_workload,
        max_blast_percent_namespace=gate.max_blast_percent_namespace,
        max_blast_percent_cluster=gate.max_blast_percent_cluster,
        blast_percent_from=gate.blast_percent_from,
        max_graph_age_seconds=gate.max_graph_age.total_seconds() if gate.max_graph_age else None,
        gitops=gate.gitops,
        max_executions_per_hour_total=gate.max_executions_per_hour,
        min_confidence_floor=gate.min_confidence_floor,
        provisional_ttl_seconds=gate.provisional_ttl.total_seconds(),
        permit_ttl_seconds=gate.permit_ttl.total_seconds(),
        lock_lease_seconds=gate.lock_lease.total_seconds(),
        **counted(gate.limits),
        ask_again_after=gate.ask_again.executions,
        ask_again_seconds=gate.ask_again.within.total_seconds(),
        least_cooldown_seconds=gate.cooldown.total_seconds(),
        cooldown_success_seconds=gate.cooldown_after.success.total_seconds(),
        cooldown_failure_seconds=gate.cooldown_after.failure.total_seconds(),
        cooldown_rollback_seconds=gate.cooldown_after.rollback.total_seconds(),
        cooldown_not_fixed_seconds=gate.cooldown_after.not_fixed.total_seconds(),
        cooldown_inconclusive_seconds=gate.cooldown_after.inconclusive.total_seconds(),
        storm_breaker=settings.breaker.enabled,
    )


def freeze_book(settings: Settings, http: Http, clock: Clock) -> FreezeBook:
    """The freezes of the settings and of the calendars that they name; nothing is read yet."""
    gate = settings.gate
    return FreezeBook(
        [freeze.value() for freeze in gate.freezes],
        gate.freeze_calendars,
        http,
        clock,
        timezone=gate.freeze_timezone,
        refresh=gate.freeze_refresh,
        max_age=gate.freeze_max_age,
    )


def open_gate(
    settings: Settings, redis: Redis, graph: Graph, clock: SystemClock, *, command: bool = False
) -> RedisGate:
    """The gate on Redis, which fills an emptied store from the graph by itself.

    Args:
        settings: checked already.
        redis: closed by the caller.
        graph: closed by the caller.
        clock: time.
        command: for one command, see ``open_graph``.
    """
    return RedisGate(
        redis,
        policy_of(settings),
        clock,
        prefix=settings.redis.prefix,
        timeout_seconds=_COMMAND_GATE_SECONDS if command else settings.gate.call_timeout_seconds,
        history=Neo4jGateHistory(graph),
        pauses=Neo4jPauseLog(graph, settings.redis.prefix),
        also=[open_breaker(settings, redis, graph, clock, command=command).restore],
    )


def open_breaker(
    settings: Settings, redis: Redis, graph: Graph, clock: SystemClock, *, command: bool = False
) -> RedisBreaker:
    """The storm breaker on Redis, which keeps what it stops in the graph as well. See ``open_gate``."""
    return RedisBreaker(
        redis,
        settings.breaker.values(),
        clock,
        prefix=settings.redis.prefix,
        timeout_seconds=_COMMAND_GATE_SECONDS if command else settings.gate.call_timeout_seconds,
        log=Neo4jStormLog(graph, settings.redis.prefix),
    )
