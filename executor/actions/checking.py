"""What a step expects of the answer that it got."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executor.errors import PlanError, StepFailed
from runbooks.templates import TemplateError, evaluate

_SHOWN = 300


def holds(expect: str, names: Mapping[str, Any]) -> None:
    """Check an expectation.

    Raises:
        StepFailed: it does not hold, or names something that the answer does not have: missing data is no proof.
        PlanError: it is neither true nor false.
    """
    try:
        held = evaluate(expect, names)
    except TemplateError as error:
        raise StepFailed(f"{expect!r} cannot be told from the answer: {error}") from error
    if not isinstance(held, bool):
        raise PlanError(f"expect {expect!r} gives {held!r}, which is neither true nor false")
    if not held:
        raise StepFailed(f"expected {expect}, found {_shown(names)}")


def _shown(names: Mapping[str, Any]) -> str:
    text = ", ".join(f"{key} = {value}" for key, value in names.items())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
