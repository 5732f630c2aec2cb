"""API tokens in the graph, as hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import orjson

from safety.access import Grant, Limits
from safety.trail import SYSTEM, Entry, EntryKind
from services.access.tokens import ApiToken
from services.audit.trail import Neo4jTrail, Teller
from services.graph.connect import Graph, Row
from services.graph.values import instant


class Neo4jTokens:
    """Implements ``services.access.tokens.TokenStore``.

    Args:
        scope: the installation whose tokens they are, as its keys in Redis begin. Several may share a graph, and a
            token of one opens no other.
    """

    def __init__(self, graph: Graph, scope: str) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)
        self._scope = scope

    async def create(self, token: ApiToken) -> None:
        """See the port."""
        kept = {name: getattr(token, name) for name in token.__slots__ if name not in {"id", "grants"}}
        kept["grants"] = orjson.dumps([asdict(grant) for grant in token.grants]).decode()
        kept = {name: value for name, value in kept.items() if value is not None}
        roles = [f"{grant.role} ({grant.limits})" for grant in token.grants]
        facts = {"name": token.name, "owner": token.owner, "roles": roles, "expires_at": token.expires_at}
        told = Entry(EntryKind.TOKEN_CREATED, token.id, token.created_by, "", facts)
        parameters = {"id": token.id, "scope": self._scope, "token": kept}
        await self._trail.telling(("token_create", parameters), tell=lambda teller, _: teller.tell(SYSTEM, told))

    async def find(self, token_id: str) -> ApiToken | None:
        """See the port."""
        rows = await self._graph.read("token_find", id=token_id, scope=self._scope)
        return _token(rows[0]["token"]) if rows else None

    async def list(self) -> Sequence[ApiToken]:
        """See the port."""
        return [_token(row["token"]) for row in await self._graph.read("token_list", scope=self._scope)]

    async def revoke(self, token_id: str, by: str, reason: str, at: datetime) -> bool:
        """See the port."""
        told = Entry(EntryKind.TOKEN_REVOKED, token_id, by, reason)
        parameters = {"id": token_id, "scope": self._scope, "by": by, "reason": reason, "at": at}

        def tell(teller: Teller, rows: Sequence[Sequence[Row]]) -> None:
            if rows[0]:
                teller.tell(SYSTEM, told)

        (found,) = await self._trail.telling(("token_revoke", parameters), tell=tell)
        return bool(found)

    async def used(self, token_id: str, at: datetime) -> None:
        """See the port."""
        await self._graph.write_repeatable("token_used", id=token_id, scope=self._scope, at=at)


def _token(row: Mapping[str, Any]) -> ApiToken:
    grants = tuple(
        Grant(one["role"], Limits(**{name: tuple(globs) for name, globs in one["limits"].items()}))
        for one in orjson.loads(row["grants"])
    )
    return ApiToken(
        id=row["id"],
        hash=row["hash"],
        name=row["name"],
        owner=row["owner"],
        grants=grants,
        created_by=row["created_by"],
        created_at=instant(row["created_at"]),
        expires_at=instant(row["expires_at"]),
        last_used_at=_moment(row, "last_used_at"),
        revoked_at=_moment(row, "revoked_at"),
        revoked_by=row.get("revoked_by") or "",
        revoked_because=row.get("revoked_because") or "",
    )


def _moment(row: Mapping[str, Any], name: str) -> datetime | None:
    return instant(row[name]) if row.get(name) is not None else None
