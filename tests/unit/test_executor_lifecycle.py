"""The rules of an execution's life, as tables."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from executor.errors import NotPermitted
from executor.lifecycle import (
    TRANSITIONS,
    Event,
    Next,
    advance,
    after_step,
    outcome_of_rollback,
)
from executor.model import Access, Outcome, PlannedStep, Status, StepRun, StepStatus


def test_every_move_that_is_not_in_the_table_is_refused():
    """Nobody goes back from done, and nothing verifies before it ran."""
    for status in Status:
        for event in Event:
            if (status, event) in TRANSITIONS:
                assert advance(status, event) is TRANSITIONS[status, event]
            else:
                with pytest.raises(NotPermitted, match=f"{status} cannot take {event}"):
                    advance(status, event)
    assert not any(status is Status.DONE for status, _ in TRANSITIONS)


def test_every_status_can_come_to_an_end():
    """No execution can be stuck by the rules themselves."""
    for status in Status:
        assert status is Status.DONE or (status, Event.ENDED) in TRANSITIONS


@pytest.mark.parametrize(
    ("access", "on_failure", "status", "expected"),
    [
        (Access.WRITE, "rollback", StepStatus.SUCCEEDED, Next.GO_ON),
        (Access.WRITE, "rollback", StepStatus.SKIPPED, Next.GO_ON),
        (Access.WRITE, "rollback", StepStatus.FAILED, Next.ROLL_BACK),
        (Access.WRITE, "abort", StepStatus.FAILED, Next.ABORT),
        (Access.WRITE, "continue", StepStatus.FAILED, Next.GO_ON),
        (Access.WRITE, "continue", StepStatus.UNKNOWN, Next.ASK_HUMAN),
        (Access.NOTIFY, "rollback", StepStatus.UNKNOWN, Next.GO_ON),
        (Access.READ, "rollback", StepStatus.FAILED, Next.ROLL_BACK),
    ],
)
def test_what_follows_a_step(access, on_failure, status, expected):
    """One row, one rule."""
    step = PlannedStep(
        index=0, id="s", name="S", action="a", access=access, idempotent=False, timeout_seconds=1, on_failure=on_failure
    )
    assert after_step(step, status) is expected


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([StepStatus.SUCCEEDED, StepStatus.SUCCEEDED], Outcome.ROLLBACK),
        ([StepStatus.SUCCEEDED, StepStatus.SKIPPED], Outcome.ROLLBACK),
        ([StepStatus.SUCCEEDED, StepStatus.FAILED], Outcome.FAILURE),
        ([StepStatus.UNKNOWN], Outcome.FAILURE),
        ([], Outcome.FAILURE),
    ],
)
def test_a_rollback_counts_only_when_everything_was_undone(statuses, expected):
    """Half an undo is a failure, and people are told."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    runs = [
        StepRun(
            id=str(number), phase="undo", index=number, step_id="s", name="S", action="a", status=status, started_at=now
        )
        for number, status in enumerate(statuses)
    ]
    assert outcome_of_rollback(runs) is expected
