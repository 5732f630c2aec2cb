"""The types that the parts of a runbook are made of."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from runbooks.durations import parse_duration


def _as_tuple(value: object) -> object:
    """Let authors write one value where a list is meant."""
    return value if isinstance(value, list | tuple) or value is None else (value,)


def _as_version(value: object) -> str:
    """Versions are texts; a number is taken as it was written."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected a version such as 1.0")
    return str(value)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {
                    "type": "string",
                    "pattern": r"^ *[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?( *[0-9]+(\.[0-9]+)?(ms|s|m|h|d))* *$",
                },
            ]
        }
    ),
]
"""A length of time: ``30``, ``30s``, ``5m``, ``1h30m``; a bare number is seconds."""

_ONE = {"type": "string", "minLength": 1}
Patterns = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_as_tuple),
    WithJsonSchema({"anyOf": [_ONE, {"type": "array", "items": _ONE}]}),
]
"""One glob or a list of globs, matched without regard to case."""

Words = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Field(min_length=1),
    BeforeValidator(_as_tuple),
    WithJsonSchema({"anyOf": [_ONE, {"type": "array", "items": _ONE, "minItems": 1}]}),
]
"""One word or a list of words; never none: a message to nobody is a mistake."""

Version = Annotated[str, BeforeValidator(_as_version), WithJsonSchema({"type": ["string", "number"]})]
"""A version as it was written: ``1.0`` stays ``1.0``."""

Condition = bool | str
"""``true``, ``false`` or an expression over the template names."""


Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""A name that templates can use."""


class Model(BaseModel):
    """Base of all runbook models: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
