"""Why a human is asked about a plan, and what the gate counts of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from executor.actions.base import TargetFacts
from executor.errors import PlanError
from executor.model import PlannedStep
from executor.rendering import condition, undoable, writes
from runbooks.model import Runbook

CANNOT_SHOW = "cannot be shown in advance"
FactsOf = Callable[[str], TargetFacts]
"""The target of the runbook that a step belongs to, by the step's scope."""


def leaves(steps: Iterable[PlannedStep]) -> tuple[PlannedStep, ...]:
    """The steps, each that repeats as the steps of its items."""
    return tuple(leaf for step in steps for leaf in step.leaves)


def hidden(step: PlannedStep) -> bool:
    """Whether nobody can see in advance what the step changes."""
    return bool(step.deferred) or not step.changes


def runbook_reasons(runbook: Runbook, names: Mapping[str, Any]) -> list[str]:
    """Why the runbook itself wants a human."""
    asked = runbook.safety.require_approval
    if isinstance(asked, bool):
        return ["the runbook asks for approval"] if asked else []
    try:
        needed = condition(asked, names)
    except PlanError as error:
        return [f"the runbook's approval rule is no help: {error}"]
    return [f"the runbook asks for approval when {asked}"] if needed else []


def change_reasons(where: str, step: PlannedStep) -> list[str]:
    """Why this step needs a human: nobody can see in advance what it does, or it cannot be taken back."""
    made = [leaf for leaf in step.leaves if writes(leaf)]
    if any(hidden(leaf) for leaf in made):
        return [f"{where} {CANNOT_SHOW}"]
    changes = [change for leaf in made for change in leaf.changes if not undoable(change)]
    return [f"{where} cannot be undone: {change.summary}" for change in changes]


def namespaces(facts: FactsOf, steps: Sequence[PlannedStep]) -> tuple[str, ...]:
    """Where the plan writes; a write whose object is not known counts for the target's namespace."""
    made = [step for step in leaves(steps) if writes(step)]
    named = {change.ref.namespace for step in made for change in step.changes if change.ref is not None}
    return tuple(sorted(named | {facts(step.scope).namespace for step in made if hidden(step)}))


def touched(facts: FactsOf, steps: Sequence[PlannedStep]) -> tuple[str, ...]:
    """What the blast radius counts; a write whose object is not known counts as the target."""
    made = [step for step in leaves(steps) if writes(step)]
    named = [str(change.ref or facts(step.scope).target) for step in made for change in step.changes]
    unknown = [str(facts(step.scope).target) for step in made if not step.changes]
    return tuple(sorted({*named, *unknown}))


def no_controller(error: Exception, facts: TargetFacts) -> str:
    """What to add to an error about a pod that nobody would bring back."""
    if facts.target.kind == "Pod" and "controller" in str(error):
        return f" (the pod {facts.target.name} has no controller: it would not come back)"
    return ""
