"""What an execution or a decision is about, as the scope that a permission has to cover."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from safety.access import Scope

if TYPE_CHECKING:
    from executor.model import ExecutionRecord
    from services.records import DecisionRecord, ExecutionSummary

_PARTS = 4


def of_execution(record: ExecutionRecord) -> Scope:
    """Of an execution, or of the question about its plan; what is not known is left open."""
    incident = record.incident
    target = incident.get("target")
    namespace = target.get("namespace") if isinstance(target, Mapping) else None
    return Scope(
        tenant=_text(incident.get("tenant")),
        cluster=_text(incident.get("cluster")),
        namespace=_text(namespace),
        runbook=record.plan.runbook_id or None,
    )


def of_summary(one: ExecutionSummary) -> Scope:
    """Of one line of the list of executions."""
    return of_target(one.tenant, one.target_key, one.runbook_id)


def of_target(tenant: str, target_key: str, runbook: str) -> Scope:
    """Of a target, which is written ``cluster/namespace/Kind/name``."""
    parts = target_key.split("/")
    cluster, namespace = (parts[0], parts[1]) if len(parts) == _PARTS else ("", "")
    return Scope(tenant or None, cluster or None, namespace or None, runbook or None)


def of_decision(decision: DecisionRecord) -> Scope:
    """Of a decision: the target of its incident, else the subject of the signal that opened it."""
    about = decision.incident.target if decision.incident else decision.signal.subject
    asked = decision.signal.run.runbook if decision.signal.run else ""
    runbook = decision.runbook.id if decision.runbook else asked
    return Scope(
        decision.signal.tenant or None, decision.signal.cluster or None, about.namespace or None, runbook or None
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
