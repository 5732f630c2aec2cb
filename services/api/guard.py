"""What every endpoint asks of its callers: who they are, whether they may, the content type, and a bounded body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request

from safety.access import Actor, Scope
from safety.permissions import Permission
from services.access.authenticator import Authenticator
from services.access.denials import Trail, tell_denial
from services.access.door import AccessDenied, Door
from services.access.errors import IdentityUnavailable, Unauthenticated

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


class Guard:
    """Asks each caller who they are, and the door whether they may.

    Args:
        authenticator: from a bearer token to an actor.
        door: the place that every entry point asks.
        trail: told of each try that is denied; None where there is none.
    """

    def __init__(self, authenticator: Authenticator, door: Door, trail: Trail | None = None) -> None:
        self._authenticator = authenticator
        self._door = door
        self._trail = trail

    async def enter(self, request: Request, entry: str) -> Actor:
        """Let those pass who may; asked before anything of the body is read.

        Args:
            request: of the call.
            entry: method and path as the table of entry points has them.

        Raises:
            Refused: with 401 for nobody, 403 for somebody who may not, 503 while whoever vouches does not answer.
        """
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        try:
            actor = await self._authenticator.actor(given.strip() if scheme.lower() == "bearer" else "")
        except Unauthenticated as error:
            raise Refused(401, str(error)) from error
        except IdentityUnavailable as error:
            raise Refused(503, f"nobody can be let in now: {error}") from error
        await self._ask(lambda: self._door.enter(actor, entry))
        return actor

    async def require(self, actor: Actor, permission: Permission, scope: Scope, entry: str) -> None:
        """Ask again with what is acted on.

        Raises:
            Refused: with 403; names the permission and the roles that have it.
        """
        await self._ask(lambda: self._door.require(actor, permission, scope, entry=entry))

    def may(self, actor: Actor, permission: Permission, scope: Scope | None) -> bool:
        """The same question without a refusal, to leave out of a list what the caller may not see."""
        return self._door.may(actor, permission, scope)

    async def _ask(self, question: Callable[[], None]) -> None:
        try:
            question()
        except AccessDenied as no:
            if self._trail is not None:
                await tell_denial(self._trail, no.entry, no.actor, no.denied)
            raise Refused(403, str(no)) from no


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
