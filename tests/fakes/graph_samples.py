"""Decisions and executions to write, each with ids of its own, so that tests can share one database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from executor.model import Access, ExecutionRecord, Plan, PlannedStep, Status, StepRun, StepStatus
from matcher.model import Candidate, Cause, Incident, Origin, Signal, SignalStatus, Subject, Target
from services.records import DecisionKind, DecisionRecord, RunbookUse

RUN = f"tenant-{uuid4().hex[:12]}"
"""Every tenant of this test run begins so; what they wrote is taken away at the end."""
T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def origin(offset: int = 1, partition: int = 0, topic: str = "alerts") -> Origin:
    return Origin(topic, partition, offset)


def signal(**changes: Any) -> Signal:
    made = Signal(
        event_id=str(uuid4()),
        tenant=f"{RUN}-{uuid4().hex[:8]}",
        cluster="prod",
        reason="KubePodCrashLooping",
        severity="WARNING",
        status=SignalStatus.FIRING,
        subject=Subject("Pod", "shop-6d5f-x1", "web"),
        event_time=T0,
        shape="event_normalized",
        alert_key=uuid4().hex,
        origin=origin(),
        message="it restarts",
        labels={"app": "shop"},
    )
    return replace(made, **changes)


def incident(of: Signal, **changes: Any) -> Incident:
    made = Incident(
        id=str(uuid4()),
        fingerprint=uuid4().hex,
        tenant=of.tenant,
        cluster=of.cluster,
        signal=of,
        cause=Cause(str(uuid4()), "OOMKilled", of.subject, 0.62, "kgroot-live", 0.91, hops=1, event_time=T0),
        target=Target(of.cluster, "Deployment", f"shop-{uuid4().hex[:8]}", "web", container="app", resolved_by="owner"),
        opened_at=T0,
        last_seen=T0,
    )
    return replace(made, **changes)


def plan(target_key: str, **changes: Any) -> Plan:
    step = PlannedStep(
        index=0,
        id="raise",
        name="Raise the memory limit",
        action="kubectl_patch",
        params={"memory": "512Mi"},
        access=Access.WRITE,
        idempotent=True,
        timeout_seconds=60,
    )
    made = Plan(
        runbook_id="oom-raise-memory",
        runbook_version="1.0",
        runbook_sha="a" * 64,
        target_key=target_key,
        steps=(step,),
        context={"incident": {"reason": "OOMKilled"}},
        namespaces=("web",),
        touched=("Deployment/web/shop",),
        hash=uuid4().hex,
    )
    return made.model_copy(update=changes)


def execution(of: Incident, **changes: Any) -> ExecutionRecord:
    made = ExecutionRecord(
        id=str(uuid4()),
        plan=plan(of.target.key),
        incident={"id": of.id, "event_id": of.signal.event_id, "tenant": of.tenant},
        status=Status.PERMITTED,
    )
    return made.model_copy(update=changes)


def decision(kind: DecisionKind = DecisionKind.REFUSAL, **changes: Any) -> DecisionRecord:
    """A decision of ``kind``, with an incident unless it is one that has none."""
    sent = changes.pop("signal", None) or signal()
    without = kind in {DecisionKind.WAITING, DecisionKind.NO_CAUSE, DecisionKind.RESOLVED}
    made = DecisionRecord(
        id=str(uuid4()),
        kind=kind,
        signal=sent,
        decided_at=T0 + timedelta(seconds=1),
        first_seen=sent.seen_at,
        incident=None if without else incident(sent),
        candidates=(Candidate("oom-raise-memory", "1.0", "a" * 64, (3, 1)),),
        check="cooldown" if kind is DecisionKind.REFUSAL else "",
        message="the target cools down" if kind is DecisionKind.REFUSAL else "",
        numbers={"seconds_left": 120.0, "after": "e1"} if kind is DecisionKind.REFUSAL else {},
        origins=(sent.origin,),
        event_ids=(sent.event_id,),
        alert_keys=(sent.alert_key,),
    )
    return replace(made, **changes)


def permitted(*, token: int = 100, seconds: float = 60, of: Incident | None = None, **changes: Any) -> DecisionRecord:
    """A permit with its execution, redeemable for ``seconds`` from now."""
    problem = of or incident(signal())
    now = datetime.now(UTC)
    record = changes.pop("execution", None) or execution(problem, requested_at=now)
    made = decision(
        DecisionKind.PERMIT,
        signal=problem.signal,
        incident=problem,
        runbook=RunbookUse("oom-raise-memory", "1.0", "a" * 64, "runbook:\n  id: oom-raise-memory\n"),
        execution=record,
        permit_token=token,
        permit_expires_at=now + timedelta(seconds=seconds),
        decided_at=now,
    )
    return replace(made, **changes)


def step_run(execution_id: str, index: int = 0, status: StepStatus = StepStatus.INTENDED, **changes: Any) -> StepRun:
    made = StepRun(
        id=f"{execution_id}/step/{index}",
        index=index,
        step_id="raise",
        name="Raise the memory limit",
        action="kubectl_patch",
        status=status,
        before={"Deployment/web/shop": {"memory": "256Mi"}},
        started_at=T0 + timedelta(seconds=index),
    )
    return made.model_copy(update=changes)
