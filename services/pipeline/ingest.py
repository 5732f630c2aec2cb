"""From a batch of Kafka messages to cases, and the whole decide path around it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby

from executor.failpoints import Failpoint, reach
from executor.ports import Clock, Hooks
from matcher.correlate import Folded, fold
from matcher.fingerprint import decision_id, identity
from matcher.model import Received, SignalStatus
from services.intake.dead_letter import dead_letter, shorter
from services.intake.parse import Poison, parse
from services.intake.settings import IntakeSettings
from services.kafka.model import Inbound, Outbound, Rest
from services.pipeline.cases import Case, answered, record_of
from services.pipeline.commit import Committer
from services.pipeline.decide import Decider, Written
from services.ports import DecisionLedger
from services.records import DecisionKind, DecisionRecord
from services.settings import Topics

RCA = "rca_result"
"""Shape of the messages that explain another signal."""


class Ingest:
    """The handler of the input topics."""

    def __init__(
        self,
        *,
        settings: IntakeSettings,
        decider: Decider,
        committer: Committer,
        ledger: DecisionLedger,
        topics: Topics,
        clock: Clock,
        hooks: Hooks,
    ) -> None:
        self._settings = settings
        self._decider = decider
        self._committer = committer
        self._ledger = ledger
        self._topics = topics
        self._clock = clock
        self._hooks = hooks

    async def on_batch(self, batch: Sequence[Inbound]) -> None:
        """Decide a batch. Returns when every message has its recorded decision, or its dead letter, and it is told."""
        await (await self.begin(batch))()

    async def begin(self, batch: Sequence[Inbound]) -> Rest:
        """Decide a batch.

        Returns:
            The rest, once every decision is durable: telling of them, and of what could not be read.
        """
        reach(Failpoint.INPUT_READ, f"{batch[0].topic}/{batch[0].partition}/{batch[0].offset}" if batch else "")
        received, dead = self._parse(batch)
        rests = [self._committer.dead(dead)] if dead else []
        for group in (group for part in segments(received) for group in rounds(fold(part))):
            firing = [one for one in group if one.signal.status is SignalStatus.FIRING]
            if firing:
                rests.append(await self._committer.record(await self._decide(firing)))
            resolved = [one for one in group if one.signal.status is SignalStatus.RESOLVED]
            if resolved:
                rests.append(await self._committer.record(await self._close(resolved)))
        return partial(_one_after_the_other, rests)

    async def _decide(self, firing: Sequence[Folded]) -> list[Written]:
        """Decide alerts; an RCA result that a decision waits for becomes its answer.

        Whether one waits is asked together with all else: the causes of an answer are those of its own event.
        """
        cases = [Case(one) for one in firing]
        waiting, looked = await asyncio.gather(self._waiting(firing), self._decider.look(cases))
        for number, one in enumerate(firing):
            known = waiting.get((one.signal.tenant, one.signal.event_id)) if one.signal.shape == RCA else None
            if known:
                cases[number] = answered(one, known)
        return await self._decider.decide(cases, looked)

    async def _waiting(self, firing: Sequence[Folded]) -> Mapping[tuple[str, str], DecisionRecord]:
        """The decisions that wait for these RCA results, by tenant and event."""
        results = [one.signal for one in firing if one.signal.shape == RCA and one.causes]
        found = await self._ledger.waiting_for([(s.tenant, s.event_id) for s in results])
        return {(record.signal.tenant, record.signal.event_id): record for record in found}

    def _parse(self, batch: Sequence[Inbound]) -> tuple[list[Received], list[Outbound]]:
        received: list[Received] = []
        dead: list[Outbound] = []
        for message in batch:
            parsed = parse(
                message.topic,
                message.partition,
                message.offset,
                message.value,
                message.headers,
                message.produced_at,
                self._settings,
                message.key,
            )
            for part in parsed:
                if isinstance(part, Poison):
                    dead.append(self._dead(message, part))
                    self._hooks.event("input.dead", error=part.error_code)
                else:
                    received.append(part)
                    self._hooks.event("input.received", topic=message.topic, shape=part.signal.shape, count=1)
        return received, dead

    def _dead(self, message: Inbound, poison: Poison) -> Outbound:
        letter = dead_letter(
            poison,
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            key=message.key,
            value=message.value,
            headers=message.headers,
            at=self._clock.now(),
        )
        key = f"{message.topic}-{message.partition}-{message.offset}"
        return Outbound(self._topics.dlq, key, letter.value(), shorter=lambda: shorter(letter).value())

    async def _close(self, resolved: Sequence[Folded]) -> list[Written]:
        """The end of an alert closes what it opened, and is a decision of its own.

        It is no further input of what it closes: that would look like an alert that came after the fix.
        """
        now = self._clock.now()
        written: list[Written] = []
        for one in resolved:
            closed = await self._ledger.close([one.signal.alert_key], one.last.seen_at)
            written.append(_resolved(Case(one), closed, now))
        return written


async def _one_after_the_other(rests: list[Rest]) -> None:
    """Do what is left; called again after a failure it goes on where it was."""
    while rests:
        await rests[0]()
        del rests[0]


def segments(received: Sequence[Received]) -> list[list[Received]]:
    """Cut a batch where an alert changes its status, so that everything is decided in the order in which it came.

    Messages stay whole. A decision counts the inputs of a partition by the highest offset, which needs this order.
    """
    parts: list[list[Received]] = []
    status: dict[str, SignalStatus] = {}
    for _, group in groupby(received, key=lambda item: item.signal.origin):
        message = list(group)
        if not parts or any(status.get(identity(m.signal), m.signal.status) is not m.signal.status for m in message):
            parts.append([])
            status = {}
        parts[-1] += message
        status.update((identity(m.signal), m.signal.status) for m in message)
    return parts


def rounds(folded: Sequence[Folded]) -> list[list[Folded]]:
    """Deliveries in an order that keeps each alert's own: one message can say that it ended and fires again."""
    groups: list[list[Folded]] = []
    seen: dict[str, int] = {}
    for one in folded:
        number = seen.get(key := identity(one.signal), 0)
        seen[key] = number + 1
        if number == len(groups):
            groups.append([])
        groups[number].append(one)
    return groups


def _resolved(case: Case, closed: Sequence[str], now: datetime) -> DecisionRecord:
    """The decision about the end of an alert.

    Read again, the message finds nothing left to close; that answer must not replace the first one, so it counts as
    the earlier attempt.
    """
    basis = f"resolved\0{identity(case.signal)}"
    number = decision_id(case.signal.tenant, basis, case.signal.seen_at)
    message = f"resolved; closes {', '.join(closed)}" if closed else "resolved; nothing was open for it"
    return record_of(case, DecisionKind.RESOLVED, number, now, message=message, attempt=1 if closed else 0)
