"""Signed links: what one says, and whether it is ours. Pure; who uses one up is kept elsewhere.

A link is for one person, one question and one plan, and ends. It is signed with HMAC-SHA-256 by a key that it names, so
that keys can be changed while links of the one before are still on their way.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

_VERSION = "v1"
_PARTS = 4
_LONGEST = 2_000
_MARK = b"~"
"""Stands before the JSON: without it a link would look like a web token, which are taken out of whatever is sent."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says.

    Attributes:
        id: its own; it is used once.
        person: the id of who it was sent to.
        expires: seconds since 1970, UTC.
    """

    id: str
    approval_id: str
    plan_hash: str
    person: str
    expires: int

    def over(self, now: datetime) -> bool:
        """Whether its time is over."""
        return now >= datetime.fromtimestamp(self.expires, UTC)


class BadLink(Exception):
    """It is not a link of ours, or not as it was sent."""


def sign(link: Link, key_name: str, key: str) -> str:
    """A link as text that may stand in an address.

    Args:
        link: what it says.
        key_name: letters, digits, ``-`` and ``_``.
        key: the secret.
    """
    said = _encoded(_MARK + json.dumps(asdict(link), separators=(",", ":"), sort_keys=True).encode())
    return f"{_VERSION}.{key_name}.{said}.{_mac(key, 'link', key_name, said)}"


def read(text: str, keys: Mapping[str, str]) -> Link:
    """What a link says.

    Args:
        text: as it came.
        keys: by name; those of before included.

    Raises:
        BadLink: whatever is wrong with it; the message does not help anybody to make a better one.
    """
    parts = text.split(".") if len(text) <= _LONGEST else []
    if len(parts) != _PARTS or parts[0] != _VERSION or parts[1] not in keys:
        raise BadLink("this is no link of ours")
    _, name, said, mac = parts
    if not hmac.compare_digest(mac.encode(), _mac(keys[name], "link", name, said).encode()):
        raise BadLink("this is no link of ours")
    try:
        found = json.loads(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)).removeprefix(_MARK))
        return Link(**found)
    except (ValueError, TypeError, binascii.Error) as error:
        raise BadLink("this is no link of ours") from error


def form_key(text: str, keys: Mapping[str, str]) -> str:
    """What the page of a link carries, so that only who was shown it can answer.

    Args:
        text: a link that was read without complaint.
        keys: as for ``read``.
    """
    name = text.split(".")[1]
    return _mac(keys[name], "form", name, text)


def same(one: str, other: str) -> bool:
    """Whether two form keys are one, in a time that does not tell how far."""
    return hmac.compare_digest(one.encode(), other.encode())


def _mac(key: str, purpose: str, name: str, said: str) -> str:
    text = f"{_VERSION}\n{purpose}\n{name}\n{said}"
    return _encoded(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest())


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
