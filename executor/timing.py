"""Time limits as data: each is told from what the journal holds, so that it survives the process that waits for it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from executor.context import SEPARATOR
from executor.model import ExecutionRecord, PlannedStep, StepRun
from executor.phases import is_forward, is_question


def runbook_deadline(record: ExecutionRecord, now: datetime) -> datetime:
    """When the steps must be done. The time in which a human was asked does not count."""
    began = record.started_at or record.requested_at or now
    return began + timedelta(seconds=record.plan.timeout_seconds) + _asked(record.steps, now)


def overdue(record: ExecutionRecord, now: datetime) -> str:
    """Why no further step may start, when the time for all of them is over; else an empty text."""
    if now < runbook_deadline(record, now):
        return ""
    return f"the steps were not done within {record.plan.timeout_seconds:g} s (timeout of the runbook)"


def seconds_left(step: PlannedStep, run: StepRun, record: ExecutionRecord, now: datetime) -> float:
    """How long a step may still take: its own limit, that of every call around it, and that of the runbook."""
    ends = [run.started_at + timedelta(seconds=step.timeout_seconds)]
    if is_forward(run.phase):
        ends += [runbook_deadline(record, now), *_of_calls(step, record, now)]
    return max(0.0, (min(ends) - now).total_seconds())


def _of_calls(step: PlannedStep, record: ExecutionRecord, now: datetime) -> Iterable[datetime]:
    """When the calls end that the step belongs to."""
    entering = {one.id: one for one in record.plan.steps if one.role == "enter"}
    began = {run.index: run.started_at for run in record.steps if run.phase == "step" and run.item is None}
    scope = step.scope
    while scope and (enter := entering.get(f"{scope}{SEPARATOR}")) is not None:
        if enter.index in began:
            yield began[enter.index] + timedelta(seconds=enter.timeout_seconds) + _asked(record.steps, now)
        scope = enter.scope


def _asked(runs: Iterable[StepRun], now: datetime) -> timedelta:
    """How long humans were asked, moments of several questions at once counted once."""
    spans = sorted((run.started_at, run.finished_at or now) for run in runs if is_question(run.phase))
    total, until = timedelta(), None
    for start, end in spans:
        begin = start if until is None else max(start, until)
        if end > begin:
            total += end - begin
        until = end if until is None else max(until, end)
    return total
