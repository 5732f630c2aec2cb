"""The language as data: every key that the model has, and every place of a runbook with the key that it stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from runbooks.schema import runbook_schema

Path = tuple[str | int, ...]
_SHARED = {"Step": "steps", "Channels": "channels"}
"""Parts that are the same wherever they stand: their keys are told once, below this name."""


@dataclass(frozen=True)
class Place:
    """One value of a runbook.

    Attributes:
        path: below ``runbook:``.
        key: its name in the language, without indexes and names that the author chose: ``steps.retry.jitter``.
        schema: what the model says of it; unions with each of their forms.
        fixed: the last part of the path is a key of the model, and no name that the author chose.
        required: the model needs it.
        holder: the properties that may stand beside it, where it is a key of the model.
    """

    path: Path
    key: str
    schema: Mapping[str, Any]
    value: Any
    fixed: bool = False
    required: bool = False
    holder: tuple[str, ...] = ()

    @property
    def forms(self) -> tuple[Mapping[str, Any], ...]:
        """The simple schemas of which one must fit."""
        return tuple(form for _, form in _forms(self.schema))

    def takes(self, kind: str) -> bool:
        """Whether values of this JSON type may stand here."""
        return any(form.get("type", kind) == kind or kind in form.get("type", ()) for form in self.forms)


@cache
def schema() -> dict[str, Any]:
    """The published JSON Schema."""
    return runbook_schema()


def _forms(one: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The simple schemas that a schema offers, each with the name of its model."""
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        yield from _forms(schema()["$defs"][name], name)
        return
    options = one.get("anyOf") or one.get("oneOf")
    if options is None:
        yield name, one
    for option in options or ():
        yield from _forms(option, name)


def places(runbook: Mapping[str, Any]) -> Iterator[Place]:
    """Every value of a canonical runbook (what stands below ``runbook:``), outside first."""
    yield from _inside({"$ref": "#/$defs/Runbook"}, runbook, (), "")


def _inside(one: Mapping[str, Any], value: Any, path: Path, key: str) -> Iterator[Place]:
    forms = tuple(form for _, form in _forms(one))
    if isinstance(value, Mapping):
        name, known = next(((name, form) for name, form in _forms(one) if "properties" in form), ("", None))
        key = _SHARED.get(name, key)
        for name, item in value.items():
            if known is not None and name in known["properties"]:
                below = f"{key}.{name}" if key else str(name)
                place = Place(
                    (*path, name), below, known["properties"][name], item,
                    fixed=True, required=name in known.get("required", ()), holder=tuple(known["properties"]),
                )  # fmt: skip
            else:
                free = next((f["additionalProperties"] for f in forms if f.get("additionalProperties")), {})
                place = Place((*path, name), f"{key}.*", free if isinstance(free, Mapping) else {}, item)
            yield place
            yield from _inside(place.schema, item, place.path, place.key)
    elif isinstance(value, list):
        items = next((form["items"] for form in forms if "items" in form), {})
        for index, item in enumerate(value):
            yield Place((*path, index), key, items, item)
            yield from _inside(items, item, (*path, index), key)


def keys() -> tuple[str, ...]:
    """Every key that the model knows, with the words of those that take one of a few: ``steps.on_failure=abort``."""
    channels = _keys({"$ref": "#/$defs/Channels"}, _SHARED["Channels"])
    found = (*_keys({"$ref": "#/$defs/Runbook"}, ""), *channels)
    return tuple(sorted({key for key in found if key not in {"", _SHARED["Channels"]}}))


def _keys(one: Mapping[str, Any], key: str) -> Iterator[str]:
    yield key
    for model, form in _forms(one):
        if model in _SHARED and key != _SHARED[model]:
            continue  # told where it stands first
        for word in form.get("enum", ()):
            yield f"{key}={word}"
        for name, below in form.get("properties", {}).items():
            yield from _keys(below, f"{key}.{name}" if key else name)
        if isinstance(form.get("items"), Mapping):
            yield from _keys(form["items"], key)
        if isinstance(form.get("additionalProperties"), Mapping):
            yield from _keys(form["additionalProperties"], f"{key}.*")


def used(runbook: Mapping[str, Any]) -> frozenset[str]:
    """The keys, and the words of those that take one of a few, that a runbook uses."""
    known = set(keys())
    found = set()
    for place in places(runbook):
        found |= {place.key, f"{place.key}={place.value}" if isinstance(place.value, str) else place.key}
    return frozenset(found & known)


def at(runbook: Any, path: Path) -> Any:
    """The value at a path."""
    for part in path:
        runbook = runbook[part]
    return runbook


def replaced(runbook: Any, path: Path, value: Any) -> Any:
    """A copy with another value at the path."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(runbook, list):
        return [replaced(item, rest, value) if number == head else item for number, item in enumerate(runbook)]
    return {key: replaced(item, rest, value) if key == head else item for key, item in runbook.items()}


def without(runbook: Any, path: Path) -> Any:
    """A copy without the value at the path."""
    head, rest = path[0], path[1:]
    if not rest and isinstance(runbook, list):
        return [item for number, item in enumerate(runbook) if number != head]
    if not rest:
        return {key: item for key, item in runbook.items() if key != head}
    if isinstance(runbook, list):
        return [without(item, rest) if number == head else item for number, item in enumerate(runbook)]
    return {key: without(item, rest) if key == head else item for key, item in runbook.items()}


def renamed(runbook: Any, path: Path, name: str) -> Any:
    """A copy whose key at the path has another name, at the same place."""
    holder = at(runbook, path[:-1])
    changed = {(name if key == path[-1] else key): item for key, item in holder.items()}
    return replaced(runbook, path[:-1], changed)
