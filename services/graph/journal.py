"""The journal: what all running executions intend and achieve, written together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel

from executor.errors import Fenced, NotFound
from executor.model import Evidence, ExecutionRecord, Outcome, Status, StepRun, Verdict
from safety.trail import PIPELINE, Entry, EntryKind
from services.audit import telling
from services.audit.owners import owners
from services.audit.trail import Neo4jTrail
from services.graph.connect import Graph, Row
from services.graph.execution_rows import finish_facts, refuse_unkept, step_row
from services.graph.executions import Neo4jExecutionStore
from services.graph.grouping import Grouped
from services.graph.values import dump

JOURNAL = ("journal_steps", "journal_advance", "journal_finish")
ALL_HELD = "size(told) = $expected AND all(one IN told WHERE one.held)"


@dataclass(frozen=True, slots=True)
class _Write:
    """One write that waits for its transaction. ``tell`` makes the entry for the audit trail, given the incident."""

    query: str
    row: Mapping[str, Any]
    tell: Callable[[str], Entry]


class Neo4jJournal:
    """Implements ``executor.ports.Journal`` with group commit.

    A write that finds nobody writing goes at once; those that arrive meanwhile go together in the next transaction.
    Each row is checked against its own epoch, so that one fenced execution does not disturb the others. The audit
    entries are part of the same statement; when a row of several does not hold, all are undone and written one by one,
    because a chain of entries cannot leave one out.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)
        self._executions = Neo4jExecutionStore(graph)
        self._group: Grouped[_Write, bool | None] = Grouped(self._transaction, name="journal")

    async def load(self, execution_id: str) -> ExecutionRecord | None:
        """See the port."""
        return await self._executions.load(execution_id)

    async def intend(self, execution_id: str, epoch: int, step: StepRun) -> None:
        """See the port. Raises Fenced, NotFound, GraphUnavailable, GraphRejected, as all writes do; also Unkept."""
        refuse_unkept(step)
        await self._step(execution_id, epoch, step)

    async def outcome(self, execution_id: str, epoch: int, step: StepRun) -> None:
        """See the port."""
        await self._step(execution_id, epoch, step, intended=True)

    async def _step(self, execution_id: str, epoch: int, step: StepRun, *, intended: bool = False) -> None:
        row = {"step_id": step.id, "step": step_row(execution_id, step, intended=intended)}
        digest = row["step"]["digest"]  # type: ignore[index]  # a mapping of properties

        def tell(incident: str) -> Entry:
            return telling.of_step(execution_id, incident, epoch, step, digest)

        await self._write("journal_steps", execution_id, epoch, row, tell)

    async def advance(self, execution_id: str, epoch: int, status: Status, **facts: Any) -> None:
        """See the port."""
        properties = {"status": Status(status).value, **{name: _property(value) for name, value in facts.items()}}

        def tell(incident: str) -> Entry:
            told = {"status": properties["status"], "epoch": epoch}
            kind = EntryKind.EXECUTION_ADVANCED
            return Entry(kind, execution_id, PIPELINE, "", told, incident_id=incident, execution_id=execution_id)

        await self._write("journal_advance", execution_id, epoch, {"facts": properties}, tell)

    async def finish(
        self,
        execution_id: str,
        epoch: int,
        outcome: Outcome,
        verdict: Verdict | None,
        *,
        error: str = "",
        evidence: Sequence[Evidence] = (),
        actions_taken: Sequence[str] = (),
    ) -> None:
        """See the port; the target is free in the same transaction."""
        facts = finish_facts(outcome, verdict, error, evidence, actions_taken)

        def tell(incident: str) -> Entry:
            told = telling.finish_facts(epoch, verdict, actions_taken)
            return telling.of_end(execution_id, incident, outcome, error, **told)

        await self._write("journal_finish", execution_id, epoch, {"facts": facts}, tell)

    async def close(self) -> None:
        """Wait until everything that was handed in is written."""
        await self._group.close()

    async def _write(
        self, query: str, execution_id: str, epoch: int, row: Mapping[str, Any], tell: Callable[[str], Entry]
    ) -> None:
        answer = await self._group.ask(_Write(query, {"execution_id": execution_id, "epoch": epoch, **row}, tell))
        if answer is None:
            raise NotFound(f"execution {execution_id} is not in the graph")
        if not answer:
            raise Fenced(f"execution {execution_id} is no longer held under epoch {epoch}")

    async def _transaction(self, batch: Sequence[_Write]) -> list[bool | None]:
        """Whether the epoch of each write was still good; None for one whose execution is not there."""
        rows: dict[str, list[Row]] = {name: [] for name in JOURNAL}
        told: dict[str, list[Entry]] = {}
        known = await owners(self._graph, [write.row["execution_id"] for write in batch])
        # In the order of ids, as every writer locks.
        for number, write in sorted(enumerate(batch), key=lambda item: str(item[1].row["execution_id"])):
            rows[write.query].append({"n": number, **write.row})
            if write.row["execution_id"] in known:
                tenant, incident = known[write.row["execution_id"]]
                told.setdefault(tenant, []).append(write.tell(incident))
        # A row that is written again changes nothing, so the quick way will do.
        parameters = {**rows, "expected": len(batch)}
        answers = await self._trail.guarded(JOURNAL, parameters, told, ALL_HELD, strict=len(batch) > 1)
        held = {row["n"]: row["held"] for row in answers}
        return [held.get(number) for number in range(len(batch))]


def _property(value: Any) -> Any:
    """A fact as the graph stores it; what is no single value is kept as JSON."""
    if isinstance(value, tuple):
        return dump([item.model_dump(mode="json") if isinstance(item, BaseModel) else item for item in value])
    return value.value if isinstance(value, Enum) else value
