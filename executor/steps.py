"""One step: intent before effect, outcome after, and after a crash the target is asked first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from executor.actions.base import Action, ActionTable, Found, Recovery, Stamp, World
from executor.book import Book
from executor.context import facts_of, results_of, scope
from executor.errors import Permanent, PlanError, Stop, Temporary
from executor.model import Access, Change, PlannedStep, StepRun, StepStatus
from executor.ports import Hooks
from executor.rendering import checked, condition, rendered, shown
from executor.settings import ExecutorSettings

T = TypeVar("T")

STEP, ROLLBACK, UNDO = "step", "rollback", "undo"
_RESOLVED = "_step"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a try of a step ended."""

    status: StepStatus
    output: Any = None
    error: str = ""


class Steps:
    """Runs the steps of one execution.

    Args:
        actions: by name.
        world: the ports that actions act through.
        book: the execution's journal.
        hooks: hear of each step.
        settings: attempts and back-off.
    """

    def __init__(
        self, actions: ActionTable, world: World, book: Book, hooks: Hooks, settings: ExecutorSettings
    ) -> None:
        self._actions = actions
        self._world = world
        self._book = book
        self._hooks = hooks
        self._settings = settings

    async def run(self, step: PlannedStep, phase: str = STEP) -> StepRun:
        """Run a step to its outcome, or go on where a crashed holder left it.

        A step that has an outcome is not run again.

        Raises:
            Stop: the execution must not go on here; nothing more was written.
        """
        known = self._book.found(phase, step.index)
        if known is not None and known.status is not StepStatus.INTENDED:
            return known
        run = known or self._book.begin(step, phase)
        with_facts = self._announce(step, run)
        began = self._world.clock.monotonic()
        ended = await self._guarded(step, run, resumes=known is not None)
        # The intent's copy carries what was saved; it may have been written meanwhile.
        run = self._book.found(phase, step.index) or run
        done = await self._book.end(run, ended.status, output=ended.output, error=ended.error)
        seconds = self._world.clock.monotonic() - began
        self._hooks.event("step.finished", **with_facts, status=str(done.status), seconds=seconds, error=done.error)
        return done

    def _announce(self, step: PlannedStep, run: StepRun) -> dict[str, Any]:
        record = self._book.record
        facts = {
            "execution": record.id,
            "runbook": record.plan.runbook_id,
            "step": step.name,
            "action": step.action,
            "phase": run.phase,
        }
        self._hooks.event("step.started", **facts)
        return facts

    async def _guarded(self, step: PlannedStep, run: StepRun, *, resumes: bool) -> Ended:
        try:
            if resumes:
                return await self._resume(step, run)
            if not condition(step.when, self._names()):
                return Ended(StepStatus.SKIPPED)
            if step.access in (Access.READ, Access.NONE):
                return await self._read(step)
            return await self._act(step, run)
        except Stop:
            raise
        except Permanent as error:
            return Ended(StepStatus.FAILED, error=str(error))
        except Exception as error:  # noqa: BLE001 - one broken action ends its execution, not the worker
            return Ended(StepStatus.FAILED, error=f"unexpected {type(error).__name__}: {error}")

    def _names(self) -> dict[str, Any]:
        record = self._book.record
        return scope(record.plan.context, results_of(record.plan, record.steps))

    def _stamp(self, step: PlannedStep, phase: str) -> Stamp:
        name = step.id if phase == STEP else f"{phase}-{step.id}"
        return Stamp(self._book.record.id, name, self._book.epoch)

    async def _read(self, step: PlannedStep) -> Ended:
        action = self._actions[step.action]
        facts = facts_of(self._book.record.plan.context)
        deadline = self._deadline(step)
        params = checked(action, rendered(step.params, self._names()) if step.deferred else step.params)
        for attempt in range(self._settings.attempts):
            try:
                given = await self._within(deadline, action.plan(params, facts, self._world))
                if given.result is not None:
                    return Ended(StepStatus.SUCCEEDED, given.result)
                ready = shown(step, given)
                stamp = self._stamp(step, STEP)
                return Ended(
                    StepStatus.SUCCEEDED, await self._within(deadline, action.perform(ready, {}, stamp, self._world))
                )
            except TimeoutError:
                return Ended(StepStatus.FAILED, error=_took_too_long(step))
            except Temporary as error:
                last = error
                await self._back_off(attempt)
        return Ended(StepStatus.FAILED, error=f"still failing after {self._settings.attempts} tries: {last}")

    async def _act(self, step: PlannedStep, run: StepRun, saved_first: Mapping[str, Any] | None = None) -> Ended:
        """Prepare, write the intent, perform.

        Args:
            step: a write or a message.
            run: its record so far.
            saved_first: what a crashed holder saved. A second try of a half-done step sees its own changes; what was
                there before is what the first one saw.
        """
        action, stamp, deadline = self._actions[step.action], self._stamp(step, run.phase), self._deadline(step)
        try:
            ready = await self._within(deadline, self._resolved(step, run.phase))
        except (TimeoutError, Temporary) as error:
            return Ended(StepStatus.FAILED, error=str(error) or _took_too_long(step))
        last = ""
        for attempt in range(self._settings.attempts):
            intended = False
            try:
                saved = await self._within(deadline, action.prepare(ready, stamp, self._world))
                saved_first = saved if saved_first is None else saved_first
                await self._book.intend(run.model_copy(update={"before": _packed(saved_first, ready, step)}))
                intended = True
                output = await self._within(deadline, action.perform(ready, saved, stamp, self._world))
                return Ended(StepStatus.SUCCEEDED, output)
            except (TimeoutError, Temporary) as error:
                timed_out = isinstance(error, TimeoutError)
                last = _took_too_long(step) if timed_out else str(error)
                if intended and (known := await self._asked(ready, saved_first or {}, stamp, last)) is not None:
                    return known
                if timed_out:
                    return Ended(StepStatus.FAILED, error=last)
                await self._back_off(attempt)
        return Ended(StepStatus.FAILED, error=f"still failing after {self._settings.attempts} tries: {last}")

    async def _resume(self, step: PlannedStep, run: StepRun) -> Ended:
        """A step with an intent and no outcome: its holder is gone, so the target is asked."""
        saved, ready = unpacked(run.before or {}, step)
        known = await self._asked(ready, saved, self._stamp(step, run.phase), "its process died in the middle of it")
        return known if known is not None else await self._act(step, run, saved)

    async def _asked(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, why: str) -> Ended | None:
        """What the target says of an effect that nobody saw end; None when it can be done again."""
        action = self._actions[step.action]
        answer = await self._ask(action, step, saved, stamp)
        found = proven(action, step, answer)
        if found is Found.DONE:
            return Ended(StepStatus.SUCCEEDED, _recovered(answer))
        if found is Found.NOT_DONE:
            return None
        detail = f"{why}, and the target cannot say whether it happened {answer.detail}".strip()
        return Ended(StepStatus.UNKNOWN, error=f"{detail}; a human must look")

    async def _ask(self, action: Action[Any], step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp) -> Recovery:
        last = ""
        for attempt in range(self._settings.attempts):
            try:
                async with asyncio.timeout(self._settings.recover_timeout_seconds):
                    return await action.recover(step, saved, stamp, self._world)
            except (TimeoutError, Temporary) as error:
                last = str(error) or "it does not answer"
                await self._back_off(attempt)
        return Recovery(Found.UNKNOWN, detail=f"({last})")

    async def _resolved(self, step: PlannedStep, phase: str) -> PlannedStep:
        """The step with its changes; one that could not be shown in advance is planned now."""
        if phase == STEP and not step.deferred:
            return step
        action, plan = self._actions[step.action], self._book.record.plan
        params = rendered(step.params, self._names()) if step.deferred else step.params
        given = await action.plan(checked(action, params), facts_of(plan.context), self._world)
        ready = shown(step, given)
        if strayed := sorted({change.ref.namespace for change in ready.changes if change.ref} - set(plan.namespaces)):
            raise PlanError(f"it would change {', '.join(strayed)}, and the permit covers {', '.join(plan.namespaces)}")
        return ready

    def _deadline(self, step: PlannedStep) -> float:
        return self._world.clock.monotonic() + step.timeout_seconds

    async def _within(self, deadline: float, work: Awaitable[T]) -> T:
        """Wait for work until the deadline. Writing the journal is not counted: an intent is never cut short."""
        async with asyncio.timeout(max(0.0, deadline - self._world.clock.monotonic())):
            return await work

    async def _back_off(self, attempt: int) -> None:
        if attempt + 1 < self._settings.attempts:
            await self._world.clock.sleep(self._settings.backoff_seconds * 2**attempt)


