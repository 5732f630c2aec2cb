"""What is written to Kafka, without secrets."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from services.masking import Masker
from services.settings import Topics


def masked_values(topics: Topics, masker: Masker) -> Callable[[str, bytes], bytes]:
    """The mask of the bus.

    Permits and requests for runbooks pass as they are: they are orders, hold ids and what their sender wrote, and
    changed they would mean something else. Dead letters are masked inside of the original bytes that they carry.
    """
    exact = {topics.requests, topics.run_requests, topics.alerts}

    def mask(topic: str, value: bytes) -> bytes:
        if topic in exact:
            return value
        if topic == topics.dlq:
            return _dead_letter(value, masker)
        text = value.decode("utf-8", "replace")
        masked = masker.json(text)
        return value if masked is text else masked.encode()

    return mask


def _dead_letter(value: bytes, masker: Masker) -> bytes:
    """Length and hash stay those of the original: they say that something was taken out."""
    letter: dict[str, Any] = orjson.loads(value)
    cleaned = {
        **letter,
        "detail": masker.text(str(letter.get("detail") or "")),
        "key_base64": _inside(letter.get("key_base64"), masker),
        "value_base64": _inside(letter.get("value_base64"), masker),
        "headers": [_header(header, masker) for header in letter.get("headers") or ()],
    }
    return value if cleaned == letter else orjson.dumps(cleaned)


def _header(header: Mapping[str, Any], masker: Masker) -> dict[str, Any]:
    return {**header, "value_base64": _inside(header.get("value_base64"), masker)}


def _inside(encoded: Any, masker: Masker) -> Any:
    """Base64 of the same bytes without secrets; bytes that are no UTF-8 keep their values wherever none was found."""
    if not isinstance(encoded, str) or not encoded:
        return encoded
    text = base64.b64decode(encoded).decode("utf-8", "surrogateescape")
    masked = masker.text(text)
    return encoded if masked == text else base64.b64encode(masked.encode("utf-8", "surrogateescape")).decode()
