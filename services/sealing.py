"""Encryption of what must be kept as it is and holds secrets: prior states for the way back, inputs for replay.

An envelope: each text has a key of its own (AES-256-GCM), and that key is wrapped with the installation's. Rotation
wraps again and leaves the texts alone. The id of the wrapping key is part of the envelope; what the text belongs to is
authenticated with it, so that an envelope cannot be moved to another record.

    v1.KEY-ID.WRAPPED-KEY.TEXT      each part base64 (URL-safe, no padding); both begin with their nonce
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from executor.errors import Permanent
from services.masking import Masker, masker

_VERSION = "v1"
_KEY_BYTES, _NONCE_BYTES = 32, 12
_PARTS = 4

WITHHELD = "withheld"
"""Stands in the place of an envelope where there was no key."""
NEEDS_KEY = "secrets.encryption names the key that would encrypt it"
"""Advice."""


class SealError(Permanent):
    """What was encrypted cannot be read: its key is missing or another one, or it was changed."""


class Unkept(Permanent):
    """What would have to be kept holds a secret, and no key is set that could encrypt it."""


class BadKey(ValueError):
    """A key is not 32 bytes in base64."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of an installation.

    Attributes:
        active: id of the one that encrypts.
        keys: by id; old ones only decrypt.
    """

    active: str
    keys: Mapping[str, bytes] = field(repr=False)

    def seal(self, text: str, about: str) -> str:
        """The envelope of a text.

        Args:
            text: what to encrypt.
            about: what it belongs to; needed to open it again.
        """
        key = AESGCM.generate_key(8 * _KEY_BYTES)
        content = _encrypted(key, text.encode(), f"{_VERSION}|{about}")
        return ".".join((_VERSION, self.active.replace(".", "~"), self._wrapped(key, about), content))

    def open(self, envelope: str, about: str) -> str:
        """The text in an envelope.

        Raises:
            SealError: the key is not known, it was changed, or it belongs to something else.
        """
        key, content = self._unwrapped(envelope, about)
        return _decrypted(key, content, f"{_VERSION}|{about}", f"what is kept of {about}").decode()

    def rewrap(self, envelope: str, about: str) -> str:
        """The same text under the active key; what it says is neither read nor changed. Errors as in ``open``."""
        key, content = self._unwrapped(envelope, about)
        # Opened once, so that a damaged text is found now and not when it is needed.
        _decrypted(key, content, f"{_VERSION}|{about}", f"what is kept of {about}")
        return ".".join((_VERSION, self.active.replace(".", "~"), self._wrapped(key, about), content))

    def _wrapped(self, key: bytes, about: str) -> str:
        return _encrypted(self.keys[self.active], key, f"{_VERSION}|{self.active}|{about}")

    def _unwrapped(self, envelope: str, about: str) -> tuple[bytes, str]:
        parts = envelope.split(".")
        if len(parts) != _PARTS or parts[0] != _VERSION:
            raise SealError(f"what is kept of {about} is no envelope of version {_VERSION}")
        name = parts[1].replace("~", ".")
        wrapping = self.keys.get(name)
        if wrapping is None:
            known = ", ".join(sorted(self.keys)) or "none"
            raise SealError(f"{about} needs the key {name!r}, which secrets.encryption.keys lacks (it has {known})")
        return _decrypted(wrapping, parts[2], f"{_VERSION}|{name}|{about}", f"the key of {about}"), parts[3]


def key_id_of(envelope: str) -> str:
    """The id of the key that an envelope needs; empty for what is none."""
    parts = envelope.split(".")
    return parts[1].replace("~", ".") if len(parts) == _PARTS else ""


def read_key(text: str) -> bytes:
    """A key from base64, either alphabet.

    Raises:
        BadKey: it is not 32 bytes in base64. The text is not repeated.
    """
    try:
        key = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise BadKey("it is no base64") from None
    if len(key) != _KEY_BYTES:
        raise BadKey(f"it has {len(key)} bytes, and needs {_KEY_BYTES}: openssl rand -base64 {_KEY_BYTES}")
    return key


class Sealer:
    """What the graph's rows do with texts that hold secrets: mask what is shown, and encrypt what is needed whole.

    Without keys such a text is not stored: who would have to store one asks first, and is refused.

    Attributes:
        ring: None while no key is set.
        keep_lookalikes: without a key, texts are stored that hold what only looks like a secret.
    """

    def __init__(self, masks: Masker) -> None:
        self._masks = masks
        self.ring: KeyRing | None = None
        self.keep_lookalikes = False

    def keepable(self, text: str) -> bool:
        """Whether JSON may be stored: there is a key, or nothing in it is a secret."""
        return self.ring is not None or not self._holds_secret(text)

    def kept(self, text: str, about: str, *, stored: bool = False) -> tuple[str, str | None]:
        """How JSON is stored: what everybody may read, and the envelope; None where it holds nothing secret.

        Without a key the envelope of a text with a secret is ``WITHHELD``: the text cannot be had again.

        Args:
            text: JSON.
            about: what it belongs to.
            stored: it was written before, when nothing in it was a secret, and is only written again.
        """
        if self.ring is None and stored:
            return text, None
        if self.ring is None:
            return (self._masks.json(text), WITHHELD) if self._holds_secret(text) else (text, None)
        shown = self._masks.json(text)
        return (text, None) if shown == text else (shown, self.ring.seal(text, about))

    def whole(self, shown: str, envelope: str | None, about: str) -> str:
        """The text as it was.

        Raises:
            SealError: it is encrypted, and cannot be read here, or it was not stored.
        """
        if envelope is None:
            return shown
        if envelope == WITHHELD:
            raise SealError(f"{about} holds a secret and was stored without it: {NEEDS_KEY}")
        if self.ring is None:
            raise SealError(f"{about} is encrypted with the key {key_id_of(envelope)!r}: set secrets.encryption")
        return self.ring.open(envelope, about)

    def _holds_secret(self, text: str) -> bool:
        return self._masks.holds_known(text) if self.keep_lookalikes else self._masks.holds_secret(text)


sealer = Sealer(masker)
"""The one of this process; the composition root gives it the keys."""


def _encrypted(key: bytes, content: bytes, about: str) -> str:
    nonce = os.urandom(_NONCE_BYTES)
    return base64.urlsafe_b64encode(nonce + AESGCM(key).encrypt(nonce, content, about.encode())).decode().rstrip("=")


def _decrypted(key: bytes, text: str, about: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        return AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], about.encode())
    except (InvalidTag, ValueError) as error:
        raise SealError(f"{what} cannot be decrypted: it was changed, or the key is another one") from error
