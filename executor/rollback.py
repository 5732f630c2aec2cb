"""Undoing an execution: the runbook's own steps, or the inverse of each change, last first.

Rollback is never blocked: no gate and no pause switch is asked. It is still fenced: each undo has its intent in the
journal first, so a holder that was replaced undoes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from executor.actions.base import ActionTable, Stamp, World
from executor.book import Book, Stopping
from executor.errors import Stop, Temporary
from executor.model import Access, PlannedStep, StepRun, StepStatus
from executor.ports import Hooks
from executor.settings import ExecutorSettings
from executor.steps import ROLLBACK, STEP, UNDO, Steps, unpacked


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

        Returns:
            What each undo came to.

        Raises:
            Stop: another holder goes on, or the process ends.
        """
        record = self._book.record
        own = record.plan.procedures.get(record.rollback_with) or record.plan.rollback
        done: list[StepRun] = []
        if own:
            for step in own:
                self._stopping.check()
                done.append(await self._steps.run(step, ROLLBACK))
        else:
            for step, made in performed(self._book):
                self._stopping.check()
                done.append(await self._undo(step, made))
        return tuple(done)

    async def _undo(self, step: PlannedStep, made: StepRun) -> StepRun:
        known = self._book.found(UNDO, step.index)
        if known is not None and known.status is not StepStatus.INTENDED:
            return known
        run = self._book.begin(step, UNDO)
        # An undo is safe to repeat, so a crashed one is simply done again; its intent is written anew for the fence.
        await self._book.intend(run.model_copy(update={"before": {}}))
        run = self._book.found(UNDO, step.index) or run
        saved, ready = unpacked(made.before or {}, step)
        stamp = Stamp(self._book.record.id, step.id, self._book.epoch)
        began = self._world.clock.monotonic()
        status, output, error = StepStatus.SUCCEEDED, "", _irreversible(ready)
        try:
            output = await self._tried(ready, saved, stamp)
        except Stop:
            raise
        except Exception as problem:  # noqa: BLE001 - one failing undo must not stop the others
            error = str(problem) or f"not undone within {step.timeout_seconds:g} s"
        status = StepStatus.FAILED if error else status
        done = await self._book.end(run, status, output=output, error=error)
        facts = {"execution": self._book.record.id, "runbook": self._book.record.plan.runbook_id, "phase": UNDO}
        seconds = self._world.clock.monotonic() - began
        self._hooks.event(
            "step.finished", **facts, step=step.name, action=step.action, status=str(status), seconds=seconds
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
    found = ((step, book.found(STEP, step.index)) for step in book.record.plan.steps if step.access is Access.WRITE)
    made = [(step, run) for step, run in found if run is not None and run.before is not None and run.status in reached]
    return made[::-1]


def _irreversible(step: PlannedStep) -> str:
    lasting = [change.summary for change in step.changes if change.irreversible]
    return f"cannot be undone: {'; '.join(lasting)}" if lasting else ""
