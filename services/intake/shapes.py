"""From each shape of message to signals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from matcher.fingerprint import alert_key, derived_event_id
from matcher.model import Cause, Origin, Received, Signal, SignalStatus, Subject
from services.intake.alert_subject import alert_subject
from services.intake.contracts import (
    Alert,
    AlertmanagerBody,
    AlertsEnriched,
    EventNormalized,
    NormalizerV2,
    RawEvent,
    RcaCause,
    RcaResult,
    RcaSubject,
)
from services.intake.errors import ErrorCode, Unreadable
from services.intake.fields import (
    NOBODY,
    Envelope,
    is_over,
    parse_time,
    read_cluster,
    read_confidence,
    read_event_id,
    read_labels,
    read_message,
    read_reason,
    read_severity,
    read_subject,
    read_tenant,
    read_time,
    read_writer,
)

M = TypeVar("M", bound=BaseModel)


def checked(model: type[M], data: object, where: str = "") -> M:
    """The data as a model; the first thing that is wrong becomes the detail."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join((*filter(None, (where,)), *(str(part) for part in first["loc"]))) or model.__name__
        raise Unreadable(ErrorCode.BAD_SHAPE, f"{place}: {first['msg']}") from error


def alerts_of(data: Mapping[str, Any], envelope: Envelope) -> tuple[AlertmanagerBody, tuple[Any, ...]]:
    """The body of Alertmanager with its alerts, not yet checked one by one."""
    body = checked(AlertmanagerBody, data)
    if not body.alerts:
        raise Unreadable(ErrorCode.NO_ALERTS, "the body has no alerts")
    if len(body.alerts) > envelope.settings.max_alerts:
        raise Unreadable(ErrorCode.TOO_MANY, f"{len(body.alerts)} alerts, at most {envelope.settings.max_alerts}")
    return body, body.alerts


def from_alert(data: object, group_status: str | None, origin: Origin, envelope: Envelope) -> Received:
    """One alert of an Alertmanager body. It carries no event id: one is made from fingerprint and start."""
    alert = checked(Alert, data)
    labels = read_labels(alert.labels, envelope)
    reason = read_reason(labels.get("alertname"), "labels.alertname")
    tenant, cluster = read_tenant(labels.get("tenant"), envelope), read_cluster(labels.get("cluster"), envelope)
    subject = alert_subject(labels, envelope.settings)
    if subject == NOBODY:
        raise Unreadable(ErrorCode.NO_SUBJECT, f"the labels of {reason} do not say what it is about")
    starts, ends = read_time(alert.startsAt, envelope, "startsAt"), parse_time(alert.endsAt, "endsAt")
    mark = (alert.fingerprint or "").strip() or derived_event_id(*_flat(labels))
    over = is_over((alert.status or group_status,), starts, ends, labels, envelope.received_at)
    words = read_labels(alert.annotations, envelope)
    signal = Signal(
        event_id=derived_event_id(tenant, cluster, mark, starts.isoformat() if starts else ""),
        tenant=tenant,
        cluster=cluster,
        reason=reason,
        severity=read_severity(labels.get("severity")),
        status=_status(over=over),
        subject=subject,
        event_time=starts or envelope.received_at,
        shape="alertmanager",
        alert_key=alert_key(tenant, cluster, reason, subject, mark),
        origin=origin,
        message=read_message(words.get("summary") or words.get("description") or words.get("message"), envelope),
        labels=labels,
        received_at=envelope.received_at,
        annotations=words,
    )
    return Received(signal, None, tuple(envelope.notes))


def from_event(data: Mapping[str, Any], origin: Origin, envelope: Envelope) -> Received:
    """KGroot's EventNormalized."""
    event = checked(EventNormalized, data)
    labels = read_labels(event.labels, envelope)
    about = event.subject
    subject = (
        read_subject(about.kind, about.name, about.ns or about.namespace, about.uid) if about is not None else NOBODY
    )
    inner = _inner_alert(event.alerts)
    starts, ends = (parse_time(inner.get(name), f"alerts.{name}") for name in ("startsAt", "endsAt"))
    said = inner.get("status")
    words = (event.status, said if isinstance(said, str) else None)
    mark = inner.get("fingerprint")
    return _received(
        event,
        envelope,
        origin,
        shape="event_normalized",
        event_id=read_event_id(event.event_id),
        tenant=event.client_id or labels.get("tenant"),
        cluster=event.cluster or labels.get("cluster"),
        reason=event.reason or labels.get("alertname"),
        severity=event.severity,
        subject=subject if subject != NOBODY else alert_subject(labels, envelope.settings),
        event_time=event.event_time,
        over=is_over(words, starts, ends, labels, envelope.received_at),
        labels=labels,
        mark=mark if isinstance(mark, str) else "",
    )


def from_raw(data: Mapping[str, Any], origin: Origin, envelope: Envelope) -> Received:
    """A Kubernetes event as the exporter writes it: its uid is the event id."""
    event = checked(RawEvent, data)
    about = event.involvedObject
    moment = event.lastTimestamp or event.eventTime or event.firstTimestamp or event.metadata.creationTimestamp
    return _received(
        event,
        envelope,
        origin,
        shape="raw_event",
        event_id=read_event_id(event.metadata.uid, "metadata.uid"),
        tenant=event.client_id,
        cluster=event.cluster,
        reason=event.reason,
        severity=event.type,
        subject=read_subject(about.kind, about.name, about.namespace, about.uid, "involvedObject"),
        event_time=moment,
        over=False,
        labels={},
    )


