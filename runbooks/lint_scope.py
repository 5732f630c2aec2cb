"""What templates may use at one point of a runbook, and what is wrong with a name that they use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runbooks.filters import FUNCTIONS
from runbooks.findings import Finding, did_you_mean, nearest
from runbooks.names import Analysis, Use, analyse
from runbooks.sandbox import TemplateError
from runbooks.subject import Path, Subject, Text, texts

ANY: Mapping[str, Any] = {}
_FIELDS = ["kind", "name", "namespace", "uid", "controller", "controller_kind", "container_name", "node"]
KNOWN: Mapping[str, Mapping[str, Any]] = {
    "incident": {
        **dict.fromkeys(
            ["id", "event_id", "event_time", "tenant", "cluster", "reason", "severity", "message", "rca_confidence"],
            ANY,
        ),
        "symptom": {"reason": ANY, "event_id": ANY},
        "root_cause": {"reason": ANY, "event_id": ANY},
        "labels": ANY,
        "resource": dict.fromkeys(_FIELDS, ANY),
    },
    "target": dict.fromkeys(["kind", "name", "namespace", "uid", "container", "pod", "node"], ANY),
    "execution": dict.fromkeys(["id", "runbook", "folder", "started_at", "duration"], ANY),
}
"""Names that every runbook knows, with their fields; an empty mapping means any field."""

STEP_FIELDS = ("output", "outputs", "status", "failed", "error")
LOOP: Mapping[str, Mapping[str, Any]] = {
    "item": ANY,
    "each": dict.fromkeys(["index", "count", "first", "last"], ANY),
}
"""What a step that repeats knows of its turn."""

BACK: Mapping[str, Mapping[str, Any]] = {"rollback": {"trigger": ANY, "reason": ANY}}
"""What steps that take back know of why they run."""

RESERVED = frozenset(
    {*KNOWN, *LOOP, *BACK, "params", "steps", "secrets", "state", "error_message", *FUNCTIONS},
)
_TYPO = 80
_WITH_ID = 2
_WITH_NAME = 4
_OUTSIDE = (("incident", "labels"), ("incident", "message"))
_DOCUMENTS = frozenset({"patch", "manifest", "body"})
_ESCAPES = frozenset({"json", "tojson", "base64", "b64encode"})


@dataclass(slots=True)
class Seen:
    """What was met on the way through the runbook.

    Attributes:
        used: names that templates use; ``params.NAME`` for parameters.
        implicit: undeclared names that were reported.
    """

    used: set[str] = field(default_factory=set)
    implicit: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Scope:
    """What is known at one point.

    Attributes:
        variables: output variables by then; ``later`` those that are set elsewhere.
        steps: declared outputs of the steps that have ended by then, by id; ``other_steps`` the ids of the rest.
        state: values that are kept by then; None where nothing is known of them.
        extra: further names, with their fields.
        in_message: messages for people: a missing name shows, it does not stop anything.
    """

    subject: Subject
    seen: Seen
    parameters: frozenset[str]
    variables: frozenset[str] = frozenset()
    later: frozenset[str] = frozenset()
    steps: Mapping[str, frozenset[str]] = field(default_factory=dict)
    other_steps: frozenset[str] = frozenset()
    state: frozenset[str] = frozenset()
    extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    in_message: bool = False

    def and_also(self, **extra: Mapping[str, Any]) -> Scope:
        """The same with further names."""
        return replace(self, extra={**self.extra, **extra})

    def value(self, value: Any, path: Path) -> Iterator[Finding]:
        """Every template in a value."""
        for text in texts(value, path):
            yield from self._template(text)

    def expression(self, expression: object, path: Path) -> Iterator[Finding]:
        """A condition, with or without braces; true and false need no look."""
        if isinstance(expression, str):
            yield from self._template(Text(path, expression), expression=True)

    def _template(self, text: Text, *, expression: bool = False) -> Iterator[Finding]:
        try:
            analysis = analyse(text.text, expression=expression)
        except TemplateError as error:
            yield self.subject.found_in(error.code, error.reason, text, error.line, advice=error.advice)
            return
        for use in analysis.uses:
            self.seen.used.add(".".join(use.path[:2]) if use.path[0] == "params" else use.path[0])
            found = self._check(use, text)
            if found is not None:
                yield found
        for name, line in analysis.calls:
            if name not in FUNCTIONS:
                advice = did_you_mean(name, FUNCTIONS)
                yield self.subject.found_in("RB304", f"there is no function {name}", text, line, advice=advice)
        yield from self._from_outside(analysis, text)

    def _from_outside(self, analysis: Analysis, text: Text) -> Iterator[Finding]:
        if self.in_message or not _DOCUMENTS.intersection(map(str, text.path)) or "\n" not in text.text:
            return
        for use in analysis.uses:
            if use.path[:2] in _OUTSIDE and not _ESCAPES.intersection(use.filters):
                yield self.subject.found_in("RB309", f"{'.'.join(use.path)} comes from the alert", text, use.line)

    def _check(self, use: Use, text: Text) -> Finding | None:
        root = use.path[0]
        if root in self.extra or root in KNOWN:
            return self._known_field(use, text)
        groups = {"params": self._parameter, "steps": self._step, "state": self._saved}
        if root in groups:
            return groups[root](use, text)
        if root == "error_message" and not self.in_message:
            return self.subject.found_in("RB307", f"{root} is not known here", text, use.line)
        # A function that does not exist is reported as such, not as a name.
        fine = use.called or use.optional or root in FUNCTIONS or root in {"secrets", "error_message"}
        known = fine or root in self.parameters or root in self.variables
        return None if known else self._unknown(root, use, text)

    def _known_field(self, use: Use, text: Text) -> Finding | None:
        here: Mapping[str, Any] = {**KNOWN, **self.extra}[use.path[0]]
        for depth, part in enumerate(use.path[1:], 1):
            if not here:
                return None
            if part not in here:
                # Messages may know more of the execution than steps do.
                if use.optional or (self.in_message and use.path[0] == "execution"):
                    return None
                return self._wrong(".".join(use.path[: depth + 1]), part, here, use, text)
            here = here[part]
        return None

    def _wrong(self, name: str, part: str, known: Any, use: Use, text: Text) -> Finding:
        return self.subject.found_in("RB302", f"{name} is unknown", text, use.line, advice=did_you_mean(part, known))

    def _parameter(self, use: Use, text: Text) -> Finding | None:
        name = use.path[1] if len(use.path) > 1 else ""
        if not name or name in self.parameters or use.optional:
            return None
        advice = did_you_mean(name, self.parameters) or "declare it under parameters"
        return self.subject.found_in("RB302", f"params.{name} is unknown", text, use.line, advice=advice)

    def _saved(self, use: Use, text: Text) -> Finding | None:
        name = use.path[1] if len(use.path) > 1 else ""
        if not name or name in self.state or use.optional:
            return None
        advice = did_you_mean(name, self.state) or "keep it with save_state of an earlier step"
        return self.subject.found_in("RB302", f"state.{name} is kept by no step before", text, use.line, advice=advice)

    def _step(self, use: Use, text: Text) -> Finding | None:
        if len(use.path) < _WITH_ID:
            return None
        step_id, rest = use.path[1], use.path[2:]
        if step_id in self.steps:
            return self._step_field(step_id, rest, use, text)
        if step_id in self.other_steps:
            message = f"the step {step_id} has not run for certain by then"
            return self.subject.found_in("RB206", message, text, use.line)
        advice = did_you_mean(step_id, self.steps)
        return self.subject.found_in("RB206", f"there is no step {step_id}", text, use.line, advice=advice)

    def _step_field(self, step_id: str, rest: tuple[str, ...], use: Use, text: Text) -> Finding | None:
        if not rest or use.optional:
            return None
        if rest[0] not in STEP_FIELDS:
            return self._wrong(f"steps.{step_id}.{rest[0]}", rest[0], STEP_FIELDS, use, text)
        if rest[0] == "outputs" and len(rest) > 1 and rest[1] not in self.steps[step_id]:
            return self._wrong(f"steps.{step_id}.outputs.{rest[1]}", rest[1], self.steps[step_id], use, text)
        return None

    def _unknown(self, name: str, use: Use, text: Text) -> Finding | None:
        if name in self.later:
            return self.subject.found_in("RB306", f"{name} is set by no step that has ended by then", text, use.line)
        if self.in_message:
            return None
        if name in LOOP or name in BACK or name in {"metrics", "output"}:
            return self.subject.found_in("RB307", f"{name} is not known here", text, use.line, advice=_PLACES[name])
        known = {*self.variables, *self.parameters, *KNOWN, *self.extra, "params", "steps", "secrets", "state"}
        near = nearest(name, known, _TYPO)
        if near is not None:
            return self.subject.found_in("RB302", f"{name} is unknown", text, use.line, advice=f"did you mean {near}?")
        if name in self.seen.implicit:
            return None
        self.seen.implicit.add(name)
        return self.subject.found_in("RB303", f"{name} is declared nowhere", text, use.line)


_PLACES: Mapping[str, str] = {
    "item": "only a step with for_each has items",
    "each": "only a step with for_each has turns",
    "rollback": "only steps that take back know why they run",
    "metrics": "metrics are looked at in preconditions, criteria, rollback triggers and wait",
    "output": "only a check with an action has an output; write steps.ID.output",
}
"""Where names are known that are not known everywhere."""
