"""Signatures of catalogs: Ed25519 over the index, which holds the checksum of everything else."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.catalogs.errors import CatalogError, NotTrusted

PREFIX = "ed25519:"
_CONTEXT = b"rootmend catalog index v1\n"
"""Stands before what is signed, so that a signature is never good for another kind of text."""
_LENGTH = 32
_MOST = 4096


def public_text(key: Ed25519PublicKey) -> str:
    """A public key as people copy it."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return PREFIX + base64.b64encode(raw).decode()


def read_public(text: str) -> Ed25519PublicKey:
    """A public key from its text.

    Raises:
        CatalogError: it is none.
    """
    try:
        raw = base64.b64decode(text.strip().removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not text.strip().startswith(PREFIX) or len(raw) != _LENGTH:
        raise CatalogError(f"{text!r:.80} is no public key: expected {PREFIX} and 44 characters (rb catalog keygen)")
    return Ed25519PublicKey.from_public_bytes(raw)


def fingerprint(text: str) -> str:
    """A short name of a public key, for people."""
    raw = public_text(read_public(text)).encode()
    return sha256(raw).hexdigest()[:16]


def make_key(path: Path) -> str:
    """Write a new private key that only its owner can read; gives the public key.

    Raises:
        CatalogError: the file exists or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise CatalogError(f"{path} exists; a key is never overwritten") from error
    except OSError as error:
        raise CatalogError(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
    return public_text(key.public_key())


def read_private(path: Path) -> Ed25519PrivateKey:
    """A private key from its file.

    Raises:
        CatalogError: there is none.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise CatalogError(f"the key {path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise CatalogError(f"{path} is no private key in PEM without a password (rb catalog keygen)") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CatalogError(f"{path} is no Ed25519 key (rb catalog keygen)")
    return key


def sign(index: bytes, key: Ed25519PrivateKey) -> bytes:
    """The signature of an index, as it stands beside it."""
    public = public_text(key.public_key())
    signature = base64.b64encode(key.sign(_CONTEXT + index)).decode()
    return (json.dumps({"key": public, "signature": signature}, indent=1) + "\n").encode()


def check(index: bytes, signature: bytes | None, trusted: Sequence[str], where: str) -> str:
    """The trusted key that signed an index.

    Raises:
        NotTrusted: it is not signed, or by nobody who is trusted.
        CatalogError: the signature does not fit: the catalog was changed on its way, or badly made.
    """
    if signature is None:
        raise NotTrusted(f"{where} is not signed")
    named, value = _parts(signature, where)
    known = {public_text(read_public(key)) for key in trusted}
    if named not in known:
        whom = f"{len(known)} trusted key{'' if len(known) == 1 else 's'}" if known else "no key is trusted yet"
        raise NotTrusted(f"{where} is signed by {named}, which is not trusted ({whom}: catalogs.trusted_keys, --key)")
    try:
        read_public(named).verify(value, _CONTEXT + index)
    except InvalidSignature as error:
        raise CatalogError(f"the signature of {where} does not fit its index: somebody changed it") from error
    return named


def _parts(signature: bytes, where: str) -> tuple[str, bytes]:
    try:
        told = json.loads(signature[:_MOST])
        return str(told["key"]), base64.b64decode(told["signature"], validate=True)
    except (ValueError, KeyError, TypeError) as error:
        raise CatalogError(f"the signature of {where} cannot be read") from error
