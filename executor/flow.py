"""One execution on its way: steps, proof, and when there is none, the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from executor.accounts import acting_as
from executor.actions.backups import discard_backups
from executor.actions.base import ActionTable, Redact, World
from executor.asking import Asker
from executor.book import Book, Stopping
from executor.consequences import Decision
from executor.context import facts_of, planned_result, target_ref
from executor.crew import Halt
from executor.criteria import Checker
from executor.dryrun import refused_by_dry_run
from executor.errors import NotConfigured, Paused, RemediationError, Temporary
from executor.failpoints import Failpoint, reach
from executor.kpis import measured
from executor.lifecycle import (
    Event,
    Next,
    changed_something,
    outcome_of_rollback,
    outcome_of_stop,
    outcome_of_verdict,
)
from executor.model import Access, Evidence, ExecutionRecord, Outcome, Plan, PlannedStep, Status, StepStatus, Verdict
from executor.notify import Keeps, Notifier, fallback, moment_of
from executor.phases import STEP
from executor.planhash import plan_hash
from executor.ports import Clock, FreshSignals, Guard, Hooks, Journal
from executor.preconditions import unmet_now
from executor.reasons import leaves
from executor.rendering import undoable, writes
from executor.revalidation import Revalidation
from executor.rollback import Rollback
from executor.scheduling import Scheduler
from executor.settings import ExecutorSettings
from executor.steps import Steps
from executor.triggers import procedure_after
from executor.verify import Verifier
from safety.approvals import ApprovalStore
from safety.limits import cooldown_after
from safety.model import Permit

_NOT_UNDONE = (StepStatus.FAILED, StepStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Tools:
    """What every execution of a process shares; see ``executor.runner.Executor``."""

    actions: ActionTable
    world: World
    journal: Journal
    guard: Guard
    clock: Clock
    hooks: Hooks
    fresh: FreshSignals
    settings: ExecutorSettings
    redact: Redact
    stopping: Stopping
    approvals: ApprovalStore | None = None
    keeps: Keeps | None = None


class Flow:
    """Takes one execution from wherever its record stands to its end."""

    def __init__(self, permit: Permit, record: ExecutionRecord, tools: Tools) -> None:
        self._permit = permit
        self._tools = tools
        self._hooks, self._settings = tools.hooks, tools.settings
        self._world, self._unable = _world_of(record.plan, tools.world)
        self._book = Book(
            tools.journal,
            record,
            permit.token,
            clock=tools.clock,
            redact=tools.redact,
            settings=tools.settings,
            stopping=tools.stopping,
        )
        self._revalidation = Revalidation(tools.world.cluster, tools.fresh, tools.clock, tools.settings)
        checker = Checker(tools.actions, tools.world)
        self._verifier = Verifier(tools.world.cluster, tools.fresh, tools.clock, tools.settings, checker)
        self._notifier = Notifier(tools.world, tools.hooks, tools.redact, tools.settings.asked_elsewhere, tools.keeps)
        self._put_together(tools)
        self._evidence: tuple[Evidence, ...] = ()
        self._facts = {
            "execution": record.id,
            "runbook": record.plan.runbook_id,
            "trigger_type": str(record.incident.get("trigger_type") or "alert"),
        }

    def _put_together(self, tools: Tools) -> None:
        """What runs the steps: they share one switch that brings them to rest."""
        halt = Halt()
        self._asker = Asker(
            tools.approvals,
            self._book,
            self._notifier,
            tools.clock,
            tools.hooks,
            settings=tools.settings,
            stopping=tools.stopping,
        )
        self._steps = Steps(
            tools.actions,
            self._world,
            self._book,
            tools.hooks,
            tools.settings,
            asker=self._asker,
            halt=halt,
            allowed=self._allowed,
        )
        self._scheduler = Scheduler(
            self._steps, self._book, self._asker, halt, allowed=self._allowed, refuses=self._unmet
        )

    async def to_the_end(self) -> ExecutionRecord:
        """Go on from wherever the record stands."""
        fresh = not self._book.record.resumed and not self._book.record.steps
        self._hooks.event("execution.started" if fresh else "execution.resumed", **self._facts)
        if problem := self._unable or _unfit(self._permit, self._book.record):
            return await self._finish(Outcome.ABORTED, None, problem)
        if self._book.record.status is Status.RUNNING:
            ended = await self._run_steps(fresh=fresh)
            if ended is not None:
                return ended
        if self._book.record.status is Status.VERIFYING:
            ended = await self._verify()
            if ended is not None:
                return ended
        return await self._undo()

    async def _run_steps(self, *, fresh: bool) -> ExecutionRecord | None:
        """Run what is left of the steps; the ended record when nothing comes after them."""
        record = self._book.record
        await self._allowed()
        await self._record_planned(record.plan.steps)
        if fresh:
            await self._notifier.tell(record, "on_start")
            reach(Failpoint.START_TOLD, record.id)
        if not changed_something(record):
            refused = await refused_by_dry_run(record.plan, self._tools.actions, self._world, self._settings)
            if refused:
                return await self._finish(Outcome.ABORTED, None, refused)
        decision = await self._scheduler.run()
        await self._asker.withdraw()
        if decision.next is not Next.GO_ON:
            return await self._stop_at(decision)
        await self._book.advance(Event.STEPS_DONE, verify_from=self._book.now())
        reach(Failpoint.VERIFYING, record.id)
        return None

    async def _unmet(self, step: PlannedStep) -> str:
        """Why a change must not be made any more: its target is another one, well again, or the terms do not hold."""
        record = self._book.record
        if refused := await self._revalidation.refuses(record, step):
            return refused
        if not any(map(writes, step.leaves)) or changed_something(record):
            return ""
        checker, facts = Checker(self._tools.actions, self._tools.world), facts_of(record.plan.context)
        approved = bool(self._permit.approval_id)
        return await unmet_now(record.plan, checker, record.plan.context, facts, approved=approved)

    async def _allowed(self) -> None:
        """Return when the next step may start; while automation is paused, wait.

        Raises:
            HandedOver: the process is asked to end.
            LeaseLost: the target is no longer ours.
        """
        told = False
        while True:
            self._tools.stopping.check()
            try:
                return await self._tools.guard.check(
                    self._permit.execution_id, self._permit.target_key, self._permit.token
                )
            except (Paused, Temporary) as error:
                # A switch that cannot be read counts as paused: missing data never permits.
                if not told:
                    self._hooks.event("execution.paused", **self._facts, reason=str(error))
                told = True
                await self._world.clock.sleep(self._settings.pause_poll_seconds)

    async def _record_planned(self, steps: Sequence[PlannedStep]) -> None:
        """What planning already did goes to the journal in one go."""
        left = [step for step in steps if step.planned and self._book.found(STEP, step.index) is None]
        for step in left:
            facts = {**self._facts, "step": step.name, "step_id": step.id, "action": step.action, "phase": STEP}
            self._hooks.event("step.started", **facts, item=None, attempt=1)
            ended = {"status": str(StepStatus.SUCCEEDED), "seconds": 0.0, "item": None, "attempt": 1, "error": ""}
            self._hooks.event("step.finished", **facts, **ended)
        await asyncio.gather(*(self._was_planned(step) for step in left))

    async def _was_planned(self, step: PlannedStep) -> None:
        given = planned_result(step, step.id)
        run = self._book.begin(step, STEP).model_copy(update={"state": given.state})
        await self._book.end(run, StepStatus.SUCCEEDED, output=step.result, outputs=given.outputs)

    async def _stop_at(self, decision: Decision) -> ExecutionRecord | None:
        record, run = self._book.record, decision.run
        error = f"step {run.name!r}: {run.error}" if run else self._scheduler.refused
        if decision.next is Next.ROLL_BACK and changed_something(record):
            await self._book.advance(Event.STEP_FAILED, error=self._book.mask(error), rollback_with=decision.procedure)
            return None
        return await self._finish(outcome_of_stop(record, decision.next), None, error)

    async def _verify(self) -> ExecutionRecord | None:
        """Prove the fix; the ended record unless it has to be rolled back."""
        record = self._book.record
        self._hooks.event("execution.verifying", **self._facts)
        target = target_ref(record.plan.context["target"])
        proof = await self._verifier.verify(record, target, self._tools.stopping.check)
        reach(Failpoint.VERIFIED, record.id)
        verdict, self._evidence = proof.verdict, proof.evidence
        error = "" if verdict is Verdict.VERIFIED else self._evidence[-1].detail
        outcome = outcome_of_verdict(record, verdict, triggered=proof.tripped is not None)
        if outcome is not None:
            return await self._finish(outcome, verdict, error)
        chosen = procedure_after(record.plan.terms, verdict, proof.tripped)
        await self._book.advance(Event.NOT_FIXED, verdict=verdict, error=self._book.mask(error), rollback_with=chosen)
        return None

    async def _undo(self) -> ExecutionRecord:
        record = self._book.record
        reach(Failpoint.ROLLING_BACK, record.id)
        self._hooks.event("execution.rolling_back", **self._facts, reason=_reason(record))
        undone = await self._rollback().run()
        outcome = outcome_of_rollback(undone)
        success = outcome is Outcome.ROLLBACK
        self._hooks.event("rollback.finished", **self._facts, reason=_reason(record), success=success)
        if success:
            target = target_ref(record.plan.context["target"])
            self._evidence += await self._verifier.restored(record, target)
        left = [f"{run.name!r} was not undone: {run.error}" for run in undone if run.status in _NOT_UNDONE]
        return await self._finish(outcome, record.verdict, "; ".join([record.error, *left]))

    def _rollback(self) -> Rollback:
        return Rollback(
            actions=self._tools.actions,
            world=self._world,
            book=self._book,
            steps=self._steps,
            hooks=self._hooks,
            settings=self._settings,
            stopping=self._tools.stopping,
        )

    async def _finish(self, outcome: Outcome, verdict: Verdict | None, error: str) -> ExecutionRecord:
        """Tell people, then end: who dies in between tells them again rather than never."""
        record = self._book.record
        reach(Failpoint.END_DUE, record.id)
        told = record.model_copy(update={"outcome": outcome, "verdict": verdict, "error": self._book.mask(error)})
        await self._notifier.tell(told, fallback(moment_of(outcome, verdict), record.notification))
        reach(Failpoint.END_TOLD, record.id)
        await self._measure()
        await self._cool(outcome, verdict)
        await self._book.finish(outcome, verdict, error, self._evidence, _taken(self._book.record))
        reach(Failpoint.ENDED, record.id)
        began = record.started_at or record.requested_at or self._book.now()
        seconds = (self._book.now() - began).total_seconds()
        facts = {"outcome": str(outcome), "verdict": str(verdict or ""), "seconds": seconds}
        self._hooks.event("execution.finished", **self._facts, **facts, error=self._book.record.error)
        await self._tidy()
        return self._book.record

    async def _cool(self, outcome: Outcome, verdict: Verdict | None) -> None:
        """How long its target is left alone; written where its end calls for another time than the usual one."""
        record = self._book.record
        seconds = cooldown_after(record.cooldowns, str(outcome), str(verdict or ""), record.cooldown_seconds)
        if seconds != record.cooldown_seconds:
            await self._book.note(cooldown_seconds=seconds)

    async def _measure(self) -> None:
        """What the execution came to beside what was promised, where anything was."""
        kpis = measured(self._book.record, self._book.now())
        if not kpis:
            return
        await self._book.note(kpis=kpis)
        for kpi in kpis:
            self._hooks.event("kpi.measured", **self._facts, kpi=kpi.name, value=kpi.value, met=kpi.met)

    async def _tidy(self) -> None:
        """Delete the backups of Secrets when nobody will need them: it is proven, or everything is back as it was.

        Only now: a process that dies before the end is recorded may still have to undo.
        """
        record = self._book.record
        if record.verdict is not Verdict.VERIFIED and record.outcome is not Outcome.ROLLBACK:
            return
        try:
            await discard_backups(self._world.cluster, record.id, [run.before for run in record.steps])
        except RemediationError as error:
            self._hooks.event("backups.left", **self._facts, error=self._book.mask(str(error)))


def _world_of(plan: Plan, world: World) -> tuple[World, str]:
    """What the steps act through, and why they cannot: never with more rights than the plan says."""
    try:
        return acting_as(world, plan.account), ""
    except NotConfigured as error:
        return world, str(error)


def _unfit(permit: Permit, record: ExecutionRecord) -> str:
    """Why a stored plan must not run under this permit, or an empty text."""
    if plan_hash(record.plan) != permit.plan_hash:
        return "the stored plan is not the one that was permitted: its hash differs"
    if permit.approval_id:
        return ""
    plan = record.plan
    forward = leaves([*plan.steps, *(step for listed in plan.procedures.values() for step in listed)])
    lasting = [step for step in forward if writes(step) and not all(map(undoable, step.changes))]
    if lasting or record.plan.approval_reasons:
        return f"nobody approved it: {'; '.join(record.plan.approval_reasons) or 'a change cannot be undone'}"
    return ""


def _reason(record: ExecutionRecord) -> str:
    return str(Verdict.NOT_FIXED) if record.verdict is Verdict.NOT_FIXED else "step_failed"


def _taken(record: ExecutionRecord) -> list[str]:
    """What was done, one line for each change or undo."""
    changes = {
        (STEP, leaf.index, leaf.item): "; ".join(change.summary for change in leaf.changes)
        for leaf in leaves(record.plan.steps)
    }
    effects = {step.index for step in record.plan.steps if step.access in (Access.WRITE, Access.NOTIFY)}
    lines: list[str] = []
    for run in sorted(record.steps, key=lambda run: (run.started_at, run.index, run.item or 0)):
        if run.phase == STEP and (run.index not in effects or run.items is not None):
            continue
        what = changes.get((run.phase, run.index, run.item)) or str(run.output or run.action)
        lines.append(f"{run.phase} {run.name!r} {run.status}: {what}")
    return lines
