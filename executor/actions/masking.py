"""Secrets in objects and parameters: shown to nobody, put in at the moment of use only."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from executor.errors import RemediationError
from executor.ports import KubeObject, Secrets
from runbooks.secret_refs import references_in
from runbooks.templates import resolve_references

MASK = "***"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl keeps a whole copy of the manifest in this annotation, data of Secrets included."""

_SHORTEST = 4


def is_secret(item: KubeObject) -> bool:
    """Whether the object is a Secret."""
    return item.get("kind") == "Secret"


def masked(item: KubeObject) -> KubeObject:
    """The object without what nobody should see: values of a Secret; managed fields are left out of every object."""
    meta = {key: value for key, value in item.get("metadata", {}).items() if key != "managedFields"}
    shown = {**item, "metadata": meta} if meta else dict(item)
    if not is_secret(item):
        return shown
    if annotations := meta.get("annotations"):
        held = tuple(_held(item))
        meta["annotations"] = {
            key: MASK if any(text in value for text in held) else value
            for key, value in annotations.items()
            if key != LAST_APPLIED
        }
    for part in ("data", "stringData"):
        if isinstance(item.get(part), Mapping):
            shown[part] = dict.fromkeys(item[part], MASK)
    return shown


def _held(secret: KubeObject) -> Iterator[str]:
    """What a Secret holds, plain and as it is written in it: tools repeat either in annotations."""
    for part in ("data", "stringData"):
        for value in (secret.get(part) or {}).values():
            if isinstance(value, str):  # a reference to a secret holds none
                yield from (text for text in (value, _decoded(value)) if len(text) >= _SHORTEST)


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value).decode()
    except ValueError:
        return ""


class Revealed:
    """Values with their secrets put in, and the means to take those out of any text again.

    Attributes:
        value: for the one call that needs it; never stored.
        names: of the secrets in it.
    """

    def __init__(self, value: Any, secrets: list[str], names: frozenset[str] = frozenset()) -> None:
        self.value = value
        self.names = names
        # Longest first: a secret may be part of another.
        self._secrets = sorted({text for text in secrets if len(text) >= _SHORTEST}, key=len, reverse=True)

    def hide(self, text: str) -> str:
        """The text without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def hide_in(self, value: Any) -> Any:
        """The data without the secrets in any of its texts."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {key: self.hide_in(item) for key, item in value.items()}
        return [self.hide_in(item) for item in value] if isinstance(value, list) else value

    @contextmanager
    def hiding(self) -> Iterator[None]:
        """Take the secrets out of errors: servers quote what they refuse."""
        try:
            yield
        except RemediationError as error:
            text = str(error)
            if (safe := self.hide(text)) == text:
                raise
            # The chained errors hold the secret too, so they are dropped.
            raise type(error)(safe) from None


async def reveal(value: Any, secrets: Secrets) -> Revealed:
    """Put the secrets into rendered parameters.

    Raises:
        MissingSecret: no provider knows one of them.
    """
    found: list[str] = []

    async def lookup(name: str) -> str:
        secret = await secrets.get(name)
        found.append(secret)
        return secret

    return Revealed(await resolve_references(value, lookup), found, references_in(value))
