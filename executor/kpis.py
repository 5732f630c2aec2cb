"""What an execution came to beside what its author promised of the runbook."""

from __future__ import annotations

from datetime import datetime, timedelta

from executor.model import ExecutionRecord, Kpi, Promises, StepStatus
from executor.phases import is_forward

HISTORY = timedelta(days=30)
"""How far back the success rate looks."""

DURATION, ERROR_RATE, SUCCESS_RATE = "duration_seconds", "error_rate", "success_rate"
_FAILED = (StepStatus.FAILED, StepStatus.UNKNOWN)
_ENDED = (StepStatus.SUCCEEDED, *_FAILED)


def measured(record: ExecutionRecord, now: datetime) -> tuple[Kpi, ...]:
    """The promises that one execution can keep or break: how long it took, and how much of it failed.

    Args:
        record: with all steps that ran.
        now: when it ends.
    """
    promises = record.plan.terms.promises
    found: list[Kpi] = []
    if promises.max_duration_seconds is not None:
        seconds = duration_seconds(record, now)
        kept = seconds <= promises.max_duration_seconds
        found.append(Kpi(name=DURATION, value=seconds, limit=promises.max_duration_seconds, met=kept))
    if promises.max_error_rate is not None:
        rate = error_rate(record)
        found.append(
            Kpi(name=ERROR_RATE, value=rate, limit=promises.max_error_rate, met=rate <= promises.max_error_rate)
        )
    return tuple(found)


def duration_seconds(record: ExecutionRecord, now: datetime) -> float:
    """From the first step that ran to the end."""
    began = [run.started_at for run in record.steps] or [record.started_at or now]
    return max(0.0, (now - min(began)).total_seconds())


def error_rate(record: ExecutionRecord) -> float:
    """Share of the steps that failed, or whose effect nobody knows; of ``for_each`` each item counts. 0 for none."""
    runs = [run for run in record.steps if is_forward(run.phase) and run.items is None and run.status in _ENDED]
    return sum(run.status in _FAILED for run in runs) / len(runs) if runs else 0.0


def success_rate(promises: Promises, verified: int, ended: int) -> Kpi | None:
    """The promise that only many executions can keep; None when there is none, or nothing to tell it from."""
    if promises.min_success_rate is None or not ended:
        return None
    rate = verified / ended
    return Kpi(name=SUCCESS_RATE, value=rate, limit=promises.min_success_rate, met=rate >= promises.min_success_rate)
