"""The names that templates of a runbook can use, as plain JSON, so that they survive a restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from executor.actions.base import TargetFacts
from executor.model import ObjectRef, Plan, PlannedStep, StepRun, StepStatus
from matcher.model import Match


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step left for the templates of later steps."""

    step_id: str
    status: str
    output: Any = None
    output_var: str | None = None


def template_context(match: Match, params: Mapping[str, Any], execution_id: str = "") -> dict[str, Any]:
    """The names that are known before the first step: ``incident``, ``target``, ``params``, ``execution``.

    ``incident.resource`` is the cause's subject and ``incident.resource.controller`` the workload that owns it. What
    is not known is left out, so that a template that needs it fails by name and never renders an empty text.
    Parameters are also known by their bare names.
    """
    incident = match.incident
    signal, cause = incident.signal, incident.cause
    facts = {
        "id": incident.id,
        "event_id": signal.event_id,
        "event_time": signal.event_time.isoformat(),
        "tenant": incident.tenant,
        "cluster": incident.cluster,
        "reason": cause.reason,
        "severity": signal.severity,
        "message": signal.message,
        "symptom": {"reason": signal.reason, "event_id": signal.event_id},
        "root_cause": {"reason": cause.reason, "event_id": cause.event_id},
        "rca_confidence": cause.confidence,
        "labels": dict(signal.labels),
        "resource": _resource(match),
    }
    path = match.runbook.path
    execution = {"id": execution_id, "runbook": match.runbook.runbook.id, "folder": str(path.parent) if path else ""}
    named = {name: value for name, value in params.items() if name not in _RESERVED}
    return {**named, "incident": facts, "target": _target(match), "params": dict(params), "execution": execution}


_RESERVED = frozenset({"incident", "target", "params", "execution", "steps", "secrets"})


def _resource(match: Match) -> dict[str, str]:
    subject, target = match.incident.cause.subject, match.incident.target
    owned = target.kind not in ("Pod", "Node")
    known = {
        "kind": subject.kind,
        "name": subject.name,
        "namespace": subject.namespace or target.namespace,
        "uid": subject.uid,
        "controller": target.name if owned else "",
        "controller_kind": target.kind if owned else "",
        "container_name": target.container,
        "node": target.name if target.kind == "Node" else target.node,
    }
    return {name: value for name, value in known.items() if value}


def _target(match: Match) -> dict[str, str]:
    target = match.incident.target
    return {
        "kind": target.kind,
        "name": target.name,
        "namespace": target.namespace,
        "uid": target.uid,
        "container": target.container,
        "pod": target.pod,
        "node": target.name if target.kind == "Node" else target.node,
    }


def facts_of(context: Mapping[str, Any]) -> TargetFacts:
    """What steps may leave out, taken from a plan's context: the same at planning and after a restart."""
    target, incident = context["target"], context["incident"]
    resource = incident["resource"]
    rid = resource.get("uid") or f"{resource.get('namespace', '')}:{resource['name']}"
    return TargetFacts(
        target=target_ref(target),
        namespace=target["namespace"] or ("" if target["kind"] == "Node" else resource.get("namespace", "")),
        pod=target["pod"],
        container=target["container"],
        node=target["node"],
        parameters={
            # The guide's queries compare incident_id with Episodic.eid, so it is the event's id.
            "incident_id": incident["event_id"],
            "incident_time": incident["event_time"],
            "resource_rid": f"{resource['kind'].lower()}:{rid}",
            "tenant": incident["tenant"],
            "cluster": incident["cluster"],
            "namespace": target["namespace"],
            "reason": incident["reason"],
        },
        folder=context.get("execution", {}).get("folder", ""),
        runbook=context.get("execution", {}).get("runbook", ""),
    )


def target_ref(target: Mapping[str, Any]) -> ObjectRef:
    """The target of a context or a record's incident facts as an object reference."""
    return ObjectRef(
        kind=target["kind"],
        name=target["name"],
        namespace=target.get("namespace", ""),
        uid=target.get("uid", ""),
    )


def scope(context: Mapping[str, Any], results: Iterable[StepResult]) -> dict[str, Any]:
    """The context with what steps gave: ``steps.<id>.output``, ``steps.<id>.status`` and output variables."""
    names = dict(context)
    steps: dict[str, Any] = {}
    for result in results:
        steps[result.step_id] = {"output": result.output, "status": result.status}
        if result.output_var and result.status == StepStatus.SUCCEEDED:
            names[result.output_var] = result.output
    return {**names, "steps": steps}


def results_of(plan: Plan, runs: Iterable[StepRun]) -> tuple[StepResult, ...]:
    """What the steps of a plan gave so far: planned reads from the plan, the rest from the journal."""
    recorded = {run.index: run for run in runs if run.phase == "step"}
    given = (_result_of(step, recorded.get(step.index)) for step in plan.steps)
    return tuple(result for result in given if result is not None)


def _result_of(step: PlannedStep, run: StepRun | None) -> StepResult | None:
    if step.planned:
        # The journal's copy is bounded and masked; the plan's is what everything was rendered with.
        return StepResult(step.id, StepStatus.SUCCEEDED, step.result, step.output_var)
    if run is None or run.status is StepStatus.INTENDED:
        return None
    return StepResult(step.id, run.status, run.output, step.output_var)
