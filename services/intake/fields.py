"""One field at a time: times, names, tenants, severities, confidences. Each reader raises ``Unreadable``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from matcher.kinds import canonical_kind
from matcher.model import Subject
from services.intake.errors import ErrorCode, Unreadable
from services.intake.settings import IntakeSettings

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:[Zz]|[+-]\d\d:?\d\d)?")
_DIGITS = re.compile(r"\d{9,19}(?:\.\d+)?")
_OLDEST_EPOCH = 1e8
_EPOCH_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (float("inf"), 1e9))

_DNS = re.compile(r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_LOOSE = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9._:]*[A-Za-z0-9])?")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,62}")
_UID = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._:]{0,127}")
_TENANT = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._@]{0,127}")
_CLUSTER = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._:/@]{0,252}")

_STRICT = frozenset(
    {"Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController"}
)
_CLUSTER_SCOPED = frozenset({"Node", "Namespace", "PersistentVolume"})
_LONGEST_NAME = 253
_LONGEST_NAMESPACE = 63
_LONGEST_TEXT = 256
_LONGEST_LABEL = 1024
_SHOWN = 80

_SEVERITIES = {
    "": "UNKNOWN",
    "warn": "WARNING",
    "err": "ERROR",
    "crit": "CRITICAL",
    "page": "CRITICAL",
    "emergency": "FATAL",
    "information": "INFO",
    "informational": "INFO",
    "none": "INFO",
}
_NOT_FIRING = frozenset({"resolved", "inactive", "cleared", "closed"})

NOBODY = Subject("", "")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is known of a message besides its value.

    Attributes:
        received_at: the broker's timestamp, UTC.
        tenant: from headers or key; empty when they do not say.
        cluster: as ``tenant``.
    """

    received_at: datetime
    settings: IntakeSettings
    tenant: str = ""
    cluster: str = ""
    notes: list[str] = field(default_factory=list)


def shown(value: object) -> str:
    """A value as it may appear in a detail: quoted and short."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def read_time(value: Any, envelope: Envelope, name: str) -> datetime | None:
    """A time, UTC, truncated to microseconds; None when it is missing or Go's zero time."""
    moment = parse_time(value, name)
    if moment is None:
        return None
    settings = envelope.settings
    if moment - envelope.received_at > settings.max_ahead:
        ahead = (moment - envelope.received_at).total_seconds()
        envelope.notes.append(f"{name} lies {ahead:.0f} s ahead; the time of receipt took its place")
        return envelope.received_at
    return moment


