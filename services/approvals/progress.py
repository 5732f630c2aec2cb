"""How an execution that people were asked about gets on: told in a few lines, however many steps there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from executor.model import ExecutionRecord, Status, StepRun, StepStatus

_SHOWN = 8
"""So many of the latest steps are named; those before are counted."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an execution stands.

    Attributes:
        stage: in a word or two.
        folded: earlier steps, counted by their result; empty when all are named.
        lines: the latest steps, oldest first.
        ending: how it ended, in words; empty while it goes on.
        good: whether it ended as it should.
    """

    execution_id: str
    stage: str
    folded: str
    lines: tuple[str, ...]
    ending: str = ""
    good: bool = False


def progress_of(record: ExecutionRecord) -> Progress:
    """Tell an execution from its record."""
    runs = list(record.steps)
    # What failed is named in any case: it is what people look for.
    latest = set(range(max(0, len(runs) - _SHOWN), len(runs)))
    failed = [at for at, run in enumerate(runs) if run.status in (StepStatus.FAILED, StepStatus.UNKNOWN)][-_SHOWN:]
    shown = sorted(latest | set(failed))
    rest = [run for at, run in enumerate(runs) if at not in set(shown)]
    return Progress(
        record.id,
        _STAGES.get(record.status, record.status.value),
        _folded(rest),
        tuple(_line(runs[at]) for at in shown),
        _ending(record),
        record.outcome is not None and record.outcome.value == "success",
    )


_STAGES = {
    Status.WAITING_APPROVAL: "waits for an answer",
    Status.PERMITTED: "about to begin",
    Status.RUNNING: "running",
    Status.VERIFYING: "verifying",
    Status.ROLLING_BACK: "rolling back",
    Status.DONE: "ended",
}


def _folded(runs: Sequence[StepRun]) -> str:
    counts = Counter(run.status.value for run in runs)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _line(run: StepRun) -> str:
    phase = "" if run.phase == "step" else f"{run.phase.replace('_', ' ')}: "
    item = "" if run.item is None else f" [{run.item}]"
    status = "running" if run.status is StepStatus.INTENDED else run.status.value
    tried = f", attempt {run.attempt}" if run.attempt > 1 else ""
    took = f" in {(run.finished_at - run.started_at).total_seconds():.1f} s" if run.finished_at else ""
    why = f": {run.error}" if run.error else ""
    return f"{phase}{run.name}{item} ({run.action}): {status}{took}{tried}{why}"


def _ending(record: ExecutionRecord) -> str:
    if record.status is not Status.DONE:
        return ""
    outcome = record.outcome.value.replace("_", " ") if record.outcome else "no outcome"
    verdict = record.verdict.value.replace("_", " ") if record.verdict else "none"
    why = f": {record.error}" if record.error else ""
    return f"{outcome}, verdict {verdict}{why}"