def from_v2(data: Mapping[str, Any], origin: Origin, envelope: Envelope) -> Received:
    """The second normalizer's event."""
    event = checked(NormalizerV2, data)
    labels = read_labels(event.labels, envelope)
    kind, name = event.involved_object_kind, event.involved_object_name
    if not (kind and name):
        named = (("Pod", event.pod_name), ("Service", event.service), ("Node", event.node))
        kind, name = next(((k, n) for k, n in named if n), (None, None))
    return _received(
        event,
        envelope,
        origin,
        shape="normalizer_v2",
        event_id=read_event_id(event.event_id),
        tenant=event.client_id or labels.get("tenant"),
        cluster=event.cluster_name or labels.get("cluster"),
        reason=event.reason or event.event_type_abstract,
        severity=event.severity,
        subject=read_subject(kind, name, event.namespace, None),
        event_time=event.timestamp,
        over=is_over((event.status,), None, None, labels, envelope.received_at),
        labels=labels,
    )


def enriched_subject(data: Mapping[str, Any]) -> Subject:
    """What the enricher found the event to be about."""
    resource = checked(AlertsEnriched, data).enrichment.get("resource")
    if not isinstance(resource, dict):
        return NOBODY
    about = checked(RcaSubject, resource, "enrichment.resource")
    return read_subject(about.kind, about.name, about.ns or about.namespace, about.uid, "enrichment.resource")


def from_rca(data: Mapping[str, Any], origin: Origin, envelope: Envelope) -> Received:
    """``rca.result/v1``: the symptom's event id with the causes that an engine found."""
    result = checked(RcaResult, data)
    event_id = read_event_id(result.incident_id, "incident_id")
    tenant, cluster = read_tenant(result.tenant, envelope), read_cluster(result.cluster, envelope)
    subject = _about(result.subject, "subject")
    writer = read_writer(result.writer)
    if result.causes is not None and len(result.causes) > envelope.settings.max_causes:
        raise Unreadable(ErrorCode.TOO_MANY, f"{len(result.causes)} causes, at most {envelope.settings.max_causes}")
    reason = read_reason(result.reason) if result.reason else ""
    signal = Signal(
        event_id=event_id,
        tenant=tenant,
        cluster=cluster,
        reason=reason,
        severity=read_severity(result.severity),
        status=SignalStatus.FIRING,
        subject=subject,
        event_time=read_time(result.produced_at, envelope, "produced_at") or envelope.received_at,
        shape="rca_result",
        alert_key=alert_key(tenant, cluster, reason, subject, event_id),
        origin=origin,
        message=read_message(result.message, envelope),
        labels=read_labels(result.labels, envelope),
        received_at=envelope.received_at,
    )
    causes = None if result.causes is None else tuple(_causes(result.causes, subject, writer, envelope))
    return Received(signal, causes, tuple(envelope.notes))


def _causes(causes: Iterable[RcaCause], subject: Subject, writer: str, envelope: Envelope) -> Iterable[Cause]:
    for number, cause in enumerate(causes):
        where = f"causes[{number}]"
        score = read_confidence(cause.confidence, f"{where}.confidence")
        yield Cause(
            event_id=read_event_id(cause.event_id, f"{where}.event_id"),
            reason=read_reason(cause.reason, f"{where}.reason"),
            subject=subject if cause.subject is None else _about(cause.subject, f"{where}.subject"),
            raw_score=score,
            writer=writer,
            confidence=score,
            hops=cause.hops,
            event_time=read_time(cause.event_time, envelope, f"{where}.event_time"),
        )


def _about(subject: RcaSubject | None, where: str) -> Subject:
    if subject is None:
        return NOBODY
    return read_subject(subject.kind, subject.name, subject.ns or subject.namespace, subject.uid, where)


def _received(
    event: EventNormalized | RawEvent | NormalizerV2,
    envelope: Envelope,
    origin: Origin,
    *,
    shape: str,
    event_id: str,
    tenant: str | None,
    cluster: str | None,
    reason: str | None,
    severity: str | None,
    subject: Subject,
    event_time: Any,
    over: bool,
    labels: Mapping[str, str],
    mark: str = "",
) -> Received:
    """What the three event shapes have in common. Without a subject the graph may still know one by the event id."""
    whose, where = read_tenant(tenant, envelope), read_cluster(cluster, envelope)
    what = read_reason(reason)
    message = read_message(event.message, envelope)
    if subject == NOBODY and not mark:
        # Nothing but its labels or words tells it from another alert of that name.
        mark = derived_event_id(*_flat(labels)) if labels else message or event_id
    moment: datetime | None = read_time(event_time, envelope, "event time")
    signal = Signal(
        event_id=event_id,
        tenant=whose,
        cluster=where,
        reason=what,
        severity=read_severity(severity),
        status=_status(over=over),
        subject=subject,
        event_time=moment or envelope.received_at,
        shape=shape,
        alert_key=alert_key(whose, where, what, subject, mark),
        origin=origin,
        message=message,
        labels=labels,
        received_at=envelope.received_at,
    )
    return Received(signal, None, tuple(envelope.notes))


def _inner_alert(alerts: Any) -> Mapping[str, Any]:
    """Vector adds the alert as an object, or as a list of one."""
    first = alerts[0] if isinstance(alerts, list) and alerts else alerts
    return first if isinstance(first, dict) else {}


def _flat(labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(part for pair in sorted(labels.items()) for part in pair)


def _status(*, over: bool) -> SignalStatus:
    return SignalStatus.RESOLVED if over else SignalStatus.FIRING
