"""Reading over HTTP: bounded, and with credentials from the user's netrc only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from services.catalogs.errors import CatalogError, Missing

_SECONDS = 30.0
_GONE = frozenset({404, 410})


def open_client() -> httpx.Client:
    """A client; credentials are those that the user's netrc holds for the host, none otherwise."""
    netrc = Path.home() / ".netrc"
    auth = httpx.NetRCAuth(str(netrc)) if netrc.is_file() else None
    return httpx.Client(auth=auth, timeout=_SECONDS, follow_redirects=True, max_redirects=5)


def get(client: httpx.Client, url: str, limit: int, headers: Mapping[str, str] | None = None) -> bytes:
    """The body of an answer.

    Raises:
        Missing: the server has no such file.
        CatalogError: it does not answer, answers with an error, or with more than the limit.
    """
    try:
        with client.stream("GET", url, headers=headers, **own_auth(headers or {})) as answer:
            if answer.status_code in _GONE:
                raise Missing(f"{url} does not exist (HTTP {answer.status_code})")
            if not answer.is_success:
                raise CatalogError(f"{url} cannot be read: HTTP {answer.status_code}")
            return _bounded(answer, url, limit)
    except httpx.HTTPError as error:
        raise CatalogError(f"{url} cannot be read: {error or type(error).__name__}") from error


def own_auth(headers: Mapping[str, str]) -> dict[str, Any]:
    """Options of a request that brings its own credentials: those of netrc would replace them."""
    return {"auth": None} if "Authorization" in headers else {}


def _bounded(answer: httpx.Response, url: str, limit: int) -> bytes:
    read = bytearray()
    for chunk in answer.iter_bytes():
        read += chunk
        if len(read) > limit:
            raise CatalogError(f"{url} is larger than {limit} bytes")
    return bytes(read)
