"""A journal in memory with the behaviour of the durable one: what is written is kept, and old epochs are fenced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from executor.errors import Fenced
from executor.model import Evidence, ExecutionRecord, Outcome, Status, StepRun, Verdict


class MemoryJournal:
    """Implements ``executor.ports.Journal``. Records are kept as JSON, as a durable store would.

    Attributes:
        written: ``(kind, step run id or status)`` of every write, in order.
    """

    def __init__(self) -> None:
        self.written: list[tuple[str, str]] = []
        self.evidence: dict[str, tuple[Evidence, ...]] = {}
        self.actions_taken: dict[str, tuple[str, ...]] = {}
        self._records: dict[str, str] = {}
        self._epochs: dict[str, int] = {}

    def open(self, record: ExecutionRecord, epoch: int) -> None:
        """A permit was redeemed: the execution runs under this epoch."""
        self._records[record.id] = record.model_dump_json()
        self._epochs[record.id] = epoch

    def adopt(self, execution_id: str) -> int:
        """Another holder takes over; its epoch."""
        self._epochs[execution_id] += 1
        return self._epochs[execution_id]

    async def load(self, execution_id: str) -> ExecutionRecord | None:
        """The execution with its steps so far."""
        text = self._records.get(execution_id)
        return None if text is None else ExecutionRecord.model_validate_json(text)

    async def intend(self, execution_id: str, epoch: int, step: StepRun) -> None:
        """Keep an intent."""
        self._step("intend", execution_id, epoch, step)

    async def outcome(self, execution_id: str, epoch: int, step: StepRun) -> None:
        """Keep an outcome."""
        self._step("outcome", execution_id, epoch, step)

    async def advance(self, execution_id: str, epoch: int, status: Status, **facts: Any) -> None:
        """Move the execution on."""
        self._write("advance", execution_id, epoch, str(status), {"status": status, **facts})

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
        """End the execution."""
        facts = {"status": Status.DONE, "outcome": outcome, "verdict": verdict, "error": error}
        self._write("finish", execution_id, epoch, str(outcome), facts)
        self.evidence[execution_id] = tuple(evidence)
        self.actions_taken[execution_id] = tuple(actions_taken)

    def _step(self, kind: str, execution_id: str, epoch: int, step: StepRun) -> None:
        record = ExecutionRecord.model_validate_json(self._records[execution_id])
        others = [known for known in record.steps if known.id != step.id]
        self._write(kind, execution_id, epoch, step.id, {"steps": (*others, step)})

    def _write(self, kind: str, execution_id: str, epoch: int, what: str, facts: dict[str, Any]) -> None:
        if epoch != self._epochs[execution_id]:
            raise Fenced(f"epoch {epoch} is old")
        record = ExecutionRecord.model_validate_json(self._records[execution_id])
        self._records[execution_id] = record.model_copy(update=facts).model_dump_json()
        self.written.append((kind, what))
