"""What changed between two objects, field by field, and how to take exactly that back.

Elements of lists are told apart by their name (or mount path, port, ...), not by their position: somebody may have
added a container meanwhile.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executor.errors import Drifted

_KEYS = ("name", "mountPath", "containerPort", "port", "key", "topologyKey", "ip", "uid")
_SHOWN = 80
_LINES = 8


class _Missing:
    """Stands for a field that is not there; ``null`` is a value."""

    def __repr__(self) -> str:
        return "(unset)"


MISSING = _Missing()


@dataclass(frozen=True, slots=True)
class Item:
    """An element of a list, by its key."""

    key: str
    value: str | int


Path = tuple[str | Item, ...]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that changed.

    Attributes:
        before: ``MISSING`` when it was not there.
        after: ``MISSING`` when it is gone.
        index: where an element stood in its list, so that it can be put back there.
    """

    path: Path
    before: Any
    after: Any
    index: int | None = None

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {_short(self.before)} -> {_short(self.after)}"

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        path = [{part.key: part.value} if isinstance(part, Item) else part for part in self.path]
        sides = {"before": self.before, "after": self.after}
        known = {name: side for name, side in sides.items() if side is not MISSING}
        return {"path": path, **known, **({} if self.index is None else {"index": self.index})}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FieldChange:
        """The inverse of ``to_json``."""
        path = tuple(part if isinstance(part, str) else Item(*next(iter(part.items()))) for part in data["path"])
        return cls(path, data.get("before", MISSING), data.get("after", MISSING), data.get("index"))


def changes_between(before: Any, after: Any, path: Path = ()) -> Iterator[FieldChange]:
    """Every field that differs; a whole new or removed part counts as one field."""
    if before is after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            yield from changes_between(before.get(key, MISSING), after.get(key, MISSING), (*path, key))
    elif key := _key_of(before, after):
        yield from _between_items(before, after, path, key)
    elif _differ(before, after):
        yield FieldChange(path, before, after)


def _differ(before: Any, after: Any) -> bool:
    return type(before) is not type(after) or bool(before != after)


def _key_of(before: Any, after: Any) -> str | None:
    """The key that tells the elements of both lists apart, when their common elements are in the same order."""
    if not isinstance(before, list) or not isinstance(after, list) or not before or not after:
        return None
    for key in _KEYS:
        if _unique(before, key) and _unique(after, key):
            old, new = [item[key] for item in before], [item[key] for item in after]
            same_order = [value for value in old if value in new] == [value for value in new if value in old]
            return key if same_order else None
    return None


def _unique(items: Sequence[Any], key: str) -> bool:
    values = [item.get(key) if isinstance(item, Mapping) else None for item in items]
    return all(isinstance(value, str | int) for value in values) and len(set(values)) == len(values)


def _between_items(before: Any, after: Any, path: Path, key: str) -> Iterator[FieldChange]:
    new = {item[key]: item for item in after}
    for index, item in enumerate(before):
        there = (*path, Item(key, item[key]))
        if item[key] in new:
            yield from changes_between(item, new[item[key]], there)
        else:
            yield FieldChange(there, item, MISSING, index)
    old = {item[key] for item in before}
    for item in after:
        if item[key] not in old:
            yield FieldChange((*path, Item(key, item[key])), MISSING, item)


def dotted(path: Path) -> str:
    """For people: ``spec.template.spec.containers[app].image``."""
    text = ""
    for part in path:
        if isinstance(part, Item):
            text += f"[{part.value}]"
        elif "." in part or "/" in part:
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value) if value is MISSING else json.dumps(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def told(changes: Iterable[FieldChange]) -> str:
    """The changes in one line."""
    lines = [str(change) for change in changes]
    more = [f"and {len(lines) - _LINES} more"] if len(lines) > _LINES else []
    return "; ".join([*lines[:_LINES], *more]) or "nothing changes"


def reverted(live: Mapping[str, Any], changes: Iterable[FieldChange]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The object with our changes taken back, and everybody else's kept.

    Args:
        live: the object as it is now.
        changes: what we changed.

    Returns:
        The restored object, equal to ``live`` when nothing is left to do, and JSON patch ``test`` operations that
        hold as long as the values are still ours.

    Raises:
        Drifted: somebody else changed one of our fields; undoing ours would undo theirs.
    """
    restored = copy.deepcopy(dict(live))
    tests: list[dict[str, Any]] = []
    for change in changes:
        now = value_at(live, change.path)
        if not _differ(now, change.before):
            continue
        if _differ(now, change.after):
            raise Drifted(
                f"{dotted(change.path)} is {_short(now)} now, and was set to {_short(change.after)}: "
                f"somebody else changed it, so it is not put back to {_short(change.before)}"
            )
        if now is not MISSING:
            tests.append({"op": "test", "path": _pointer(live, change.path), "value": now})
        _put_back(restored, change)
    return restored, tests


def value_at(item: Any, path: Path) -> Any:
    """The value at a path, or ``MISSING``."""
    for part in path:
        item = _child(item, part)
    return item


def _child(item: Any, part: str | Item) -> Any:
    if isinstance(part, Item):
        return next((entry for entry in _entries(item) if entry.get(part.key) == part.value), MISSING)
    return item.get(part, MISSING) if isinstance(item, Mapping) else MISSING


def _entries(item: Any) -> list[Any]:
    return [entry for entry in item if isinstance(entry, Mapping)] if isinstance(item, list) else []


def _pointer(item: Any, path: Path) -> str:
    pointer = ""
    for part in path:
        if isinstance(part, Item):
            step = str(next(at for at, entry in enumerate(item) if entry.get(part.key) == part.value))
        else:
            step = part.replace("~", "~0").replace("/", "~1")
        pointer, item = f"{pointer}/{step}", _child(item, part)
    return pointer


def _put_back(restored: dict[str, Any], change: FieldChange) -> None:
    parent, last = value_at(restored, change.path[:-1]), change.path[-1]
    if parent is MISSING:
        raise Drifted(f"{dotted(change.path[:-1])} is gone, so {dotted(change.path)} cannot be put back")
    if isinstance(last, Item):
        at = next((at for at, entry in enumerate(parent) if entry.get(last.key) == last.value), None)
        if at is not None:
            del parent[at]
        if change.before is not MISSING:
            parent.insert(change.index if change.index is not None else len(parent), copy.deepcopy(change.before))
    elif change.before is MISSING:
        parent.pop(last, None)
    else:
        parent[last] = copy.deepcopy(change.before)
