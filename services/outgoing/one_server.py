"""Clients of aiohttp held to the one server that the settings name."""

from __future__ import annotations

from typing import Any

import aiohttp

from executor.errors import NotConfigured


def no_redirects(what: str, setting: str) -> aiohttp.TraceConfig:
    """For a session: a redirect is an error before anything is sent to where it leads.

    Args:
        what: the server, for people.
        setting: that names it, for advice.
    """

    async def refuse(_session: aiohttp.ClientSession, _context: Any, found: aiohttp.TraceRequestRedirectParams) -> None:
        raise NotConfigured(f"{found.url.host} redirects, which {what} never does; see {setting}")

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    trace.freeze()
    return trace
