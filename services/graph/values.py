"""Small translations between the driver's values and ours."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from neo4j.time import DateTime
from pydantic import TypeAdapter

T = TypeVar("T")


def moment(value: object) -> datetime | None:
    """A point in time from the graph, UTC; None for none. A time without a zone is read as UTC."""
    if isinstance(value, DateTime):
        value = value.to_native()
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def instant(value: object) -> datetime:
    """A point in time that must be there.

    Raises:
        ValueError: it is missing.
    """
    found = moment(value)
    if found is None:
        raise ValueError("a time is missing in the graph")
    return found


def from_millis(value: int | None) -> datetime | None:
    """Milliseconds since 1970 as a time, UTC."""
    return None if value is None else datetime.fromtimestamp(value / 1000, UTC)


def millis(value: datetime | None) -> int | None:
    """A time as milliseconds since 1970."""
    return None if value is None else round(value.timestamp() * 1000)


def dump(value: Any) -> str:
    """JSON text; keys of any kind become text."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS).decode()


def pack(adapter: TypeAdapter[T], value: T) -> str:
    """A typed value as JSON text."""
    return adapter.dump_json(value).decode()


def unpack(adapter: TypeAdapter[T], text: str | None, missing: T) -> T:
    """A typed value from JSON text; ``missing`` when there is none. Fields of a newer release are left out."""
    return missing if text is None else adapter.validate_json(text, extra="ignore")


def plain(value: Any) -> Any:
    """A value of a query's row as JSON knows it: times as text, nodes and relationships as their properties."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    iso = getattr(value, "iso_format", None) or getattr(value, "isoformat", None)
    return iso() if callable(iso) else str(value)
