"""Taking out of values what differs from run to run without meaning anything: times, uuids, versions of objects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_VERSIONS = frozenset({"resourceVersion", "resource_version", "generation", "observedGeneration", "managedFields"})


def steady(value: Any, name: str = "") -> Any:
    """A value with its volatile parts masked; everything else is left as it is."""
    if name in _VERSIONS and value is not None:
        return f"<{name}>"
    if isinstance(value, str):
        return _UUID.sub("<uuid>", _TIME.sub("<time>", value))
    if isinstance(value, Mapping):
        return {str(key): steady(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [steady(item) for item in value]
    return value


def differing(recorded: Any, replayed: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two steady values differ: path, recorded value, replayed value; the innermost places."""
    if isinstance(recorded, Mapping) and isinstance(replayed, Mapping):
        for key in sorted({*recorded, *replayed}):
            yield from differing(recorded.get(key), replayed.get(key), f"{path}.{key}" if path else key)
    elif isinstance(recorded, list) and isinstance(replayed, list) and len(recorded) == len(replayed):
        for at, (one, other) in enumerate(zip(recorded, replayed, strict=True)):
            yield from differing(one, other, f"{path}[{at}]")
    elif recorded != replayed or isinstance(recorded, bool) is not isinstance(replayed, bool):
        yield path, recorded, replayed
