"""Identities: what makes two inputs the same alert, the same problem, the same execution.

Everything is derived from what the message says, nothing is drawn: a message that is read twice meets its own records.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from uuid import NAMESPACE_URL, UUID, uuid5

from matcher.model import Cause, Signal, Subject, Target
from matcher.reasons import canonical_reason

_HEX = 32
_ROOT = uuid5(NAMESPACE_URL, "https://rootmend.dev/ids")
_INCIDENT = uuid5(_ROOT, "incident")
_EXECUTION = uuid5(_ROOT, "execution")
_DECISION = uuid5(_ROOT, "decision")
_EVENT = uuid5(_ROOT, "event")


def _digest(*parts: str) -> str:
    # Lengths go in front, so that no choice of names can make two different lists look alike.
    return sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()[:_HEX]


def _derive(namespace: UUID, *parts: str) -> str:
    return str(uuid5(namespace, "".join(f"{len(part)}:{part}" for part in parts)))


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def alert_key(tenant: str, cluster: str, reason: str, subject: Subject, extra: str = "") -> str:
    """The key that firing and resolved deliveries of one alert share.

    Args:
        tenant: whose alert it is.
        cluster: where it fired.
        reason: the alert's name or the event's reason, as sent.
        subject: what it is about.
        extra: what else tells alerts apart: Alertmanager's fingerprint, or the event id when there is no subject.

    Returns:
        32 hex characters. The subject's uid stays out: only some of the writers know it.
    """
    return _digest(tenant, cluster, reason, subject.kind, subject.namespace, subject.name, extra)


def run_key(tenant: str, cluster: str, request_id: str) -> str:
    """The key that all copies of a request to run a runbook share; no alert, whatever it says, has the same."""
    return _digest(tenant, cluster, "run request", request_id)


def identity(signal: Signal) -> str:
    """Which alert a signal is a delivery of; two tenants never share one."""
    return f"{signal.tenant}\0{signal.alert_key}"


def fingerprint(tenant: str, cluster: str, cause_reason: str, target_key: str) -> str:
    """The problem: one cause on one target. Names of one family count as one reason; 32 hex characters."""
    return _digest(tenant, cluster, canonical_reason(cause_reason).lower(), target_key)


def problem_of(signal: Signal, cause: Cause, target: Target) -> str:
    """The fingerprint of what a signal is about. Every request to run a runbook is a problem of its own."""
    if signal.run is not None:
        return run_key(signal.tenant, signal.cluster, signal.event_id)
    return fingerprint(signal.tenant, signal.cluster, cause.reason, target.key)


def incident_id(tenant: str, problem: str, opened_at: datetime) -> str:
    """The id of an incident.

    Args:
        tenant: whose incident it is.
        problem: its fingerprint.
        opened_at: ``Signal.seen_at`` of the signal that opened it: reading the message again gives the same id.
    """
    return _derive(_INCIDENT, tenant, problem, _instant(opened_at))


def run_incident_id(tenant: str, problem: str) -> str:
    """The id of the incident of a request to run a runbook: the same whenever the request is read."""
    return _derive(_INCIDENT, tenant, problem, "run request")


def execution_id(incident: str, runbook_sha: str, attempt: int) -> str:
    """The id of one attempt (from 1) of one runbook version at one incident."""
    return _derive(_EXECUTION, incident, runbook_sha, str(attempt))


def decision_id(tenant: str, basis: str, opened_at: datetime | None = None) -> str:
    """The id of a decision.

    Args:
        tenant: whose decision it is.
        basis: the incident's id; before an incident exists, the signal's ``identity``.
        opened_at: when the waiting began (``Signal.seen_at``); left out for an incident, whose id holds it already.
    """
    return _derive(_DECISION, tenant, basis, _instant(opened_at) if opened_at else "")


def derived_event_id(*parts: str) -> str:
    """An event id for a message that carries none, from what identifies it."""
    return _derive(_EVENT, *parts)
