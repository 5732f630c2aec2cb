"""What one holder writes about one execution, and what it remembers of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from executor.actions.base import Redact
from executor.errors import HandedOver, PlanError, Temporary
from executor.lifecycle import Event, advance
from executor.model import Evidence, ExecutionRecord, Outcome, PlannedStep, StepRun, StepStatus, Verdict
from executor.ports import Clock, Journal
from executor.settings import ExecutorSettings

_ERROR_LIMIT = 2_000


@dataclass(slots=True)
class Stopping:
    """Whether this process is asked to end."""

    asked: bool = False

    def check(self) -> None:
        """Raise HandedOver when the process is asked to end."""
        if self.asked:
            raise HandedOver


class Book:
    """The journal of one execution, written under one epoch.

    Every write is durable when it returns. While the journal is away the writer waits: nothing goes on that could not
    be written down. ``Fenced`` passes through: a newer holder has taken over, and this one writes nothing more.

    Attributes:
        record: the execution as it stands.
    """

    def __init__(
        self,
        journal: Journal,
        record: ExecutionRecord,
        epoch: int,
        *,
        clock: Clock,
        redact: Redact,
        settings: ExecutorSettings,
        stopping: Stopping,
    ) -> None:
        self._journal = journal
        self.record = record
        self.epoch = epoch
        self._clock = clock
        self._redact = redact
        self._settings = settings
        self._stopping = stopping
        self._runs = {(run.phase, run.index, run.item): run for run in record.steps}

    def now(self) -> datetime:
        """Wall clock."""
        return self._clock.now()

    def found(self, phase: str, index: int, item: int | None = None) -> StepRun | None:
        """What is known of a step, or of one of its items."""
        return self._runs.get((phase, index, item))

    def run_id(self, phase: str, step: PlannedStep) -> str:
        """What a run of the step is called in this phase."""
        place = f"{self.record.id}/{phase}/{step.index}"
        return place if step.item is None else f"{place}/{step.item}"

    def begin(self, step: PlannedStep, phase: str) -> StepRun:
        """A step that starts now; nothing is written yet."""
        return StepRun(
            id=self.run_id(phase, step),
            phase=phase,
            index=step.index,
            step_id=step.id,
            name=step.name,
            action=step.action,
            status=StepStatus.INTENDED,
            started_at=self._clock.now(),
            item=step.item,
        )

    async def intend(self, run: StepRun) -> None:
        """Write an intent."""
        await self._durably(partial(self._journal.intend, self.record.id, self.epoch, run))
        self._remember(run)

    def refuse_secret(self, what: str, value: Any) -> None:
        """Say that a value cannot be kept: masked it would be another one, and unmasked it must not be stored.

        Raises:
            PlanError: it holds a secret.
        """
        if masked(value, self._redact) != masked(value, lambda text: text):
            raise PlanError(f"{what} holds a secret, which is never stored")

    async def end(
        self,
        run: StepRun,
        status: StepStatus,
        *,
        output: Any = None,
        error: str = "",
        outputs: Mapping[str, Any] | None = None,
    ) -> StepRun:
        """Write how a step ended; output and error without secrets and bounded."""
        ended = run.model_copy(
            update={
                "status": status,
                "output": bounded(masked(output, self._redact), self._settings.output_limit),
                "error": self.mask(error),
                "outputs": {
                    name: bounded(masked(value, self._redact), self._settings.output_limit)
                    for name, value in (outputs or {}).items()
                },
                "finished_at": self._clock.now(),
            }
        )
        await self._durably(partial(self._journal.outcome, self.record.id, self.epoch, ended))
        self._remember(ended)
        return ended

    async def advance(self, event: Event, **facts: Any) -> None:
        """Move the execution on; the facts are fields of the record."""
        following = advance(self.record.status, event)
        await self._durably(partial(self._journal.advance, self.record.id, self.epoch, following, **facts))
        self.record = self.record.model_copy(update={"status": following, **facts})

    async def note(self, **facts: Any) -> None:
        """Write facts of the record; the execution stays where it is."""
        await self._durably(partial(self._journal.advance, self.record.id, self.epoch, self.record.status, **facts))
        self.record = self.record.model_copy(update=facts)

    async def finish(
        self, outcome: Outcome, verdict: Verdict | None, error: str, evidence: Sequence[Evidence], taken: Sequence[str]
    ) -> None:
        """End the execution."""
        following = advance(self.record.status, Event.ENDED)
        text = self.mask(error)
        write = partial(self._journal.finish, self.record.id, self.epoch, outcome, verdict)
        shown = tuple(line.model_copy(update={"detail": self.mask(line.detail)}) for line in evidence)
        await self._durably(
            partial(write, error=text, evidence=shown, actions_taken=[self.mask(line) for line in taken])
        )
        facts = {"status": following, "outcome": outcome, "verdict": verdict, "error": text}
        self.record = self.record.model_copy(update={**facts, "finished_at": self._clock.now()})

    def mask(self, text: str) -> str:
        """A text without secrets, bounded."""
        return self._redact(text)[:_ERROR_LIMIT]

    def _remember(self, run: StepRun) -> None:
        self._runs[run.phase, run.index, run.item] = run
        others = tuple(known for known in self.record.steps if known.id != run.id)
        self.record = self.record.model_copy(update={"steps": (*others, run)})

    async def _durably(self, write: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await write()
            except Temporary:
                # Who ends now leaves the rest to the next holder, which asks the target what happened.
                self._stopping.check()
                await self._clock.sleep(self._settings.journal_retry_seconds)


def masked(value: Any, redact: Redact) -> Any:
    """JSON data with every text redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {str(key): masked(item, redact) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, redact) for item in value]
    return value


def bounded(value: Any, limit: int) -> Any:
    """The value, or the beginning of its JSON text when that is longer than ``limit`` characters."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return value if len(text) <= limit else {"truncated": True, "text": text[:limit]}
