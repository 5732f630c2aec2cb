"""The names that templates of a runbook can use, as plain JSON, so that they survive a restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from executor.actions.base import TargetFacts
from executor.jsonpath import extract
from executor.model import ExecutionRecord, ObjectRef, Plan, PlannedStep, StepRun, StepStatus
from executor.phases import ROLLBACK, STEP, failed_index
from matcher.facts import incident_facts, target_facts
from matcher.model import Match
from runbooks.secret_refs import SECRET_PARAMETERS

NOT_RUN = "not_run"
"""Status of a step for the templates of others, when it has not run."""

SEPARATOR = "__"
"""Between the id of a step that calls a runbook and the ids of that runbook's steps."""

_BAD = (StepStatus.FAILED, StepStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step left for the templates of later steps."""

    step_id: str
    status: str
    output: Any = None
    output_var: str | None = None
    error: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)


def template_context(
    match: Match, params: Mapping[str, Any], execution_id: str = "", secret: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The names that are known before the first step: ``incident``, ``target``, ``params``, ``execution``.

    ``incident.resource`` is the cause's subject and ``incident.resource.controller`` the workload that owns it. What
    is not known is left out, so that a template that needs it fails by name and never renders an empty text.
    Parameters are also known by their bare names; ``secret`` names those that are secrets.
    """
    path = match.runbook.path
    execution = {"id": execution_id, "runbook": match.runbook.runbook.id, "folder": str(path.parent) if path else ""}
    return {
        **bare_names(params, secret or {}),
        "incident": incident_facts(match.incident),
        "target": target_facts(match.incident),
        "params": dict(params),
        "execution": execution,
    }


_RESERVED = frozenset(
    {"incident", "target", "params", "execution", "steps", "secrets", "state", "item", "each", SECRET_PARAMETERS}
)


def bare_names(params: Mapping[str, Any], secret: Mapping[str, str]) -> dict[str, Any]:
    """Parameters by their bare names, and which of them are secrets."""
    named = {name: value for name, value in params.items() if name not in _RESERVED}
    return {**named, SECRET_PARAMETERS: dict(secret)} if secret else named


def facts_of(context: Mapping[str, Any]) -> TargetFacts:
    """What steps may leave out, taken from a plan's context: the same at planning and after a restart."""
    target, incident = context["target"], context["incident"]
    resource = incident["resource"]
    rid = resource.get("uid") or f"{resource.get('namespace', '')}:{resource.get('name', '')}"
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
            "resource_rid": f"{resource.get('kind', '').lower()}:{rid}",
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
    """The context with what steps gave: ``steps.<id>``, ``state.NAME`` and output variables.

    A step that did not run has no output: a template that needs it fails by name.
    """
    names = dict(context)
    steps: dict[str, Any] = {}
    state: dict[str, Any] = {}
    for result in results:
        told = {"status": str(result.status), "failed": result.status in _BAD, "error": result.error}
        given = {"output": result.output, "outputs": dict(result.outputs)}
        steps[result.step_id] = told if result.status == NOT_RUN else {**given, **told}
        state.update(result.state)
        if result.output_var and result.status == StepStatus.SUCCEEDED:
            names[result.output_var] = result.output
    return {**names, "steps": steps, "state": state}


def names_of(record: ExecutionRecord, now: datetime, step: PlannedStep, phase: str = STEP) -> dict[str, Any]:
    """Every name that a step can use when its turn comes: what is known, what steps gave, the time, its item."""
    plan = record.plan
    given = results_of(plan, record.steps, step.scope, (phase, steps_in(plan, phase, record.rollback_with)))
    known = scope(plan.scopes.get(step.scope) or plan.context, given)
    started = record.started_at or record.requested_at or now
    times = {"started_at": started.isoformat(), "duration": round(max(0.0, (now - started).total_seconds()), 3)}
    known["execution"] = {**known.get("execution", {}), **times}
    if phase == ROLLBACK:
        # What led to it: a trigger, a failed step or a verdict, in words.
        known["rollback"] = {"reason": record.error, "trigger": {"condition": record.error}}
    return {**known, **item_names(step)}


def item_names(step: PlannedStep) -> dict[str, Any]:
    """``item`` and ``each``, for the step of one item."""
    if step.item is None:
        return {}
    last = step.item == step.item_count - 1
    each = {"index": step.item, "count": step.item_count, "first": step.item == 0, "last": last}
    return {"item": step.item_value, "each": each}


def results_of(
    plan: Plan,
    runs: Iterable[StepRun],
    within: str = "",
    also: tuple[str, Sequence[PlannedStep]] | None = None,
) -> tuple[StepResult, ...]:
    """What the steps of a plan gave so far: planned reads from the plan, the rest from the journal.

    Args:
        plan: with its steps.
        runs: the journal's.
        within: whose steps: the id of the step that called a runbook, empty for the plan's own.
        also: steps of a procedure or a rollback also see those of their own phase.
    """
    recorded = {(run.phase, run.index): run for run in runs if run.item is None}
    stages = [(STEP, plan.steps)] + ([also] if also and also[0] != STEP else [])
    seen = [(stage, step) for stage, steps in stages for step in steps if step.scope == within and step.role != "enter"]
    return tuple(_result_of(step, recorded.get((stage, step.index)), within) for stage, step in seen)


def steps_in(plan: Plan, phase: str, rollback_with: str = "") -> tuple[PlannedStep, ...]:
    """The steps that run in a phase; ``rollback_with`` is the procedure that stands in for the rollback."""
    if phase == STEP:
        return plan.steps
    if phase == ROLLBACK:
        return plan.procedures.get(rollback_with) or plan.rollback
    index = failed_index(phase)
    return () if index is None else plan.procedures.get(plan.steps[index].run_on_failure, ())


def _result_of(step: PlannedStep, run: StepRun | None, within: str) -> StepResult:
    name = step.id.removeprefix(f"{within}{SEPARATOR}") if within else step.id
    if step.planned:
        # The journal's copy is bounded and masked; the plan's is what everything was rendered with.
        return planned_result(step, name)
    if run is None or run.status is StepStatus.INTENDED:
        return StepResult(name, NOT_RUN, state={**planned_state(step), **(run.state if run else {})})
    state = {**planned_state(step), **run.state}
    return StepResult(name, run.status, run.output, step.output_var, run.error, run.outputs, state)


def planned_result(step: PlannedStep, name: str) -> StepResult:
    """What a step gave that ran while planning."""
    outputs = gathered([parts(step.outputs, leaf.result) for leaf in step.leaves if leaf.planned], step)
    return StepResult(
        name, StepStatus.SUCCEEDED, step.result, step.output_var, outputs=outputs, state=planned_state(step)
    )


def planned_state(step: PlannedStep) -> Mapping[str, Any]:
    """The values that planning kept already; of a step that repeats, a list for each name."""
    if not step.repeats:
        return step.state
    return gathered([leaf.state for leaf in step.leaves if leaf.state], step)


def gathered(found: Sequence[Mapping[str, Any]], step: PlannedStep) -> dict[str, Any]:
    """Named values of a step: as they are, or a list in the order of its items."""
    if not step.repeats:
        return dict(found[0]) if found else {}
    names = dict.fromkeys(name for one in found for name in one)
    return {name: [one.get(name) for one in found] for name in names}


def parts(outputs: Mapping[str, Any], output: Any) -> dict[str, Any]:
    """The named parts of an output. A value that is no text, such as ``published: true``, stands for itself.

    Raises:
        PlanError: a text is no JSONPath.
        StepFailed: there is nothing at it.
    """
    return {name: extract(output, path) if isinstance(path, str) else path for name, path in outputs.items()}
