"""What the gate is asked about a match: from the runbook and the incident, then from the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from executor.model import Access, Plan
from matcher.model import Incident, Match
from runbooks.growth import grows
from runbooks.model import Repeated, Runbook
from safety.blast import Sources, known
from safety.model import BlastRadius, GateRequest, GrantedApproval, Limits
from services.pipeline.rules import applying, reasons_of


def question(
    match: Match, execution_id: str, least_cooldown: timedelta, approval: GrantedApproval | None = None
) -> GateRequest:
    """What the gate is asked about a match, as far as it is known before there is a plan."""
    incident, runbook = match.incident, match.runbook.runbook
    safety = runbook.safety
    return GateRequest(
        execution_id=execution_id,
        tenant=incident.tenant,
        cluster=incident.cluster,
        runbook_id=runbook.id,
        target_key=incident.target.key,
        namespaces=(incident.target.namespace,),
        confidence=incident.cause.confidence,
        plan_hash="",
        blast=BlastRadius(None, None, ()),
        limits=Limits(
            min_confidence=runbook.trigger.min_confidence,
            max_executions_per_hour=_stricter(safety.max_executions_per_hour, safety.rates.per_hour),
            blast_radius=safety.blast_radius_limit,
            cooldown_seconds=max(safety.cooldown, least_cooldown).total_seconds(),
            max_executions_per_minute=safety.rates.per_minute,
            max_executions_per_day=safety.rates.per_day,
            max_concurrent=safety.max_concurrent,
            blast_percent=safety.blast_radius_percent,
            protected_namespaces=safety.protected_namespaces,
            protected_labels=safety.protected_labels,
            cooldown_after=safety.cooldown_after.seconds,
        ),
        approval=approval,
        cause_reason=incident.cause.reason,
    )


def _stricter(limit: int, other: int | None) -> int:
    return limit if other is None else min(limit, other)


def with_target(plan: Plan) -> list[str]:
    """What the plan touches, and its target, which may be what protects them."""
    return list(dict.fromkeys([*plan.touched, *target_of(plan)]))


def target_of(plan: Plan) -> tuple[str]:
    """The target of a plan, as ``Plan.touched`` names things."""
    target = plan.context.get("target") or {}
    parts = [target.get("kind", ""), target.get("namespace", ""), target.get("name", "")]
    return ("/".join(part for part in parts if part),)


def by_the_runbook(request: GateRequest, runbook: Runbook, plan: Plan) -> GateRequest:
    """The question, with what the runbook asks of people beside the reasons of its plan."""
    more = reasons_of(applying(runbook.approvals, plan), plan)
    with_rules = replace(request, approval_reasons=(*request.approval_reasons, *more))
    return asked_again(with_rules, runbook, plan)


def asked_again(request: GateRequest, runbook: Runbook, plan: Plan) -> GateRequest:
    """The question with how often the runbook may run for its target before a human is asked.

    A runbook that makes something larger is asked for when its target needs it a second time within a day, also where
    its author says nothing.
    """
    repeated = runbook.safety.ask_again
    if repeated is None:
        changing = {step.id for step in plan.steps if step.access is Access.WRITE}
        if not grows(runbook.steps, lambda step: step.id in changing):
            return request
        repeated = Repeated()
    after, within = repeated.executions, repeated.within.total_seconds()
    return replace(request, limits=replace(request.limits, ask_again_after=after, ask_again_seconds=within))


async def labels_of(incident: Incident, sources: Sources) -> Mapping[str, str] | None:
    """Labels of the target as it is now; None when they cannot be read."""
    target = incident.target
    resource = "/".join(part for part in (target.kind, target.namespace, target.name) if part)
    found = await known(sources.labels([resource]))
    return None if found is None else found.get(resource)
