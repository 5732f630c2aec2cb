"""JSONPath (RFC 9535), the way runbooks take parts out of answers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jsonpath
from jsonpath import CompoundJSONPath, JSONPath, JSONPathError

from executor.errors import PlanError, StepFailed

_MAX_PATH = 500


@lru_cache(maxsize=512)
def _compiled(path: str) -> JSONPath | CompoundJSONPath:
    return jsonpath.compile(path)


def is_path(text: object) -> bool:
    """Whether a text is meant as JSONPath: it begins at the root."""
    return isinstance(text, str) and (text == "$" or text.startswith(("$.", "$[", "$..")))


def check_path(path: str) -> None:
    """Raise PlanError when the text is no JSONPath."""
    if len(path) > _MAX_PATH:
        raise PlanError(f"a JSONPath has at most {_MAX_PATH} characters")
    try:
        _compiled(path)
    except (JSONPathError, RecursionError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise PlanError(f"{path!r} is no JSONPath: {reason}") from error


def extract(value: Any, path: str) -> Any:
    """The part of a value that a path names.

    A path that can name one place only (``$.data.id``) gives what is there; any other (``$.items[*].id``) gives a list.

    Raises:
        PlanError: the text is no JSONPath.
        StepFailed: a path for one place finds nothing there. Missing data must not become an empty text.
    """
    check_path(path)
    compiled = _compiled(path)
    try:
        found = compiled.findall(value)
    except (JSONPathError, RecursionError) as error:
        raise StepFailed(f"{path} could not be applied: {error}") from error
    if not (isinstance(compiled, JSONPath) and compiled.singular_query()):
        return found
    if not found:
        raise StepFailed(f"there is nothing at {path}{_known(value)}")
    return found[0]


def _known(value: Any) -> str:
    if isinstance(value, dict):
        return f"; the answer has {', '.join(map(str, list(value)[:20])) or 'no fields'}"
    return f"; the answer is of type {type(value).__name__}"
