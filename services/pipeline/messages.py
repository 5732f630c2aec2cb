"""What the pipeline says on Kafka, made from what it recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from executor.model import ExecutionRecord, Status
from matcher.model import Target
from safety.approvals import Approval
from services.intake.contracts import (
    ApprovalMessage,
    CandidateNote,
    DecisionMessage,
    ExecutionEvent,
    RequestMessage,
    TargetRef,
)
from services.kafka.model import Outbound
from services.records import DecisionKind, DecisionRecord
from services.settings import Topics

_SHORT_CHARACTERS = 200


def _correlation(event_id: str, incident_id: str, execution_id: str = "") -> tuple[tuple[str, bytes], ...]:
    """Headers by which one story can be followed through all topics and logs."""
    pairs = (("event_id", event_id), ("incident_id", incident_id), ("execution_id", execution_id))
    return tuple((name, value.encode()) for name, value in pairs if value)


def _target(target: Target) -> TargetRef:
    return TargetRef(key=target.key, kind=target.kind, name=target.name, namespace=target.namespace)


def decision_message(record: DecisionRecord, topics: Topics) -> Outbound:
    """The decision, for everybody who wants to know."""
    incident = record.incident
    message = DecisionMessage(
        decision_id=record.id,
        kind=record.kind.value,
        incident_id=incident.id if incident else "",
        tenant=record.signal.tenant,
        cluster=record.signal.cluster,
        event_id=record.signal.event_id,
        reason=incident.cause.reason if incident else record.signal.reason,
        target=_target(incident.target) if incident else None,
        runbook_id=record.runbook.id if record.runbook else None,
        runbook_version=record.runbook.version if record.runbook else None,
        execution_id=record.execution.id if record.execution else None,
        confidence=incident.cause.confidence if incident else None,
        check=record.check or None,
        message=record.message,
        numbers=dict(record.numbers),
        candidates=tuple(
            CandidateNote(runbook_id=c.runbook_id, version=c.version, score=c.score, lost_because=c.lost_because)
            for c in record.candidates
        ),
        decided_at=record.decided_at,
    )
    key = incident.target.key if incident else record.signal.event_id
    headers = _correlation(
        record.signal.event_id, incident.id if incident else "", record.execution.id if record.execution else ""
    )
    return Outbound(topics.decisions, key, message.value(), headers, lambda: _in_short(message))


def _in_short(message: DecisionMessage) -> bytes:
    """A decision without what grows with the number of runbooks and the length of texts; the graph has all of it."""
    without = {"candidates": (), "numbers": {}, "message": message.message[:_SHORT_CHARACTERS]}
    return message.model_copy(update=without).value()


def request_message(record: DecisionRecord) -> RequestMessage:
    """Leave to run the plan of a permitted decision."""
    if record.execution is None:
        raise ValueError(f"decision {record.id} has no execution to request")
    return RequestMessage(
        execution_id=record.execution.id,
        plan_hash=record.execution.plan.hash,
        target_key=record.execution.plan.target_key,
        decision_id=record.id,
        requested_at=record.decided_at,
        signal_received_at=record.received_at,
    )


def request_outbound(request: RequestMessage, topics: Topics) -> Outbound:
    """Keyed by target, so that one partition sees the requests of a target in order."""
    return Outbound(topics.requests, request.target_key, request.value(), _correlation("", "", request.execution_id))


def approval_message(approval: Approval, target_key: str, topics: Topics, at: datetime) -> Outbound:
    """An approval that was asked for or answered."""
    message = ApprovalMessage(
        approval_id=approval.id,
        execution_id=approval.execution_id,
        status=approval.status.value,
        plan_hash=approval.plan_hash,
        by=approval.answered_by or None,
        reason=approval.answer_reason or None,
        expires_at=approval.expires_at,
        step=approval.step or None,
        at=at,
    )
    return Outbound(
        topics.approvals, target_key, message.value(), _correlation("", approval.incident_id, approval.execution_id)
    )


def execution_event(record: ExecutionRecord, event: str, message: str, topics: Topics, at: datetime) -> Outbound:
    """One moment in the life of an execution."""
    incident_id = str(record.incident.get("id", ""))
    body = ExecutionEvent(
        execution_id=record.id,
        incident_id=incident_id,
        event=event,
        status=record.status.value,
        verdict=record.verdict.value if record.verdict else None,
        outcome=record.outcome.value if record.outcome else None,
        message=message,
        at=at,
    )
    return Outbound(topics.executions, record.plan.target_key, body.value(), _correlation("", incident_id, record.id))


def progress_event(
    record: ExecutionRecord, event: str, facts: Mapping[str, Any], *, status: Status, topics: Topics, at: datetime
) -> Outbound:
    """One moment of one step of an execution, from what the executor's hooks were told."""
    incident_id = str(record.incident.get("id", ""))
    body = ExecutionEvent(
        execution_id=record.id,
        incident_id=incident_id,
        event=event,
        status=status.value,
        step=facts.get("step_id") or facts.get("step"),
        name=str(facts.get("step") or "") if facts.get("step_id") else "",
        phase=facts.get("phase"),
        action=facts.get("action"),
        item=facts.get("item"),
        attempt=facts.get("attempt"),
        result=facts.get("status"),
        seconds=facts.get("seconds"),
        message=str(facts.get("error") or facts.get("reason") or ""),
        at=at,
    )
    return Outbound(topics.executions, record.plan.target_key, body.value(), _correlation("", incident_id, record.id))


def is_request(record: DecisionRecord) -> bool:
    """Whether a decision is a permit that waits for a worker."""
    waits = record.execution is not None and record.execution.status is Status.PERMITTED
    return waits and record.kind is DecisionKind.PERMIT


def outbound_of(records: Sequence[DecisionRecord], topics: Topics) -> list[Outbound]:
    """Everything that follows from recorded decisions."""
    messages = [decision_message(record, topics) for record in records]
    messages += [request_outbound(request_message(r), topics) for r in records if is_request(r)]
    messages += [
        approval_message(r.approval, r.execution.plan.target_key, topics, r.decided_at)
        for r in records
        if r.kind is DecisionKind.APPROVAL and r.approval and r.execution
    ]
    return messages
