"""What the pipeline has on record, as values. Read from the graph, which is the truth."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from compose.demo.graph import Graph, Row

_EVERY = 0.4


@dataclass(frozen=True, slots=True)
class Step:
    """One run of one step."""

    id: str
    phase: str
    status: str
    error: str
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution with its steps and approvals (id by status, newest last)."""

    id: str
    status: str
    outcome: str
    verdict: str
    error: str
    steps: tuple[Step, ...]
    approvals: tuple[tuple[str, str], ...]
    verify_from: datetime | None
    finished_at: datetime | None
    resumed: bool

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status == "done"

    def first_step_at(self) -> datetime | None:
        """When the first step began."""
        return min((step.started_at for step in self.steps), default=None)


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision with the executions that followed from it."""

    id: str
    kind: str
    check: str
    message: str
    incident_id: str
    reason: str
    target_key: str
    cause_reason: str
    confidence: float | None
    runbook_id: str
    inputs: int
    subject: tuple[str, str, str]
    executions: tuple[Execution, ...]


def decision_of(row: Row) -> Decision:
    """A decision from a row of `record.cypher`."""
    facts = row["decision"]
    about = json.loads(facts["signal"] or "{}").get("subject") or {}
    return Decision(
        id=facts["id"],
        kind=facts["kind"],
        check=facts["check"] or "",
        message=facts["message"] or "",
        incident_id=facts["incident_id"] or "",
        reason=facts["reason"] or "",
        target_key=facts["target_key"] or "",
        cause_reason=facts["cause_reason"] or "",
        confidence=facts["confidence"],
        runbook_id=facts["runbook_id"] or "",
        inputs=facts["repeat_count"] or 0,
        subject=(about.get("kind", ""), about.get("namespace", ""), about.get("name", "")),
        executions=tuple(_execution(one) for one in row["executions"]),
    )


def _execution(facts: Mapping[str, Any]) -> Execution:
    return Execution(
        id=facts["id"],
        status=facts["status"],
        outcome=facts["outcome"] or "",
        verdict=facts["verdict"] or "",
        error=facts["error"] or "",
        steps=tuple(_step(step) for step in facts["steps"]),
        approvals=tuple((one["id"], one["status"]) for one in facts["approvals"]),
        verify_from=_moment(facts["verify_from"]),
        finished_at=_moment(facts["finished_at"]),
        resumed=bool(facts["resumed"]),
    )


def _step(facts: Mapping[str, Any]) -> Step:
    started = _moment(facts["started_at"])
    return Step(
        id=facts["step_id"],
        phase=facts["phase"],
        status=facts["status"],
        error=facts["error"] or "",
        started_at=started or datetime.now(UTC),
        finished_at=_moment(facts["finished_at"]),
    )


def _moment(value: Any) -> datetime | None:
    native: datetime | None = value.to_native() if value is not None else None
    return native


class Recorder:
    """Reads the record of one tenant again and again, for everybody who waits for something in it."""

    def __init__(self, graph: Graph, tenant: str) -> None:
        self._graph = graph
        self._tenant = tenant
        self._since = datetime.now(UTC)
        self._known: tuple[Decision, ...] = ()

    async def read(self) -> Sequence[Decision]:
        """Read now."""
        rows = await self._graph.run("record", tenant=self._tenant, since=self._since)
        self._known = tuple(decision_of(row) for row in rows)
        return self._known

    def known(self) -> Sequence[Decision]:
        """What was read last."""
        return self._known

    async def follow(self, every: float = _EVERY) -> None:
        """Read until cancelled."""
        while True:
            await self.read()
            await asyncio.sleep(every)
