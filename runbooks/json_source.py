"""JSON with the place of every value: programs send runbooks so."""

from __future__ import annotations

import json
import re
from typing import Any

from runbooks.findings import RunbookError, errors_of
from runbooks.rules import finding
from runbooks.yaml_source import MAX_BYTES, Source, parse_yaml

_SURROGATES = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def looks_like_json(text: str | bytes) -> bool:
    """Whether the text begins as a JSON object does, and not as YAML's flow style does."""
    head = text[:4096] if isinstance(text, str) else text[:4096].decode("utf-8", "replace")
    return re.match(r"\ufeff?\s*\{\s*(\"|\}\s*$)", head) is not None


def parse_json(text: str | bytes) -> Source | None:
    """The data with its places, or None when it is no JSON (it may still be YAML).

    JSON decides the values, the YAML reader gives the places and refuses duplicate keys and deep nesting.

    Raises:
        RunbookError: it is JSON, but cannot be used.
    """
    if len(text) > MAX_BYTES:
        return None
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")
        value: Any = json.loads(decoded, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    # In JSON a tab can only stand between values, where YAML wants spaces.
    source = parse_yaml(_SURROGATES.sub(_joined, decoded.replace("\t", " ")))
    if errors_of(source.findings):
        raise RunbookError(source.findings)
    source.value = value
    return source


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _joined(match: re.Match[str]) -> str:
    """A character outside of the basic plane, which JSON writes in two halves."""
    character = json.loads('"' + match[0] + '"')
    return f"\\U{ord(character):08x}"


def json_error(text: str | bytes) -> RunbookError:
    """Where a text stops being JSON."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return RunbookError([finding("RB003", f"not JSON: {error.msg}", (error.lineno, error.colno))])
    except (ValueError, RecursionError) as error:
        return RunbookError([finding("RB003", f"not JSON: {error}")])
    return RunbookError([finding("RB003", "not JSON")])
