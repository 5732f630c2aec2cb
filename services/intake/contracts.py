"""The messages that come in and go out, as models. JSON Schema and AsyncAPI are made from them.

Inbound models are lenient: unknown fields are kept, and what the writers leave empty may be missing. Outbound models
are strict: what we write is exactly this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Scalar = str | int | float | bool | None
Instant = Annotated[str | int | float | None, Field(description="RFC 3339 with up to nanoseconds, or an epoch number")]
Labels = Mapping[str, Scalar]


def _no_list(value: object) -> object:
    """Upstream sends ``[]`` where an object has no content (PHP and Lua encoders do)."""
    return {} if value is None or value == [] else value


LabelMap = Annotated[Labels, BeforeValidator(_no_list)]


class Inbound(BaseModel):
    """Base of what comes in: unknown fields are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class Alert(Inbound):
    """One alert of an Alertmanager body."""

    status: str | None = None
    labels: LabelMap = Field({}, description="`alertname` and what it is about: pod, namespace, deployment, node, ...")
    annotations: LabelMap = {}
    startsAt: Instant = None  # noqa: N815 - the sender's name
    endsAt: Instant = None  # noqa: N815 - the sender's name
    fingerprint: str | None = None


class AlertmanagerBody(Inbound):
    """A webhook body of Alertmanager: many alerts in one message."""

    version: str | None = None
    status: str | None = None
    receiver: str | None = None
    groupLabels: LabelMap = {}  # noqa: N815 - the sender's name
    commonLabels: LabelMap = {}  # noqa: N815 - the sender's name
    commonAnnotations: LabelMap = {}  # noqa: N815 - the sender's name
    alerts: tuple[Any, ...] = Field(description="Each is an `Alert`; one bad alert does not spoil the others")


class EventSubject(Inbound):
    """The object of an EventNormalized."""

    kind: str | None = None
    name: str | None = None
    ns: str | None = None
    namespace: str | None = None
    uid: str | None = None


class EventNormalized(Inbound):
    """KGroot's normalised event, from the alert receiver or Vector."""

    event_id: str | None = Field(None, description="Equals `Episodic.eid`; a new one for each delivery of an alert")
    event_time: Instant = Field(None, description="Time of receipt at the writer, not `startsAt`")
    client_id: str | None = Field(None, description="The tenant")
    cluster: str | None = None
    etype: str | None = Field(None, description="`prom.alert` or `k8s.event`")
    severity: str | None = None
    reason: str | None = None
    message: str | None = None
    subject: EventSubject | None = None
    status: str | None = None
    labels: LabelMap = {}
    annotations: LabelMap = {}
    alerts: Any = Field(None, description="Vector adds the alert with its `fingerprint`, `startsAt`, `endsAt`")


class ObjectMeta(Inbound):
    """Metadata of a Kubernetes object."""

    uid: str | None = None
    name: str | None = None
    namespace: str | None = None
    creationTimestamp: Instant = None  # noqa: N815 - the sender's name


class InvolvedObject(Inbound):
    """The object that a Kubernetes event is about."""

    kind: str | None = None
    name: str | None = None
    namespace: str | None = None
    uid: str | None = None


class RawEvent(Inbound):
    """A Kubernetes event as the exporter writes it."""

    metadata: ObjectMeta = ObjectMeta()
    reason: str | None = None
    message: str | None = None
    type: str | None = None
    involvedObject: InvolvedObject  # noqa: N815 - the sender's name
    firstTimestamp: Instant = None  # noqa: N815 - the sender's name
    lastTimestamp: Instant = None  # noqa: N815 - the sender's name
    eventTime: Instant = None  # noqa: N815 - the sender's name
    client_id: str | None = None
    cluster: str | None = None


class NormalizerV2(Inbound):
    """The second normalizer's event."""

    event_id: str | None = None
    cluster_name: str | None = None
    client_id: str | None = None
    timestamp: Instant = None
    event_type_abstract: str | None = None
    namespace: str | None = None
    pod_name: str | None = None
    node: str | None = None
    service: str | None = None
    reason: str | None = None
    message: str | None = None
    severity: str | None = None
    involved_object_kind: str | None = None
    involved_object_name: str | None = None
    raw_event_id: str | None = None
    status: str | None = None
    labels: LabelMap = {}


class AlertsEnriched(Inbound):
    """An event of any of the three shapes, with what the enricher added."""

    enrichment: Mapping[str, Any] = Field(
        description="enriched_at, resource, related_resources, topology, group_*, ..."
    )


class RcaSubject(Inbound):
    """What an RCA result, or one of its causes, is about."""

    kind: str | None = None
    ns: str | None = None
    namespace: str | None = None
    name: str | None = None
    uid: str | None = None


class RcaCause(Inbound):
    """One candidate of an RCA result."""

    event_id: str
    reason: str
    confidence: Any = Field(None, description="0 to 1 on the writer's own scale; null counts as 0")
    hops: int | None = Field(None, ge=0)
    event_time: Instant = None
    subject: RcaSubject | None = Field(None, description="Left out: the cause is about the result's own subject")


class RcaResult(Inbound):
    """What an RCA engine found out about one event."""

    schema_: Literal["rca.result/v1"] = Field(alias="schema")
    result_id: str | None = None
    tenant: str | None = None
    cluster: str | None = None
    incident_id: str | None = Field(None, description="The symptom's event id")
    reason: str | None = Field(None, description="The symptom's reason; runbooks may ask for it")
    severity: str | None = None
    message: str | None = None
    produced_at: Instant = None
    writer: str | None = Field(None, description="Who found it; selects the calibration table")
    subject: RcaSubject | None = None
    labels: LabelMap = {}
    causes: tuple[RcaCause, ...] | None = Field(None, description="Left out: the graph is asked")


