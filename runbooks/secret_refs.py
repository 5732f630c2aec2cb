"""References to secrets: what templates render instead of a secret's value.

    __secret:NAME__                  the value
    __secret:NAME|base64__           the value after these filters, in order
    __b64:<base64 of a text>__       base64 of a text that itself holds references

Values are put in at the moment of use (``resolve_references``) and never stored.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from runbooks.quantities import plain

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9./-]|_(?!_))*"
_SECRET = re.compile(rf"__secret:({_NAME})((?:\|(?:base64|json))*)__")
_WRAPPED = re.compile(r"__b64:([A-Za-z0-9.=-]*)__")
_ANY = re.compile(rf"{_SECRET.pattern}|{_WRAPPED.pattern}")
_ALPHABET = b"-."  # no underscore: the reference ends with two of them

_SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:token|secret|password|passwd|pwd|apikey|api_key|private_key|credentials?)(?:_|$)"
)

_PARAMETER = re.compile(rf"\s*\{{\{{\s*secrets\.({_NAME})\s*\}}\}}\s*")

SECRET_PARAMETERS = "params.secret"  # noqa: S105 - a name, not a value
"""Where a context names the parameters that are secrets. No parameter or variable can be called so."""

Lookup = Callable[[str], Awaitable[str]]
"""Gives the value of a secret by name."""


def names_secret(name: str) -> bool:
    """Whether a variable of this name holds something that nobody should read (``API_TOKEN``)."""
    return _SECRET_NAME.search(name) is not None


class SecretNames:
    """What ``secrets`` means in a template: every name gives a reference, whether it exists is checked at use."""

    def reference(self, name: object) -> str:
        """The reference to a secret.

        Raises:
            ValueError: the name has characters that a reference cannot hold.
        """
        if not isinstance(name, str) or re.fullmatch(_NAME, name) is None or name.endswith("_"):
            raise ValueError(f"{name!r} is not the name of a secret (letters, digits, and single _ - . / inside)")
        return f"__secret:{name}__"


def field_reference(value: object, field: str) -> str | None:
    """The reference to a field of a secret (``secrets.NAME.FIELD``); None when the value is no reference by itself."""
    found = _SECRET.fullmatch(value) if isinstance(value, str) else None
    return SecretNames().reference(f"{found[1]}.{field}") if found and not found[2] else None


def secret_of(value: object) -> str | None:
    """The secret that a value of the settings stands for: ``{{ secrets.NAME }}`` and nothing else; None for others."""
    found = _PARAMETER.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found else None


def secret_parameters(names: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """The references in place of the parameters that are secrets.

    Args:
        names: what a template knows.
        context: that it was made of.
    """
    secrets = context.get(SECRET_PARAMETERS) or {}
    params = context.get("params") or {}
    references = {name: SecretNames().reference(secret) for name, secret in secrets.items()}
    # A variable of the same name hides the bare name, as it does of every parameter.
    bare = {name: text for name, text in references.items() if context.get(name) == params.get(name)}
    return {**bare, "params": {**names.get("params", {}), **references}} if references else {}


def disarm(text: str) -> str:
    """Break what looks like a reference in a text from outside, so that an alert cannot ask for a secret."""
    return text.replace("__secret:", "__ secret:").replace("__b64:", "__ b64:")


def holds_reference(text: str) -> bool:
    """Whether the text holds a reference."""
    return "__" in text and _ANY.search(text) is not None


def to_base64(value: object) -> str:
    """Base64 of a text (UTF-8), or a reference to it when the text holds a secret."""
    if not isinstance(value, str):
        raise TypeError(f"base64 takes a text, got {type(value).__name__}; use json | base64 for data")
    text = str(value)
    if whole := _SECRET.fullmatch(text):
        return f"__secret:{whole[1]}{whole[2]}|base64__"
    if holds_reference(text):
        return f"__b64:{base64.b64encode(text.encode(), _ALPHABET).decode()}__"
    return base64.b64encode(text.encode()).decode()


def to_json(value: object, indent: int | None = None) -> str:
    """JSON of a value; references in its texts will be escaped for JSON when they are resolved."""
    text = json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return _SECRET.sub(lambda found: f"__secret:{found[1]}{found[2]}|json__", text)


def references_in(value: Any) -> frozenset[str]:
    """Names of the secrets that a rendered value refers to."""
    return frozenset(_names(value))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        for found in _ANY.finditer(value) if "__" in value else ():
            if found[1] is not None:
                yield found[1]
            else:
                yield from _names(_unwrap(found[3]))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _names(key)
            yield from _names(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _names(item)


async def resolve_references(value: Any, lookup: Lookup) -> Any:
    """Put the secrets in.

    Args:
        value: rendered parameters: texts, mappings, lists.
        lookup: gives the value of a secret; what it raises passes through.
    """
    if isinstance(value, str):
        return await _resolve_text(value, lookup)
    if isinstance(value, Mapping):
        return {
            await resolve_references(key, lookup): await resolve_references(item, lookup) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [await resolve_references(item, lookup) for item in value]
    return value


async def _resolve_text(text: str, lookup: Lookup) -> str:
    parts: list[str] = []
    end = 0
    for found in _ANY.finditer(text) if "__" in text else ():
        parts.append(text[end : found.start()])
        end = found.end()
        if found[1] is None:
            parts.append(_encode(await _resolve_text(_unwrap(found[3]), lookup)))
            continue
        resolved = await lookup(found[1])
        for name in filter(None, found[2].split("|")):
            resolved = _encode(resolved) if name == "base64" else json.dumps(resolved, ensure_ascii=False)[1:-1]
        parts.append(resolved)
    parts.append(text[end:])
    return "".join(parts)


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _unwrap(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, _ALPHABET, validate=True).decode()
    except ValueError:
        return ""
