"""Questions to humans in the middle of an execution: durable, bound to the plan and the step, answered once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from executor.book import Book, Stopping
from executor.errors import Temporary
from executor.failpoints import Failpoint, reach
from executor.model import PlannedStep, StepRun, StepStatus
from executor.notify import Notifier
from executor.phases import is_question
from executor.ports import Clock, Hooks
from executor.settings import ExecutorSettings
from safety.approvals import Approval, ApprovalStatus, ApprovalStore, Verb, ask

BARRED = "barred"
"""Among what an execution remembers of its incident: people who may not say yes, as they asked for it or wrote it."""
_SELF = "rootmend"
_TOLD = "told"
_NOT_NEEDED = "the execution no longer needs an answer"


class Asker:
    """Asks humans, and waits for what they say.

    The question is in the journal before anybody can answer it, and the answer before anything follows from it. How
    long is left is told from the journal, so that a process that takes over waits for the rest of the time.

    Args:
        store: where questions and answers are; None when nobody can be asked, which is a no.
    """

    def __init__(
        self,
        store: ApprovalStore | None,
        book: Book,
        notifier: Notifier,
        clock: Clock,
        hooks: Hooks,
        *,
        settings: ExecutorSettings,
        stopping: Stopping,
    ) -> None:
        self._store = store
        self._book = book
        self._notifier = notifier
        self._clock = clock
        self._hooks = hooks
        self._settings = settings
        self._stopping = stopping

    async def ask(self, step: PlannedStep, phase: str, reasons: Sequence[str]) -> StepRun:
        """Ask, unless it was asked before, and wait for the answer.

        Args:
            step: what the question is about.
            phase: ``approval`` or ``go_on``, see ``executor.phases``.
            reasons: what the human is asked, one line each.

        Returns:
            The question's run: ``succeeded`` for a yes, ``failed`` for a no or for silence.

        Raises:
            Stop: another process goes on with the waiting.
        """
        known = self._book.found(phase, step.index)
        if known is not None and known.status is not StepStatus.INTENDED:
            return known
        run = known or self._book.begin(step, phase)
        if self._store is None:
            return await self._book.end(run, StepStatus.FAILED, error="nobody can be asked here")
        question = self._question(step, phase, run, [self._book.mask(reason) for reason in reasons])
        if known is None:
            await self._book.intend(run.model_copy(update={"before": {"approval": question.id}}))
            run = self._book.found(phase, step.index) or run
        reach(Failpoint.QUESTION_INTENDED, self._book.record.id)
        answered = await self._answer(self._store, question, step, phase)
        reach(Failpoint.ANSWER_HEARD, self._book.record.id)
        return await self._closed(run, answered)

    def _question(self, step: PlannedStep, phase: str, run: StepRun, reasons: Sequence[str]) -> Approval:
        record = self._book.record
        seconds = record.plan.approval_seconds if step.approval_seconds is None else step.approval_seconds
        longest = self._settings.approval_timeout_seconds
        return ask(
            record.id,
            str(record.incident.get("id", "")),
            record.plan.hash,
            reasons,
            now=run.started_at,
            timeout=timedelta(seconds=min(seconds, longest) if longest else seconds),
            step=f"{phase}/{step.id}",
            barred=[str(who) for who in record.incident.get(BARRED) or ()],
        )

    async def _answer(self, store: ApprovalStore, question: Approval, step: PlannedStep, phase: str) -> Approval:
        """The question as it stands when it is open no more.

        That people were told is in the journal: a process that takes over tells them unless it is certain.
        """
        told = self._told(step, phase)
        while True:
            try:
                seen = await store.request(question)  # one that is known stays as it is
                if not told and seen.status is ApprovalStatus.PENDING:
                    reach(Failpoint.QUESTION_OPEN, question.execution_id)
                    await self._tell(seen)
                    reach(Failpoint.QUESTION_TOLD, question.execution_id)
                    await self._note_told(step, phase)
                    told = True
                if seen.status is not ApprovalStatus.PENDING:
                    return seen
                now = self._clock.now()
                if now >= seen.expires_at:
                    why, number = "nobody answered", seen.plan_hash
                    await store.answer(seen.id, Verb.EXPIRE, by=_SELF, reason=why, now=now, plan_hash=number)
                    continue
            except Temporary:
                # A store that is away cannot say yes; the question stays open until it is back.
                self._stopping.check()
            self._stopping.check()
            await self._clock.sleep(self._settings.approval_poll_seconds)

    def _told(self, step: PlannedStep, phase: str) -> bool:
        run = self._book.found(phase, step.index)
        return bool(run and (run.before or {}).get(_TOLD))

    async def _note_told(self, step: PlannedStep, phase: str) -> None:
        run = self._book.found(phase, step.index)
        if run is not None:
            await self._book.intend(run.model_copy(update={"before": {**(run.before or {}), _TOLD: True}}))

    async def _tell(self, question: Approval) -> None:
        record = self._book.record
        self._hooks.event(
            "approval.requested",
            runbook=record.plan.runbook_id,
            execution=record.id,
            step=question.step,
            approval=question,
        )
        await self._notifier.tell(record, "on_approval")

    async def _closed(self, run: StepRun, answered: Approval) -> StepRun:
        said = {"approval": answered.id, "by": answered.answered_by, "reason": answered.answer_reason}
        if answered.status is ApprovalStatus.APPROVED:
            return await self._book.end(run, StepStatus.SUCCEEDED, output=said)
        why = f"{answered.status.value} by {answered.answered_by}: {answered.answer_reason}"
        return await self._book.end(run, StepStatus.FAILED, output=said, error=why)

    async def withdraw(self) -> None:
        """Close the questions that nobody needs an answer to any more."""
        for run in self._book.record.steps:
            if not is_question(run.phase) or run.status is not StepStatus.INTENDED:
                continue
            number = str((run.before or {}).get("approval", ""))
            if self._store is not None and number:
                await self._overtake(self._store, number)
            await self._book.end(run, StepStatus.SKIPPED, error=_NOT_NEEDED)

    async def _overtake(self, store: ApprovalStore, number: str) -> None:
        """Best effort: an answer that comes too late changes nothing."""
        try:
            now = self._clock.now()
            await store.answer(number, Verb.OVERTAKE, by=_SELF, reason=_NOT_NEEDED, now=now, plan_hash="")
        except Temporary as error:
            self._hooks.event("approval.left_open", execution=self._book.record.id, error=str(error))
