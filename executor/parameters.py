"""The values that a runbook takes from outside: configured ones, else defaults, checked against their types."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from executor.errors import PlanError
from runbooks.durations import parse_duration
from runbooks.model import Parameter, Runbook
from runbooks.quantities import as_quantity
from runbooks.secret_refs import secret_of


def resolve_parameters(runbook: Runbook, configured: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of one planning.

    Values that the runbook does not declare are kept too: the guide's dialect uses names that it declares nowhere.

    Args:
        runbook: with its declarations.
        configured: values from the settings, by name.

    Returns:
        Every value by name, JSON.

    Raises:
        PlanError: a required value is missing, or a value does not fit its declaration.
    """
    values = dict(configured)
    for parameter in runbook.parameters:
        value = values.get(parameter.name, parameter.default)
        if value is None:
            if parameter.required:
                raise PlanError(f"runbook {runbook.id} needs the parameter {parameter.name}, and it is not set")
            continue
        values[parameter.name] = _checked(runbook, parameter, value)
    return values


def secret_names(configured: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, str]:
    """The parameters that are secrets, by name: those that the settings give as ``{{ secrets.NAME }}``.

    Args:
        configured: values from the settings.
        given: values from an alert, a mapping or a caller. They win, and can name no secret: others write them.
    """
    found = {name: secret_of(value) for name, value in configured.items() if name not in given}
    return {name: secret for name, secret in found.items() if secret}


def _checked(runbook: Runbook, parameter: Parameter, value: Any) -> Any:
    where = f"parameter {parameter.name} of runbook {runbook.id}"
    try:
        fitting = _READERS[parameter.type](value)
    except (ValueError, TypeError) as error:
        raise PlanError(f"{where} is not of type {parameter.type}: {error}") from error
    if parameter.pattern is not None and not re.fullmatch(parameter.pattern, str(fitting)):
        raise PlanError(f"{where} does not match {parameter.pattern}")
    return fitting


def _text(value: Any) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not a text")


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise TypeError(f"{value!r} is not a whole number")
    return int(value)


def _number(value: Any) -> float | int:
    if isinstance(value, bool):
        raise TypeError(f"{value!r} is not a number")
    return value if isinstance(value, int) else float(value)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "false": False}
    if str(value).lower() not in known:
        raise ValueError(f"{value!r} is neither true nor false")
    return known[str(value).lower()]


def _quantity(value: Any) -> str:
    return str(as_quantity(value))


def _duration(value: Any) -> float:
    return parse_duration(value).total_seconds()


def _list(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not a list")


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a mapping")


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "quantity": _quantity,
    "duration": _duration,
    "list": _list,
    "object": _object,
}
