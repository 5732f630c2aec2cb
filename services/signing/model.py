"""A signature of one version of a runbook, as it stands in a file."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from services.catalogs.errors import CatalogError
from services.catalogs.signing import public_text, read_public
from services.signing.errors import SigningError

SUFFIX = ".sig"
"""Follows the whole name of the runbook's file: ``restart.yaml.sig``."""

MAX_BYTES = 1_000_000
_CONTEXT = b"rootmend runbook signature v1\n"
"""Stands before what is signed, so that a signature is never good for another kind of text."""

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Statement(BaseModel):
    """What somebody signs of a runbook.

    Attributes:
        runbook: its id.
        sha256: of the file's bytes, hex.
        beside: SHA-256 of the files beside it that it names, by name.
        signer: who signs, as they call themselves; the key is the proof.
        signed_at: when.
        revision: the Git commit that was checked out; empty outside of Git.
        key: public key of the signer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal["rootmend.runbook-signature/v1"] = Field("rootmend.runbook-signature/v1", alias="schema")
    runbook: str = Field(min_length=1, max_length=128)
    sha256: Hash
    beside: Mapping[str, Hash] = {}
    signer: str = Field(max_length=200)
    signed_at: AwareDatetime
    revision: str = Field("", max_length=64)
    key: str

    def message(self) -> bytes:
        """The bytes that are signed."""
        told = self.model_dump(mode="json", by_alias=True, exclude={"signature"})
        return _CONTEXT + json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class Signature(Statement):
    """A statement with its signature, in base64."""

    signature: str = Field(max_length=200)

    def fits(self) -> bool:
        """Whether the key that it names has signed it."""
        try:
            raw = base64.b64decode(self.signature, validate=True)
            read_public(self.key).verify(raw, self.message())
        except (InvalidSignature, CatalogError, binascii.Error, ValueError):
            return False
        return True


def signed(
    private: Ed25519PrivateKey,
    *,
    runbook: str,
    sha256: str,
    beside: Mapping[str, str],
    signer: str,
    at: datetime,
    revision: str,
) -> Signature:
    """Sign a version of a runbook; the arguments are those of ``Statement``."""
    key = public_text(private.public_key())
    facts = {"runbook": runbook, "sha256": sha256, "beside": dict(beside), "signer": signer, "revision": revision}
    said = Statement.model_validate({**facts, "signed_at": at, "key": key})
    value = base64.b64encode(private.sign(said.message())).decode()
    return Signature.model_validate({**said.model_dump(by_alias=True), "signature": value})


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    signatures: tuple[Signature, ...]


def read_signatures(path: Path) -> tuple[Signature, ...]:
    """The signatures of a file, not yet checked.

    Raises:
        SigningError: it cannot be read, or holds something else.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SigningError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise SigningError(f"{path} is larger than {MAX_BYTES} bytes")
    try:
        return _File.model_validate_json(content).signatures
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise SigningError(f"{path} holds no signatures: {place}: {first['msg']} (rb sign writes it)") from error


def written(signatures: Sequence[Signature]) -> str:
    """The text of a file of signatures."""
    rows = [one.model_dump(mode="json", by_alias=True) for one in signatures]
    return json.dumps({"signatures": rows}, indent=1, ensure_ascii=False) + "\n"


def added(known: Sequence[Signature], new: Signature) -> tuple[Signature, ...]:
    """The signatures with a new one in the place of the same key's for the same version.

    Those of earlier versions stay, so that a version that is put back in force is still known as reviewed.
    """
    kept = (one for one in known if (one.key, one.runbook, one.sha256) != (new.key, new.runbook, new.sha256))
    return (*kept, new)
