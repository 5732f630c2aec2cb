"""The hash that binds a permit and an approval to one plan."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from executor.model import Change, Plan, PlannedStep


def plan_hash(plan: Plan) -> str:
    """SHA-256 over what will be done: runbook, target, and each step with its changes.

    What may differ without changing the meaning stays out: results of reads, prior objects, limits, messages. The
    hash is the same after a trip through JSON.
    """
    bound = {
        "runbook": plan.runbook_sha,
        "target": plan.target_key,
        "steps": [_step(step) for step in plan.steps],
        "rollback": [_step(step) for step in plan.rollback],
        "dry_run_first": plan.dry_run_first,
    }
    text = json.dumps(bound, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _step(step: PlannedStep) -> dict[str, Any]:
    bound = step.model_dump(mode="json", include={"id", "action", "params", "when", "on_failure"})
    return {**bound, "changes": [_change(change) for change in step.changes]}


def _change(change: Change) -> dict[str, Any]:
    return change.model_dump(mode="json", include={"verb", "ref", "summary"})
