"""The journal: what all running executions intend and achieve, written together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
from services.graph.errors import GraphRejected
from services.graph.execution_rows import finish_facts, refuse_unkept, step_row
from services.graph.executions import Neo4jExecutionStore
from services.graph.values import dump

_MOST = 500
"""Most writes in one transaction."""
JOURNAL = ("journal_steps", "journal_advance", "journal_finish")
ALL_HELD = "size(told) = $expected AND all(one IN told WHERE one.held)"


@dataclass(frozen=True, slots=True)
class _Write:
    """One write that waits for its transaction. ``held`` says whether the epoch was still good; None: no such row.

    ``tell`` makes the entry for the audit trail, given the incident.
    """

    query: str
    row: Mapping[str, Any]
    tell: Callable[[str], Entry]
    held: asyncio.Future[bool | None] = field(compare=False)


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
        self._pending: list[_Write] = []
        self._flusher: asyncio.Task[None] | None = None

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
        while self._flusher is not None:
            await asyncio.shield(self._flusher)

    async def _write(
        self, query: str, execution_id: str, epoch: int, row: Mapping[str, Any], tell: Callable[[str], Entry]
    ) -> None:
        held: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
        self._pending.append(_Write(query, {"execution_id": execution_id, "epoch": epoch, **row}, tell, held))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush(), name="journal")
        # A caller that is cancelled must not take back what others wait for; its own row is written all the same.
        answer = await asyncio.shield(held)
        if answer is None:
            raise NotFound(f"execution {execution_id} is not in the graph")
        if not answer:
            raise Fenced(f"execution {execution_id} is no longer held under epoch {epoch}")

    async def _flush(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending[:_MOST], self._pending[_MOST:]
                await self._commit(batch)
        finally:
            self._flusher = None

    async def _commit(self, batch: Sequence[_Write]) -> None:
        """Write a batch and tell every caller. A refused batch is written one by one: only the guilty row fails."""
        try:
            held = await self._transaction(batch)
        except GraphRejected as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            for write in batch:
                await self._commit([write])
        except Exception as error:  # noqa: BLE001 - whatever it is, every caller must hear of it, or it waits for ever
            _fail(batch, error)
        except BaseException:
            _fail(batch, asyncio.CancelledError())
            raise
        else:
            for number, write in enumerate(batch):
                if not write.held.done():
                    write.held.set_result(held.get(number))

    async def _transaction(self, batch: Sequence[_Write]) -> Mapping[int, bool]:
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
        return {row["n"]: row["held"] for row in answers}


def _fail(batch: Sequence[_Write], error: BaseException) -> None:
    for write in batch:
        if not write.held.done():
            write.held.set_exception(error)
            # The caller may be gone; its exception then has no reader, which is no reason for a warning.
            write.held.exception()


def _property(value: Any) -> Any:
    """A fact as the graph stores it; what is no single value is kept as JSON."""
    if isinstance(value, tuple):
        return dump([item.model_dump(mode="json") if isinstance(item, BaseModel) else item for item in value])
    return value.value if isinstance(value, Enum) else value
