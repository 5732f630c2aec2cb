"""API tokens in memory; the contract suite runs on it and on the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from services.access.tokens import ApiToken


class MemoryTokens:
    """A working store of tokens."""

    def __init__(self) -> None:
        self.tokens: dict[str, ApiToken] = {}
        self.writes = 0

    async def create(self, token: ApiToken) -> None:
        self.tokens.setdefault(token.id, token)

    async def find(self, token_id: str) -> ApiToken | None:
        return self.tokens.get(token_id)

    async def list(self) -> Sequence[ApiToken]:
        return sorted(self.tokens.values(), key=lambda one: one.created_at, reverse=True)

    async def revoke(self, token_id: str, by: str, reason: str, at: datetime) -> bool:
        known = self.tokens.get(token_id)
        if known is None:
            return False
        if known.revoked_at is None:
            self.tokens[token_id] = replace(known, revoked_at=at, revoked_by=by, revoked_because=reason)
        return True

    async def used(self, token_id: str, at: datetime) -> None:
        self.writes += 1
        known = self.tokens.get(token_id)
        if known is not None and (known.last_used_at is None or known.last_used_at < at):
            self.tokens[token_id] = replace(known, last_used_at=at)
