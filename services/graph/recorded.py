"""Recorded incidents, read in pages: what was decided, what was run, and what every step found and did."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from services.graph.connect import Graph
from services.graph.execution_rows import altered
from services.graph.values import moment

_PAGE = 200
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)

_EXECUTION = ("id", "status", "outcome", "verdict", "error", "attempt", "cooldown_seconds")
_APPROVAL = ("id", "plan_hash", "status", "answered_by")

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
    """An execution with its plan, steps, evidence and approvals, as JSON."""
    return {
        **{key: execution.get(key) for key in _EXECUTION},
        **{key: moment(execution.get(key)) for key in ("requested_at", "started_at", "verify_from", "finished_at")},
        "plan": orjson.loads(execution["plan"]),
        "record": orjson.loads(execution["record"]),
        "evidence": orjson.loads(execution.get("evidence") or "[]"),
        "actions_taken": list(execution.get("actions_taken") or ()),
        "steps": [_step(step) for step in steps],
        "approvals": [
            {
                **{key: approval.get(key) for key in _APPROVAL},
                "reasons": list(approval.get("reasons") or ()),
                **{key: moment(approval.get(key)) for key in ("requested_at", "answered_at")},
            }
            for approval in approvals
        ],
    }


def _step(step: Mapping[str, Any]) -> Json:
    """One run of one step; ``altered`` when it is no longer what the journal wrote."""
    told = {
        k: moment(v) if hasattr(v, "iso_format") else v for k, v in step.items() if k not in ("execution_id", "digest")
    }
    return {
        **told,
        "before": orjson.loads(step["before"]) if step.get("before") else None,
        "output": orjson.loads(step["output"]) if step.get("output") else None,
        "error": step.get("error") or "",
        "finished_at": moment(step.get("finished_at")),
        **({"altered": True} if altered(step) else {}),
    }
