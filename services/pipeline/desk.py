"""What follows an answer to an approval, and what follows when nobody answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from executor.errors import Unreadable
from executor.failpoints import Failpoint, reach
from executor.model import ExecutionRecord, Status
from executor.ports import Clock, Hooks
from matcher.model import Candidate, Diagnosis, Incident, Match
from runbooks.model import LoadedRunbook
from safety.approvals import Approval, ApprovalStatus, ApprovalStore, Verb, approval_id, granted
from safety.model import Refusal
from services.kafka.model import Publisher
from services.pipeline.cases import Located, again, without_inputs
from services.pipeline.commit import Committer
from services.pipeline.messages import approval_message
from services.pipeline.permit import Permits
from services.pipeline.proposals import SKIPPED, TEMPORARY_CHECKS, Proposal
from services.ports import DecisionLedger, ExecutionStore
from services.records import DecisionKind, DecisionRecord, ExecutionStory, RunbookUse
from services.settings import Topics

log = structlog.get_logger(__name__)

PIPELINE = "rootmend"


class ApprovalDesk:
    """Carries out answers. An approved plan is made again first: only the very same plan runs on that approval.

    Args:
        runbook: the very version that a decision chose, or why it may not run.
        match: puts an incident and its runbook together again.
    """

    def __init__(
        self,
        *,
        approvals: ApprovalStore,
        executions: ExecutionStore,
        ledger: DecisionLedger,
        permits: Permits,
        committer: Committer,
        publisher: Publisher,
        topics: Topics,
        runbook: Callable[[RunbookUse], Awaitable[LoadedRunbook | Refusal]],
        clock: Clock,
        hooks: Hooks,
        match: Callable[[Incident, LoadedRunbook, tuple[Candidate, ...]], Match] = Match,
    ) -> None:
        self._match = match
        self._approvals = approvals
        self._executions = executions
        self._ledger = ledger
        self._permits = permits
        self._committer = committer
        self._publisher = publisher
        self._topics = topics
        self._runbook = runbook
        self._clock = clock
        self._hooks = hooks
        self._told: set[tuple[str, str]] = set()

    async def sweep(self) -> None:
        """Expire what nobody answered, carry out what was answered."""
        now = self._clock.now()
        for late in await self._approvals.due(now):
            await self._approvals.answer(
                late.id, Verb.EXPIRE, by=PIPELINE, reason="nobody answered", now=now, plan_hash=late.plan_hash
            )
        for approval in await self._executions.answered():
            await self._try(approval, now)
        self._hooks.event("approvals.waiting", count=len(await self._approvals.list(ApprovalStatus.PENDING)))

    async def _try(self, approval: Approval, now: datetime) -> None:
        """Carry out one answer. One that cannot be carried out now must not keep the others waiting."""
        try:
            await self._follow(approval, now)
        except Unreadable as error:
            if (approval.id, str(error)) not in self._told:
                self._told.add((approval.id, str(error)))
                log.error("record.unreadable", kind="approval", id=approval.id, why=str(error))  # noqa: TRY400 - in words
                self._hooks.event("record.unreadable", kind="approval")
        except Exception as error:  # noqa: BLE001 - whatever it was, it stays to be followed and is tried again
            log.warning(
                "approval.not_followed",
                approval_id=approval.id,
                execution_id=approval.execution_id,
                error=str(error),
                error_type=type(error).__name__,
            )

    async def _follow(self, approval: Approval, now: datetime) -> None:
        stories = await self._ledger.find(approval.execution_id, 1)
        told = next(
            (told for story in stories for told in story.executions if told.record.id == approval.execution_id), None
        )
        if approval.step:
            await self._heard(approval, told, now)
            return
        if told is None:
            log.error("approval.orphaned", approval_id=approval.id, execution_id=approval.execution_id)
            await self._executions.followed(approval.id)
            return
        reach(Failpoint.ANSWER_FOUND, approval.execution_id)
        if not await self._carry_out(approval, stories[0].decision, told, now):
            return
        reach(Failpoint.ANSWER_CARRIED_OUT, approval.execution_id)
        await self._publisher.publish([approval_message(approval, told.record.plan.target_key, self._topics, now)])
        reach(Failpoint.ANSWER_PUBLISHED, approval.execution_id)
        await self._executions.followed(approval.id)
        reach(Failpoint.ANSWER_FOLLOWED, approval.execution_id)
        self._answered(approval, told, now)

    async def _heard(self, approval: Approval, told: ExecutionStory | None, now: datetime) -> None:
        """An answer about a step is carried out by the execution that waits for it; here it is only told."""
        key = told.record.plan.target_key if told else approval.execution_id
        await self._publisher.publish([approval_message(approval, key, self._topics, now)])
        await self._executions.followed(approval.id)
        if told is not None:
            self._answered(approval, told, now)

    def _answered(self, approval: Approval, told: ExecutionStory, now: datetime) -> None:
        self._hooks.event(
            "approval.answered",
            runbook=told.record.plan.runbook_id,
            step=approval.step,
            decision=approval.status.value,
            seconds=((approval.answered_at or now) - approval.requested_at).total_seconds(),
        )

    async def _carry_out(
        self, approval: Approval, decision: DecisionRecord, told: ExecutionStory, now: datetime
    ) -> bool:
        """Whether the answer is carried out; False when it has to wait."""
        if approval.status is not ApprovalStatus.APPROVED:
            why = f"{approval.status.value} by {approval.answered_by}: {approval.answer_reason}"
            await self._end(decision, told.record, f"approval_{approval.status.value}", why, now)
            return True
        if told.record.status is not Status.WAITING_APPROVAL:
            return True  # carried out already; a crash came before that was noted
        record = await self._permit(approval, decision, now)
        return await self._carry_on(approval, decision, told, record, now)

    async def _permit(self, approval: Approval, decision: DecisionRecord, now: datetime) -> DecisionRecord:
        """Plan again and ask the gate, with the approval in hand."""
        if decision.incident is None or decision.runbook is None:
            return _no(decision, Refusal("runbook_gone", "the decision names no runbook"))
        loaded = await self._runbook(decision.runbook)
        if isinstance(loaded, Refusal):
            return _no(decision, loaded)
        located = Located(
            again(decision),
            Diagnosis(decision.signal, decision.causes or (decision.incident.cause,), "graph"),
            decision.incident.target,
        )
        match = self._match(decision.incident, loaded, decision.candidates)
        proposal = Proposal(
            located, match, decision.id, decision.attempt, granted(approval), same_as=approval.execution_id
        )
        return (await self._permits.decide([proposal], now))[0]

    async def _carry_on(
        self,
        approval: Approval,
        decision: DecisionRecord,
        told: ExecutionStory,
        record: DecisionRecord,
        now: datetime,
    ) -> bool:
        """Whether the answer is carried out; False when it has to wait for something that passes."""
        if record.kind is DecisionKind.PERMIT:
            await self._committer.commit([replace(record, approval=approval)])
        elif record.kind is DecisionKind.APPROVAL and record.approval:
            # Asked first: a crash before the old question is overtaken asks again, and nobody is left without one.
            question = _anew(record.approval, told.approvals, record.attempt)
            await self._committer.commit([replace(record, approval=question)])
            await self._approvals.answer(
                approval.id,
                Verb.OVERTAKE,
                by=PIPELINE,
                reason="the plan changed before it was carried out",
                now=now,
                plan_hash=record.approval.plan_hash,
            )
        elif record.check in TEMPORARY_CHECKS - {SKIPPED} and now < approval.expires_at:
            log.info("approval.must_wait", approval_id=approval.id, check=record.check, why=record.message)
            return False
        else:
            await self._end(decision, told.record, record.check, record.message, now)
        return True

    async def _end(
        self, decision: DecisionRecord, waiting: ExecutionRecord, check: str, why: str, now: datetime
    ) -> None:
        """The answer is no: the execution ends without having begun."""
        await self._executions.abort_waiting(waiting.id, why)
        end = replace(decision, kind=DecisionKind.REFUSAL, check=check, message=why, decided_at=now)
        await self._committer.commit([without_inputs(replace(end, execution=None, approval=None))])


def _no(decision: DecisionRecord, refusal: Refusal) -> DecisionRecord:
    return replace(decision, kind=DecisionKind.REFUSAL, check=refusal.check, message=refusal.message)


def _anew(question: Approval, known: Sequence[Approval], attempt: int) -> Approval:
    """The question, under an id of its own when the same one was answered before: a plan can change back."""
    same = [old for old in known if old.plan_hash == question.plan_hash and not old.step]
    if open_ := [old for old in same if old.status is ApprovalStatus.PENDING]:
        return open_[0]
    if not same:
        return question
    return replace(question, id=approval_id(question.execution_id, question.plan_hash, attempt + len(known)))
