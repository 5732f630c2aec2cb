"""What the storm breaker hears of: causes as they are found, executions as they end, and what nobody is told of.

Nothing here may keep the pipeline from going on. A store that is away counts nothing, and the gate then permits
nothing by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import structlog

from executor.model import ExecutionRecord, Outcome, Verdict
from executor.ports import Hooks
from matcher.model import Incident
from safety.breaker import Change, Counted, Seen
from safety.errors import GateUnavailable
from safety.ports import Breaker
from safety.scopes import Where
from services.pipeline.cases import Located
from services.records import DecisionRecord

log = structlog.get_logger(__name__)

STORM = "storm"
"""The gate's check."""

_FAILED = (Outcome.FAILURE, Outcome.ROLLBACK)


class StormWatch:
    """Tells the storm breaker what it counts.

    Args:
        breaker: counts, and stops.
        hooks: hear ``storm.opened``, ``storm.closed`` and ``storm.held_back``.
    """

    def __init__(self, breaker: Breaker, hooks: Hooks) -> None:
        self._breaker = breaker
        self._hooks = hooks

    async def causes(self, located: Sequence[Located], matched: Sequence[tuple[Incident, str]]) -> None:
        """Count the causes of a batch, before the gate is asked about any of them.

        Args:
            located: causes with their targets; what was asked for by name is none of them.
            matched: incidents with the runbook that answers each.
        """
        seen = [_cause(_where_of(one)) for one in located if one.case.signal.run is None]
        seen += [_cause(where_of_incident(incident, runbook)) for incident, runbook in matched if _found(incident)]
        if seen:
            await self._heard(seen)

    async def refused(self, records: Sequence[DecisionRecord]) -> None:
        """Count the refusals of a batch that are left to the summary."""
        tenants = Counter(record.signal.tenant for record in records if record.check == STORM)
        for tenant, count in tenants.items():
            await self._held_back(tenant, "refusals", count)

    async def ended(self, record: ExecutionRecord) -> None:
        """Count an execution that failed, or did not fix it."""
        if record.verdict is Verdict.NOT_FIXED:
            counted = Counted.NOT_FIXED
        elif record.outcome in _FAILED:
            counted = Counted.FAILURES
        else:
            return
        await self._heard([Seen(where_of_execution(record), counted, record.id)])

    async def keeps(self, record: ExecutionRecord, moment: str) -> bool:
        """Whether a message about an execution is left to the summary; it is counted there.

        When nobody can say, people are told.
        """
        where = where_of_execution(record)
        try:
            if not await self._breaker.stops(where):
                return False
        except GateUnavailable:
            return False
        await self._held_back(where.tenant, f"messages {moment}", 1)
        return True

    async def _heard(self, seen: Sequence[Seen]) -> None:
        try:
            changes = await self._breaker.heard(seen)
        except GateUnavailable as error:
            log.warning("storm.not_counted", error=str(error))
            return
        tell_changes(changes, self._hooks)

    async def _held_back(self, tenant: str, kind: str, count: int) -> None:
        self._hooks.event("storm.held_back", kind=kind, count=count)
        try:
            await self._breaker.hold_back(tenant, {kind: count})
        except GateUnavailable as error:
            log.warning("storm.not_counted", error=str(error))


def tell_changes(changes: Sequence[Change], hooks: Hooks) -> None:
    """Log and count what opened or closed."""
    for change in changes:
        stopped = change.stopped
        event = "storm.opened" if change.open else "storm.closed"
        hooks.event(event, axis=str(stopped.scope.axis), counted=str(stopped.counted))
        log.warning(event, tenant=stopped.scope.tenant, **stopped.numbers)


def _found(incident: Incident) -> bool:
    return incident.signal.run is None


def _cause(where: Where) -> Seen:
    return Seen(where, Counted.CAUSES, where.target_key)


def _where_of(one: Located) -> Where:
    signal, target = one.case.signal, one.target
    return Where(signal.tenant, signal.cluster, "", target.key, _namespaces(target.namespace), one.cause.reason)


def where_of_incident(incident: Incident, runbook: str) -> Where:
    """Where an incident is, and what would act on it."""
    target = incident.target
    namespaces = _namespaces(target.namespace)
    return Where(incident.tenant, incident.cluster, runbook, target.key, namespaces, incident.cause.reason)


def where_of_execution(record: ExecutionRecord) -> Where:
    """Where an execution acts."""
    incident, plan = record.incident, record.plan
    target = dict(incident.get("target") or {})
    own = str(target.get("name", "")) if target.get("kind") == "Namespace" else str(target.get("namespace", ""))
    return Where(
        tenant=str(incident.get("tenant", "")),
        cluster=str(incident.get("cluster", "")),
        runbook=plan.runbook_id,
        target_key=plan.target_key,
        namespaces=tuple(sorted({*plan.namespaces, own} - {""})),
        reason=str(incident.get("cause_reason", "")),
    )


def _namespaces(namespace: str) -> tuple[str, ...]:
    return (namespace,) if namespace else ()
