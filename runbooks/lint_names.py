"""Checks of templates: every name that a runbook uses must be known by the time it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from runbooks.filters import FUNCTIONS
from runbooks.findings import Finding, did_you_mean, nearest
from runbooks.model import Step
from runbooks.names import Analysis, Use, analyse, uses
from runbooks.sandbox import TemplateError, has_template
from runbooks.subject import Path, Subject, Text, texts

_ANY: Mapping[str, Any] = {}
_FIELDS = ["kind", "name", "namespace", "uid", "controller", "controller_kind", "container_name", "node"]
KNOWN: Mapping[str, Mapping[str, Any]] = {
    "incident": {
        **dict.fromkeys(
            ["id", "event_id", "event_time", "tenant", "cluster", "reason", "severity", "message", "rca_confidence"],
            _ANY,
        ),
        "symptom": {"reason": _ANY, "event_id": _ANY},
        "root_cause": {"reason": _ANY, "event_id": _ANY},
        "labels": _ANY,
        "resource": dict.fromkeys(_FIELDS, _ANY),
    },
    "target": dict.fromkeys(["kind", "name", "namespace", "uid", "container", "pod", "node"], _ANY),
    "execution": {"id": _ANY, "runbook": _ANY},
}
"""Names that every runbook knows, with their fields; an empty mapping means any field."""

RESERVED = frozenset({*KNOWN, "params", "steps", "secrets", "error_message", *FUNCTIONS})
_STEP_FIELDS = ("output", "status")
_TYPO = 80
_WITH_ID = 2
_OUTSIDE = (("incident", "labels"), ("incident", "message"))
_DOCUMENTS = frozenset({"patch", "manifest", "body"})
_ESCAPES = frozenset({"json", "tojson", "base64", "b64encode"})


@dataclass(slots=True)
class _Scope:
    """What is known at one point of the runbook."""

    subject: Subject
    parameters: frozenset[str]
    variables: set[str] = field(default_factory=set)
    later_variables: set[str] = field(default_factory=set)
    step_ids: set[str] = field(default_factory=set)
    later_ids: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    implicit: set[str] = field(default_factory=set)
    in_message: bool = False


def check_names(subject: Subject) -> Iterator[Finding]:
    """Every template, in the order in which it will be rendered."""
    runbook = subject.runbook
    scope = _Scope(subject, frozenset(parameter.name for parameter in runbook.parameters))
    everything = (*runbook.steps, *runbook.rollback.steps)
    scope.later_variables = {step.output_var for step in everything if step.output_var}
    scope.later_ids = {step.id for step in everything}
    if isinstance(runbook.safety.require_approval, str):
        yield from _expression(scope, ("safety", "require_approval"), runbook.safety.require_approval)
    for path, step in subject.steps():
        yield from _step(scope, path, step)
    scope.in_message = True
    for name, channels in runbook.notification:
        if channels is not None and channels.slack is not None:
            yield from _value(scope, channels.slack.model_dump(), ("notification", name, "slack"))
    yield from _unused(scope)


def implicit_parameters(subject: Subject) -> frozenset[str]:
    """Names that the runbook uses and nothing declares: somebody has to supply them as parameters."""
    runbook = subject.runbook
    known = {step.output_var for step in (*runbook.steps, *runbook.rollback.steps)} | {
        p.name for p in runbook.parameters
    }
    names: set[str] = set()
    for path, step in subject.steps():
        for text in texts(step.params, path):
            names.update(use.path[0] for use in uses(text.text) if not use.optional)
    return frozenset(names - known - RESERVED)


def _step(scope: _Scope, path: Path, step: Step) -> Iterator[Finding]:
    if isinstance(step.when, str):
        yield from _expression(scope, (*path, "when"), step.when)
    yield from _value(scope, step.params, (*path, "params"))
    if scope.subject.action_of(step) == "calculate":
        yield from _calculation(scope, path, step)
    if step.output_var:
        if step.output_var in RESERVED or step.output_var in scope.parameters:
            message = f"output_var {step.output_var} would hide a name that templates use"
            yield scope.subject.found("RB211", message, (*path, "output_var"))
        elif step.output_var in scope.variables and path[0] == "steps":
            yield scope.subject.found("RB208", f"{step.output_var} is set before", (*path, "output_var"))
        scope.variables.add(step.output_var)
    scope.step_ids.add(step.id)


def _calculation(scope: _Scope, path: Path, step: Step) -> Iterator[Finding]:
    here = (*path, "params", "expression")
    expression = step.params.get("expression")
    if isinstance(expression, str) and not has_template(expression):
        message = f"{expression!r:.60} is a text, not a calculation"
        yield scope.subject.found("RB301", message, here, advice="put {{ }} around the expression")
    for text in texts(step.params, (*path, "params")):
        if any(use.path[0] == "secrets" for use in _uses(text.text)):
            yield scope.subject.found("RB308", "a calculation keeps its result in a variable", text.path)


def _uses(text: str) -> tuple[Use, ...]:
    try:
        return uses(text)
    except TemplateError:
        return ()  # reported where the text itself is checked


def _value(scope: _Scope, value: Any, path: Path) -> Iterator[Finding]:
    for text in texts(value, path):
        yield from _template(scope, text)


def _expression(scope: _Scope, path: Path, expression: str) -> Iterator[Finding]:
    yield from _template(scope, Text(path, expression), expression=True)


def _template(scope: _Scope, text: Text, *, expression: bool = False) -> Iterator[Finding]:
    try:
        analysis = analyse(text.text, expression=expression)
    except TemplateError as error:
        yield scope.subject.found_in(error.code, error.reason, text, error.line, advice=error.advice)
        return
    for use in analysis.uses:
        scope.used.add(".".join(use.path[:2]) if use.path[0] == "params" else use.path[0])
        found = _check(scope, use, text)
        if found is not None:
            yield found
    for name, line in analysis.calls:
        if name not in FUNCTIONS:
            advice = did_you_mean(name, FUNCTIONS)
            yield scope.subject.found_in("RB304", f"there is no function {name}", text, line, advice=advice)
    yield from _from_outside(scope, analysis, text)


def _from_outside(scope: _Scope, analysis: Analysis, text: Text) -> Iterator[Finding]:
    if scope.in_message or not _DOCUMENTS.intersection(map(str, text.path)) or "\n" not in text.text:
        return
    for use in analysis.uses:
        if use.path[:2] in _OUTSIDE and not _ESCAPES.intersection(use.filters):
            yield scope.subject.found_in("RB309", f"{'.'.join(use.path)} comes from the alert", text, use.line)


def _check(scope: _Scope, use: Use, text: Text) -> Finding | None:
    root = use.path[0]
    if root in KNOWN:
        return _known_field(scope, use, text)
    if root == "params":
        return _parameter(scope, use, text)
    if root == "steps":
        return _step_reference(scope, use, text)
    if root == "error_message" and not scope.in_message:
        return scope.subject.found_in("RB307", f"{root} is not known here", text, use.line)
    # A function that does not exist is reported as such, not as a name.
    if use.called or root in RESERVED or root in scope.parameters or root in scope.variables or use.optional:
        return None
    return _unknown(scope, root, use, text)


def _known_field(scope: _Scope, use: Use, text: Text) -> Finding | None:
    here: Mapping[str, Any] = KNOWN[use.path[0]]
    for depth, part in enumerate(use.path[1:], 1):
        if not here:
            return None
        if part not in here:
            # Messages may know more of the execution than steps do.
            if use.optional or (scope.in_message and use.path[0] == "execution"):
                return None
            message = f"{'.'.join(use.path[: depth + 1])} is unknown"
            return scope.subject.found_in("RB302", message, text, use.line, advice=did_you_mean(part, here))
        here = here[part]
    return None


def _parameter(scope: _Scope, use: Use, text: Text) -> Finding | None:
    name = use.path[1] if len(use.path) > 1 else ""
    if not name or name in scope.parameters or use.optional:
        return None
    advice = did_you_mean(name, scope.parameters) or "declare it under parameters"
    return scope.subject.found_in("RB302", f"params.{name} is unknown", text, use.line, advice=advice)


def _step_reference(scope: _Scope, use: Use, text: Text) -> Finding | None:
    if len(use.path) < _WITH_ID:
        return None
    step_id, rest = use.path[1], use.path[2:]
    if step_id in scope.step_ids:
        if not rest or rest[0] in _STEP_FIELDS:
            return None
        advice = did_you_mean(rest[0], _STEP_FIELDS)
        return scope.subject.found_in("RB302", f"steps.{step_id}.{rest[0]} is unknown", text, use.line, advice=advice)
    if step_id in scope.later_ids:
        return scope.subject.found_in("RB206", f"the step {step_id} has not run yet", text, use.line)
    advice = did_you_mean(step_id, scope.step_ids)
    return scope.subject.found_in("RB206", f"there is no step {step_id}", text, use.line, advice=advice)


def _unknown(scope: _Scope, name: str, use: Use, text: Text) -> Finding | None:
    if name in scope.later_variables:
        return scope.subject.found_in("RB306", f"{name} is set by a later step", text, use.line)
    if scope.in_message:
        return None
    known = {*scope.variables, *scope.parameters, *KNOWN, "params", "steps", "secrets"}
    near = nearest(name, known, _TYPO)
    if near is not None:
        return scope.subject.found_in("RB302", f"{name} is unknown", text, use.line, advice=f"did you mean {near}?")
    if name in scope.implicit:
        return None
    scope.implicit.add(name)
    return scope.subject.found_in("RB303", f"{name} is declared nowhere", text, use.line)


def _unused(scope: _Scope) -> Iterator[Finding]:
    for index, parameter in enumerate(scope.subject.runbook.parameters):
        if not {parameter.name, f"params.{parameter.name}", "params"} & scope.used:
            yield scope.subject.found("RB210", f"{parameter.name} is never used", ("parameters", index, "name"))
    for path, step in scope.subject.steps():
        if step.output_var and step.output_var not in scope.used | RESERVED:
            yield scope.subject.found("RB209", f"{step.output_var} is never used", (*path, "output_var"))
