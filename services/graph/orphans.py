"""What nobody looks after in the graph, and what a person may do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executor.errors import NotFound, TooNew, Unreadable
from executor.model import Outcome
from safety.trail import SYSTEM, Entry, EntryKind
from services.audit import telling
from services.audit.trail import Neo4jTrail, Teller
from services.graph.connect import Graph, Row
from services.graph.decision_rows import decision_of
from services.graph.execution_rows import approval_of, record_of
from services.orphans.model import GRACE_SECONDS, Kind, Orphan, of_execution, unreadable
from services.sealing import SealError

_PAGE = 200
_READ_AT_ONCE = 20
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking for something to be done with an execution.

    Attributes:
        refusal: why it was not done; empty when it was.
        status: of the execution before.
        epoch: of its last holder; None for none.
    """

    refusal: str
    status: str
    target_key: str
    epoch: int | None = None


class Neo4jOrphans:
    """Finds orphans, ends them, and asks for their adoption.

    Args:
        cluster: whose; empty for all that the graph serves.
        grace_seconds: how long a running process may take to notice one.
    """

    def __init__(self, graph: Graph, cluster: str = "", grace_seconds: float = GRACE_SECONDS) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)
        self._cluster = cluster
        self._grace = grace_seconds

    async def find(self) -> list[Orphan]:
        """Everything in the graph that nobody looks after. Errors as of ``Graph.read``."""
        return [*await self._executions(), *await self._approvals(), *await self._decisions()]

    async def _executions(self) -> list[Orphan]:
        found: list[Orphan] = []
        after = ""
        while rows := await self._graph.read("orphans_open", cluster=self._cluster, after=after, limit=_PAGE):
            after = rows[-1]["id"]
            found += filter(None, (of_execution(row, self._grace) for row in rows))
            for first in range(0, len(rows), _READ_AT_ONCE):
                found += await self._unreadable([row["id"] for row in rows[first : first + _READ_AT_ONCE]])
        return found

    async def _unreadable(self, ids: Sequence[str]) -> list[Orphan]:
        rows = await self._graph.read("executions_load", ids=list(ids))
        problems = [(row["e"], _problem(lambda row=row: record_of(row["e"], row["steps"]))) for row in rows]
        return [unreadable("execution", run["id"], one[0], run, newer=one[1]) for run, one in problems if one]

    async def _approvals(self) -> list[Orphan]:
        found = []
        grace = round(self._grace * 1000)
        parameters = {"grace_ms": grace, "cluster": self._cluster, "limit": _MOST}
        for row in await self._graph.read("orphans_approvals", **parameters):
            asked, run = row["a"], row["e"] or {}
            if problem := _problem(lambda asked=asked: approval_of(asked)):
                found.append(unreadable("approval", asked["id"], problem[0], run, newer=problem[1]))
            else:
                found.append(_of_approval(asked, run))
        return found

    async def _decisions(self) -> list[Orphan]:
        found = []
        for row in await self._graph.read("orphans_decisions", cluster=self._cluster, limit=_MOST):
            waiting = row["d"]
            if problem := _problem(lambda waiting=waiting: decision_of(waiting)):
                found.append(unreadable("decision", waiting["id"], problem[0], waiting, newer=problem[1]))
        return found

    async def states(self, execution_ids: Sequence[str]) -> Mapping[str, tuple[str, float]]:
        """Status and seconds of cooldown that are left, by execution; unknown ones are left out."""
        rows = await self._graph.read("executions_states", ids=sorted(set(execution_ids)))
        return {row["id"]: (row["status"], max(0.0, row["cooldown_left_ms"] / 1000)) for row in rows}

    async def abort(self, execution_id: str, *, by: str, reason: str) -> Asked:
        """End an execution that nobody carries on, and free its target.

        Raises:
            NotFound: there is no such execution.
            GraphUnavailable, GraphRejected.
        """
        why = f"aborted by {by}: {reason}"

        def tell(teller: Teller, results: list[list[Row]]) -> None:
            for row in results[0]:
                if row["refusal"] is None:
                    end = telling.of_end(execution_id, row["incident_id"], Outcome.ABORTED, why, actor=by)
                    teller.tell(row["tenant"], end)

        statement = ("executions_abort", {"id": execution_id, "why": why})
        (rows,) = await self._trail.telling(statement, tell=tell)
        return _asked(execution_id, rows)

    async def hand_on(self, execution_id: str, *, by: str, reason: str, rollback: bool = False) -> Asked:
        """Ask the running processes to carry on an execution, or to take it back. Errors as of ``abort``."""
        why = f"aborted by {by}: {reason}"

        def tell(teller: Teller, results: list[list[Row]]) -> None:
            for row in results[0]:
                if row["refusal"] is None:
                    kind, facts = EntryKind.EXECUTION_ADOPTION_ASKED, {"rollback": rollback, "status": row["status"]}
                    known = {"incident_id": row["incident_id"], "execution_id": execution_id}
                    teller.tell(row["tenant"], Entry(kind, execution_id, by, reason, facts, **known))

        statement = ("executions_hand_on", {"id": execution_id, "rollback": rollback, "why": why})
        (rows,) = await self._trail.telling(statement, tell=tell)
        return _asked(execution_id, rows)

    async def held(self, execution_id: str) -> Row | None:
        """Status, outcome, holder and epoch of an execution."""
        rows = await self._graph.read("executions_held", id=execution_id)
        return rows[0] if rows else None

    async def told_rebuilt(self, by: str, reason: str, records: int) -> None:
        """Put on record that the gate's store was filled from the graph."""
        entry = Entry(EntryKind.GATE_REBUILT, "gate", by, reason, {"records": records})
        await self._trail.append(SYSTEM, [entry])


def _asked(execution_id: str, rows: Sequence[Row]) -> Asked:
    if not rows:
        raise NotFound(f"there is no execution {execution_id}")
    row = rows[0]
    return Asked(row["refusal"] or "", row["status"] or "", row["target_key"] or "", row.get("epoch"))


def _problem(read: Any) -> tuple[str, bool] | None:
    """Why a record cannot be read, and whether a newer release can; None when it can be read."""
    try:
        read()
    except (Unreadable, SealError) as error:
        return str(error), isinstance(error, TooNew)
    return None


def _of_approval(asked: Mapping[str, Any], run: Mapping[str, Any]) -> Orphan:
    about = {"tenant": run.get("tenant") or "", "target_key": run.get("target_key") or ""}
    about["runbook_id"] = run.get("runbook_id") or ""
    if not run or run.get("status") == "done":
        why = "it asks about an execution that has ended" if run else "it asks about an execution that is not on record"
        do = "rb executions repair closes the question"
        return Orphan(Kind.APPROVAL_ABANDONED, asked["id"], "approval", why, do, repairable=True, **about)
    why = f"nobody answered by {asked['expires_at']}, and nobody has let it expire"
    do = "is rb serve --role approvals running? rb executions repair lets it expire, which is a no"
    return Orphan(Kind.APPROVAL_OVERDUE, asked["id"], "approval", why, do, repairable=True, **about)
