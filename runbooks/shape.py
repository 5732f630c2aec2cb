"""From pydantic's errors to findings: what is wrong in the author's words, with the nearest valid word."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from runbooks.findings import Finding, did_you_mean
from runbooks.model import Runbook
from runbooks.rules import finding
from runbooks.yaml_source import Path, Source

_MOST = 200
_BRANCHES = {("bool",), ("str",), ("word",), ("mapping",)}
"""What pydantic calls the branches of our unions."""
_KINDS: Mapping[type, str] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a mapping",
    types.NoneType: "nothing",
}
_WANTED = (
    ("string", "a text"),
    ("int", "a whole number"),
    ("float", "a number"),
    ("bool", "true or false"),
    ("tuple", "a list"),
    ("mapping", "a mapping"),
    ("dict", "a mapping"),
    ("model", "a mapping"),
)


def shape_findings(
    error: ValidationError, source: Source, above: Path, top: type[BaseModel] = Runbook
) -> list[Finding]:
    """One finding for each place of the file that has an error.

    Args:
        error: of validating the runbook.
        source: knows the positions.
        above: where the runbook stands in the source.
        top: the model that was asked for.
    """
    found: dict[Path, Finding] = {}
    for problem in error.errors(include_url=False):
        if problem["type"] == "too_short" and problem["input"]:
            continue  # its items are wrong, and each has a finding of its own
        path = (*above, *_real(problem["loc"], source, above))
        if path not in found:
            found[path] = _explain(dict(problem), path, source, above, top)
    return list(found.values())


def _real(location: tuple[int | str, ...], source: Source, above: Path) -> Path:
    """The location without the parts that pydantic adds for the branches of a union."""
    known: Path = ()
    for part in location[:-1]:
        if (*above, *known, part) in source.keys:
            known = (*known, part)
    last = location[-1:]
    union = (*above, *known) != above and last in _BRANCHES and (*above, *known, *last) not in source.keys
    return known if union else (*known, *last)


@dataclass(frozen=True, slots=True)
class _Problem:
    """One error of pydantic, with its place in the file."""

    kind: str
    given: Any
    message: str
    expected: str
    path: Path
    bare: str


def _explain(problem: dict[str, Any], path: Path, source: Source, above: Path, top: type[BaseModel]) -> Finding:
    if problem["type"] == "extra_forbidden":
        return _unknown_key(path, source, above, top)
    if problem["type"] == "missing":
        whole = "the runbook" if top is Runbook else "the file"
        message = f"{_shown(path[:-1], above) or whole} has no {path[-1]}"
        return finding("RB103", message, source.key_at(path[:-1]), advice=f"add {path[-1]}:")
    expected = str(problem.get("ctx", {}).get("expected", ""))
    word = source.bare.get(path, "")
    this = _Problem(problem["type"], problem["input"], problem["msg"], expected, path, word)
    code, (message, advice) = next((code, explain(this)) for matches, code, explain in _TABLE if matches(this))
    return finding(code, f"{_shown(path, above)}: {message}"[:_MOST], source.value_at(path), advice=advice)


def _unknown_key(path: Path, source: Source, above: Path, top: type[BaseModel]) -> Finding:
    where = _shown(path[:-1], above) or ("a runbook" if top is Runbook else "the file")
    known = fields_at(path[len(above) : -1], top)
    return finding(
        "RB102",
        f"{where} has no key {path[-1]}"[:_MOST],
        source.key_at(path),
        advice=did_you_mean(str(path[-1]), known),
    )


def fields_at(path: Path, top: type[BaseModel] = Runbook) -> tuple[str, ...]:
    """The keys that are known at a place of the runbook, in the order of the reference."""
    model: type[BaseModel] | None = top
    for part in path:
        if model is None or isinstance(part, int):
            continue
        info = model.model_fields.get(part)
        model = _model_in(info.annotation) if info is not None else None
    return tuple(model.model_fields) if model is not None else ()


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)


def _shown(path: Path, above: Path) -> str:
    text = ""
    for part in path[len(above) :]:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


_Explained = tuple[str, str]
"""What is wrong, and advice."""


def _bare(problem: _Problem) -> _Explained:
    kind = _KINDS.get(type(problem.given), "something else")
    return f"{problem.bare} is read as {kind}", f'write "{problem.bare}"'


def _type(problem: _Problem) -> _Explained:
    wanted = next((words for start, words in _WANTED if problem.kind.startswith(start)), "another type")
    if str(problem.path[-1]) in {"require_approval", "when"}:
        wanted = "true, false or an expression in quotes"
    got = _KINDS.get(type(problem.given), type(problem.given).__name__)
    return f"expected {wanted}, got {got}", ""


def _bounds(problem: _Problem) -> _Explained:
    return f"{problem.given!r:.60}: {problem.message.lower()}", ""


def _choice(problem: _Problem) -> _Explained:
    choices = re.findall(r"'([^']*)'", problem.expected)
    return f"{problem.given!r:.60} is not one of its words", did_you_mean(str(problem.given), choices)


def _pattern(problem: _Problem) -> _Explained:
    advice = "use letters, digits and _" + (" - . (at most 128)" if problem.path[-1] == "id" else "")
    return f"{problem.given!r:.60} is not a valid {problem.path[-1]}", advice


def _empty(_problem: _Problem) -> _Explained:
    return "is empty", ""


def _own(problem: _Problem) -> _Explained:
    return problem.message.removeprefix("Value error, "), ""


_BOUNDS = ("greater_than", "less_than", "finite_number", "too_long", "string_too_long")
_TABLE: tuple[tuple[Callable[[_Problem], bool], str, Callable[[_Problem], _Explained]], ...] = (
    (lambda problem: problem.given is None, "RB110", _empty),
    (lambda problem: problem.kind == "string_type" and bool(problem.bare), "RB108", _bare),
    (lambda problem: problem.kind in {"enum", "literal_error"}, "RB106", _choice),
    (lambda problem: problem.kind == "string_pattern_mismatch", "RB107", _pattern),
    (lambda problem: problem.kind in {"too_short", "string_too_short"}, "RB110", _empty),
    (lambda problem: problem.kind.startswith(_BOUNDS), "RB105", _bounds),
    (lambda problem: problem.kind.endswith(("_type", "_parsing", "_from_float")), "RB104", _type),
    (lambda problem: "nothing starts it" in problem.message, "RB112", _own),
    (lambda problem: "no time zone" in problem.message, "RB221", _own),
    (lambda problem: "duration" in problem.message, "RB109", _own),
    (lambda _problem: True, "RB111", _own),
)
"""Which errors of pydantic are which rule; the first row that matches counts."""
