"""The hash that binds a permit and an approval to one plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from executor.model import Change, Plan, PlannedStep

_PLAIN = frozenset({"id", "action", "params", "when", "on_failure"})
_SPECIAL = frozenset(
    {
        *("depends_on", "for_each", "items", "max_parallel", "retry", "outputs", "save_state", "require_approval"),
        *("approval_seconds", "run_on_failure", "on_success", "scope", "role"),
    }
)
"""What few steps have. It counts only where it differs from the default, so that plain plans keep their hash."""
_DEFAULTS = {name: PlannedStep.model_fields[name].default for name in sorted(_SPECIAL)}
_LIMITS = frozenset({"timeout_seconds", "max_parallel", "approval_seconds", "called", "account"})


def plan_hash(plan: Plan) -> str:
    """SHA-256 over what will be done: runbook, target, and each step with its changes and its place.

    What may differ without changing the meaning stays out: results of reads, prior objects, limits, messages. The
    hash is the same after a trip through JSON.
    """
    bound = {
        "runbook": plan.runbook_sha,
        "target": plan.target_key,
        "steps": _steps(plan.steps),
        "rollback": _steps(plan.rollback),
        "dry_run_first": plan.dry_run_first,
        **plan.model_dump(mode="json", include=set(_LIMITS), exclude_defaults=True),
    }
    if plan.procedures:
        bound["procedures"] = {name: _steps(steps) for name, steps in plan.procedures.items()}
    text = json.dumps(bound, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _steps(steps: Sequence[PlannedStep]) -> list[dict[str, Any]]:
    return [_step(step) for step in steps]


def _step(step: PlannedStep) -> dict[str, Any]:
    bound = step.model_dump(mode="json", include=set(_PLAIN))
    if special := {name for name, default in _DEFAULTS.items() if getattr(step, name) != default}:
        bound |= step.model_dump(mode="json", include=special, exclude_defaults=True)
    each = {"each": _steps(step.each)} if step.each else {}
    return {**bound, **each, "changes": [_change(change) for change in step.changes]}


def _change(change: Change) -> dict[str, Any]:
    return change.model_dump(mode="json", include={"verb", "ref", "summary"})
