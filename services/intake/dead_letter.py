"""Dead letters: what could not be read, with the error, the origin and the original bytes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256

from services.intake.contracts import DeadHeader, DeadLetter
from services.intake.parse import Poison

MAX_VALUE_BYTES = 512 * 1024
"""As much of a value fits a message of a megabyte, which brokers accept unless told otherwise, after base64."""

MAX_KEY_BYTES = 4 * 1024
_SHORT_CHARACTERS = 200
MAX_HEADERS = 32
MAX_HEADER_BYTES = 1024


def dead_letter(
    poison: Poison,
    *,
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes]],
    at: datetime,
    max_value_bytes: int = MAX_VALUE_BYTES,
) -> DeadLetter:
    """Build the dead letter of a message.

    Args:
        poison: what is wrong with it.
        topic: where it came from.
        partition: of the topic.
        offset: in the partition.
        key: as it was read.
        value: as it was read.
        headers: as they were read.
        at: when it was given up.
        max_value_bytes: how many bytes of the value are kept; the length and hash are those of all of it.
    """
    pairs = list(headers)
    cut = [
        len(value or b"") > max_value_bytes,
        len(key or b"") > MAX_KEY_BYTES,
        len(pairs) > MAX_HEADERS,
        any(len(content) > MAX_HEADER_BYTES for _, content in pairs[:MAX_HEADERS]),
    ]
    return DeadLetter(
        error=poison.error_code,
        detail=poison.detail.encode("utf-8", "replace").decode(),
        topic=topic,
        partition=partition,
        offset=offset,
        key_base64=_base64(key, MAX_KEY_BYTES),
        value_base64=_base64(value, max_value_bytes),
        value_bytes=len(value or b""),
        value_sha256=None if value is None else sha256(value).hexdigest(),
        truncated=any(cut),
        headers=tuple(
            DeadHeader(name=_text(name), value_base64=_base64(content, MAX_HEADER_BYTES) or "")
            for name, content in pairs[:MAX_HEADERS]
        ),
        at=at,
    )


def shorter(letter: DeadLetter) -> DeadLetter:
    """The letter without what it quotes: origin, length and hash are enough to find the original in its topic."""
    without = {"value_base64": "", "key_base64": None, "headers": (), "truncated": True}
    return letter.model_copy(update={**without, "detail": letter.detail[:_SHORT_CHARACTERS]})


def _base64(content: bytes | None, limit: int) -> str | None:
    return None if content is None else b64encode(content[:limit]).decode("ascii")


def _text(name: str) -> str:
    # The client reads names leniently; what is not UTF-8 must not stop the letter from being written.
    return name[:MAX_HEADER_BYTES].encode("utf-8", "replace").decode()
