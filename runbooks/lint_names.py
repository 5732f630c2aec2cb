"""Checks of templates and expressions: every name that a runbook uses must be known by the time it is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from runbooks.findings import Finding
from runbooks.lint_scope import ANY, BACK, KNOWN, LOOP, RESERVED, Scope, Seen
from runbooks.model import Step
from runbooks.names import Use, uses
from runbooks.order import ancestors, edges
from runbooks.sandbox import TemplateError, has_template
from runbooks.subject import Path, Subject, texts

__all__ = ["KNOWN", "RESERVED", "check_names", "implicit_parameters"]


def check_names(subject: Subject) -> Iterator[Finding]:
    """Every template and expression, each with what is known where it stands."""
    start = _start(subject)
    yield from _before(start)
    for path, steps in subject.lists():
        yield from _steps(start, path, steps)
    end = _end(start)
    yield from _rules(end)
    yield from _after(end)
    yield from _messages(replace(end, in_message=True))
    yield from _unused(start)


def _start(subject: Subject) -> Scope:
    runbook = subject.runbook
    everything = [step for _, step in subject.steps()]
    return Scope(
        subject,
        Seen(),
        frozenset(parameter.name for parameter in runbook.parameters),
        later=frozenset(step.output_var for step in everything if step.output_var),
        other_steps=frozenset(step.id for step in everything),
    )


def _end(start: Scope) -> Scope:
    """What is known once the runbook's own steps have ended."""
    return _knowing(start, start.subject.runbook.steps)


def _knowing(scope: Scope, steps: Sequence[Step]) -> Scope:
    return replace(
        scope,
        variables=scope.variables | {step.output_var for step in steps if step.output_var},
        steps={**scope.steps, **{step.id: frozenset(step.outputs) for step in steps}},
        state=scope.state | {name for step in steps for name in step.save_state},
    )


def implicit_parameters(subject: Subject) -> frozenset[str]:
    """Names that the runbook uses and nothing declares: somebody has to supply them as parameters."""
    runbook = subject.runbook
    known = {step.output_var for _, step in subject.steps()} | {p.name for p in runbook.parameters}
    names: set[str] = set()
    for path, step in subject.steps():
        for text in texts(step.params, path):
            names.update(use.path[0] for use in uses(text.text) if not use.optional)
    return frozenset(names - known - RESERVED)


def _before(start: Scope) -> Iterator[Finding]:
    """What is asked before the first step."""
    runbook = start.subject.runbook
    yield from start.expression(runbook.safety.require_approval, ("safety", "require_approval"))
    matching = replace(start, parameters=frozenset())
    yield from matching.expression(runbook.trigger.when, ("trigger", "when"))
    for index, precondition in enumerate(runbook.preconditions):
        yield from _check(start, precondition, ("preconditions", index))
    for index, assumption in enumerate(runbook.assumptions):
        yield from _check(start, assumption, ("assumptions", index))


def _check(scope: Scope, check: Any, path: Path) -> Iterator[Finding]:
    """Parameters and expression of a precondition, an assumption or a criterion."""
    yield from scope.value(check.params, (*path, "params"))
    extra = {"metrics": ANY, **({"output": ANY} if check.action else {})}
    yield from scope.and_also(**extra).expression(check.check, (*path, "check"))


def _after(end: Scope) -> Iterator[Finding]:
    """What is asked after the steps."""
    runbook = end.subject.runbook
    for index, criterion in enumerate(runbook.verification.success_criteria):
        yield from _check(end, criterion, ("verification", "success_criteria", index))


def _rules(end: Scope) -> Iterator[Finding]:
    """Approval rules: what they ask about may stand before or between the steps."""
    for index, rule in enumerate(end.subject.runbook.approvals.rules):
        yield from end.expression(rule.when, ("approvals", "rules", index, "when"))


def _steps(start: Scope, path: Path, steps: Sequence[Step]) -> Iterator[Finding]:
    """A list of steps. A procedure or rollback also knows what the runbook's own steps left."""
    outer = start
    if path != ("steps",):
        outer = replace(_end(start), extra=BACK)
    waits = edges(steps)
    for index, step in enumerate(steps):
        ended = ancestors(waits, step.id)
        scope = _knowing(outer, [one for one in steps if one.id in ended])
        yield from _step(scope, (*path, index), step)
        yield from _variable(start, path, steps[:index], (*path, index), step)


def _step(scope: Scope, path: Path, step: Step) -> Iterator[Finding]:
    yield from scope.expression(step.for_each if isinstance(step.for_each, str) else None, (*path, "for_each"))
    if isinstance(step.for_each, tuple):
        yield from scope.value(step.for_each, (*path, "for_each"))
    yield from scope.expression(step.require_approval, (*path, "require_approval"))
    if step.for_each is not None:
        scope = scope.and_also(**LOOP)
    yield from scope.expression(step.when, (*path, "when"))
    yield from scope.value(step.save_state, (*path, "save_state"))
    own = replace(scope, state=scope.state | frozenset(step.save_state))
    yield from own.value(step.params, (*path, "params"))
    yield from own.and_also(output=ANY).value(step.outputs, (*path, "outputs"))
    if scope.subject.action_of(step) == "calculate":
        yield from _calculation(scope, path, step)


def _variable(scope: Scope, where: Path, before: Sequence[Step], path: Path, step: Step) -> Iterator[Finding]:
    if not step.output_var:
        return
    here = (*path, "output_var")
    if step.output_var in RESERVED or step.output_var in scope.parameters:
        yield scope.subject.found("RB211", f"output_var {step.output_var} would hide a name that templates use", here)
    elif where == ("steps",) and step.output_var in {one.output_var for one in before}:
        yield scope.subject.found("RB208", f"{step.output_var} is set before", here)


def _calculation(scope: Scope, path: Path, step: Step) -> Iterator[Finding]:
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


def _messages(scope: Scope) -> Iterator[Finding]:
    for moment, channels in scope.subject.runbook.notification:
        for name, message in channels if channels is not None else ():
            if message is not None:
                yield from scope.value(message.model_dump(), ("notification", moment, name))


def _unused(scope: Scope) -> Iterator[Finding]:
    used = scope.seen.used
    for index, parameter in enumerate(scope.subject.runbook.parameters):
        if not {parameter.name, f"params.{parameter.name}", "params"} & used:
            yield scope.subject.found("RB210", f"{parameter.name} is never used", ("parameters", index, "name"))
    for path, step in scope.subject.steps():
        if step.output_var and step.output_var not in used | RESERVED:
            yield scope.subject.found("RB209", f"{step.output_var} is never used", (*path, "output_var"))
