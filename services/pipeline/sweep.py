"""The sweeper: timers are data, and this is who looks at them. A failing duty does not keep others from being done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog

from executor.failpoints import Failpoint, reach
from executor.ports import Clock
from safety.ports import Gate
from services.intake.contracts import RequestMessage
from services.kafka.model import Publisher
from services.pipeline.act import Worker
from services.pipeline.cases import again
from services.pipeline.commit import Committer
from services.pipeline.decide import Decider
from services.pipeline.messages import request_outbound
from services.ports import DecisionLedger, ExecutionStore
from services.settings import Topics

log = structlog.get_logger(__name__)

Duty = Callable[[], Awaitable[None]]


class Bridge:
    """Looks again for causes that were not in the graph yet."""

    def __init__(
        self, ledger: DecisionLedger, decider: Decider, committer: Committer, clock: Clock, limit: int = 500
    ) -> None:
        self._ledger = ledger
        self._decider = decider
        self._committer = committer
        self._clock = clock
        self._limit = limit

    async def sweep(self) -> None:
        """Decide what is due."""
        due = await self._ledger.waiting_due(self._clock.now(), self._limit)
        if due:
            await self._committer.commit(await self._decider.decide([again(record) for record in due]))


class OrphanCare:
    """Looks after executions that nobody holds: a crash between any two steps leaves one."""

    def __init__(
        self,
        *,
        executions: ExecutionStore,
        gate: Gate,
        publisher: Publisher,
        topics: Topics,
        clock: Clock,
        worker: Worker | None,
    ) -> None:
        self._executions = executions
        self._gate = gate
        self._publisher = publisher
        self._topics = topics
        self._clock = clock
        self._worker = worker

    async def sweep(self) -> None:
        """Publish again, abort, adopt."""
        orphans = await self._executions.orphans()
        await self._republish(orphans.republish)
        for execution_id in await self._executions.abort_expired(orphans.expired):
            log.warning("permit.expired", execution_id=execution_id)
            reach(Failpoint.PERMIT_ABORTED, execution_id)
            if record := await self._executions.load(execution_id):
                await self._gate.cancel(execution_id, record.plan.target_key)
        if self._worker and orphans.adopt:
            await self._worker.adopt(orphans.adopt)

    async def _republish(self, execution_ids: Sequence[str]) -> None:
        """A crash between the record and the publication lost the request; the permit still holds.

        Unless its reservation lapsed before the decision was durable: then it is left to expire.
        """
        records = [record for number in execution_ids if (record := await self._executions.load(number))]
        lapsed = set(await self._gate.confirm([(record.id, record.plan.target_key) for record in records]))
        for record in (one for one in records if one.id not in lapsed):
            request = RequestMessage(
                execution_id=record.id,
                plan_hash=record.plan.hash,
                target_key=record.plan.target_key,
                decision_id="",
                requested_at=record.requested_at or self._clock.now(),
            )
            log.warning("request.republished", execution_id=record.id)
            if self._worker:
                self._worker.submit(request)
            else:
                await self._publisher.publish([request_outbound(request, self._topics)])


async def sweep(duties: Sequence[tuple[str, Duty]]) -> None:
    """Do each duty once; a failing one is told of and tried again at the next sweep."""
    for name, duty in duties:
        try:
            await duty()
        except Exception as error:  # noqa: BLE001 - whatever it was, the other duties must be done
            log.warning("sweep.failed", duty=name, error=str(error), error_type=type(error).__name__)
