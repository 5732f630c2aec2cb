"""Tokens of Kubernetes service accounts. The API server says whose they are (TokenReview)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

from executor.errors import RemediationError, Unavailable
from executor.ports import Clock
from safety.access import Actor, ActorKind
from services.access.errors import IdentityUnavailable, Unauthenticated

_BEGINS = "system:serviceaccount:"
_LONGEST = 16 * 1024
_MOST_KEPT = 1000


class Reviewer(Protocol):
    """The API server, asked about a token."""

    async def review_token(self, token: str, audiences: Sequence[str]) -> Mapping[str, Any]:
        """The ``status`` of a TokenReview."""
        ...


class ServiceAccountTokens:
    """Checks tokens; a yes is kept for a short while, a no never.

    Args:
        reviewer: the API server.
        audiences: the token is for one of these.
        clock: of durations.
        keep: how long a yes is kept.
    """

    def __init__(self, reviewer: Reviewer, audiences: Sequence[str], clock: Clock, keep: timedelta) -> None:
        self._reviewer = reviewer
        self._audiences = tuple(audiences)
        self._clock = clock
        self._keep = keep.total_seconds()
        self._known: dict[bytes, tuple[float, Actor]] = {}

    async def actor(self, token: str) -> Actor:
        """Who the token is.

        Raises:
            Unauthenticated: the API server does not know it, or it is of no service account or for another audience.
            IdentityUnavailable: the API server does not answer, or we may not ask it.
        """
        if len(token) > _LONGEST:
            raise Unauthenticated("the token is too long")
        place = hashlib.sha256(token.encode()).digest()
        known = self._known.get(place)
        now = self._clock.monotonic()
        if known is not None and now - known[0] < self._keep:
            return known[1]
        self._known.pop(place, None)
        try:
            status = await self._reviewer.review_token(token, self._audiences)
        except Unavailable as error:
            raise IdentityUnavailable(f"the API server does not answer: {error}") from error
        except RemediationError as error:
            raise IdentityUnavailable(f"the API server does not review tokens for us: {error}") from error
        actor = self._told(status)
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        self._known[place] = (now, actor)
        return actor

    def _told(self, status: Mapping[str, Any]) -> Actor:
        if status.get("authenticated") is not True:
            raise Unauthenticated("the API server does not know this token")
        # A server that is too old to know audiences names none: then nobody can say whom the token is for.
        if not set(status.get("audiences") or ()) & set(self._audiences):
            raise Unauthenticated(f"the token is not for {' or '.join(self._audiences)}")
        user = status.get("user") or {}
        name = str(user.get("username") or "")
        if not name.startswith(_BEGINS):
            raise Unauthenticated("the token is not of a service account")
        groups = frozenset(str(group) for group in user.get("groups") or ())
        claims = {"uid": str(user.get("uid") or "")}
        return Actor(ActorKind.SERVICE_ACCOUNT, name, name.removeprefix(_BEGINS).replace(":", "/"), groups, claims)
