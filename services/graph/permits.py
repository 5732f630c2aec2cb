"""Permits in the graph: claimed once, by the server's own clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from safety.ports import Claim
from services.graph.connect import Graph
from services.graph.values import from_millis

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Neo4jPermitLedger:
    """Implements ``safety.ports.PermitLedger``."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    async def claim(self, execution_id: str, plan_hash: str, holder: str, lease_seconds: float) -> Claim | str:
        """See the port.

        Raises:
            GraphUnavailable: whether it was claimed may be unknown; then nobody runs it until the lease runs out.
        """
        # The id of this call makes it safe to send it again, so that one round trip will do.
        parameters = _parameters(execution_id, holder, lease_seconds)
        rows = await self._graph.write_repeatable(
            "permit_claim", plan_hash=plan_hash, claim_id=uuid4().hex, **parameters
        )
        return _answer(execution_id, rows)

    async def adopt(self, execution_id: str, holder: str, lease_seconds: float) -> Claim | str:
        """See the port; errors as in ``claim``."""
        (rows,) = await self._graph.write(("permit_adopt", _parameters(execution_id, holder, lease_seconds)))
        return _answer(execution_id, rows)


def _parameters(execution_id: str, holder: str, lease_seconds: float) -> dict[str, Any]:
    return {"execution_id": execution_id, "holder": holder, "lease_ms": round(lease_seconds * 1000)}


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
