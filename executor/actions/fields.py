"""One field of an object, by a path as people write it: ``spec.containers[0].image``, ``containers[name=app]``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from executor.errors import PlanError
from runbooks.findings import nearest

_PART = re.compile(
    r"""\.?(?P<key>[^.\[\]'"]+)
      | \[(?P<index>-?\d+)\]
      | \[(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)")\]
      | \[(?P<by>[^=\]]+)=(?P<value>[^\]]*)\]""",
    re.VERBOSE,
)


def read_field(item: Mapping[str, Any], path: str) -> Any:
    """The value at a path.

    Args:
        item: a Kubernetes object.
        path: keys with dots, ``[0]`` for the position in a list, ``[name=app]`` for the element whose name is app,
            ``['a.b/c']`` for a key with dots. ``{.spec.replicas}``, as kubectl writes it, is fine too.

    Raises:
        PlanError: the path cannot be read, or a part of it is not there; the text says which, and what is.
    """
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    here: Any = item
    at, reached = 0, ""
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise PlanError(f"the field {path!r} cannot be read from {text[at:]!r} on")
        found = _step(here, part)
        if found is None:
            missing = text[: part.end()].lstrip(".")
            raise PlanError(f"{_named(item)} has no {missing}: {_what_is_there(here, part, reached)}")
        here, at = found, part.end()
        reached = text[:at].lstrip(".")
    return here


def _step(here: Any, part: re.Match[str]) -> Any:
    key = next((part[group] for group in ("key", "single", "double") if part[group] is not None), None)
    if key is not None:
        return here.get(key) if isinstance(here, Mapping) else None
    if not isinstance(here, list):
        return None
    if part["index"] is not None:
        index = int(part["index"])
        return here[index] if -len(here) <= index < len(here) else None
    wanted = part["value"].strip("'\"")
    entries = (entry for entry in here if isinstance(entry, Mapping))
    return next((entry for entry in entries if str(entry.get(part["by"].lstrip("@."))) == wanted), None)


def _what_is_there(here: Any, part: re.Match[str], reached: str) -> str:
    where = reached or "the object"
    if isinstance(here, Mapping):
        if not here:
            return f"{where} is empty"
        word = part["key"] or part["single"] or part["double"] or ""
        near = nearest(word, map(str, here))
        return f"{where} has {', '.join(map(str, list(here)[:12]))}" + (f"; did you mean {near}?" if near else "")
    if isinstance(here, list):
        names = [str(entry.get("name", "")) for entry in here if isinstance(entry, Mapping)]
        return f"{where} is a list of {len(here)}" + (f" ({', '.join(names)})" if any(names) else "")
    return f"{where} is {here!r}"


def _named(item: Mapping[str, Any]) -> str:
    meta = item.get("metadata", {})
    return "/".join(part for part in (item.get("kind", ""), meta.get("namespace", ""), meta.get("name", "")) if part)
