"""API tokens: made once, shown once, kept as a hash; scoped, expiring, revocable."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from executor.ports import Clock
from safety.access import Actor, ActorKind, Grant
from services.access.errors import Unauthenticated

PREFIX = "rmt_"
LONGEST = timedelta(days=366)
_USED_EVERY = timedelta(minutes=1)
_SHAPE = re.compile(rf"{PREFIX}([0-9a-f]{{16}})_([A-Za-z0-9_-]{{43}})")
_NOT_KNOWN = "this token is not known"


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token as it is kept.

    Attributes:
        id: public part of the token; 16 hexadecimal digits.
        hash: SHA-256 of the whole token. It is random, so nobody guesses it from its hash, however quick hashing is.
        name: what it is for.
        owner: id of the user whom it stands for; empty for a machine.
        grants: its roles with their limits; it has nothing else.
    """

    id: str
    hash: str
    name: str
    owner: str
    grants: tuple[Grant, ...]
    created_by: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str = ""
    revoked_because: str = ""

    def status(self, now: datetime) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "active" if now < self.expires_at else "expired"


class TokenStore(Protocol):
    """Where tokens are durable. Raises ``GraphUnavailable`` when it does not answer."""

    async def create(self, token: ApiToken) -> None:
        """Keep a new token; written again it changes nothing."""
        ...

    async def find(self, token_id: str) -> ApiToken | None:
        """One token, or None."""
        ...

    async def list(self) -> Sequence[ApiToken]:
        """All tokens, newest first."""
        ...

    async def revoke(self, token_id: str, by: str, reason: str, at: datetime) -> bool:
        """End a token for good; False when there is none. Revoking it again keeps the first revocation."""
        ...

    async def used(self, token_id: str, at: datetime) -> None:
        """Note when it was used last; an earlier time changes nothing."""
        ...


def issue(
    name: str, grants: Sequence[Grant], *, owner: str, by: str, now: datetime, lasts: timedelta
) -> tuple[str, ApiToken]:
    """A new token: its text, which is shown once and kept nowhere, and what is kept.

    Args:
        name: what it is for.
        grants: its roles; at least one.
        owner: the user whom it stands for; empty for a machine.
        by: key of the actor who makes it.
        now: wall clock, UTC.
        lasts: until it expires.

    Raises:
        ValueError: no name, no role, or a life that is not positive or longer than a year.
    """
    if not name.strip() or not name.isprintable():
        raise ValueError("a token needs a printable name that says what it is for")
    if not grants:
        raise ValueError("a token needs at least one role: without any it could do nothing")
    if not timedelta(0) < lasts <= LONGEST:
        raise ValueError(f"a token lasts longer than zero and at most {LONGEST.days} days")
    identity = secrets.token_hex(8)
    text = f"{PREFIX}{identity}_{secrets.token_urlsafe(32)}"
    return text, ApiToken(identity, digest(text), name.strip(), owner, tuple(grants), by, now, now + lasts)


def digest(text: str) -> str:
    """The hash under which a token is kept."""
    return hashlib.sha256(text.encode()).hexdigest()


def looks_like_one(text: str) -> bool:
    """Whether a bearer token is meant to be an API token."""
    return text.startswith(PREFIX)


@dataclass(slots=True)
class Tokens:
    """Checks API tokens against the store."""

    store: TokenStore
    clock: Clock
    _noted: dict[str, datetime] = field(default_factory=dict)

    async def actor(self, text: str) -> Actor:
        """Who a token is.

        Raises:
            Unauthenticated: it is not known, expired or revoked; only who has the whole token learns which.
        """
        shape = _SHAPE.fullmatch(text)
        found = await self.store.find(shape[1]) if shape else None
        # Compared in any case, so that an id that exists takes no longer than one that does not.
        right = hmac.compare_digest(digest(text), found.hash if found else digest(""))
        if found is None or not right:
            raise Unauthenticated(_NOT_KNOWN)
        now = self.clock.now()
        if (status := found.status(now)) != "active":
            at = found.revoked_at if status == "revoked" else found.expires_at
            raise Unauthenticated(f"token {found.id} ({found.name}) is {status} since {at:%Y-%m-%d %H:%M} UTC")
        await self._note(found, now)
        return Actor(ActorKind.TOKEN, found.id, found.name, owner=found.owner, grants=found.grants)

    async def _note(self, token: ApiToken, now: datetime) -> None:
        """At most once a minute: a busy token must not write for each call."""
        last = max(filter(None, (self._noted.get(token.id), token.last_used_at)), default=None)
        if last is None or now - last >= _USED_EVERY:
            self._noted[token.id] = now
            await self.store.used(token.id, now)
