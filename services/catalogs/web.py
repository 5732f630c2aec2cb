"""Reading over HTTP: bounded, within the rules, and with credentials from the user's netrc only."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from services.catalogs.errors import CatalogError, Missing
from services.outgoing.network import GuardedSyncTransport, Refused
from services.outgoing.rules import Rules

_SECONDS = 30.0
_GONE = frozenset({404, 410})


def open_client(url: str) -> httpx.Client:
    """A client; credentials are those that the user's netrc holds for the host, none otherwise.

    Args:
        url: what a person asked for. Its host may be anywhere; where it leads to by redirects may not.
    """
    netrc = Path.home() / ".netrc"
    auth = httpx.NetRCAuth(str(netrc)) if netrc.is_file() else None
    host, trust = urlsplit(url).hostname or "", ssl.create_default_context()
    rules = Rules().and_host(host)
    mounts = {
        f"{scheme}://": GuardedSyncTransport(rules, trust, proxy if "://" in proxy else f"http://{proxy}")
        for scheme in ("http", "https")
        if (proxy := getproxies().get(scheme)) and not proxy_bypass(host)
    }
    return httpx.Client(
        auth=auth,
        timeout=_SECONDS,
        follow_redirects=True,
        max_redirects=5,
        transport=GuardedSyncTransport(rules, trust),
        mounts=mounts,
        event_hooks={"response": [_refuse_downgrade]},
    )


def _refuse_downgrade(answer: httpx.Response) -> None:
    """What began encrypted must not go on in clear text, where anybody on the way can change it."""
    if not answer.has_redirect_location:
        return
    to = urljoin(str(answer.url), answer.headers["location"])
    if answer.url.scheme == "https" and urlsplit(to).scheme != "https":
        raise Refused(f"{answer.url.host} redirects from https to {urlsplit(to).scheme}")


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
    except Refused as error:
        raise CatalogError(f"{url}: {error}") from error
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
