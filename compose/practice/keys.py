"""Keys and tokens of the practice cluster, written so that neither a library nor OpenSSL is needed."""

import base64
import secrets
from pathlib import Path

from compose.state import Secrets, write_private

# The order of the group of P-256: a private key is a number below it.
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_PRIME256V1 = bytes.fromhex("06082a8648ce3d030107")


def new_signing_key() -> str:
    """A fresh P-256 private key as PEM (RFC 5915, without the public half, which the reader computes)."""
    number = secrets.randbelow(_ORDER - 1) + 1
    private = b"\x04\x20" + number.to_bytes(32, "big")
    parameters = b"\xa0" + bytes([len(_PRIME256V1)]) + _PRIME256V1
    body = b"\x02\x01\x01" + private + parameters
    text = base64.encodebytes(b"\x30" + bytes([len(body)]) + body).decode()
    return f"-----BEGIN EC PRIVATE KEY-----\n{text}-----END EC PRIVATE KEY-----\n"


def ensure_signing_key(path: Path) -> Path:
    """The key that signs service account tokens. Made once: another key would void every token."""
    if not path.is_file():
        write_private(path, new_signing_key())
    return path


def token_file(known: Secrets) -> str:
    """The API server's list of static tokens: the administrator and the parts of the control plane."""
    rows = [
        (known.admin_token, "rootmend-practice-admin", "system:masters"),
        (known.controller_manager_token, "system:kube-controller-manager", ""),
        (known.scheduler_token, "system:kube-scheduler", ""),
        # KWOK plays every kubelet, and impersonates what a stage asks for.
        (known.kwok_token, "rootmend-practice-kwok", "system:masters"),
    ]
    return "".join(f'{token},{user},{user},"{group}"\n' for token, user, group in rows)
