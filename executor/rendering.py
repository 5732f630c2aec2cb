"""What planning and running share: conditions, parameters and changes of one step, with errors for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from executor.actions.base import Action, Params, Planned
from executor.errors import PlanError
from executor.model import Access, Change, PlannedStep
from runbooks.findings import did_you_mean
from runbooks.names import expression_names, names_used, uses
from runbooks.templates import TemplateError, evaluate, render_each


def condition(when: bool | str, names: Mapping[str, Any]) -> bool:
    """The value of a condition.

    Raises:
        PlanError: it cannot be read, or is neither true nor false; guessing would run a step that nobody asked for.
    """
    try:
        value = evaluate(when, names)
    except TemplateError as error:
        raise PlanError(f"the condition {when!r} cannot be read: {error}") from error
    if not isinstance(value, bool):
        raise PlanError(f"the condition {when!r} gives {value!r}, which is neither true nor false")
    return value


def rendered(params: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with their templates rendered.

    Raises:
        PlanError: a name is unknown or a template is wrong.
    """
    try:
        return render_each(params, names)
    except TemplateError as error:
        raise PlanError(str(error)) from error


def checked(action: Action[Any], params: Mapping[str, Any]) -> Params:
    """The parameters as the action's own model.

    Raises:
        PlanError: they do not fit; the text names each field and, for an unknown one, the nearest.
    """
    try:
        model: Params = action.params_model.model_validate(params)
    except ValidationError as error:
        known = list(action.params_model.model_fields)
        problems = (_explain(dict(problem), known) for problem in error.errors(include_url=False, include_input=False))
        raise PlanError("; ".join(problems)) from error
    return model


def _explain(problem: Mapping[str, Any], known: list[str]) -> str:
    path = ".".join(str(part) for part in problem["loc"]) or "parameters"
    if problem["type"] == "extra_forbidden":
        return f"there is no parameter {path}; {did_you_mean(path, known)}"
    return f"{path}: {problem['msg']}"


def names_of_params(params: Mapping[str, Any]) -> frozenset[str]:
    """The names that the templates in the parameters use; ``PlanError`` when a template is wrong."""
    try:
        return names_used(params)
    except TemplateError as error:
        raise PlanError(str(error)) from error


def state_names(params: Any) -> frozenset[str]:
    """The names under ``state`` without which the parameters cannot be rendered."""
    if isinstance(params, Mapping):
        return frozenset[str]().union(*(state_names(value) for value in params.values()))
    if isinstance(params, list | tuple):
        return frozenset[str]().union(*(state_names(value) for value in params))
    if not isinstance(params, str) or "state" not in params:
        return frozenset()
    return frozenset(
        use.path[1] for use in uses(params) if use.path[0] == "state" and use.path[1:] and not use.optional
    )


def names_of_condition(when: bool | str) -> frozenset[str]:
    """The names that a condition uses; ``PlanError`` when it is wrong."""
    try:
        return expression_names(when)
    except TemplateError as error:
        raise PlanError(str(error)) from error


def shown(step: PlannedStep, given: Planned) -> PlannedStep:
    """The step with the parameters and changes that its action answered."""
    return step.model_copy(update={"params": dict(given.params), "changes": tuple(given.changes)})


def undoable(change: Change) -> bool:
    """Whether the change says how it is undone; one that says nothing counts as irreversible."""
    return bool(change.undo) and not change.irreversible


def writes(step: PlannedStep) -> bool:
    """Whether the step will change the world, as far as can be known now."""
    return step.access is Access.WRITE and step.when is not False
