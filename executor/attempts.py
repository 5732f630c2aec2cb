"""Carrying out one step: intent before effect, attempt after attempt, and after a crash the target is asked first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

from executor.actions.base import Action, ActionTable, Found, Recovery, Stamp, World
from executor.book import Book
from executor.context import facts_of, names_of
from executor.crew import Halt
from executor.errors import PlanError, StepFailed, Temporary
from executor.failpoints import Failpoint, reach
from executor.model import Attempt, Change, PlannedStep, StepRun, StepStatus
from executor.phases import STEP
from executor.ports import Hooks
from executor.rendering import checked, rendered, shown
from executor.retrying import Again, after_attempt, kind_of, share
from executor.settings import ExecutorSettings
from executor.timing import seconds_left
from runbooks.model import RetryOn
from runbooks.secret_refs import references_in

T = TypeVar("T")

_RESOLVED = "_step"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a step ended."""

    status: StepStatus
    output: Any = None
    error: str = ""


class Attempts:
    """Carries out steps of one execution.

    Args:
        actions: by name.
        world: the ports that actions act through.
        book: the execution's journal.
        halt: whether further attempts are made; hears which runs are between intent and outcome.
    """

    def __init__(
        self, actions: ActionTable, world: World, book: Book, hooks: Hooks, settings: ExecutorSettings, *, halt: Halt
    ) -> None:
        self._actions = actions
        self._world = world
        self._book = book
        self._hooks = hooks
        self._settings = settings
        self._halt = halt

    def names(self, step: PlannedStep, phase: str) -> dict[str, Any]:
        """Every name that the step can use now."""
        return names_of(self._book.record, self._book.now(), step, phase)

    def _rendered(self, action: Action[Any], step: PlannedStep, phase: str) -> dict[str, Any]:
        return rendered(step.params, self.names(step, phase), action.quoting)

    async def read(self, step: PlannedStep, run: StepRun) -> Ended:
        """A step that changes nothing. One that takes its time is in the journal before, with when it began."""
        action, facts = self._actions[step.action], self._facts(step)
        params = checked(action, self._rendered(action, step, run.phase) if step.deferred else step.params)
        while True:
            if run.attempts:
                await self._paused(step, run)
            if self._halt.asked and (run.before is not None or run.attempts):
                return Ended(StepStatus.SKIPPED, error="stopped before it was done")
            try:
                within = self._limit(step, run)
                given = await self._within(within, action.plan(params, facts, self._world))
                if given.result is not None:
                    return Ended(StepStatus.SUCCEEDED, given.result)
                if run.before is None:
                    run = run.model_copy(update={"before": {"since": run.started_at.isoformat()}})
                    await self._book.intend(run)
                    reach(Failpoint.STEP_INTENDED, run.id)
                ready = shown(step, given)
                saved = run.before or {}
                stamp = self.stamp(step, run.phase)
                within = self._limit(step, run)
                output = await self._within(within, action.perform(ready, saved, stamp, self._world))
                reach(Failpoint.STEP_PERFORMED, run.id)
                return Ended(StepStatus.SUCCEEDED, output)
            except (TimeoutError, Temporary, StepFailed) as error:
                run = await self._again(step, run, error)

    async def act(self, step: PlannedStep, run: StepRun, saved_first: Mapping[str, Any] | None = None) -> Ended:
        """A write or a message: prepare, write the intent, perform; again when the target says that it did not happen.

        Args:
            step: what is done.
            run: its record so far.
            saved_first: what a crashed holder saved. A second try of a half-done step sees its own changes; what was
                there before is what the first one saw.
        """
        action, stamp = self._actions[step.action], self.stamp(step, run.phase)
        try:
            ready = await self._within(self._limit(step, run), self._resolved(step, run.phase))
        except (TimeoutError, Temporary) as error:
            return Ended(StepStatus.FAILED, error=str(error) or _took_too_long(step))
        while True:
            if run.attempts:
                await self._paused(step, run)
            intended = False
            try:
                await self._within(self._limit(step, run), self._secrets_there(ready))
                saved = await self._within(self._limit(step, run), action.prepare(ready, stamp, self._world))
                saved_first = saved if saved_first is None else saved_first
                self._halt.acting.add(run.id)
                run = run.model_copy(update={"before": _packed(saved_first, ready, step)})
                reach(Failpoint.STEP_PREPARED, run.id)
                await self._book.intend(run)
                intended = True
                reach(Failpoint.STEP_INTENDED, run.id)
                within = self._limit(step, run)
                output = await self._within(within, action.perform(ready, saved, stamp, self._world))
                reach(Failpoint.STEP_PERFORMED, run.id)
                return Ended(StepStatus.SUCCEEDED, output)
            except (TimeoutError, Temporary) as error:
                why = str(error) or _took_too_long(step)
                if intended and (known := await self.asked(ready, saved_first or {}, stamp, why)) is not None:
                    return known
                run = await self._again(step, run, error)
            except StepFailed as error:
                if intended and not await self._may_repeat(ready, saved_first or {}, stamp):
                    raise
                run = await self._again(step, run, error)
            self._halt.acting.discard(run.id)

    async def resume(self, step: PlannedStep, run: StepRun) -> Ended:
        """A step with an intent and no outcome: its holder is gone, so the target is asked."""
        self._halt.acting.add(run.id)
        saved, ready = unpacked(run.before or {}, step)
        stamp = self.stamp(step, run.phase)
        known = await self.asked(ready, saved, stamp, "its process died in the middle of it")
        if known is not None:
            return known
        self._halt.acting.discard(run.id)
        if self._halt.asked:
            return Ended(StepStatus.FAILED, error="stopped before it was done")
        return await self.act(step, run, saved)

    async def asked(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, why: str) -> Ended | None:
        """What the target says of an effect that nobody saw end; None when it can be done again."""
        action = self._actions[step.action]
        answer = await self._recovery(action, step, saved, stamp)
        found = proven(action, step, answer)
        if found is Found.DONE:
            return Ended(StepStatus.SUCCEEDED, _recovered(answer))
        if found is Found.NOT_DONE:
            return None
        detail = f"{why}, and the target cannot say whether it happened {answer.detail}".strip()
        return Ended(StepStatus.UNKNOWN, error=f"{detail}; a human must look")

    def stamp(self, step: PlannedStep, phase: str) -> Stamp:
        """What goes on every mutation of the step; the same in each attempt."""
        name = step.id if step.item is None else f"{step.id}.{step.item}"
        return Stamp(self._book.record.id, name if phase == STEP else f"{phase}-{name}", self._book.epoch)

    async def _may_repeat(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp) -> bool:
        """Whether a write that answered with a failure certainly left nothing, or does no harm when repeated."""
        answer = await self._recovery(self._actions[step.action], step, saved, stamp)
        return proven(self._actions[step.action], step, answer) is Found.NOT_DONE

    async def _recovery(
        self, action: Action[Any], step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp
    ) -> Recovery:
        last = ""
        for attempt in range(self._settings.attempts):
            try:
                async with asyncio.timeout(self._settings.recover_timeout_seconds):
                    return await action.recover(step, saved, stamp, self._world)
            except (TimeoutError, Temporary) as error:
                last = str(error) or "it does not answer"
                if attempt + 1 < self._settings.attempts:
                    await self._world.clock.sleep(self._settings.backoff_seconds * 2**attempt)
        return Recovery(Found.UNKNOWN, detail=f"({last})")

    async def _again(self, step: PlannedStep, run: StepRun, error: Exception) -> StepRun:
        """The run of the next attempt, in the journal; raises when there is none."""
        again = self._decided(step, run, error)
        if again is None or self._halt.asked:
            self._give_up(step, run, error)
        now = self._book.now()
        failed = Attempt(
            number=run.attempt,
            kind=(kind_of(error) or RetryOn.FAILED).value,
            error=self._book.mask(str(error) or _took_too_long(step)),
            started_at=run.attempts[-1].finished_at if run.attempts else run.started_at,
            finished_at=now,
        )
        following = run.model_copy(update={"attempt": run.attempt + 1, "attempts": (*run.attempts, failed)})
        await self._book.intend(following)
        facts = {"execution": self._book.record.id, "step_id": step.id, "phase": run.phase, "item": run.item}
        self._hooks.event("step.attempt", **facts, attempt=failed.number, error=failed.error, pause=again.pause_seconds)
        return following

    def _decided(self, step: PlannedStep, run: StepRun, error: Exception) -> Again | None:
        again = after_attempt(step.retry, self._settings, kind_of(error), run.attempt, run.id)
        left = seconds_left(step, run, self._book.record, self._book.now())
        return None if again is not None and again.pause_seconds >= left else again

    def _give_up(self, step: PlannedStep, run: StepRun, error: Exception) -> NoReturn:
        told = _took_too_long(step) if isinstance(error, TimeoutError) else str(error)
        if run.attempt > 1:
            told = f"still failing after {run.attempt} tries: {told}"
        raise Failed(told, output=error.output if isinstance(error, StepFailed) else None) from error

    async def _paused(self, step: PlannedStep, run: StepRun) -> None:
        """Wait for what is left of the pause before the next attempt; a process that takes over waits the rest."""
        last = run.attempts[-1]
        again = after_attempt(step.retry, self._settings, RetryOn(last.kind), last.number, run.id)
        due = last.finished_at + timedelta(seconds=again.pause_seconds if again else 0)
        if (left := (due - self._book.now()).total_seconds()) > 0:
            await self._world.clock.sleep(left)

    async def _secrets_there(self, step: PlannedStep) -> None:
        """Fetch what the step refers to before its intent: then a provider that is away leaves nothing in doubt.

        Raises:
            MissingSecret: nobody has one of them.
            NotConfigured: a provider does not let us in.
            Unavailable: a provider is away; the step's retries apply.
        """
        for name in sorted(references_in(step.params)):
            await self._world.secrets.get(name)

    async def _resolved(self, step: PlannedStep, phase: str) -> PlannedStep:
        """The step with its changes; one that could not be shown in advance is planned now."""
        if phase == STEP and not step.deferred:
            return step
        action, plan = self._actions[step.action], self._book.record.plan
        params = self._rendered(action, step, phase) if step.deferred else step.params
        given = await action.plan(checked(action, params), self._facts(step), self._world)
        ready = shown(step, given)
        if strayed := sorted({change.ref.namespace for change in ready.changes if change.ref} - set(plan.namespaces)):
            raise PlanError(f"it would change {', '.join(strayed)}, and the permit covers {', '.join(plan.namespaces)}")
        return ready

    def _facts(self, step: PlannedStep) -> Any:
        plan = self._book.record.plan
        return facts_of(plan.scopes.get(step.scope) or plan.context)

    def _limit(self, step: PlannedStep, run: StepRun) -> float:
        """How long this attempt may take."""
        return share(step.retry, seconds_left(step, run, self._book.record, self._book.now()), run.attempt)

    @staticmethod
    async def _within(seconds: float, work: Awaitable[T]) -> T:
        """Wait for work so long. Writing the journal is not counted: an intent is never cut short."""
        async with asyncio.timeout(seconds):
            return await work


class Failed(StepFailed):
    """The step failed, and is not tried again."""


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