def proven(action: Action[Any], step: PlannedStep, answer: Recovery) -> Found:
    """What may be concluded from a target's answer.

    A step that is declared idempotent may be repeated when nobody knows. One that is not needs a real answer: the
    default of an action, which asks nobody, is none.
    """
    if answer.found is Found.UNKNOWN and step.idempotent:
        return Found.NOT_DONE
    nobody_asked = type(action).recover is Action.recover
    if answer.found is Found.NOT_DONE and not step.idempotent and nobody_asked:
        return Found.UNKNOWN
    return answer.found


def _recovered(answer: Recovery) -> Any:
    """The output, marked; a single value stays as it is, because later steps calculate with it."""
    if answer.output is None or isinstance(answer.output, Mapping):
        return {**(answer.output or {}), "recovered": True}
    return answer.output


def _packed(saved: Mapping[str, Any], ready: PlannedStep, step: PlannedStep) -> dict[str, Any]:
    """What goes with the intent; a step that was planned late is saved too, since it cannot be planned again."""
    if ready is step:
        return dict(saved)
    return {**saved, _RESOLVED: ready.model_dump(mode="json", include={"params", "changes"})}


def unpacked(before: Mapping[str, Any], step: PlannedStep) -> tuple[Mapping[str, Any], PlannedStep]:
    """What was saved with an intent, and the step as it was performed."""
    late = before.get(_RESOLVED)
    if late is None:
        return before, step
    changes = tuple(Change.model_validate(change) for change in late["changes"])
    saved = {key: value for key, value in before.items() if key != _RESOLVED}
    return saved, step.model_copy(update={"params": late["params"], "changes": changes})


def _took_too_long(step: PlannedStep) -> str:
    return f"not done within {step.timeout_seconds:g} s"
