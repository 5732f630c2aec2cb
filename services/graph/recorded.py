"""Recorded incidents, read in pages: what was decided, what was run, and what every step found and did."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from services.graph.connect import Graph
from services.graph.execution_rows import altered, record_of
from services.graph.values import moment

_PAGE = 200
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)

Json = dict[str, Any]


class RecordedHistory:
    """Reads what was recorded, as JSON for ``services.testing.history``.

    Args:
        scope: the gate's store, as its keys begin: whose pauses are told.
    """

    def __init__(self, graph: Graph, scope: str, *, page: int = _PAGE) -> None:
        self._graph = graph
        self._scope = scope
        self._page = page

    async def runbooks(self) -> Sequence[Json]:
        """Every runbook version that was used."""
        return await self._graph.read("history_runbooks")

    async def pauses(self) -> Sequence[Json]:
        """Positions of the pause switch, oldest first."""
        rows = await self._graph.read("history_pauses", scope=self._scope)
        return [{**row, "at": moment(row["at"])} for row in rows]

    async def of_execution(self, text: str) -> Sequence[Json]:
        """The incidents of an execution, found by its id, its incident's or its decision's, or the start of one."""
        return [
            incident_of(row["d"], row["executions"])
            for row in await self._graph.read("history_of_execution", text=text, limit=20)
        ]

    async def incidents(self, since: datetime | None = None, until: datetime | None = None) -> AsyncIterator[Json]:
        """Incidents whose decision was made in this time, oldest first."""
        start, last = since or _EVER, ""
        while True:
            rows = await self._graph.read(
                "history_incidents", since=start, after_id=last, until=until or _NEVER, limit=self._page
            )
            for row in rows:
                yield incident_of(row["d"], row["executions"])
            if len(rows) < self._page:
                return
            start, last = rows[-1]["d"]["decided_at"], rows[-1]["d"]["id"]


def incident_of(decision: Mapping[str, Any], executions: Sequence[Mapping[str, Any]]) -> Json:
    """An incident with its latest decision and its executions, as JSON."""
    used = decision.get("runbook_id")
    return {
        "id": decision["incident_id"],
        "decision": decision["id"],
        "kind": decision["kind"],
        "attempt": decision["attempt"],
        "decided_at": moment(decision["decided_at"]),
        "closed_at": moment(decision.get("closed_at")),
        "check": decision.get("check") or "",
        "message": decision.get("message") or "",
        "numbers": orjson.loads(decision.get("numbers") or "{}"),
        "inputs": decision.get("repeat_count") or 0,
        "runbook": {
            "id": used,
            "version": decision.get("runbook_version") or "",
            "sha": decision.get("runbook_sha") or "",
        }
        if used
        else None,
        "incident": orjson.loads(decision["incident"]),
        "executions": [execution_of(one["e"], one["steps"], one["approvals"]) for one in executions],
    }


def execution_of(
    execution: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], approvals: Sequence[Mapping[str, Any]]
) -> Json:
    """An execution with its plan, steps, evidence and approvals, as JSON.

    What is encrypted is masked, and its envelopes are told beside, under ``sealed``: whoever has the keys opens them.
    """
    record = record_of(execution, steps, shown=True)
    changed = [step["id"] for step in steps if altered(step)]
    envelopes = {step["id"]: step["before_sealed"] for step in steps if step.get("before_sealed")}
    sealed = {"plan": execution.get("plan_sealed"), "before": envelopes}
    return {
        **({"sealed": sealed} if any(sealed.values()) else {}),
        "id": record.id,
        "attempt": execution.get("attempt"),
        **record.model_dump(mode="json", include={"requested_at", "started_at", "finished_at"}),
        "plan": record.plan.model_dump(mode="json"),
        "record": record.model_dump(mode="json", exclude={"plan", "steps"}),
        "steps": [step.model_dump(mode="json") for step in record.steps],
        "altered": sorted(changed),
        "evidence": orjson.loads(execution.get("evidence") or "[]"),
        "actions_taken": list(execution.get("actions_taken") or ()),
        "approvals": [_approval(approval) for approval in approvals],
    }


def _approval(approval: Mapping[str, Any]) -> Json:
    return {
        **{key: approval.get(key) for key in ("id", "plan_hash", "status", "answered_by")},
        "reasons": list(approval.get("reasons") or ()),
        **{key: moment(approval.get(key)) for key in ("requested_at", "answered_at")},
    }
