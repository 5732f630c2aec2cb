"""The key that signs anchors: Ed25519, in a file that only its owner can read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.audit.errors import AuditMisconfigured
from services.catalogs.errors import CatalogError
from services.catalogs.signing import make_key, public_text, read_private, read_public

_CONTEXT = b"rootmend audit anchor v1\n"
"""Stands before what is signed, so that a signature is never good for another kind of text."""


class AnchorKey:
    """Implements ``safety.anchors.Signer``."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._public = public_text(private.public_key())

    @property
    def key(self) -> str:
        """See the port."""
        return self._public

    def sign(self, message: bytes) -> str:
        """See the port."""
        return base64.b64encode(self._private.sign(_CONTEXT + message)).decode()


class TrustedKeys:
    """Implements ``safety.anchors.Trust``.

    Args:
        keys: public keys, as ``rb audit key`` shows them.

    Raises:
        AuditMisconfigured: one of them is no key.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = {}
        for text in keys:
            try:
                public = read_public(text)
            except CatalogError as error:
                wanted = "expected ed25519: and 44 characters (rb audit key)"
                raise AuditMisconfigured(f"audit.trusted_keys: {text!r:.80} is no public key: {wanted}") from error
            self._keys[public_text(public)] = public

    def holds(self, key: str, message: bytes, signature: str) -> bool:
        """See the port."""
        public = self._keys.get(key)
        if public is None:
            return False
        try:
            raw = base64.b64decode(signature, validate=True)
            public.verify(raw, _CONTEXT + message)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        # One signature has one spelling: the last letter has bits that decoding does not look at.
        return base64.b64encode(raw).decode() == signature


def open_key(path: Path) -> AnchorKey:
    """The key of a file; a file that is not there is made.

    Raises:
        AuditMisconfigured: it cannot be read or made, or holds something else.
    """
    with suppress(FileExistsError):
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                # Another process may make it at the same moment: then theirs counts.
                with suppress(CatalogError):
                    make_key(path)
        except OSError as error:
            raise AuditMisconfigured(f"audit.folder: {path.parent} cannot be written: {error.strerror}") from error
    try:
        return AnchorKey(read_private(path))
    except CatalogError as error:
        raise AuditMisconfigured(f"audit.key_file: {error}") from error
