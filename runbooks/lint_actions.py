"""Checks of steps against the actions that exist, through the JSON Schema of their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runbooks.findings import Finding, did_you_mean
from runbooks.sandbox import has_template
from runbooks.subject import Path, Subject

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (Mapping,),
    "array": (list, tuple),
    "null": (type(None),),
}
_SHOWN = 60


def check_actions(subject: Subject) -> Iterator[Finding]:
    """Every step: does its action exist, and do its parameters fit?"""
    for path, step in subject.steps():
        yield from check_call(subject, path, step.action, step.params)


def check_call(subject: Subject, path: Path, action: str, params: Mapping[str, Any]) -> Iterator[Finding]:
    """One use of an action: does it exist, and do its parameters fit?"""
    if subject.actions is None:
        return
    schema = subject.actions.get(action)
    if schema is None:
        advice = did_you_mean(action, subject.actions)
        yield subject.found("RB201", f"there is no action {action}", (*path, "action"), advice=advice)
    else:
        yield from _parameters(subject, path, action, params, schema)


def _parameters(
    subject: Subject, path: Path, action: str, params: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[Finding]:
    known: Mapping[str, Any] = schema.get("properties", {})
    definitions = schema.get("$defs", {})
    for name, value in params.items():
        here = (*path, "params", name)
        if name not in known:
            if schema.get("additionalProperties") is not True:
                message = f"{action} has no parameter {name}"
                yield subject.found("RB202", message, here, advice=did_you_mean(name, known))
        elif known[name].get("x-literal") and isinstance(value, str) and has_template(value):
            yield subject.found("RB212", f"{name} of {action} holds a template", here)
        elif not fits(value, known[name], definitions):
            shown = repr(value)
            shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
            message = f"{name} of {action} cannot be {shown}"
            yield subject.found("RB204", message, here, advice=f"expected {describe(known[name], definitions)}")
    for name in schema.get("required", ()):
        if name not in params:
            yield subject.found("RB203", f"{action} needs the parameter {name}", (*path, "params"))
    for choice in (schema, *schema.get("allOf", ())):
        ways = [way["required"][0] for way in choice.get("anyOf", ())]
        if ways and not any(name in params for name in ways):
            message = f"{action} needs the parameter {ways[0]}"
            yield subject.found("RB203", message, (*path, "params"), advice=f"or instead {', '.join(ways[1:])}")


def fits(value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> bool:
    """Whether a value may be right; what is still a template may be anything."""
    if isinstance(value, str) and has_template(value):
        return True
    schema = _resolved(schema, definitions)
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return any(fits(value, option, definitions) for option in options)
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    names = schema.get("type")
    if names is None:
        return True
    names = [names] if isinstance(names, str) else list(names)
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES.get(name, (object,))) for name in names) or _reads_as(value, names)


def _reads_as(value: Any, names: Sequence[str]) -> bool:
    """Numbers in quotes are numbers to the actions, and a whole float is an integer."""
    if isinstance(value, float):
        return "integer" in names and value.is_integer()
    if not isinstance(value, str) or not {"integer", "number"}.intersection(names):
        return False
    try:
        return float(value).is_integer() or "number" in names
    except ValueError:
        return False


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Mapping[str, Any] = definitions.get(str(reference).rpartition("/")[2], {})
    return found


def describe(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What a schema asks for, in words."""
    schema = _resolved(schema, definitions)
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(describe(option, definitions) for option in options))
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    names = schema.get("type", "a value")
    return names if isinstance(names, str) else " or ".join(names)
