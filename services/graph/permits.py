"""Permits in the graph: claimed once, by the server's own clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from safety.ports import Claim
from safety.trail import PIPELINE, SYSTEM, Entry, EntryKind
from services.audit.owners import owners
from services.audit.trail import Neo4jTrail, Teller
from services.graph.connect import Graph, Row
from services.graph.formats import FORMAT
from services.graph.grouping import Grouped
from services.graph.values import from_millis

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CLAIM = "permit_claim"
CLAIMED = "size(told) = $expected AND all(one IN told WHERE one.refusal IS NULL)"


class Neo4jPermitLedger:
    """Implements ``safety.ports.PermitLedger``, with group commit of claims.

    Claims that come while others are being made go together. When one of several is refused, all are undone and made
    one by one, because a chain of audit entries cannot leave one out.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)
        self._claims: Grouped[Row, Row | None] = Grouped(self._claim, name="claims")

    async def claim(self, execution_id: str, plan_hash: str, holder: str, lease_seconds: float) -> Claim | str:
        """See the port.

        Raises:
            GraphUnavailable: whether it was claimed may be unknown; then nobody runs it until the lease runs out.
        """
        # The id of this call makes it safe to send it again, so that one round trip will do.
        parameters = _parameters(execution_id, holder, lease_seconds)
        row = await self._claims.ask({**parameters, "plan_hash": plan_hash, "claim_id": uuid4().hex})
        return _answer(execution_id, [] if row is None else [row])

    async def _claim(self, asked: Sequence[Row]) -> list[Row | None]:
        """Claim several executions, all or none; the row of each, None for one that is not there."""
        rows: list[Row] = []
        told: dict[str, list[Entry]] = {}
        known = await owners(self._graph, [one["execution_id"] for one in asked])
        # In the order of ids, as every writer locks.
        for number, one in sorted(enumerate(asked), key=lambda item: str(item[1]["execution_id"])):
            rows.append({"n": number, **one})
            tenant, incident = known.get(one["execution_id"], (SYSTEM, ""))
            facts = {"holder": one["holder"], "plan_hash": one["plan_hash"]}
            begun = _told(EntryKind.EXECUTION_STARTED, one["execution_id"], incident, **facts)
            told.setdefault(tenant, []).append(begun)
        parameters = {"rows": rows, "expected": len(rows)}
        answers = await self._trail.guarded([CLAIM], parameters, told, CLAIMED, strict=len(rows) > 1, apart=True)
        found = {row["n"]: row for row in answers}
        return [found.get(number) for number in range(len(asked))]

    async def adopt(self, execution_id: str, holder: str, lease_seconds: float) -> Claim | str:
        """See the port; errors as in ``claim``."""

        def tell(teller: Teller, results: list[list[Row]]) -> None:
            for row in results[0]:
                if row["refusal"] is None:
                    facts = {"holder": holder, "epoch": row["epoch"]}
                    adopted = _told(EntryKind.EXECUTION_ADOPTED, execution_id, row["incident_id"], **facts)
                    teller.tell(row["tenant"], replace(adopted, reason="the lease of its holder ran out"))

        parameters = _parameters(execution_id, holder, lease_seconds)
        (rows,) = await self._trail.telling(("permit_adopt", parameters), tell=tell)
        return _answer(execution_id, rows)


def _told(kind: EntryKind, execution_id: str, incident_id: str, **facts: Any) -> Entry:
    return Entry(kind, execution_id, PIPELINE, "", facts, incident_id=incident_id, execution_id=execution_id)


def _parameters(execution_id: str, holder: str, lease_seconds: float) -> dict[str, Any]:
    return {"execution_id": execution_id, "holder": holder, "lease_ms": round(lease_seconds * 1000), "format": FORMAT}


def _answer(execution_id: str, rows: Sequence[Mapping[str, Any]]) -> Claim | str:
    return _claim(execution_id, rows[0]) if rows else "no such execution"


def _claim(execution_id: str, row: Mapping[str, Any]) -> Claim | str:
    if row["refusal"] is not None:
        return str(row["refusal"])
    return Claim(
        execution_id=execution_id,
        plan_hash=row["plan_hash"],
        target_key=row["target_key"],
        epoch=row["epoch"],
        expires_at=from_millis(row["permit_expires_ms"]) or _EPOCH,
        approval_id=row["approval_id"],
    )
