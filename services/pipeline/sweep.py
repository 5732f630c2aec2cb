"""The sweeper: timers are data, and this is who looks at them. A failing duty does not keep others from being done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from executor.errors import Permanent
from executor.failpoints import Failpoint, reach
from executor.model import ExecutionRecord
from executor.ports import Clock, Hooks
from safety.ports import Gate
from services.intake.contracts import RequestMessage
from services.kafka.model import Publisher
from services.pipeline.act import Worker
from services.pipeline.aside import SetAside
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
        hooks: Hooks | None = None,
    ) -> None:
        self._executions = executions
        self._gate = gate
        self._publisher = publisher
        self._topics = topics
        self._clock = clock
        self._worker = worker
        self._aside = SetAside(clock, hooks)

    async def sweep(self) -> None:
        """Publish again, abort, adopt. One that cannot be read or carried on is put aside, and stops nobody."""
        orphans = await self._executions.orphans(skip=self._aside.names())
        await self._republish(orphans.republish)
        for execution_id in await self._executions.abort_expired(orphans.expired):
            log.warning("permit.expired", execution_id=execution_id)
            reach(Failpoint.PERMIT_ABORTED, execution_id)
            # Unreadable, its reservation lapses by itself.
            if record := await self._load(execution_id):
                await self._gate.cancel(execution_id, record.plan.target_key)
        if self._worker and orphans.adopt:
            for execution_id, error in (await self._worker.adopt(orphans.adopt)).items():
                self._aside.put(execution_id, error)

    async def _load(self, execution_id: str) -> ExecutionRecord | None:
        """The record, or None when there is none, or none that could be read."""
        try:
            return await self._executions.load(execution_id)
        except Permanent as error:
            self._aside.put(execution_id, error)
            return None

    async def _republish(self, execution_ids: Sequence[str]) -> None:
        """A crash between the record and the publication lost the request; the permit still holds.

        Unless its reservation lapsed before the decision was durable: then it is left to expire.
        """
        records = [record for number in execution_ids if (record := await self._load(number))]
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


class Sweeper:
    """Does duties again and again. One that takes long does not keep the others from being done.

    Args:
        duties: in the order in which they are done.
        patience_seconds: how long the others wait for a duty; then it goes on beside them.
        deadline_seconds: a duty that takes longer is given up and begun anew. What it did stands: it could have died.
        monotonic: seconds that never go back.
    """

    def __init__(
        self,
        duties: Sequence[tuple[str, Duty]],
        *,
        patience_seconds: float = 10,
        deadline_seconds: float = 300,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._duties = tuple(duties)
        self._monotonic = monotonic
        self._patience = patience_seconds
        self._deadline = deadline_seconds
        self._under_way: dict[str, tuple[asyncio.Task[None], float]] = {}

    async def once(self) -> None:
        """Do each duty that is not still under way; returns when all are done or go on beside the others."""
        for name, duty in self._duties:
            if name in self._under_way:
                await self._look_after(name)
                continue
            task = asyncio.create_task(sweep([(name, duty)]), name=f"sweep-{name}")
            self._under_way[name] = (task, self._monotonic())
            await asyncio.wait([task], timeout=self._patience)
            if task.done():
                del self._under_way[name]
            else:
                log.warning("sweep.slow", duty=name, waited_seconds=self._patience)

    async def close(self) -> None:
        """End what is still under way."""
        tasks = [task for task, _ in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._under_way.clear()

    async def _look_after(self, name: str) -> None:
        task, began = self._under_way[name]
        if not task.done():
            if self._monotonic() - began < self._deadline:
                return
            log.error("sweep.given_up", duty=name, deadline_seconds=self._deadline)
            task.cancel()
            await asyncio.wait([task], timeout=self._patience)
            if not task.done():
                return
        del self._under_way[name]
