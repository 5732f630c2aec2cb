"""The roles of one process, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from executor.actions.base import World
from executor.notify import Notifier
from safety.trail import PIPELINE
from services.api.guard import Guard
from services.api.receiver import Receiver
from services.api.runs import RunsApi
from services.audit.trail import Neo4jTrail
from services.bootstrap.acting import asked_elsewhere, make_worker, world
from services.bootstrap.deciding import make_decider, make_permits
from services.bootstrap.noticing import make_notices
from services.bootstrap.parts import Parts, Role
from services.changes.origins import from_git
from services.changes.telling import ChangeTeller
from services.graph.changes import Neo4jChanges
from services.graph.history import Neo4jGateHistory
from services.graph.retention import Retention, Taken
from services.graph.schedules import Neo4jScheduleState
from services.intake.settings import IntakeSettings
from services.kubernetes.recent import RecentReads
from services.logs import masker
from services.pipeline.act import Worker
from services.pipeline.commit import Committer
from services.pipeline.desk import ApprovalDesk
from services.pipeline.ingest import Ingest
from services.pipeline.missed_ends import MissedEnds
from services.pipeline.permit import Permits
from services.pipeline.questions import Questions
from services.pipeline.retaining import RetentionDuty
from services.pipeline.sweep import Bridge, Duty, OrphanCare
from services.schedule import Scheduler
from services.secrets.rotation import RotationWatch
from services.settings import Settings
from services.storms import StormCalls


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
    storms = parts.storms.keeps if parts.storms else None
    questions = Questions(Notifier(acting, parts.hooks, masker.text, asked_elsewhere(settings), storms))
    committer = Committer(
        ledger=parts.ledger,
        gate=parts.gate,
        publisher=parts.bus,
        topics=topics,
        hooks=parts.hooks,
        handoff=worker.submit if worker else None,
        asked=questions.ask,
        suggested=questions.suggest,
    )
    duties: list[tuple[str, Duty]] = [
        ("versions", parts.catalog.follow),
        ("policies", parts.policies.follow),
        ("changes", make_changes(parts)),
    ]
    if parts.autonomy:
        duties.append(("autonomy", parts.autonomy.sweep))
    if parts.freezes.calendars:
        duties.append(("freezes", parts.freezes.refresh))
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
        duties.append(("notices", make_notices(parts, acting).sweep))
    if worker or Role.DECIDE in roles:
        care = OrphanCare(
            executions=parts.executions,
            gate=parts.gate,
            publisher=parts.bus,
            topics=topics,
            clock=parts.clock,
            worker=worker,
            hooks=parts.hooks,
        )
        duties.append(("orphans", care.sweep))
        ends = Neo4jGateHistory(parts.graph, settings.default_cluster)
        duties.append(("ends", MissedEnds(ends, parts.gate, parts.clock).sweep))
    if worker and parts.secrets.rotation:
        watch = RotationWatch(parts.secrets.store, parts.secrets.rotation, parts.clock, parts.hooks.event)
        duties.append(("secrets", watch.sweep))
    if parts.storms:
        duties.append(("storms", _storm_calls(parts, acting).sweep))
    if Role.DECIDE in roles and settings.retention.executions is not None:
        duties.append(("retention", make_retention(parts, settings.retention.executions).sweep))
    if Role.SCHEDULE in roles:
        duties.append(("schedule", _scheduler(parts).sweep))
    return Pipeline(ingest, worker, tuple(duties))


def make_changes(parts: Parts) -> Duty:
    """Tells the audit trail which policies and runbooks came into force."""
    teller = ChangeTeller(Neo4jChanges(parts.graph, parts.settings.redis.prefix), from_git, parts.holder)

    async def sweep() -> None:
        await teller.tell(parts.policies.in_force)
        await teller.tell(parts.catalog.loaded)

    return sweep


def make_retention(parts: Parts, keep: timedelta) -> RetentionDuty:
    """Takes old executions away, as the settings say."""
    retention = Retention(parts.graph)

    async def prune(keep: timedelta, most: int, reason: str) -> Taken:
        now = parts.clock.now()
        return await retention.prune(now - keep, now, by=PIPELINE, reason=reason, most=most)

    return RetentionDuty(prune, keep, parts.clock)


def make_guard(parts: Parts) -> Guard:
    """What every endpoint asks of its callers."""
    return Guard(parts.authenticator, parts.door, Neo4jTrail(parts.graph))


def make_runs_api(parts: Parts) -> RunsApi | None:
    """Runbooks over REST; None where nobody could prove who they are."""
    settings = parts.settings
    if settings.api.token is None and not parts.door.access.configured:
        return None
    return RunsApi(
        runbooks=lambda: parts.catalog.runbooks,
        publisher=parts.bus,
        topic=settings.kafka.topics.run_requests,
        ledger=parts.ledger,
        executions=parts.executions,
        clock=parts.clock,
        guard=make_guard(parts),
        tenant=settings.matching.default_tenant,
        cluster=settings.default_cluster,
        configured=settings.runbooks.parameters,
        max_body_bytes=settings.api.max_body_bytes,
        produce_timeout_seconds=settings.api.produce_timeout_seconds,
    )


def make_receiver(parts: Parts) -> Receiver | None:
    """The receiver for Alertmanager; None where nobody could prove who they are."""
    settings = parts.settings
    if settings.api.receiver_token is None and not parts.door.access.configured:
        return None
    return Receiver(
        parts.bus,
        settings.kafka.topics.alerts,
        make_guard(parts),
        max_body_bytes=settings.api.max_body_bytes,
        produce_timeout_seconds=settings.api.produce_timeout_seconds,
    )


def _storm_calls(parts: Parts, acting: World) -> StormCalls:
    chosen = parts.settings.breaker
    return StormCalls(
        breaker=parts.breaker,
        chat=acting.chat,
        people=acting.people,
        ways=chosen.tell,
        channel=chosen.channel,
        quiet_seconds=chosen.quiet.total_seconds(),
        redact=masker.text,
        hooks=parts.hooks,
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
