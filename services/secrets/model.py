"""What providers of secrets have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Fetched:
    """One secret as a provider holds it. Its values appear in no ``repr``.

    Attributes:
        values: by field; a secret without fields has one that is called like nothing, "".
        version: changes when the secret changes.
        expires_at: when it stops to be good, as far as the provider knows.
    """

    values: Mapping[str, str] = field(repr=False)
    version: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a named secret is.

    Attributes:
        name: as runbooks say it.
        provider: name of the provider.
        path: in the provider's own words.
        field: of the secret there; empty for its only value.
    """

    name: str
    provider: str
    path: str
    field: str = ""


class Provider(Protocol):
    """A store of secrets.

    Errors of ``fetch``: ``MissingSecret`` (there is no such secret), ``NotConfigured`` (we are not let in, or not to
    this secret), ``Unavailable`` (worth retrying); all from ``executor.errors``, with the path and never a value.
    """

    @property
    def name(self) -> str:
        """As the settings call it."""
        ...

    async def fetch(self, path: str) -> Fetched:
        """The secret at a path, asked for now."""
        ...

    async def close(self) -> None:
        """Close the connections and forget the credentials."""
        ...


def json_object(content: bytes) -> dict[str, Any]:
    """The body of an answer; empty when it is no JSON object, so that its status decides."""
    try:
        answer = json.loads(content or b"{}")
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
