"""Reasons to take changes back: which trigger a look at the world, or a failed step, sets off."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from executor.actions.base import TargetFacts
from executor.criteria import Checker
from executor.health import Reading
from executor.judge import Observation
from executor.lifecycle import Next
from executor.model import ExecutionRecord, PlannedCheck, PlannedStep, StepStatus, Terms, Trigger, Verdict
from executor.preconditions import ANY_STEP


@dataclass(frozen=True, slots=True)
class Tripped:
    """A trigger that was set off, and by what."""

    trigger: Trigger
    detail: str


def watch_seconds(record: ExecutionRecord) -> float:
    """How long the target must stay well without a break.

    The settle time and the observation after it, and never less than the longest window: a trigger that had no time
    to show is no evidence that nothing is wrong.
    """
    windows = [trigger.window_seconds for trigger in record.plan.terms.triggers if trigger.condition]
    return max([record.settle_seconds + record.observe_seconds, *windows])


def tripped(triggers: Sequence[Trigger], seen: Sequence[Observation]) -> Tripped | None:
    """The first trigger that the looks so far set off.

    - A condition: every look of the last ``window_seconds`` found that it holds, the latest included.
    - Health checks: so many looks in a row, the latest included, found the target unhealthy after it had been well.
      While a rollout is under way, unhealthy looks say nothing; who never becomes well is told by the deadline.
    """
    for number, trigger in enumerate(triggers):
        if trigger.condition and (since := _held_since(seen, number)) is not None:
            held = (seen[-1].at - since).total_seconds()
            if held >= trigger.window_seconds:
                lasting = f" for {held:.0f} s" if trigger.window_seconds else ""
                return Tripped(trigger, f"rollback trigger: {trigger.condition} holds{lasting}")
        if trigger.health_checks and _ill_in_a_row(seen) >= trigger.health_checks:
            return Tripped(trigger, f"rollback trigger: {trigger.health_checks} health checks in a row failed")
    return None


def _held_since(seen: Sequence[Observation], number: int) -> datetime | None:
    """When the unbroken run of looks began in which the condition holds; None when it does not hold now."""
    since = None
    for observation in reversed(seen):
        if observation.watched[number] is not True:
            break
        since = observation.at
    return since


def _ill_in_a_row(seen: Sequence[Observation]) -> int:
    """Unhealthy looks at the end, after a healthy one."""
    count = 0
    for observation in reversed(seen):
        if observation.target is not False:
            break
        count += 1
    was_well = any(observation.target for observation in seen[: len(seen) - count])
    return count if was_well else 0


def next_after(terms: Terms, step: PlannedStep, status: StepStatus, following: Next) -> tuple[Next, str]:
    """What follows a step, and the procedure that takes back if anything has to be.

    A trigger for a step by its id leads to the rollback whatever ``on_failure`` says; one for any step leaves those
    alone that are allowed to fail.
    """
    if status is not StepStatus.FAILED:
        return following, ""
    named = [trigger for trigger in terms.triggers if trigger.step_failed == step.id]
    any_step = [trigger for trigger in terms.triggers if trigger.step_failed == ANY_STEP]
    if named:
        return Next.ROLL_BACK, named[0].run
    if any_step and following is not Next.GO_ON:
        return Next.ROLL_BACK, any_step[0].run
    return following, ""


def procedure_after(terms: Terms, verdict: Verdict, set_off: Tripped | None) -> str:
    """The procedure that takes back after a verdict; empty for the rollback steps, or the inverse of each change."""
    if set_off is not None:
        return set_off.trigger.run
    if verdict is Verdict.NOT_FIXED:
        return next((trigger.run for trigger in terms.triggers if trigger.not_fixed), "")
    return ""


class Watcher:
    """Looks at what the runbook wants to be true beside the health of its target.

    Args:
        checker: looks.
        terms: success criteria and triggers.
        names: what expressions may use.
        facts: what actions may leave out.
    """

    def __init__(self, checker: Checker, terms: Terms, names: Mapping[str, Any], facts: TargetFacts) -> None:
        self._checker = checker
        self._terms = terms
        self._names = names
        self._facts = facts

    async def observe(self, at: datetime, reading: Reading) -> Observation:
        """A look at the target, with what criteria and triggers say at the same time.

        A target counts as well only while every criterion has its evidence and every trigger can be read.
        """
        watched, criteria = await asyncio.gather(self._triggers(), self._criteria(reading))
        combined = _with_silent(_with_criteria(reading, criteria), self._terms.triggers, watched)
        return Observation(at, combined, watched=watched, target=reading.healthy)

    async def _criteria(self, reading: Reading) -> Sequence[PlannedCheck]:
        """The criteria, while the target is well: before that nothing they say could count."""
        if not reading.healthy:
            return ()
        looks = (self._checker.look(check, self._names, self._facts) for check in self._terms.criteria)
        return await asyncio.gather(*looks)

    async def _triggers(self) -> tuple[bool | None, ...]:
        return tuple(await asyncio.gather(*(self._holds(trigger) for trigger in self._terms.triggers)))

    async def _holds(self, trigger: Trigger) -> bool | None:
        """Whether the condition holds; None when it cannot be read. Triggers without a condition hold nothing up."""
        if not trigger.condition:
            return False
        try:
            return await self._checker.watched(trigger.condition, self._names, self._facts)
        except Exception:  # noqa: BLE001 - whatever keeps it from being read, it is not known
            return None


def _with_criteria(reading: Reading, criteria: Sequence[PlannedCheck]) -> Reading:
    if not criteria:
        return reading
    missed = next((check for check in criteria if check.holds is False), None)
    missed = missed or next((check for check in criteria if check.holds is None), None)
    if missed is None:
        return replace(reading, detail=f"{reading.detail}; {', '.join(check.name for check in criteria)}: holds")
    how = "cannot be read" if missed.holds is None else "does not hold"
    return replace(reading, healthy=missed.holds, detail=f"{reading.detail}; {missed.name} {how}: {missed.detail}")


def _with_silent(reading: Reading, triggers: Sequence[Trigger], watched: Sequence[bool | None]) -> Reading:
    """Without a trigger's measurement nobody can say that nothing is wrong."""
    silent = [trigger.condition for trigger, holds in zip(triggers, watched, strict=True) if holds is None]
    if not silent or not reading.healthy:
        return reading
    return replace(reading, healthy=None, detail=f"{reading.detail}; rollback trigger cannot be read: {silent[0]}")
