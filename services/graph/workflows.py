"""Around approvals, in the graph: answers that were handed over, what people were told, links that were used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from safety.approvals import Approval
from safety.trail import PIPELINE, SYSTEM, Entry, EntryKind
from services.approvals.delegations import Delegation
from services.approvals.ports import Told
from services.audit.trail import Neo4jTrail, Teller
from services.graph.connect import Graph, Row
from services.graph.execution_rows import approval_of
from services.graph.formats import readable
from services.graph.values import instant, moment

_BYPASSED_LATELY = timedelta(days=1)
"""An announcement that could not be made for so long is not made any more; the audit trail has it anyway."""


class Neo4jDelegations:
    """Implements ``services.approvals.delegations.Delegations``.

    Args:
        scope: the installation, as its keys in Redis begin: several may share a graph.
    """

    def __init__(self, graph: Graph, scope: str) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)
        self._scope = scope

    async def add(self, delegation: Delegation) -> None:
        """See the port."""
        given = delegation
        facts = {name: getattr(given, name) for name in ("by", "to", "since", "until", "reason")}
        told = {"to": given.to, "since": given.since, "until": given.until}
        entry = Entry(EntryKind.APPROVAL_DELEGATED, given.id, given.by, given.reason, told)
        statement = ("delegation_add", {"id": given.id, "scope": self._scope, "facts": facts})
        await self._trail.telling(statement, tell=lambda teller, _: teller.tell(SYSTEM, entry))

    async def end(self, delegation_id: str, by: str, at: datetime) -> Delegation | None:
        """See the port."""

        def tell(teller: Teller, results: list[list[Row]]) -> None:
            for row in results[0]:
                facts = {"to": row["d"]["to"]}
                teller.tell(SYSTEM, Entry(EntryKind.APPROVAL_DELEGATION_ENDED, delegation_id, by, "", facts))

        parameters = {"id": delegation_id, "scope": self._scope, "by": by, "at": at}
        (rows,) = await self._trail.telling(("delegation_end", parameters), tell=tell)
        return _delegation(rows[0]["d"]) if rows else None

    async def in_force(self, at: datetime) -> Sequence[Delegation]:
        """See the port."""
        rows = await self._graph.read("delegations_in_force", scope=self._scope, at=at)
        return [_delegation(row["d"]) for row in rows]


class Neo4jNotices:
    """Implements ``services.approvals.ports.Notices``.

    Args:
        cluster: whose questions this process looks after.
    """

    def __init__(self, graph: Graph, cluster: str) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)
        self._cluster = cluster

    async def open(self, now: datetime) -> Sequence[tuple[Approval, frozenset[str]]]:
        """See the port."""
        rows = await self._graph.read("notices_open", cluster=self._cluster, now=now, since=now - _BYPASSED_LATELY)
        asked = ({**row["a"], "_done": row["done"]} for row in rows)
        return readable(
            self._graph.unreadable, "approval", asked, lambda row: (approval_of(row), frozenset(row["_done"]))
        )

    async def take(self, key: str, approval: Approval, holder: str, seconds: float) -> bool:
        """See the port."""
        lease = round(seconds * 1000)
        rows = await self._graph.write_repeatable(
            "notice_take", key=key, approval_id=approval.id, holder=holder, lease_ms=lease
        )
        return bool(rows)

    async def done(self, key: str, approval: Approval, holder: str, told: Told, at: datetime) -> None:
        """See the port."""
        entry = Entry(
            EntryKind.APPROVAL_TOLD,
            approval.id,
            PIPELINE,
            "",
            {"kind": told.kind, "way": told.way, "to": list(told.to), "outcome": told.outcome},
            incident_id=approval.incident_id,
            execution_id=approval.execution_id,
        )

        def tell(teller: Teller, results: list[list[Row]]) -> None:
            for row in results[0]:
                teller.tell(row["tenant"], entry)

        await self._trail.telling(("notice_done", {"key": key, "holder": holder, "at": at}), tell=tell)

    async def free(self, key: str, holder: str) -> None:
        """See the port."""
        await self._graph.write_repeatable("notice_free", key=key, holder=holder)


class Neo4jUsedLinks:
    """Implements ``services.approvals.ports.UsedLinks``."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    async def take(self, link_id: str, approval_id: str, at: datetime) -> str:
        """See the port."""
        use = str(uuid4())  # drawn here, so that a write that is sent again after a lost answer meets itself
        rows = await self._graph.write_repeatable("link_take", id=link_id, approval_id=approval_id, use=use, at=at)
        return use if rows else ""

    async def free(self, link_id: str, use: str) -> None:
        """See the port."""
        await self._graph.write_repeatable("link_free", id=link_id, use=use)

    async def used(self, link_id: str) -> bool:
        """See the port."""
        (row,) = await self._graph.read("link_used", id=link_id)
        return bool(row["used"])


def _delegation(row: Mapping[str, Any]) -> Delegation:
    return Delegation(
        id=row["id"],
        by=row["by"],
        to=row["to"],
        since=instant(row["since"]),
        until=instant(row["until"]),
        reason=row["reason"],
        ended_at=moment(row.get("ended_at")),
    )
