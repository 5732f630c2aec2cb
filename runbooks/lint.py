"""All checks of a runbook that has the right shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from runbooks.durations import parse_duration
from runbooks.findings import Finding
from runbooks.lint_actions import check_actions
from runbooks.lint_flow import check_flow
from runbooks.lint_names import RESERVED, check_names
from runbooks.lint_safety import check_safety
from runbooks.lint_terms import check_terms
from runbooks.model import Parameter, Runbook
from runbooks.quantities import as_quantity
from runbooks.subject import Actions, Path, Subject

Check = Callable[[Subject], Iterator[Finding]]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "list": (list, tuple),
    "object": Mapping,
}
_READERS: Mapping[str, Callable[[Any], object]] = {"quantity": as_quantity, "duration": parse_duration}


def lint(
    runbook: Runbook, lines: Mapping[Path, tuple[int, int]] | None = None, actions: Actions | None = None
) -> tuple[Finding, ...]:
    """Check a runbook.

    Args:
        runbook: of the right shape already.
        lines: position of each key by its path below ``runbook:``; without it every finding is at line 1.
        actions: JSON Schema of the parameters of each action, by name and alias; without it actions are not checked.

    Returns:
        Errors and warnings, in the order of the file.
    """
    subject = Subject(runbook, lines or {}, actions)
    found = [finding for check in CHECKS for finding in check(subject)]
    return tuple(sorted(dict.fromkeys(found), key=lambda finding: (finding.line, finding.column, finding.code)))


def check_parameters(subject: Subject) -> Iterator[Finding]:
    """The declarations of parameters."""
    seen: set[str] = set()
    for index, parameter in enumerate(subject.runbook.parameters):
        path: Path = ("parameters", index)
        if parameter.name in seen:
            yield subject.found("RB122", f"{parameter.name} is declared before", (*path, "name"))
        seen.add(parameter.name)
        if parameter.name in RESERVED:
            yield subject.found("RB211", f"{parameter.name} is a name that templates use", (*path, "name"))
        yield from _default(subject, path, parameter)


def _default(subject: Subject, path: Path, parameter: Parameter) -> Iterator[Finding]:
    default = parameter.default
    if default is not None and not _is_of_type(default, parameter.type):
        message = f"the default {default!r} is not of type {parameter.type}"[:200]
        yield subject.found("RB120", message, (*path, "default"))
        return
    if parameter.pattern is None:
        return
    try:
        expression = re.compile(parameter.pattern)
    except re.error as error:
        yield subject.found("RB121", f"pattern: {error}", (*path, "pattern"))
        return
    if isinstance(default, str) and expression.fullmatch(default) is None:
        message = f"the default {default!r} does not match {parameter.pattern!r}"[:200]
        yield subject.found("RB120", message, (*path, "default"))


def _is_of_type(value: Any, name: str) -> bool:
    if name in _READERS:
        try:
            _READERS[name](value)
        except (ValueError, TypeError):
            return False
        return not isinstance(value, bool)
    kind = _KINDS[name]
    return isinstance(value, kind) and (name == "boolean" or not isinstance(value, bool))


def check_steps(subject: Subject) -> Iterator[Finding]:
    """The ids of steps."""
    seen: set[tuple[Path, str]] = set()
    for path, step in subject.steps():
        if (path[:-1], step.id) in seen:
            yield subject.found("RB205", f"another step has the id {step.id}", (*path, "id"))
        seen.add((path[:-1], step.id))
        if _NAME.fullmatch(step.id) is None:
            yield subject.found("RB207", f"the id {step.id!r} is not a name", (*path, "id"))


CHECKS: tuple[Check, ...] = (
    check_parameters,
    check_steps,
    check_flow,
    check_names,
    check_actions,
    check_terms,
    check_safety,
)
"""The checks, in order."""
