"""How executions get on, told on Kafka step by step: in batches, best effort, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from executor.model import ExecutionRecord, Status
from executor.phases import is_backward
from executor.ports import Clock
from safety.approvals import Approval
from services.kafka.model import Outbound, Publisher
from services.pipeline.messages import approval_message, progress_event
from services.settings import Topics

log = structlog.get_logger(__name__)

TOLD: Mapping[str, str] = {
    "step.started": "step_started",
    "step.attempt": "step_retry",
    "step.finished": "step_finished",
    "approval.requested": "approval_requested",
    "execution.paused": "paused",
    "execution.verifying": "verifying",
    "execution.rolling_back": "rolling_back",
}
"""Events of the executor that listeners hear of, and what they are called on the topic."""

_STATUS = {"execution.verifying": Status.VERIFYING, "execution.rolling_back": Status.ROLLING_BACK}
_MOST_WAITING = 10_000
_BATCH_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class _Moment:
    """One event, to be written out when nobody waits for it."""

    record: ExecutionRecord
    name: str
    facts: Mapping[str, Any]
    at: datetime


class Progress:
    """Implements ``executor.ports.Hooks``: takes events at once, and publishes them a little later, together.

    The graph has the truth; who listens learns of it sooner. When the topic is away, events are dropped.

    Args:
        pause: waits until a batch is worth it.
    """

    def __init__(
        self,
        publisher: Publisher,
        topics: Topics,
        clock: Clock,
        *,
        pause: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._publisher = publisher
        self._topics = topics
        self._clock = clock
        self._pause = pause
        self._watched: dict[str, ExecutionRecord] = {}
        self._waiting: list[_Moment] = []
        self._telling: asyncio.Task[None] | None = None

    def watch(self, record: ExecutionRecord) -> None:
        """Tell of this execution from now on."""
        self._watched[record.id] = record

    async def forget(self, execution_id: str) -> None:
        """Tell the rest of it, and no more."""
        while self._telling is not None:
            await asyncio.shield(self._telling)
        self._watched.pop(execution_id, None)

    def event(self, name: str, **facts: Any) -> None:
        """Something happened."""
        record = self._watched.get(str(facts.get("execution", "")))
        if record is None or name not in TOLD or len(self._waiting) >= _MOST_WAITING:
            return
        self._waiting.append(_Moment(record, name, facts, self._clock.now()))
        if self._telling is None:
            self._telling = asyncio.ensure_future(self._tell())

    async def _tell(self) -> None:
        try:
            while self._waiting:
                await self._pause(_BATCH_SECONDS)
                moments, self._waiting = self._waiting, []
                await self._publish([message for moment in moments for message in self._messages(moment)])
        finally:
            self._telling = None

    async def _publish(self, messages: Sequence[Outbound]) -> None:
        try:
            await self._publisher.publish(messages)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being told, the executions go on
            log.warning("progress.lost", count=len(messages), error=str(error))

    def _messages(self, moment: _Moment) -> list[Outbound]:
        facts = moment.facts
        name, status = TOLD[moment.name], _status(moment)
        told = [progress_event(moment.record, name, facts, status=status, topics=self._topics, at=moment.at)]
        question = facts.get("approval")
        if isinstance(question, Approval):
            told.append(approval_message(question, moment.record.plan.target_key, self._topics, moment.at))
        return told


def _status(moment: _Moment) -> Status:
    if moment.name in _STATUS:
        return _STATUS[moment.name]
    return Status.ROLLING_BACK if is_backward(str(moment.facts.get("phase", ""))) else Status.RUNNING
