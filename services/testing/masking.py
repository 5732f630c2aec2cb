"""Taking out of recorded data what might be a secret, without breaking its shape: it is planned with again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runbooks.secret_refs import holds_reference
from services.logs import MASK, Masker
from services.logs import is_secret_name as _sounds_secret

_NAMES_ONE = re.compile(r"(?i)pull_?secrets?$")
"""Kubernetes' own word for the name of a Secret, which is no secret."""


def is_secret_name(name: str) -> bool:
    """Whether a value under this name is masked."""
    return _sounds_secret(name) and _NAMES_ONE.search(name) is None


def masked(value: Any, masker: Masker, name: str = "") -> Any:
    """JSON data in which every text that looks like a secret is masked.

    Masked are texts under a name that says "secret" (a mapping or list under such a name keeps its shape), values of
    environment variables with such a name, known values, credentials in addresses and headers. References to secrets
    stay: they say where a value is, not what it is.
    """
    if isinstance(value, str):
        if holds_reference(value):
            return value
        return MASK if value and is_secret_name(name) else masker.text(value)
    if isinstance(value, Mapping):
        variable = value.get("name")
        hidden = isinstance(variable, str) and is_secret_name(variable) and isinstance(value.get("value"), str)
        return {
            key: MASK if hidden and key == "value" and not holds_reference(item) else masked(item, masker, str(key))
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(item, masker, name) for item in value]
    return value
