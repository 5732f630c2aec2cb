"""Objects in parameters: YAML text or plain data, one or several."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from runbooks.durations import parse_duration
from runbooks.findings import RunbookError
from runbooks.yaml_source import parse_yaml

_SEPARATOR = re.compile(r"^---(?:[ \t].*)?$", re.MULTILINE)
_HAS_TEXT = re.compile(r"^[ \t]*[^#\s]", re.MULTILINE)


def parse_patch(value: object) -> Any:
    """A patch: data as it is, or YAML (or JSON) text.

    Raises:
        ValueError: the text is not YAML, or neither a mapping nor a list.
    """
    patch = _parse(value) if isinstance(value, str) else value
    if isinstance(patch, Mapping | list):
        return patch
    raise ValueError("a patch is a mapping, or a list of operations")


def parse_manifests(value: object) -> list[dict[str, Any]]:
    """Manifests: YAML text of one or several documents, a mapping, or a list of mappings; a ``List`` is unfolded.

    Raises:
        ValueError: a document is not a manifest.
    """
    documents = list(_documents(value)) if isinstance(value, str) else value if isinstance(value, list) else [value]
    found = [item for document in documents for item in _unfolded(document)]
    if not found:
        raise ValueError("the manifest is empty")
    return found


def _documents(text: str) -> Iterator[Any]:
    for part in _SEPARATOR.split(text):
        if _HAS_TEXT.search(part):
            yield _parse(part)


def _parse(text: str) -> Any:
    try:
        return parse_yaml(text).value
    except RunbookError as error:
        first = error.findings[0]
        raise ValueError(f"line {first.line}, column {first.column}: {first.message}") from error


def _unfolded(document: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(document, Mapping):
        raise ValueError("a manifest is a mapping with apiVersion, kind and metadata.name")
    if document.get("kind") == "List":
        for item in document.get("items") or ():
            yield from _unfolded(item)
        return
    missing = [key for key in ("apiVersion", "kind") if not document.get(key)]
    metadata = document.get("metadata")
    if missing or not isinstance(metadata, Mapping) or not metadata.get("name"):
        raise ValueError(f"the manifest lacks {', '.join(missing) or 'metadata.name'}")
    yield dict(document)


def _seconds(value: object) -> object:
    return None if value is None else parse_duration(value).total_seconds()


Seconds = Annotated[
    float, BeforeValidator(_seconds), WithJsonSchema({"type": ["number", "string"], "examples": [30, "30s", "5m"]})
]
"""A length of time; a bare number is seconds, and texts such as ``5m`` are read. Kept as seconds."""

Manifests = Annotated[
    list[dict[str, Any]], BeforeValidator(parse_manifests), WithJsonSchema({"type": ["string", "object", "array"]})
]
Patch = Annotated[Any, BeforeValidator(parse_patch), WithJsonSchema({"type": ["string", "object", "array"]})]
