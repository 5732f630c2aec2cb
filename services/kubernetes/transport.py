"""Requests to one API server, over connections that are kept.

Address, certificates and credentials are those that the kubernetes package has loaded. Its own way of sending asks
the environment for proxies and reads ``~/.netrc`` again for each request, in a thread: that took as long as all the
rest of a read. What the environment says is read once here, and what ``~/.netrc`` says does not count: an API server
has its credentials from the kubeconfig.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from executor.errors import Unavailable
from services.kubernetes.failures import OWN_MANAGER

_BUFFER = 2**20
_BEARER = ("BearerToken",)


class Transport:
    """Sends requests and reads whole answers.

    Args:
        api: a ``kubernetes.aio`` ApiClient; closed by ``close``.
        timeout_seconds: longest wait for one answer.
    """

    def __init__(self, api: Any, timeout_seconds: float) -> None:
        self._api = api
        self._host = str(api.configuration.host)
        self._seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None
        self._options: dict[str, Any] = {}

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
        await self._api.close()

    async def exchange(
        self,
        method: str,
        path: str,
        what: str,
        headers: Mapping[str, str],
        body: Any = None,
        *,
        more: Sequence[tuple[str, str]] = (),
    ) -> tuple[int, bytes, str]:
        """Send one request; nothing is tried again.

        Args:
            method: HTTP method.
            path: with its query, encoded already.
            what: what is asked, for people.
            headers: beside the common ones.
            body: sent as JSON; None for none.
            more: headers that may come several times.

        Returns:
            Status, content, and the header ``Retry-After`` or an empty text.

        Raises:
            Unavailable: no answer; whether the request was carried out is unknown.
        """
        sent = {"Accept": "application/json", "User-Agent": OWN_MANAGER}
        if body is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers)
        try:
            await self._api.update_params_for_auth(sent, [], _BEARER, "", method, body)
            data = None if body is None else orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
            session = self._session or self._open()
            url = URL(self._host + path, encoded=True)
            whole = CIMultiDict([*sent.items(), *more]) if more else sent
            async with session.request(method, url, headers=whole, data=data, **self._options) as answer:
                return answer.status, await answer.read(), answer.headers.get("Retry-After", "")
        except TimeoutError as error:
            raise Unavailable(f"{what}: no answer within {self._seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{what}: {error or type(error).__name__}") from error

    async def date(self) -> str:
        """The server's clock, as its answers say it.

        Raises:
            Unavailable: no answer.
        """
        sent = {"Accept": "application/json", "User-Agent": OWN_MANAGER}
        try:
            await self._api.update_params_for_auth(sent, [], _BEARER, "", "GET", None)
            session = self._session or self._open()
            url = URL(f"{self._host}/version", encoded=True)
            async with session.request("GET", url, headers=sent, **self._options) as answer:
                await answer.read()
                return answer.headers.get("Date", "")
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"ask for the time: {error or type(error).__name__}") from error

    def _open(self) -> aiohttp.ClientSession:
        """The session; made at the first request, because it belongs to the loop that runs then."""
        known = self._api.configuration
        options = {
            "proxy": known.proxy or _proxy_of(URL(self._host)),
            "proxy_headers": known.proxy_headers,
            "server_hostname": known.tls_server_name,
        }
        # The API server redirects nobody, and the credentials are meant for it alone.
        self._options = {"allow_redirects": False, **{name: value for name, value in options.items() if value}}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=known.connection_pool_maxsize, ssl=self._api.rest_client.ssl_context),
            timeout=aiohttp.ClientTimeout(total=self._seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_BUFFER,
        )
        return self._session


def _proxy_of(url: URL) -> str | None:
    """The proxy that the environment names for a server."""
    if url.host is None or proxy_bypass(url.host):
        return None
    return getproxies().get(url.scheme)
