"""The filters and functions of templates. Each is both: ``x | base64`` and ``base64(x)``.

Of Jinja's own filters only those are kept whose result cannot outgrow their input.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from jinja2 import Undefined
from jinja2.filters import FILTERS

from runbooks.owner_filters import extract_deployment
from runbooks.quantities import Quantity, as_quantity, parse_cpu, parse_memory
from runbooks.secret_refs import holds_reference, to_base64, to_json

MAX_TEXT = 256 * 1024
"""Longest text that a template may give, in characters."""

MAX_ITEMS = 1000
"""Most items that a loop or a range may have."""

_KEPT = [
    "abs",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "items",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "reject",
    "rejectattr",
    "reverse",
    "round",
    "select",
    "selectattr",
    "string",
    "title",
    "trim",
    "truncate",
    "unique",
    "upper",
]


def _amount(value: object) -> Any:
    """Numbers stay numbers, texts become quantities."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return as_quantity(value)


def multiply(value: object, factor: object) -> Any:
    """The amount times a factor."""
    return _amount(value) * _amount(factor)


def divide(value: object, divisor: object) -> Any:
    """The amount divided by a number, or the ratio of two amounts."""
    return _amount(value) / _amount(divisor)


def add(value: object, other: object) -> Any:
    """The sum of two amounts."""
    return _amount(value) + _amount(other)


def subtract(value: object, other: object) -> Any:
    """The difference of two amounts."""
    return _amount(value) - _amount(other)


def at_most(value: object, limit: object) -> Any:
    """The amount, or the limit when that is smaller."""
    return min(_amount(value), _amount(limit))


def at_least(value: object, limit: object) -> Any:
    """The amount, or the limit when that is larger."""
    return max(_amount(value), _amount(limit))


def grow(value: object, factor: object, ceiling: object) -> Any:
    """The amount times a factor, but never more than the ceiling.

    Raises:
        ValueError: the ceiling is reached already, so that nothing would grow.
    """
    amount, limit = _amount(value), _amount(ceiling)
    grown = min(amount * _amount(factor), limit)
    if grown <= amount:
        raise ValueError(f"{amount} cannot grow: the ceiling is {limit}")
    return grown


def required(value: object, message: str = "a required value is missing") -> Any:
    """The value; stops with the message when there is none."""
    if value is None or isinstance(value, Undefined) or value in ("", [], {}):
        raise ValueError(str(message))
    return value


def from_base64(value: object) -> str:
    """The text behind base64."""
    if not isinstance(value, str) or holds_reference(value):
        raise TypeError("b64decode takes a text that holds no secret")
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError as error:
        raise ValueError("b64decode: not base64 of a UTF-8 text") from error


def from_json(value: object) -> Any:
    """The data behind a JSON text."""
    if not isinstance(value, str):
        raise TypeError(f"from_json takes a text, got {type(value).__name__}")
    return json.loads(value)


def to_int(value: object) -> int:
    """The value as a whole number; unlike Jinja's own, what is no number is an error and not 0."""
    number = as_quantity(value).amount
    if number.denominator != 1:
        raise ValueError(f"{value} is not a whole number; use round first")
    return int(number)


def to_float(value: object) -> float:
    """The value as a number; what is no number is an error and not 0."""
    return float(as_quantity(value).amount)


def bounded(items: Iterable[Any]) -> list[Any]:
    """The items as a list.

    Raises:
        ValueError: there are more than ``MAX_ITEMS``.
    """
    taken = list(islice(items, MAX_ITEMS + 1))
    if len(taken) > MAX_ITEMS:
        raise ValueError(f"a loop may have at most {MAX_ITEMS} items")
    return taken


def bounded_range(*limits: int) -> range:
    """Like Python's range, but short."""
    numbers = range(*(int(limit) for limit in limits))
    if len(numbers) > MAX_ITEMS:
        raise ValueError(f"a range may have at most {MAX_ITEMS} numbers")
    return numbers


def join(items: Iterable[Any], separator: str = "", attribute: str | None = None) -> str:
    """The items as one text."""
    parts = bounded(items)
    texts = [str(part if attribute is None else part[attribute]) for part in parts]
    return within_bounds(str(separator), len(texts), sum(map(len, texts))).join(texts)


def replace(text: object, old: str, new: str) -> str:
    """The text with every ``old`` replaced."""
    plain, old = str(text), str(old)
    if not old:
        raise ValueError("replace needs a text to look for")
    return plain.replace(old, within_bounds(str(new), plain.count(old), len(plain)))


def within_bounds(piece: str, times: int, beside: int = 0) -> str:
    """The piece, when repeating it does not make a text that is too long."""
    if len(piece) * times + beside > MAX_TEXT:
        raise ValueError(f"a text may have at most {MAX_TEXT} characters")
    return piece


def total(items: Iterable[Any]) -> Any:
    """The sum of numbers or quantities; 0 when there are none."""
    result: Any = 0
    for item in bounded(items):
        result = add(item, result) if isinstance(item, str) else add(result, item)
    return result


def smallest(*items: Any) -> Any:
    """The smallest of a list or of the arguments."""
    return min(_several(items))


def largest(*items: Any) -> Any:
    """The largest of a list or of the arguments."""
    return max(_several(items))


def _several(items: tuple[Any, ...]) -> list[Any]:
    only = items[0] if len(items) == 1 else items
    several = bounded(only if not isinstance(only, str) else [only])
    return [item if isinstance(item, Quantity) or not isinstance(item, str) else _amount(item) for item in several]


def ordered(items: Iterable[Any], reverse: bool = False, attribute: str | None = None) -> list[Any]:
    """The items in order; quantities by amount."""
    return sorted(bounded(items), key=(lambda item: item[attribute]) if attribute else None, reverse=reverse)


OURS: Mapping[str, Callable[..., Any]] = {
    "parse_memory": parse_memory,
    "parse_cpu": parse_cpu,
    "multiply": multiply,
    "divide": divide,
    "add": add,
    "subtract": subtract,
    "at_most": at_most,
    "ceiling": at_most,
    "at_least": at_least,
    "grow": grow,
    "required": required,
    "base64": to_base64,
    "b64encode": to_base64,
    "b64decode": from_base64,
    "json": to_json,
    "tojson": to_json,
    "from_json": from_json,
    "int": to_int,
    "float": to_float,
    "join": join,
    "replace": replace,
    "sum": total,
    "min": smallest,
    "max": largest,
    "sort": ordered,
    "extract_deployment": extract_deployment,
}
"""Filters and functions of the runbook language itself."""

ALL: Mapping[str, Callable[..., Any]] = {**{name: FILTERS[name] for name in _KEPT}, **OURS}
"""All filters by name."""

FUNCTIONS: Mapping[str, Callable[..., Any]] = {**OURS, "range": bounded_range}
"""All functions by name."""
