"""Approvals in the graph: answered once, whoever is first."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import datetime

from neo4j import AsyncManagedTransaction

from cypher.loader import query
from executor.model import Outcome
from safety import approvals
from safety.approvals import Approval, ApprovalError, ApprovalProblem, ApprovalStatus, Verb
from safety.quorum import Voter
from safety.trail import PIPELINE, Entry
from services.audit import telling
from services.audit.trail import Neo4jTrail, Teller
from services.graph.connect import Graph, Row
from services.graph.execution_rows import approval_of, approval_row
from services.graph.formats import readable


class Neo4jApprovalStore:
    """Implements ``safety.approvals.ApprovalStore``."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)

    async def request(self, approval: Approval) -> Approval:
        """See the port."""

        def tell(teller: Teller, results: list[list[Row]]) -> None:
            for row in results[0]:
                if row["created"]:
                    teller.tell(row["tenant"], telling.of_question(approval))

        statement = ("approvals_upsert", {"rows": [approval_row(approval)]})
        (rows,) = await self._trail.telling(statement, tell=tell)
        return approval_of(rows[0]["a"])

    async def get(self, approval_id: str) -> Approval | None:
        """See the port."""
        rows = await self._graph.read("approvals_get", id=approval_id)
        return approval_of(rows[0]["a"]) if rows else None

    async def list(self, status: ApprovalStatus | None = None) -> Sequence[Approval]:
        """See the port."""
        statuses = [one.value for one in ([status] if status else ApprovalStatus)]
        return self._readable(await self._graph.read("approvals_list", statuses=statuses))

    async def due(self, now: datetime) -> Sequence[Approval]:
        """See the port."""
        return self._readable(await self._graph.read("approvals_due", now=now))

    def _readable(self, rows: Sequence[Row]) -> builtins.list[Approval]:
        return readable(self._graph.unreadable, "approval", (row["a"] for row in rows), approval_of)

    async def answer(
        self,
        approval_id: str,
        verb: Verb,
        *,
        by: str,
        reason: str,
        now: datetime,
        plan_hash: str,
        choice: str = "",
        voter: Voter | None = None,
    ) -> Approval | ApprovalError:
        """See the port. A denied or expired question also ends the execution that waits for it."""

        async def work(transaction: AsyncManagedTransaction, teller: Teller) -> Approval | ApprovalError:
            result = await transaction.run(query("approvals_lock"), id=approval_id)
            record = await result.single()
            if record is None:
                return ApprovalError(ApprovalProblem.UNKNOWN, f"there is no approval {approval_id}")
            answered = approvals.answer(
                approval_of(record["a"]),
                verb,
                by=by,
                reason=reason,
                now=now,
                plan_hash=plan_hash,
                choice=choice,
                voter=voter,
            )
            if isinstance(answered, Approval):
                parameters = {"id": approval_id, "facts": approval_row(answered), "ended": _ended(answered)}
                result = await transaction.run(query("approvals_answer"), parameters)
                teller.tell(record["tenant"], telling.of_answer(answered))
                if verb is Verb.BYPASS:
                    teller.tell(record["tenant"], telling.of_bypass(answered))
                for row in await result.data():
                    if row["ended"]:
                        teller.tell(record["tenant"], _end(answered))
            return answered

        return await self._trail.transaction(work)


def _end(answered: Approval) -> Entry:
    """The end of the execution that waited."""
    why = _ended(answered) or ""
    actor = answered.answered_by or PIPELINE
    return telling.of_end(answered.execution_id, answered.incident_id, Outcome.ABORTED, why, actor=actor)


def _ended(answered: Approval) -> str | None:
    """Why the execution that waits ends, in words; None when it goes on."""
    match answered.status:
        case ApprovalStatus.DENIED:
            return f"denied by {answered.answered_by}: {answered.answer_reason}"
        case ApprovalStatus.EXPIRED:
            return "nobody answered in time"
        case _:
            return None
