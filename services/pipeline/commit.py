"""Where decisions become durable and then known, in this order: record, confirm, publish.

The bus commits the offsets after all of this (invariant 2); publishing goes on while the next batch is decided. A
crash in between repeats work that recognises itself: decisions are merged by id, the gate answers the same for the
same execution, requests are published again under the same id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import structlog

from executor.failpoints import Failpoint, reach
from executor.model import ExecutionRecord
from executor.ports import Hooks
from safety.approvals import ApprovalStatus
from safety.ports import Gate
from services.intake.contracts import RequestMessage
from services.kafka.errors import TooLarge
from services.kafka.model import Outbound, Publisher, Rest
from services.pipeline.messages import is_request, outbound_of, request_message
from services.ports import DecisionLedger
from services.records import DecisionRecord, Repeat
from services.settings import Topics

log = structlog.get_logger(__name__)

Handoff = Callable[[RequestMessage, ExecutionRecord | None], None]
"""Takes a permitted request inside this process, ahead of Kafka's copy, with the execution as it was recorded."""
Asked = Callable[[ExecutionRecord], None]
"""Told of each execution that now waits for a human; must be quick and must not raise."""


class Committer:
    """Makes decisions durable and known.

    Args:
        handoff: the worker of this process, if it has one. Only a short cut: Kafka carries the request as well, and
            the claim in the graph makes it run once.
        asked: tells people that they are asked.
        suggested: tells people of a plan that they cannot approve.
    """

    def __init__(
        self,
        *,
        ledger: DecisionLedger,
        gate: Gate,
        publisher: Publisher,
        topics: Topics,
        hooks: Hooks,
        handoff: Handoff | None = None,
        asked: Asked | None = None,
        suggested: Asked | None = None,
    ) -> None:
        self._ledger = ledger
        self._gate = gate
        self._publisher = publisher
        self._topics = topics
        self._hooks = hooks
        self._handoff = handoff
        self._asked = asked
        self._suggested = suggested

    async def commit(self, written: Sequence[DecisionRecord | Repeat]) -> None:
        """Record, confirm, publish.

        Raises:
            GraphUnavailable: nothing was recorded or published.
            BusUnavailable: recorded, but not all of it is published; doing it again is harmless.
        """
        await (await self.record(written))()

    async def record(self, written: Sequence[DecisionRecord | Repeat]) -> Rest:
        """Record and confirm.

        Returns:
            The rest, to be called when it suits: publishing. It raises BusUnavailable; calling it again is harmless.

        Raises:
            GraphUnavailable: nothing was recorded.
        """
        subject = _subject(written)
        if written:
            reach(Failpoint.GATE_RESERVED, subject)
            await self._ledger.record(written)
            reach(Failpoint.DECISION_RECORDED, subject)
        records = [one for one in written if isinstance(one, DecisionRecord)]
        again = [one.decision_id for one in written if isinstance(one, Repeat) and one.opener]
        told = [*records, *(await self._as_recorded(again))]
        permits = await self._confirmed([r for r in told if is_request(r)])
        reach(Failpoint.PERMIT_CONFIRMED, subject)
        for record in permits:
            if self._handoff:
                self._handoff(request_message(record), record.execution)
        others = [r for r in told if not is_request(r)]
        return partial(self._publish, outbound_of([*permits, *others], self._topics), told, records)

    def dead(self, letters: Sequence[Outbound]) -> Rest:
        """What is left to do for messages that could not be read: their letters to the DLQ."""
        return partial(self._publish, letters, (), ())

    async def _publish(
        self, messages: Sequence[Outbound], told: Sequence[DecisionRecord], records: Sequence[DecisionRecord]
    ) -> None:
        reach(Failpoint.REQUEST_HANDED_OVER, _subject(told))
        if messages:
            try:
                await self._publisher.publish(messages)
            except TooLarge as error:
                # Nothing will ever make it fit: the partition moves on, and who listens lacks what the graph has.
                log.warning("message.not_published", why=str(error))
        reach(Failpoint.DECISION_PUBLISHED, _subject(told))
        self._ask(told)
        for record in records:
            self._tell(record)

    def _ask(self, told: Sequence[DecisionRecord]) -> None:
        for record in told:
            pending = record.approval is not None and record.approval.status is ApprovalStatus.PENDING
            if self._asked and pending and record.execution:
                self._asked(record.execution)
            if self._suggested and record.suggestion:
                self._suggested(record.suggestion)

    async def _as_recorded(self, numbers: Sequence[str]) -> list[DecisionRecord]:
        """Decisions whose input is read again: the crash may have come before they were published."""
        found = []
        for number in dict.fromkeys(numbers):
            for story in await self._ledger.find(number, 1):
                last = story.executions[-1] if story.executions else None
                asked = [a for a in last.approvals if a.status is ApprovalStatus.PENDING] if last else []
                record = replace(story.decision, execution=last.record if last else None)
                found.append(replace(record, approval=asked[-1] if asked else None))
        return found

    async def _confirmed(self, permits: Sequence[DecisionRecord]) -> list[DecisionRecord]:
        """The permits that still hold. A lapsed one is left to expire; the next repeat asks again."""
        if not permits:
            return []
        pairs = [(r.execution.id, r.execution.plan.target_key) for r in permits if r.execution]
        lapsed = set(await self._gate.confirm(pairs))
        for execution_id in lapsed:
            log.warning("permit.lapsed", execution_id=execution_id)
        return [r for r in permits if r.execution and r.execution.id not in lapsed]

    def _tell(self, record: DecisionRecord) -> None:
        self._hooks.event("decision", kind=record.kind.value, check=record.check)
        log.info(
            "decision",
            kind=record.kind.value,
            check=record.check,
            why=record.message,
            event_id=record.signal.event_id,
            incident_id=record.incident.id if record.incident else None,
            target=record.incident.target.key if record.incident else None,
            runbook=record.runbook.id if record.runbook else None,
            execution_id=record.execution.id if record.execution else None,
        )


def _subject(written: Sequence[DecisionRecord | Repeat]) -> str:
    """The first decision of a batch, for failpoints."""
    if not written:
        return ""
    return written[0].id if isinstance(written[0], DecisionRecord) else written[0].decision_id