class Outbound(BaseModel):
    """Base of what goes out."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True, allow_inf_nan=False
    )

    def value(self) -> bytes:
        """The message's value: JSON, UTF-8, times in RFC 3339."""
        return self.model_dump_json().encode()


def _finite(value: object) -> object:
    """JSON has no NaN: a refusal because of one must still be published."""
    if not isinstance(value, Mapping):
        return value
    return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in value.items()}


Numbers = Annotated[Mapping[str, float | str], BeforeValidator(_finite)]


class TargetRef(Outbound):
    """What a decision is about."""

    key: str = Field(description="cluster/namespace/Kind/name")
    kind: str
    name: str
    namespace: str = ""


class CandidateNote(Outbound):
    """A runbook that was looked at. `lost_because` is empty for the winner."""

    runbook_id: str
    version: str
    score: tuple[int, ...] = ()
    lost_because: str = ""


DecisionKind = Literal[
    "permit",
    "refusal",
    "approval",
    "no_match",
    "waiting",
    "no_cause",
    "no_target",
    "plan_failed",
    "resolved",
    "joined",
]


class DecisionMessage(Outbound):
    """One decision, also when nothing is done (`remediation.decisions`)."""

    schema_: Literal["remediation.decision/v1"] = Field("remediation.decision/v1", alias="schema")
    decision_id: str
    kind: DecisionKind
    incident_id: str = Field(description="Empty before an incident exists")
    tenant: str
    cluster: str
    event_id: str
    reason: str
    target: TargetRef | None = None
    runbook_id: str | None = None
    runbook_version: str | None = None
    execution_id: str | None = None
    confidence: float | None = Field(None, ge=0, le=1)
    check: str | None = Field(None, description="The check of the gate that said no")
    message: str
    numbers: Numbers = {}
    candidates: tuple[CandidateNote, ...] = ()
    decided_at: datetime


class RequestMessage(Outbound):
    """A permitted plan that waits for an executor (`remediation.requests`, keyed by target)."""

    schema_: Literal["remediation.request/v1"] = Field("remediation.request/v1", alias="schema")
    execution_id: str
    plan_hash: str
    target_key: str
    decision_id: str
    requested_at: datetime
    signal_received_at: datetime | None = None


class ExecutionEvent(Outbound):
    """One moment in the life of an execution (`remediation.executions`)."""

    schema_: Literal["remediation.execution/v1"] = Field("remediation.execution/v1", alias="schema")
    execution_id: str
    incident_id: str
    event: str = Field(
        description="started, resumed, step_started, step_retry, step_finished, approval_requested, paused, verifying, "
        "rolling_back, finished"
    )
    status: str
    step: str | None = Field(None, description="Id of the step")
    name: str = Field("", description="Name of the step")
    phase: str | None = Field(None, description="step, procedure.N, rollback, undo, ...")
    action: str | None = None
    item: int | None = Field(None, description="Which item of for_each, from 0")
    attempt: int | None = Field(None, description="Which attempt, from 1")
    result: str | None = Field(None, description="How the step ended: succeeded, failed, skipped, unknown")
    seconds: float | None = Field(None, description="How long the step took")
    verdict: str | None = None
    outcome: str | None = None
    message: str = ""
    at: datetime


class ApprovalMessage(Outbound):
    """An approval that is asked for, or its answer (`remediation.approvals`)."""

    schema_: Literal["remediation.approval/v1"] = Field("remediation.approval/v1", alias="schema")
    approval_id: str
    execution_id: str
    status: str = Field(description="pending, approved, denied, expired, overtaken")
    plan_hash: str
    by: str | None = None
    reason: str | None = None
    step: str | None = Field(None, description="The step that is asked about; left out, it is the whole plan")
    expires_at: datetime
    at: datetime


class DeadHeader(Outbound):
    """A header of a dead letter; a name may occur more than once."""

    name: str
    value_base64: str


class DeadLetter(Outbound):
    """A message that could not be read (`remediation.dlq`), with all that is needed to send it again."""

    schema_: Literal["remediation.dead_letter/v1"] = Field("remediation.dead_letter/v1", alias="schema")
    error: str = Field(description="The error code")
    detail: str = Field(description="What is wrong, and where in the message")
    topic: str
    partition: int
    offset: int
    key_base64: str | None = None
    value_base64: str | None = Field(None, description="The original bytes; null for a message without value")
    value_bytes: int = Field(0, description="Length of the original value in bytes")
    value_sha256: str | None = Field(None, description="Of the whole original value, hex")
    truncated: bool = Field(False, description="Key, value or headers were cut; the origin still has them")
    headers: tuple[DeadHeader, ...] = ()
    at: datetime


INBOUND: Mapping[str, type[Inbound]] = {
    "alertmanager": AlertmanagerBody,
    "event_normalized": EventNormalized,
    "raw_event": RawEvent,
    "normalizer_v2": NormalizerV2,
    "alerts_enriched": AlertsEnriched,
    "rca_result": RcaResult,
}
"""Inbound models by the shape that a ``Signal`` carries."""

OUTBOUND: Mapping[str, type[Outbound]] = {
    "decisions": DecisionMessage,
    "requests": RequestMessage,
    "executions": ExecutionEvent,
    "approvals": ApprovalMessage,
    "dlq": DeadLetter,
}
"""Outbound models by the name that the topic has in the settings."""
