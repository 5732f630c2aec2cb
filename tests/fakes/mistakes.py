"""Mistakes that people make in runbooks: each kind takes a good runbook and gives it back broken in every place it can.

A kind is a function from a runbook (what stands below ``runbook:``) to pairs: where the mistake is, and the broken one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fakes.language import at, places, renamed, replaced, without

Broken = Iterator[tuple[str, Any]]
_DURATION = "ms|s|m|h|d"
_LISTS = (("steps",), ("rollback", "steps"), ("rollback",))
_OBJECT = {"surprise": [1]}
_NAMES = re.compile(r"\b(incident(?:\.resource|\.root_cause|\.symptom)?|target|params|state|execution)\.([a-z_]+)")
_STEP = re.compile(r"\bsteps\.([a-z_]+)")
_FILTER = re.compile(r"\|\s*([a-z_]+)")


def misspelt_keys(runbook: Any) -> Broken:
    """A key of the language with a letter too few, with two of them swapped, or in another style."""
    for place in places(runbook):
        name = str(place.path[-1])
        typos = (name[:-1], name[1:2] + name[:1] + name[2:], name.replace("_", "-"), name.title())
        for typo in dict.fromkeys(typos) if place.fixed else ():
            if typo != name and typo and typo not in place.holder:
                yield f"{_text(place.path)} as {typo}", renamed(runbook, place.path, typo)


def missing_keys(runbook: Any) -> Broken:
    """A key of the language that is left out."""
    for place in places(runbook):
        if place.fixed:
            yield _text(place.path), without(runbook, place.path)


def wrong_kinds(runbook: Any) -> Broken:
    """A value of another kind: a mapping for a text, words for a number, a text for a mapping."""
    for place in places(runbook):
        if not place.forms or not any("type" in form or "enum" in form for form in place.forms):
            continue
        if place.path[-1] == "params":
            continue  # broken by kinds of their own
        others = {"object": _OBJECT, "string": "sme wrds", "number": 7.25, "boolean": True, "array": [[_OBJECT]]}
        for kind, other in others.items():
            near = "number" if kind != "number" else "integer"
            if not place.takes(kind) and not (kind == "number" and place.takes(near)):
                yield f"{_text(place.path)} as {kind}", replaced(runbook, place.path, other)


def wrong_words(runbook: Any) -> Broken:
    """A word that is none of those that the key takes."""
    for place in places(runbook):
        words = [word for form in place.forms for word in form.get("enum", ())]
        if words and isinstance(place.value, str):
            for word in (place.value[:-1], place.value.upper(), "perhaps"):
                yield f"{_text(place.path)}: {word}", replaced(runbook, place.path, word)


def out_of_bounds(runbook: Any) -> Broken:
    """A number below or above what makes sense."""
    for place in places(runbook):
        for form in place.forms if isinstance(place.value, int | float) and not isinstance(place.value, bool) else ():
            low = form.get("minimum", form.get("exclusiveMinimum"))
            high = form.get("maximum", form.get("exclusiveMaximum"))
            for bound in ([low - 1] if low is not None else []) + ([high + 1] if high is not None else []):
                yield f"{_text(place.path)}: {bound}", replaced(runbook, place.path, bound)


def wrong_durations(runbook: Any) -> Broken:
    """A length of time in words, with a sign, or in units that do not exist."""
    for place in places(runbook):
        if any(_DURATION in form.get("pattern", "") for form in place.forms):
            for text in ("five minutes", "-5s", "5 mins", "1m30", "", -1):
                if text != "1m30":
                    yield f"{_text(place.path)}: {text}", replaced(runbook, place.path, text)


def empty_values(runbook: Any) -> Broken:
    """Nothing where something has to stand."""
    for place in places(runbook):
        if any(form.get("minLength") or form.get("pattern") or form.get("minItems") for form in place.forms):
            yield _text(place.path), replaced(runbook, place.path, [] if isinstance(place.value, list) else "")


def broken_references(runbook: Any) -> Broken:
    """A name of a step or procedure that does not exist."""
    for place in places(runbook):
        names = {"steps.depends_on", "rollback.triggers.step_failed", "rollback.triggers.run", "approvals.rules.step"}
        if place.key in names | {"steps.on_failure.run"} and isinstance(place.value, str):
            yield _text(place.path), replaced(runbook, place.path, place.value + "x")


def broken_names(runbook: Any) -> Broken:
    """A name in a template or expression that nothing declares: one letter too many."""
    variables = [re.escape(step["output_var"]) for step in runbook["steps"] if step.get("output_var")]
    bare = re.compile(rf"(?<![\w.])({'|'.join(variables)})\b") if variables else None
    for path, text in _rendered(runbook):
        for pattern in filter(None, (_NAMES, _STEP, _FILTER, bare)):
            for match in pattern.finditer(text):
                end = match.end()
                said = "{{" in text and text.rfind("{{", 0, end) <= text.rfind("}}", 0, end)
                if said or match[0] in {"incident.labels", "incident.resource"}:
                    continue  # words for people, or a name of which any field may be asked
                yield f"{_text(path)}: {match[0]}x", replaced(runbook, path, f"{text[:end]}x{text[end:]}")


def broken_templates(runbook: Any) -> Broken:
    """A template that is never closed, or that does more than read."""
    for path, text in _rendered(runbook):
        if "{{" in text:
            yield f"{_text(path)} not closed", replaced(runbook, path, text.replace("}}", "}", 1))
            yield f"{_text(path)} statement", replaced(runbook, path, "{% set x = 1 %}" + text)
            yield f"{_text(path)} dunder", replaced(runbook, path, text + "{{ target.__class__ }}")


def circles(runbook: Any) -> Broken:
    """A step that waits for itself, or for one that waits for it."""
    steps = runbook["steps"]
    for index, step in enumerate(steps):
        for other in steps[index:]:
            if step.get("id") and other.get("id") and _comes_after(steps, step["id"], other["id"]):
                waits = [*(step.get("depends_on") or ()), other["id"]]
                where = f"{step['id']} waits for {other['id']}"
                yield where, replaced(runbook, ("steps", index), {**step, "depends_on": waits})


def twice(runbook: Any) -> Broken:
    """A step, a parameter or a variable that is there twice."""
    for path in (("steps",), ("parameters",), *(("procedures", name) for name in runbook.get("procedures", {}))):
        try:
            listed = at(runbook, path)
        except KeyError:
            continue
        for index, item in enumerate(listed):
            if "id" in item or path == ("parameters",):
                yield f"{_text((*path, index))}", replaced(runbook, path, [*listed, item])


def wrong_actions(runbook: Any) -> Broken:
    """An action that does not exist, a parameter that it does not have, and one of the wrong kind."""
    for place in places(runbook):
        if place.path[-1] == "action" and place.fixed:
            yield f"{_text(place.path)}", replaced(runbook, place.path, place.value + "x")
        if place.path[-1] == "params" and place.fixed and isinstance(place.value, Mapping):
            yield f"{_text(place.path)} and more", replaced(runbook, place.path, {**place.value, "surprise": 1})


def clear_secrets(runbook: Any) -> Broken:
    """A secret in clear text: a known kind of token anywhere in what is used, or a reference written out."""
    token = "ghp_" + "a1B2" * 9
    for path, text in _used_texts(runbook):
        yield f"{_text(path)} with a token", replaced(runbook, path, f"{text} {token}")
        if "secrets." in text and "://" not in text:
            yield f"{_text(path)} written out", replaced(runbook, path, re.sub(r"\{\{.*?\}\}", "hunter2hunter2", text))


def no_time(runbook: Any) -> Broken:
    """A wait without an end, a write that may take no time, times that do not fit into each other."""
    for index, step in enumerate(runbook["steps"]):
        path = ("steps", index)
        if isinstance(step.get("params"), Mapping) and "condition" in step["params"]:
            endless = without(without(runbook, (*path, "params", "timeout")), (*path, "timeout"))
            yield f"{_text(path)} waits for ever", endless
        yield f"{_text(path)} no time", replaced(runbook, path, {**step, "timeout": 0})
        yield f"{_text(path)} longer than all", {**replaced(runbook, path, {**step, "timeout": "3h"}), "timeout": "1h"}
    yield "settles too long", {**runbook, "verification": {"settle": "10m", "timeout": "5m"}}


def no_ceiling(runbook: Any) -> Broken:
    """Something that grows with nothing that holds it back."""
    for index, step in enumerate(runbook["steps"]):
        if "max" in step.get("params", {}):
            yield _text(("steps", index)), without(runbook, ("steps", index, "params", "max"))
    for path, text in _rendered(runbook):
        if "grow(" in text:
            yield _text(path), replaced(runbook, path, re.sub(r"grow\(([\d.]+),[^)]*\)", r"multiply(\1)", text))


KINDS: Mapping[str, Callable[[Any], Broken]] = {
    kind.__name__: kind
    for kind in (
        misspelt_keys,
        missing_keys,
        wrong_kinds,
        wrong_words,
        out_of_bounds,
        wrong_durations,
        empty_values,
        broken_references,
        broken_names,
        broken_templates,
        circles,
        twice,
        wrong_actions,
        clear_secrets,
        no_time,
        no_ceiling,
    )
}
"""Every kind by its name."""


def _text(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))


def _comes_after(steps: Any, first: str, later: str) -> bool:
    """Whether ``later`` is the first itself, or waits for it by a chain of ``depends_on``."""
    waits = {
        step.get("id"): step.get("depends_on", [steps[index - 1].get("id")] if index else [])
        for index, step in enumerate(steps)
    }
    ahead = {later}
    while fresh := {name for one in ahead for name in waits.get(one) or ()} - ahead:
        ahead |= fresh
    return first in ahead


def _rendered(runbook: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Texts that are templates, and those that are expressions."""
    words = {"when", "check", "require_approval", "for_each"}
    for place in places(runbook):
        expression = place.fixed and place.path[-1] in words
        if isinstance(place.value, str) and (expression or "{{" in place.value):
            yield place.path, place.value


def _used_texts(runbook: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Texts that go somewhere: parameters of actions, values of parameters, messages."""
    for place in places(runbook):
        above = {"params", "notification", "parameters", "save_state"} & set(map(str, place.path))
        named = place.path[-1] in {"name", "type", "description", "pattern", "severity", "channel"}
        if isinstance(place.value, str) and above and not (named and place.fixed):
            yield place.path, place.value
