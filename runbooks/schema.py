"""JSON Schema of a runbook file, for editors and for other programs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter

from runbooks.durations import format_duration
from runbooks.model import Runbook
from runbooks.subject import Actions

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TIMEDELTA = TypeAdapter(timedelta)
_ISO = re.compile(r"P(?:\d+D)?(?:T[\dHMS.]+)?")


def runbook_schema(actions: Actions | None = None) -> dict[str, Any]:
    """The schema of a file with one runbook (draft 2020-12).

    Args:
        actions: JSON Schema of each action's parameters by name; their names become suggestions.
    """
    made = Runbook.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = made.pop("$defs", {})
    definitions["Runbook"] = made
    whole = made["properties"]["rollback"]
    steps = {"type": "array", "items": {"$ref": "#/$defs/Step"}}
    made["properties"]["rollback"] = {
        "anyOf": [{"$ref": "#/$defs/Rollback"}, steps],
        "description": whole["description"],
    }
    if actions is not None:
        definitions["Step"]["properties"]["action"]["examples"] = sorted(actions)
    schema = {
        "$schema": DIALECT,
        "title": "Rootmend runbook",
        "description": "One runbook in the canonical form.",
        "type": "object",
        "required": ["runbook"],
        "additionalProperties": False,
        "properties": {"runbook": {"$ref": "#/$defs/Runbook", "description": "The runbook"}},
        "$defs": dict(sorted(definitions.items())),
    }
    cleaned: dict[str, Any] = _cleaned(schema)
    return cleaned


def _cleaned(value: Any) -> Any:
    """Without generated titles, first lines of descriptions only, durations as people write them."""
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    result: dict[str, Any] = {
        key: _without_titles(item) if key == "properties" else _cleaned(item) for key, item in value.items()
    }
    if "default" in result:
        result["default"] = _readable(result["default"])
    description = result.get("description")
    if isinstance(description, str):
        result["description"] = description.strip().partition("\n")[0]
    return result


def _without_titles(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _cleaned({key: item for key, item in schema.items() if key != "title"})
        for name, schema in properties.items()
    }


def _readable(default: Any) -> Any:
    if isinstance(default, Mapping):
        return {key: _readable(item) for key, item in default.items()}
    if isinstance(default, str) and _ISO.fullmatch(default):
        return format_duration(_TIMEDELTA.validate_python(default))
    return default
