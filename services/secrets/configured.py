"""The secrets that stand in the settings themselves, so that they are masked like all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel, SecretStr

from services.masking import is_secret_name


def configured_secrets(settings: BaseModel) -> Iterator[str]:
    """Every value that is declared secret, and every text under a name that says so (``sasl.password``)."""
    for name in type(settings).model_fields:
        yield from _found(getattr(settings, name), name)


def _found(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, SecretStr):
        if value.get_secret_value():
            yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from configured_secrets(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _found(item, str(key))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _found(item, name)
    elif isinstance(value, Enum):
        return  # a choice among a few words, whatever the runbook is called whose choice it is
    elif isinstance(value, str) and value and is_secret_name(name) and "secrets." not in value:
        yield value
