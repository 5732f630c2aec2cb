"""Steps, each to its outcome: whether it runs at all, who has to say yes, its items, and what it leaves for others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from executor.actions.base import ActionTable, World
from executor.actions.engine import ManualApproval
from executor.asking import Asker
from executor.attempts import Attempts, Ended
from executor.book import Book
from executor.consequences import Standing
from executor.context import SEPARATOR, gathered, parts
from executor.crew import Crew, Halt
from executor.errors import Permanent, StepFailed, Stop
from executor.failpoints import Failpoint, reach
from executor.items import items_of, with_items
from executor.model import Access, PlannedStep, StepRun, StepStatus
from executor.phases import APPROVAL, STEP, beside, is_forward
from executor.ports import Hooks
from executor.rendering import condition, names_of_condition, rendered
from executor.settings import ExecutorSettings
from runbooks.model import OnFailure

_READS = (Access.READ, Access.NONE)
_ITEM = frozenset({"item", "each"})
_STOPPED = "stopped before it was done"


class Steps:
    """Runs the steps of one execution.

    Args:
        actions: by name.
        world: the ports that actions act through.
        book: the execution's journal.
        hooks: hear of each step.
        settings: attempts and back-off.
        asker: asks humans.
        halt: says when steps are to come to rest.
        allowed: asked before each item of a step that repeats.
    """

    def __init__(
        self,
        actions: ActionTable,
        world: World,
        book: Book,
        hooks: Hooks,
        settings: ExecutorSettings,
        *,
        asker: Asker,
        halt: Halt,
        allowed: Callable[[], Awaitable[None]],
    ) -> None:
        self._actions = actions
        self._world = world
        self._book = book
        self._hooks = hooks
        self._asker = asker
        self._halt = halt
        self._allowed = allowed
        self.attempts = Attempts(actions, world, book, hooks, settings, halt=halt)

    async def run(self, step: PlannedStep, phase: str = STEP) -> StepRun:
        """Run a step to its outcome, or go on where a crashed holder left it.

        A step that has an outcome is not run again.

        Raises:
            Stop: the execution must not go on here; nothing more was written.
        """
        known = self._book.found(phase, step.index, step.item)
        if known is not None and known.status is not StepStatus.INTENDED:
            return known
        run = known or self._book.begin(step, phase)
        facts = self._announce(step, run)
        began = self._world.clock.monotonic()
        run, ended, outputs = await self._guarded(step, run, resumes=known is not None)
        self._halt.acting.add(run.id)
        try:
            done = await self._book.end(run, ended.status, output=ended.output, error=ended.error, outputs=outputs)
        finally:
            self._halt.acting.discard(run.id)
        reach(Failpoint.STEP_RECORDED, run.id)
        told = {"status": str(done.status), "error": done.error, "attempt": done.attempt}
        self._hooks.event("step.finished", **facts, **told, seconds=self._world.clock.monotonic() - began)
        return done

    async def skip(self, step: PlannedStep, phase: str, why: str) -> StepRun:
        """Write down that a step is not run."""
        return await self._book.end(self._book.begin(step, phase), StepStatus.SKIPPED, error=why)

    def _announce(self, step: PlannedStep, run: StepRun) -> dict[str, Any]:
        record = self._book.record
        facts = {
            "execution": record.id,
            "runbook": record.plan.runbook_id,
            "step": step.name,
            "step_id": step.id,
            "action": step.action,
            "phase": run.phase,
            "item": step.item,
        }
        self._hooks.event("step.started", **facts, attempt=run.attempt)
        return facts

    async def _guarded(
        self, step: PlannedStep, run: StepRun, *, resumes: bool
    ) -> tuple[StepRun, Ended, Mapping[str, Any]]:
        """How the step ended, whatever happened in it; with its run as the journal knows it, and its named parts."""
        outputs: Mapping[str, Any] = {}
        try:
            if not resumes:
                prepared = await self._prepared(step, run)
                if isinstance(prepared, Ended):
                    return run, prepared, {}
                run = prepared
            ended = await self._carried_out(step, run, resumes=resumes)
            if ended.status is StepStatus.SUCCEEDED:
                outputs = self._outputs(step, run.phase, ended)
        except Stop:
            raise
        except asyncio.CancelledError:
            if not self._halt.asked:
                raise
            ended = self._cut_short(step, run)
        except StepFailed as error:
            ended = Ended(StepStatus.FAILED, error.output, error=str(error))
        except Permanent as error:
            ended = Ended(StepStatus.FAILED, error=str(error))
        except Exception as error:  # noqa: BLE001 - one broken action ends its execution, not the worker
            ended = Ended(StepStatus.FAILED, error=f"unexpected {type(error).__name__}: {error}")
        # The journal's copy carries what was saved with the intent; it may have been written meanwhile.
        return self._book.found(run.phase, run.index, run.item) or run, ended, outputs

    def _cut_short(self, step: PlannedStep, run: StepRun) -> Ended:
        """A step that waited when all came to rest. One that has tried to write may have left something."""
        run = self._book.found(run.phase, run.index, run.item) or run
        tried = step.access not in _READS and run.before is not None
        return Ended(StepStatus.FAILED if tried or step.repeats else StepStatus.SKIPPED, error=_STOPPED)

    async def _prepared(self, step: PlannedStep, run: StepRun) -> StepRun | Ended:
        """The run of a step that may start, with the values that it keeps; or its end, when it does not run."""
        own_items = step.for_each is not None and bool(_ITEM & names_of_condition(step.when))
        if not own_items and not self._holds(step.when, step, run):
            return Ended(StepStatus.SKIPPED)
        if refused := await self._refused(step, run):
            return Ended(StepStatus.FAILED, error=refused)
        run = run.model_copy(update={"started_at": self._book.now()})
        if step.repeats:
            return run
        waiting = rendered(step.save_state, self._names(step, run)) if step.save_state else {}
        state = {**step.state, **waiting}
        self._book.refuse_secret("save_state", state)
        return run.model_copy(update={"state": state})

    def _holds(self, expression: bool | str, step: PlannedStep, run: StepRun) -> bool:
        """The value of a condition; the names are gathered only for one that uses any."""
        return expression if isinstance(expression, bool) else condition(expression, self._names(step, run))

    async def _refused(self, step: PlannedStep, run: StepRun) -> str:
        """Why the step must not run, when a human was asked and did not say yes; else an empty text."""
        if not self._holds(step.require_approval, step, run):
            return ""
        asked = await self._asker.ask(step, beside(APPROVAL, run.phase), self._question(step, run))
        return "" if asked.status is StepStatus.SUCCEEDED else f"no approval: {asked.error}"

    def _question(self, step: PlannedStep, run: StepRun) -> Sequence[str]:
        """What a human is asked before a step."""
        if isinstance(self._actions[step.action], ManualApproval):
            message = rendered(step.params, self._names(step, run)).get("message") if step.deferred else None
            return [str(message or step.params.get("message") or step.name)]
        changes = [change.summary for leaf in step.leaves for change in leaf.changes]
        return [f"step {step.name!r} asks before it runs", *changes]

    async def _carried_out(self, step: PlannedStep, run: StepRun, *, resumes: bool) -> Ended:
        if step.role:
            return self._around_call(step)
        if step.repeats:
            return await self._repeated(step, run)
        if step.access in _READS:
            return await self.attempts.read(step, run)
        return await (self.attempts.resume(step, run) if resumes else self.attempts.act(step, run))

    def _around_call(self, step: PlannedStep) -> Ended:
        """Entering a called runbook does nothing; leaving it tells how it went."""
        if step.role == "enter":
            return Ended(StepStatus.SUCCEEDED)
        standing = Standing(self._book.record)
        enter = next(one for one in standing.steps if one.id == f"{step.id}{SEPARATOR}")
        entered = standing.run_of(enter)
        if entered is None or entered.status is not StepStatus.SUCCEEDED:
            status = entered.status if entered else StepStatus.SKIPPED
            return Ended(status, error=entered.error if entered else "")
        if problem := standing.failed_inside(step):
            return Ended(StepStatus.FAILED, error=problem)
        inside = [(one, standing.run_of(one)) for one in standing.steps if one.scope == step.id and one.role != "enter"]
        ran = {one.id.removeprefix(enter.id): run for one, run in inside if run is not None}
        told = {name: {"status": str(run.status), "output": run.output} for name, run in ran.items()}
        return Ended(StepStatus.SUCCEEDED, {"steps": told})

    async def _repeated(self, step: PlannedStep, run: StepRun) -> Ended:
        """Each item on its own; the items stand in the journal before the first, when the plan does not name them."""
        if run.items is None and step.items is None:
            found = items_of(rendered({"for_each": step.for_each}, self._names(step, run))["for_each"])
            self._book.refuse_secret("for_each", found)
            run = run.model_copy(update={"items": tuple(found)})
            await self._book.intend(run)
        whole = step if step.items is not None else with_items(step, list(run.items or ()))
        crew = Crew(self._halt)
        try:
            await self._each(whole, run.phase, crew)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and self._halt.asked:
                await crew.rest()
            else:
                await crew.leave(error)
            raise
        return self._together(whole, run.phase)

    async def _each(self, step: PlannedStep, phase: str, crew: Crew) -> None:
        """Run the items in their order, as many at once as the step allows; after a failure none begins."""
        for leaf in step.each:
            while len(crew) >= step.max_parallel:
                await crew.one()
            if self._halt.asked or (self._broken(step, phase) and not lenient(step)):
                break
            if is_forward(phase) and self._book.found(phase, leaf.index, leaf.item) is None:
                await self._allowed()
            crew.start(self._book.run_id(phase, leaf), self.run(leaf, phase))
        await crew.finish()

    def _broken(self, step: PlannedStep, phase: str) -> bool:
        runs = (self._book.found(phase, leaf.index, leaf.item) for leaf in step.each)
        return any(run is not None and run.status in (StepStatus.FAILED, StepStatus.UNKNOWN) for run in runs)

    def _together(self, step: PlannedStep, phase: str) -> Ended:
        """What the items came to."""
        runs = [self._book.found(phase, leaf.index, leaf.item) for leaf in step.each]
        for status in (StepStatus.UNKNOWN, StepStatus.FAILED):
            bad = [run for run in runs if run is not None and run.status is status]
            if bad:
                told = "; ".join(f"item {run.item}: {run.error}" for run in bad)
                return Ended(status, [run.output if run else None for run in runs], error=told)
        if any(run is None or run.status is StepStatus.INTENDED for run in runs):
            return Ended(StepStatus.FAILED, error=_STOPPED)
        ran = [run for run in runs if run is not None]
        never = bool(ran) and all(run.status is StepStatus.SKIPPED for run in ran)
        return Ended(StepStatus.SKIPPED if never else StepStatus.SUCCEEDED, [run.output for run in ran])

    def _outputs(self, step: PlannedStep, phase: str, ended: Ended) -> Mapping[str, Any]:
        """The named parts of what the step gave; of one that repeats, a list for each name."""
        if not step.repeats:
            return parts(step.outputs, ended.output)
        runs = [self._book.found(phase, step.index, item) for item in range(len(ended.output or ()))]
        return gathered([run.outputs for run in runs if run and run.status is StepStatus.SUCCEEDED], step)

    def _names(self, step: PlannedStep, run: StepRun) -> dict[str, Any]:
        return self.attempts.names(step, run.phase)


def lenient(step: PlannedStep) -> bool:
    """Whether the step may fail, and nothing but the next step follows."""
    return step.on_failure is OnFailure.CONTINUE and not step.run_on_failure
