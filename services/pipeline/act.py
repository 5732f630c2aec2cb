"""The act path: from a permitted request to a proven fix, many at once, in order for each target."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import structlog
from pydantic import ValidationError

from executor.errors import Fenced, HandedOver, LeaseLost, Paused, Unavailable
from executor.failpoints import Failpoint, reach
from executor.keyed import Job, KeyedRunner
from executor.model import ExecutionRecord, Outcome, Status
from executor.ports import Clock, Hooks, Journal
from safety.errors import GateUnavailable
from safety.model import Permit, Refusal
from safety.permits import adopt, redeem
from safety.ports import Gate, PermitLedger
from safety.scopes import Where
from services.intake.contracts import RequestMessage
from services.kafka.model import Inbound, Publisher
from services.pipeline.messages import execution_event
from services.pipeline.progress import Progress
from services.pipeline.storms import StormWatch, where_of_execution
from services.ports import ExecutionStore
from services.settings import Topics

log = structlog.get_logger(__name__)


def _log_surprise(done: asyncio.Future[Any]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        log.error("execution.crashed", error=str(error), error_type=type(error).__name__, exc_info=error)


class Runs(Protocol):
    """The executor, as far as the worker needs it."""

    async def run(self, permit: Permit, record: ExecutionRecord) -> ExecutionRecord:
        """Run a permitted execution to its end."""
        ...

    def stop(self) -> None:
        """Finish the current steps and hand over."""
        ...


@dataclass(slots=True)
class Held:
    """An execution that this process holds."""

    execution_id: str
    target_key: str
    token: int
    approved: bool
    renewed_at: float
    lost: bool = False
    where: Where | None = None


class Holding:
    """What this process holds; asked before each step (executor.ports.Guard).

    Args:
        lease_seconds: a lease that was not renewed for so long counts as lost, also when the store cannot be asked.
    """

    def __init__(self, gate: Gate, clock: Clock, lease_seconds: float) -> None:
        self._gate = gate
        self._clock = clock
        self._lease = lease_seconds
        self._held: dict[str, Held] = {}

    def take(self, permit: Permit, at: float | None = None) -> None:
        """Begin to hold what a call that began at ``at`` (monotonic; None for now) has claimed."""
        since = self._clock.monotonic() if at is None else at
        self._held[permit.execution_id] = Held(
            permit.execution_id, permit.target_key, permit.token, bool(permit.approval_id), since
        )

    def locate(self, execution_id: str, where: Where) -> None:
        """Where an execution acts, so that a pause of another part does not stop it."""
        if held := self._held.get(execution_id):
            held.where = where

    def renewed(self, execution_ids: Sequence[str], at: float) -> None:
        """The leases were extended by a call that began at ``at`` (monotonic)."""
        for execution_id in execution_ids:
            if execution_id in self._held:
                self._held[execution_id].renewed_at = at

    def drop(self, execution_id: str) -> None:
        """No longer hold."""
        self._held.pop(execution_id, None)

    def lose(self, execution_ids: Sequence[str]) -> None:
        """The store says that somebody else holds these now."""
        for execution_id in execution_ids:
            if execution_id in self._held:
                self._held[execution_id].lost = True

    def all(self) -> list[Held]:
        """Everything that is held."""
        return list(self._held.values())

    def __contains__(self, execution_id: str) -> bool:
        return execution_id in self._held

    async def check(self, execution_id: str, target_key: str, epoch: int) -> None:
        """Raise Paused or LeaseLost when no further step may start.

        A pause switch that cannot be read stops what runs by itself; what a human approved may go on.
        """
        held = self._held.get(execution_id)
        if held is None or held.lost or held.token != epoch or self._clock.monotonic() - held.renewed_at > self._lease:
            raise LeaseLost(f"the lease on {target_key} is no longer ours")
        try:
            reason = await self._paused(held)
        except GateUnavailable as error:
            if held.approved:
                return
            raise Paused(f"the pause switch cannot be read: {error}") from error
        if reason is not None:
            raise Paused(reason)

    async def _paused(self, held: Held) -> str | None:
        """Why it is paused. Of one whose place is not known any pause may be meant."""
        if held.where is not None:
            return await self._gate.paused(held.where)
        return next((str(pause) for pause in await self._gate.pauses()), None)


class Worker:
    """Runs permitted executions.

    Args:
        holder: the name of this process in claims; unique for each start.
        lease_seconds: how long a claim lives without renewal.
        progress: tells listeners of each step; left out, they hear of beginning and end alone.
        storms: counts executions that failed or fixed nothing; None counts nothing.
    """

    def __init__(
        self,
        *,
        holder: str,
        executor: Runs,
        holding: Holding,
        permits: PermitLedger,
        executions: ExecutionStore,
        journal: Journal,
        gate: Gate,
        publisher: Publisher,
        topics: Topics,
        clock: Clock,
        hooks: Hooks,
        max_concurrent: int = 500,
        lease_seconds: float = 15.0,
        progress: Progress | None = None,
        storms: StormWatch | None = None,
    ) -> None:
        self._storms = storms
        self._holder = holder
        self._executor = executor
        self._holding = holding
        self._permits = permits
        self._executions = executions
        self._journal = journal
        self._gate = gate
        self._publisher = publisher
        self._topics = topics
        self._clock = clock
        self._hooks = hooks
        self._lease = lease_seconds
        self._progress = progress
        self._keyed = KeyedRunner(max_concurrent)
        self._queued: set[str] = set()
        self._crashed: dict[str, Exception] = {}
        self._stopping = False

    async def on_requests(self, batch: Sequence[Inbound]) -> None:
        """Kafka's copy of the requests. The claim makes each run once, however often it is heard of."""
        for message in batch:
            try:
                request = RequestMessage.model_validate_json(message.value or b"", extra="ignore")  # of a newer release
            except ValidationError as error:
                log.warning("request.unreadable", offset=message.offset, partition=message.partition, error=str(error))
                continue
            self.submit(request)

    def submit(self, request: RequestMessage, recorded: ExecutionRecord | None = None) -> None:
        """Queue a request behind the others of its target.

        Args:
            request: the permit's.
            recorded: the execution, when the caller has just recorded it; otherwise it is loaded.
        """
        if self._stopping or request.execution_id in self._queued or request.execution_id in self._holding:
            return  # a stopping process leaves it to the others: the permit is durable, and somebody's sweeper looks
        self._queued.add(request.execution_id)
        self._queue(request.target_key, lambda: self._redeem_and_run(request, recorded))

    def _queue(self, target_key: str, job: Job) -> None:
        """An execution that dies of a surprise is logged here; its lease runs out and the sweeper takes it up."""
        self._keyed.submit(target_key, job).add_done_callback(_log_surprise)

    async def _resume(self, permit: Permit) -> None:
        try:
            await self._run(permit, None, None, resumed=True)
        except Unavailable:
            raise  # a server is away: nothing is wrong with the execution
        except Exception as error:
            self._crashed[permit.execution_id] = error
            raise
        finally:
            self._queued.discard(permit.execution_id)

    async def _redeem_and_run(self, request: RequestMessage, recorded: ExecutionRecord | None) -> None:
        try:
            reach(Failpoint.REQUEST_TAKEN, request.execution_id)
            began = self._clock.monotonic()
            answer = await redeem(
                self._permits, request.execution_id, request.plan_hash, holder=self._holder, lease_seconds=self._lease
            )
            if isinstance(answer, Refusal):
                log.info("request.not_run", execution_id=request.execution_id, check=answer.check, why=answer.message)
                return
            reach(Failpoint.CLAIMED, request.execution_id)
            self._holding.take(answer, began)
            fresh = self._as_claimed(answer, recorded)
            await self._run(answer, request.signal_received_at, fresh)
        finally:
            self._queued.discard(request.execution_id)

    async def adopt(self, execution_ids: Sequence[str]) -> Mapping[str, Exception]:
        """Take over executions whose holder is gone. One that cannot be taken over does not keep others waiting.

        Returns:
            Those that cannot be taken over, and those that died of a surprise when they were, with what it was.
        """
        failed, self._crashed = self._crashed, {}
        for execution_id in execution_ids:
            if self._stopping or execution_id in self._holding or execution_id in self._queued:
                continue
            if execution_id in failed:
                continue
            try:
                await self._adopt(execution_id)
            except Unavailable as error:
                log.warning("adoption.failed", execution_id=execution_id, error=str(error))
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one, the others are taken over
                failed[execution_id] = error
        return failed

    async def _adopt(self, execution_id: str) -> None:
        # Read first: who claims what it cannot read keeps it from whoever can.
        if await self._journal.load(execution_id) is None:
            return
        began = self._clock.monotonic()
        answer = await adopt(self._permits, execution_id, holder=self._holder, lease_seconds=self._lease)
        if isinstance(answer, Refusal):
            log.info("adoption.refused", execution_id=execution_id, why=answer.message)
            return
        log.warning("execution.adopted", execution_id=execution_id, epoch=answer.token)
        reach(Failpoint.ADOPTED, execution_id)
        self._queued.add(execution_id)
        self._holding.take(answer, began)
        self._queue(answer.target_key, partial(self._resume, answer))

    def _as_claimed(self, permit: Permit, recorded: ExecutionRecord | None) -> ExecutionRecord | None:
        """What the journal would say of an execution that was claimed just now; None when it has to be asked.

        A plan is bound by its hash, and the claim has compared that with the graph's. The way through JSON makes the
        record what everybody else would load.
        """
        if recorded is None or recorded.steps or recorded.plan.hash != permit.plan_hash:
            return None
        same = ExecutionRecord.model_validate_json(recorded.model_dump_json())
        return same.model_copy(update={"status": Status.RUNNING, "started_at": self._clock.now()})

    async def _run(
        self, permit: Permit, received_at: datetime | None, known: ExecutionRecord | None, *, resumed: bool = False
    ) -> None:
        """Run what is held, and let go of it however it ends."""
        try:
            record = known or await self._journal.load(permit.execution_id)
            if record is None:
                log.error("execution.unknown", execution_id=permit.execution_id)
                return
            self._holding.locate(permit.execution_id, where_of_execution(record))
            if received_at is not None:
                self._hooks.event("first_step", seconds=(self._clock.now() - received_at).total_seconds())
            with structlog.contextvars.bound_contextvars(
                execution_id=record.id, incident_id=record.incident.get("id"), event_id=record.incident.get("event_id")
            ):
                await self._run_record(permit, record.model_copy(update={"resumed": resumed}))
        finally:
            self._holding.drop(permit.execution_id)

    async def _run_record(self, permit: Permit, record: ExecutionRecord) -> None:
        facts = {"execution": record.id, "runbook": record.plan.runbook_id}
        if self._progress is not None:
            self._progress.watch(record)
        # Listeners are told meanwhile: no step waits for Kafka.
        telling = asyncio.ensure_future(self._say(record, "resumed" if record.resumed else "started", ""))
        try:
            final = await self._executor.run(permit, record)
        except HandedOver:
            log.info("execution.handed_over")
            self._hooks.event("execution.suspended", **facts)
        except (LeaseLost, Fenced) as error:
            log.warning("execution.lost", error=str(error))
            self._hooks.event("execution.suspended", **facts)
        else:
            await self._ended(final, permit)
        finally:
            await telling
            if self._progress is not None:
                await self._progress.forget(record.id)

    async def _ended(self, record: ExecutionRecord, permit: Permit) -> None:
        """Free the target and tell. Neither changes what is recorded; both leases would also run out by themselves."""
        try:
            await self._gate.release(record.id, permit.target_key, record.cooldown_seconds)
        except GateUnavailable as error:
            log.warning("gate.release_failed", execution_id=record.id, error=str(error))
        reach(Failpoint.LOCK_RELEASED, record.id)
        opened = record.incident.get("opened_at")
        if record.outcome is Outcome.SUCCESS and opened:
            seconds = (self._clock.now() - datetime.fromisoformat(str(opened)).astimezone(UTC)).total_seconds()
            self._hooks.event("verified", seconds=seconds)
        if self._storms is not None:
            await self._storms.ended(record)
        await self._say(record, "finished", record.error)
        reach(Failpoint.END_PUBLISHED, record.id)

    async def _say(self, record: ExecutionRecord, event: str, message: str) -> None:
        """Best effort: the graph has the truth, the topic is for listeners. The end is told after the steps."""
        if self._progress is not None and event == "finished":
            await self._progress.forget(record.id)
        try:
            await self._publisher.publish([execution_event(record, event, message, self._topics, self._clock.now())])
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being told, the execution goes on
            log.warning("execution.event_lost", execution_id=record.id, lifecycle=event, error=str(error))

    async def renew(self) -> None:
        """Extend all leases of this process, in Neo4j (the truth) and in Redis."""
        held = self._holding.all()
        if not held:
            return
        began = self._clock.monotonic()
        lost = await self._executions.renew(self._holder, [h.execution_id for h in held], self._lease)
        self._holding.lose(sorted(lost))
        kept = [one for one in held if one.execution_id not in lost]
        self._holding.renewed([one.execution_id for one in kept], began)
        await asyncio.gather(*(self._gate.renew(one.execution_id, one.target_key, one.token) for one in kept))

    async def stop(self, grace_seconds: float) -> None:
        """Let the current steps finish, then leave the rest to whoever comes next."""
        self._stopping = True
        self._executor.stop()
        try:
            async with asyncio.timeout(grace_seconds):
                await self._keyed.stop()
        except TimeoutError:
            log.warning("worker.grace_over", still_running=len(self._holding.all()))