def parse_time(value: Any, name: str) -> datetime | None:
    """As ``read_time``, wherever in time it lies."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        text = value.strip()
        if _RFC3339.fullmatch(text):
            return _from_text(text, name)
        if not _DIGITS.fullmatch(text):
            raise Unreadable(ErrorCode.BAD_TIME, f"{name}: {shown(value)} is neither RFC 3339 nor an epoch")
        value = float(text)
    return _from_epoch(value, name)


def _from_text(text: str, name: str) -> datetime | None:
    if text.startswith("0001-01-01"):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise Unreadable(ErrorCode.BAD_TIME, f"{name}: {shown(text)} is no time: {error}") from error


def _from_epoch(value: float, name: str) -> datetime:
    unit = next(unit for below, unit in _EPOCH_UNITS if value < below) if value == value else 1.0  # noqa: PLR0124 - NaN
    try:
        if value >= _OLDEST_EPOCH:
            return datetime.fromtimestamp(value / unit, tz=UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Unreadable(ErrorCode.BAD_TIME, f"{name}: {shown(value)} is no epoch: {error}") from error
    raise Unreadable(ErrorCode.BAD_TIME, f"{name}: {shown(value)} is no epoch of our days")


def read_subject(
    kind: str | None, name: str | None, namespace: str | None, uid: str | None, where: str = "subject"
) -> Subject:
    """A Kubernetes object by the rules for names; ``NOBODY`` when there is neither kind nor name."""
    kind, name = canonical_kind(kind or ""), (name or "").strip()
    namespace, uid = (namespace or "").strip(), (uid or "").strip()
    if not kind or not name:
        # Half a subject is none, but what is there must still be clean: it ends up in logs.
        _reject_unprintable(f"{kind}{name}{namespace}{uid}", where)
        return NOBODY
    if not _KIND.fullmatch(kind):
        raise Unreadable(ErrorCode.BAD_KIND, f"{where}.kind: {shown(kind)} is not a Kubernetes kind")
    rule = _DNS if kind in _STRICT else _LOOSE
    if len(name) > _LONGEST_NAME or not rule.fullmatch(name):
        raise Unreadable(ErrorCode.BAD_NAME, f"{where}.name: {shown(name)} is not the name of a {kind}")
    if kind in _CLUSTER_SCOPED:
        namespace = ""
    if namespace and (len(namespace) > _LONGEST_NAMESPACE or not _LABEL.fullmatch(namespace)):
        raise Unreadable(ErrorCode.BAD_NAMESPACE, f"{where}.namespace: {shown(namespace)} is not an RFC 1123 label")
    if uid and not _UID.fullmatch(uid):
        raise Unreadable(ErrorCode.BAD_UID, f"{where}.uid: {shown(uid)} is not a uid")
    return Subject(kind, name, namespace, uid)


def _reject_unprintable(text: str, where: str) -> None:
    if not text.isprintable():
        raise Unreadable(ErrorCode.BAD_NAME, f"{where}: {shown(text)} has characters that no name has")


def read_tenant(said: str | None, envelope: Envelope) -> str:
    """The tenant: as the message says, else headers or key, else the default."""
    tenant = (said or "").strip() or envelope.tenant or envelope.settings.default_tenant
    if not _TENANT.fullmatch(tenant):
        raise Unreadable(ErrorCode.BAD_TENANT, f"tenant {shown(tenant)} has characters that keys cannot hold")
    return tenant


def read_cluster(said: str | None, envelope: Envelope) -> str:
    """The cluster: as the message says, else the headers, else the default."""
    cluster = (said or "").strip() or envelope.cluster or envelope.settings.default_cluster
    if not _CLUSTER.fullmatch(cluster):
        raise Unreadable(ErrorCode.BAD_CLUSTER, f"cluster {shown(cluster)} has characters that keys cannot hold")
    return cluster


def read_event_id(value: str | None, name: str = "event_id") -> str:
    """An event id: printable, at most 256 characters."""
    text = (value or "").strip()
    if not text:
        raise Unreadable(ErrorCode.NO_EVENT_ID, f"{name} is missing")
    if len(text) > _LONGEST_TEXT or not text.isprintable():
        raise Unreadable(ErrorCode.BAD_EVENT_ID, f"{name}: {shown(text)} is no event id")
    return text


def read_reason(value: str | None, name: str = "reason") -> str:
    """A reason or alert name: printable, at most 253 characters."""
    text = (value or "").strip()
    if not text:
        raise Unreadable(ErrorCode.NO_REASON, f"{name} is missing")
    if len(text) > _LONGEST_NAME or not text.isprintable():
        raise Unreadable(ErrorCode.BAD_REASON, f"{name}: {shown(text)} is no reason")
    return text


def read_writer(value: str | None) -> str:
    """The writer of an RCA result; ``unknown`` when it does not say."""
    text = (value or "").strip() or "unknown"
    if len(text) > _LONGEST_TEXT or not text.isprintable():
        raise Unreadable(ErrorCode.BAD_WRITER, f"writer: {shown(text)} is no name")
    return text


def read_confidence(value: Any, where: str) -> float:
    """A raw score, 0 to 1; a missing one is 0."""
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise Unreadable(ErrorCode.BAD_CONFIDENCE, f"{where}: {shown(value)} is not a number from 0 to 1")
    return float(value)


def read_severity(value: str | None) -> str:
    """A severity in KGroot's words (INFO, WARNING, ERROR, CRITICAL, ...); other words in capitals."""
    text = (value or "").strip().lower()
    known = _SEVERITIES.get(text, text.upper())
    return known if known.isprintable() and len(known) <= _SHOWN else "UNKNOWN"


def read_labels(labels: Mapping[str, Any], envelope: Envelope) -> dict[str, str]:
    """Labels as text; long values are cut."""
    if len(labels) > envelope.settings.max_labels:
        raise Unreadable(ErrorCode.TOO_MANY, f"{len(labels)} labels, at most {envelope.settings.max_labels}")
    return {name: _label(value)[:_LONGEST_LABEL] for name, value in labels.items() if value is not None}


def _label(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_message(value: str | None, envelope: Envelope) -> str:
    """The message for people, cut where it is too long."""
    text = value or ""
    if len(text) > envelope.settings.max_text:
        envelope.notes.append(f"a message of {len(text)} characters was cut")
        return text[: envelope.settings.max_text]
    return text


def is_over(
    words: tuple[str | None, ...],
    starts: datetime | None,
    ends: datetime | None,
    labels: Mapping[str, str],
    now: datetime,
) -> bool:
    """Whether an alert is resolved, whatever it looks like.

    Args:
        words: what status fields say.
        starts: when it began firing.
        ends: when it ended; firing alerts carry none, Go's zero time, or a time to come.
        labels: of the alert; Prometheus writes ``alertstate``.
        now: the time of receipt.
    """
    if any(word and word.strip().lower() in _NOT_FIRING for word in (*words, labels.get("alertstate"))):
        return True
    return starts is not None and ends is not None and starts <= ends <= now
