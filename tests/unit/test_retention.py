"""Old executions go by themselves only when a setting says so, now and then, and never what the gate still counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from services.graph.retention import LEAST, digest
from services.pipeline.retaining import RetentionDuty
from services.settings_retention import Retention as Settings


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.passed, UTC)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds


@dataclass
class Gone:
    """What was taken away."""

    executions: int = 1


async def test_it_is_done_once_an_hour_and_in_few_batches():
    """A sweep every two seconds does not become a query every two seconds."""
    clock, asked = HandClock(), []

    async def prune(keep, most, reason):
        asked.append((keep, most))
        return Gone()

    duty = RetentionDuty(prune, timedelta(days=90), clock)
    for _ in range(1000):
        await duty.sweep()
        clock.passed += 7.2
    assert asked == [(timedelta(days=90), 10)] * 2
    assert clock.passed == pytest.approx(7200)


def test_nothing_is_taken_away_unless_a_setting_says_so():
    """The default keeps everything."""
    assert Settings().executions is None


def test_what_the_gate_still_counts_cannot_be_taken_away():
    """The setting and the store agree on the least."""
    with pytest.raises(ValidationError, match="at least 31d"):
        Settings(executions=timedelta(days=30))
    assert Settings(executions=LEAST).executions == LEAST


def test_the_digest_does_not_depend_on_the_order_and_tells_any_change():
    """It proves which executions went, and how they had ended."""
    rows = [{"id": "a", "plan_hash": "1", "outcome": "success"}, {"id": "b", "plan_hash": "2", "outcome": "failure"}]
    assert digest(rows) == digest(rows[::-1])
    assert digest(rows) != digest([rows[0], {**rows[1], "outcome": "success"}])
