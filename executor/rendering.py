"""What planning and running share: conditions, parameters and changes of one step, with errors for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from executor.actions.base import Action, Params, Planned
from executor.errors import PlanError
from executor.model import Access, Change, PlannedStep
from runbooks.findings import did_you_mean
from runbooks.names import expression_names, names_used, uses
from runbooks.templates import TemplateError, evaluate, render_each, single_expression


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


Quoting = Mapping[str, Callable[[str], str]]
"""By parameter: how a value is written where another language wants it between quotes."""


def rendered(params: Mapping[str, Any], names: Mapping[str, Any], quoting: Quoting | None = None) -> dict[str, Any]:
    """The parameters with their templates rendered.

    Args:
        params: as their author wrote them.
        names: what templates can use.
        quoting: of parameters in another language. What is put into such a text is data and no part of the language;
            a parameter that is one expression as a whole is a text of its author and stays as it is.

    Raises:
        PlanError: a name is unknown or a template is wrong.
    """
    spoken = {name: quote for name, quote in (quoting or {}).items() if isinstance(params.get(name), str)}
    try:
        made = render_each({name: value for name, value in params.items() if name not in spoken}, names)
        for name, quote in spoken.items():
            whole = single_expression(params[name]) is not None
            made |= render_each({name: params[name]}, names if whole else _quoted(names, quote))
        return {name: made[name] for name in params}
    except TemplateError as error:
        raise PlanError(str(error)) from error


def _quoted(value: Any, quote: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Mapping):
        return {name: _quoted(item, quote) for name, item in value.items()}
    return [_quoted(item, quote) for item in value] if isinstance(value, list | tuple) else value


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
