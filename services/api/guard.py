"""What every endpoint that takes something asks of its callers: a token, the right content type, a bounded body."""

from __future__ import annotations

import asyncio
import hmac

from starlette.requests import Request

RETRY_AFTER_SECONDS = 5
_BODY_SECONDS = 10.0
"""A client that sends its body more slowly than this would hold a connection for nothing."""


class Refused(Exception):
    """The call is not taken; ``status`` and ``reason`` are the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the status."""
        return {
            401: {"WWW-Authenticate": "Bearer"},
            413: {"Connection": "close"},
            503: {"Retry-After": str(RETRY_AFTER_SECONDS)},
        }.get(self.status, {})


def authorise(request: Request, token: bytes) -> None:
    """Let those pass who know the token. Compared in constant time, and before anything of the body is read.

    Raises:
        Refused: with 401.
    """
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token)
    if scheme.lower() != "bearer" or not right:
        raise Refused(401, "a bearer token is needed")


async def json_body(request: Request, limit: int, advice: str = "") -> bytes:
    """A body of JSON, unread but bounded; see ``bounded_body``."""
    return await bounded_body(request, limit, "application/json", advice)


async def bounded_body(request: Request, limit: int, wanted: str, advice: str = "") -> bytes:
    """The body, unread but bounded.

    Args:
        request: of the call.
        limit: a larger body is refused, whatever its declared length says.
        wanted: the content type that it must have.
        advice: how to make it smaller.

    Raises:
        Refused: with 408, 413 or 415.
        ClientDisconnect: nobody waits for an answer any more.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != wanted:
        raise Refused(415, f"content type must be {wanted}")
    too_large = Refused(413, f"the body is larger than {limit} bytes{advice}")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:  # the declared length may be missing or wrong
                    raise too_large
    except TimeoutError as error:
        raise Refused(408, f"the body did not arrive within {_BODY_SECONDS:g} s") from error
    return bytes(body)
