"""Undoing an execution: the runbook's own steps, or the inverse of each change, last first.

Rollback is never blocked: no gate and no pause switch is asked. It is still fenced: each undo has its intent in the
journal first, so a holder that was replaced undoes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from executor.actions.base import ActionTable, Stamp, World
from executor.attempts import unpacked
from executor.book import Book, Stopping
from executor.errors import Stop, Temporary
from executor.failpoints import Failpoint, reach
from executor.graph import in_order
from executor.items import with_items
from executor.lifecycle import writes_of
from executor.model import PlannedStep, StepRun, StepStatus
from executor.phases import ROLLBACK, STEP, UNDO, beside
from executor.ports import Hooks
from executor.rendering import state_names
from executor.settings import ExecutorSettings
from executor.steps import Steps, lenient


class Rollback:
    """Undoes one execution. Everything is journaled, so that a restart goes on where it was.

    Args:
        steps: runs the runbook's own rollback steps.
        stopping: looked at between two undos.
    """

    def __init__(
        self,
        *,
        actions: ActionTable,
        world: World,
        book: Book,
        steps: Steps,
        hooks: Hooks,
        settings: ExecutorSettings,
        stopping: Stopping,
    ) -> None:
        self._actions = actions
        self._world = world
        self._book = book
        self._steps = steps
        self._hooks = hooks
        self._settings = settings
        self._stopping = stopping

    async def run(self) -> tuple[StepRun, ...]:
        """Undo everything; one failure does not stop the rest.

        The changes of a runbook with rollback steps of its own are taken back by these, at the place of its last
        change; every other change is undone by its inverse.

        Returns:
            What each undo came to. A step of the runbook's own that may fail, such as one that tells people, and
            did fail is left out: it says nothing about whether the changes were taken back.

        Raises:
            Stop: another holder goes on, or the process ends.
        """
        record = self._book.record
        if chosen := record.plan.procedures.get(record.rollback_with):
            return await self._all_own(_ordered(chosen))
        own: dict[str, list[PlannedStep]] = {}
        for step in _ordered(record.plan.rollback):
            own.setdefault(step.scope, []).append(step)
        left = dict(own)
        done: list[StepRun] = []
        for step, made in performed(self._book):
            if step.scope in own:
                done += await self._all_own(left.pop(step.scope, ()))
            else:
                self._stopping.check()
                done.append(await self._undo(step, made))
        # The runbook's own steps run in any case: what they take back may be no change of a step.
        return (*done, *await self._all_own(left.get("", ())))

    async def _all_own(self, steps: Sequence[PlannedStep]) -> tuple[StepRun, ...]:
        runs = [(step, await self._own(step)) for step in steps]
        return tuple(run for step, run in runs if run.status is not StepStatus.FAILED or not lenient(step))

    async def _own(self, step: PlannedStep) -> StepRun:
        self._stopping.check()
        if (name := self._never_kept(step)) and self._book.found(ROLLBACK, step.index, step.item) is None:
            return await self._steps.skip(
                step, ROLLBACK, f"state.{name} was never kept: the step that keeps it did not begin"
            )
        return await self._steps.run(step, ROLLBACK)

    def _never_kept(self, step: PlannedStep) -> str:
        """A name of ``state`` that the step needs, and whose own step never began: there is nothing to take back."""
        needed = state_names(step.params) if step.deferred else frozenset()
        if not needed:
            return ""
        begun = self._steps.attempts.names(step, ROLLBACK)["state"]
        keeping = {name for one in self._book.record.plan.steps for name in one.save_state}
        return next(iter(sorted(needed & keeping - set(begun))), "")

    async def _undo(self, step: PlannedStep, made: StepRun) -> StepRun:
        phase = beside(UNDO, made.phase)
        known = self._book.found(phase, step.index, step.item)
        if known is not None and known.status is not StepStatus.INTENDED:
            return known
        run = self._book.begin(step, phase)
        # An undo is safe to repeat, so a crashed one is simply done again; its intent is written anew for the fence.
        await self._book.intend(run.model_copy(update={"before": {}}))
        run = self._book.found(phase, step.index, step.item) or run
        reach(Failpoint.UNDO_INTENDED, run.id)
        saved, ready = unpacked(made.before or {}, step)
        stamp = self._steps.attempts.stamp(step, made.phase)
        began = self._world.clock.monotonic()
        status, output, error = StepStatus.SUCCEEDED, "", _irreversible(ready)
        try:
            output = await self._tried(ready, saved, stamp)
            reach(Failpoint.UNDO_PERFORMED, run.id)
        except Stop:
            raise
        except Exception as problem:  # noqa: BLE001 - one failing undo must not stop the others
            error = str(problem) or f"not undone within {step.timeout_seconds:g} s"
        status = StepStatus.FAILED if error else status
        done = await self._book.end(run, status, output=output, error=error)
        reach(Failpoint.UNDO_RECORDED, run.id)
        record = self._book.record
        facts = {"execution": record.id, "runbook": record.plan.runbook_id, "phase": phase, "item": step.item}
        seconds = self._world.clock.monotonic() - began
        self._hooks.event(
            "step.finished",
            **facts,
            step=step.name,
            step_id=step.id,
            action=step.action,
            status=str(status),
            seconds=seconds,
            error=done.error,
            attempt=done.attempt,
        )
        return done

    async def _tried(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp) -> str:
        action = self._actions[step.action]
        async with asyncio.timeout(step.timeout_seconds):
            for attempt in range(self._settings.attempts - 1):
                try:
                    return await action.undo(step, saved, stamp, self._world)
                except Temporary:
                    await self._world.clock.sleep(self._settings.backoff_seconds * 2**attempt)
            return await action.undo(step, saved, stamp, self._world)


def performed(book: Book) -> list[tuple[PlannedStep, StepRun]]:
    """The writes that may have reached the world, last first.

    A failed write counts: it may have done half of its work. An unknown one does not: undoing what nobody can see is
    a human's decision.
    """
    reached = (StepStatus.SUCCEEDED, StepStatus.FAILED)
    found = [
        (_of_item(step, run, book), run)
        for step, run in writes_of(book.record)
        if run.before is not None and run.status in reached
    ]
    return sorted(found, key=lambda one: _moment(one[1]), reverse=True)


def _moment(run: StepRun) -> tuple[datetime, bool, int, int]:
    """When a change was made; of those at one moment, in the order of the runbook."""
    return run.started_at, run.phase != STEP, run.index, -1 if run.item is None else run.item


def _of_item(step: PlannedStep, run: StepRun, book: Book) -> PlannedStep:
    """The step of the item that a run is about."""
    if run.item is None:
        return step
    whole = book.found(run.phase, run.index)
    known = step if step.items is not None else with_items(step, list((whole.items if whole else None) or ()))
    return known.each[run.item]


def _ordered(steps: Sequence[PlannedStep]) -> list[PlannedStep]:
    """The steps in an order in which each comes after what it depends on; those of called runbooks by themselves."""
    by_scope: dict[str, list[PlannedStep]] = {}
    for step in steps:
        by_scope.setdefault(step.scope, []).append(step)
    known = {step.id: step for step in steps}
    return [known[step_id] for scoped in by_scope.values() for step_id in in_order(scoped)]


def _irreversible(step: PlannedStep) -> str:
    lasting = [change.summary for change in step.changes if change.irreversible]
    return f"cannot be undone: {'; '.join(lasting)}" if lasting else ""
