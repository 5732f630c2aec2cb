"""What would be done if a runbook were asked for now: matched, planned and shown to the API server, not done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from executor.errors import RemediationError
from executor.model import Access, Plan, PlannedStep
from executor.ports import Clock
from executor.rendering import undoable, writes
from matcher.correlate import fold, join_or_open
from matcher.fingerprint import decision_id
from matcher.kinds import RUNBOOK
from matcher.model import NoMatch, Origin, Received, Target
from matcher.named import asked_for
from matcher.select import RunbookIndex
from matcher.target import NoTarget, TargetResolver
from safety.model import ApprovalNeeded, Refusal
from services.intake.fields import Envelope
from services.intake.run_request import RunRequest, from_run_request
from services.intake.settings import IntakeSettings
from services.pipeline.cases import Case, Located
from services.pipeline.permit import Permits
from services.pipeline.proposals import Planned, Proposal
from services.records import DecisionRecord

_HISTORY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Durations:
    """How long a runbook took until now.

    Attributes:
        runs: how many executions are known.
        seconds: median of them, proof included; None when there is none.
        steps: median of each step, by its id.
    """

    runs: int = 0
    seconds: float | None = None
    steps: Mapping[str, float] = field(default_factory=dict)


class DurationHistory(Protocol):
    """Knows how long runbooks took. Raises ``GraphUnavailable`` when the store does not answer."""

    async def durations(self, runbook_id: str, tenant: str) -> Durations:
        """Of the latest executions that were carried through."""
        ...


@dataclass(frozen=True, slots=True)
class StepForecast:
    """One step as it would be.

    Attributes:
        would: what it would do, one line each; for a read, that it has been done.
        approval: why a human is asked about this step; empty when nobody is.
        server: why the API server would not take it; empty when it would; None when it was not asked.
        seconds: how long it took until now; None when that is not known.
    """

    id: str
    name: str
    type: str
    access: str
    would: tuple[str, ...]
    approval: str = ""
    server: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would be done.

    Attributes:
        problem: why nothing would be done; empty when there is a plan.
        gate: what the gate would say: ``permit``, ``approval`` or ``refusal``.
        gate_says: in words.
        plan: for programs.
    """

    runbook: str
    name: str = ""
    version: str = ""
    type: str = ""
    target: str = ""
    problem: str = ""
    steps: tuple[StepForecast, ...] = ()
    gate: str = ""
    gate_says: tuple[str, ...] = ()
    durations: Durations = Durations()
    plan: Plan | None = None

    @property
    def approvals(self) -> int:
        """How many times a human would be asked: about the plan as a whole, and about single steps."""
        return int(self.gate == "approval") + sum(1 for step in self.steps if step.approval)

    @property
    def holds(self) -> bool:
        """Whether it would run, with or without a human."""
        return not self.problem and self.gate != "refusal" and not any(step.server for step in self.steps)


class Forecaster:
    """Makes forecasts. Reads only.

    Args:
        index: the runbooks in force.
        rehearse: why the API server would not take the writes among steps, by the id of the step.
        history: how long it took until now; what it cannot say is not known.
    """

    def __init__(
        self,
        *,
        index: RunbookIndex,
        targets: TargetResolver,
        permits: Permits,
        rehearse: Callable[[Plan], Awaitable[Mapping[str, str]]],
        history: DurationHistory,
        clock: Clock,
    ) -> None:
        self._index = index
        self._targets = targets
        self._permits = permits
        self._rehearse = rehearse
        self._history = history
        self._clock = clock

    async def forecast(self, request: RunRequest) -> Forecast:
        """What the request would lead to.

        Raises:
            LiveUnavailable: the cluster did not answer.
        """
        now = self._clock.now()
        proposal = await self._proposed(request, now)
        told = Forecast(request.runbook.id)
        if isinstance(proposal, str):
            return replace(told, problem=proposal)
        chosen, target = proposal.match.runbook.runbook, proposal.match.incident.target
        told = replace(told, name=chosen.name, version=chosen.version, type=chosen.type.value, target=_named(target))
        planned = await self._permits.prepare(proposal, now)
        if isinstance(planned, DecisionRecord):
            return replace(told, problem=f"{planned.check}: {planned.message}")
        refused = await self._rehearse(planned.plan)
        durations = await self._known(chosen.id, proposal.match.incident.tenant)
        gate, says = _gate(self._permits.foreseen(planned))
        steps = tuple(_step(step, refused, durations) for step in planned.plan.steps)
        return replace(told, plan=planned.plan, steps=steps, gate=gate, gate_says=says, durations=durations)

    async def planned(self, request: RunRequest) -> Planned | str:
        """The plan with what it would affect, or why there is none.

        Raises:
            LiveUnavailable: the cluster did not answer.
        """
        now = self._clock.now()
        proposal = await self._proposed(request, now)
        if isinstance(proposal, str):
            return proposal
        planned = await self._permits.prepare(proposal, now)
        return f"{planned.check}: {planned.message}" if isinstance(planned, DecisionRecord) else planned

    def foreseen(self, planned: Planned) -> Refusal | ApprovalNeeded | None:
        """What the gate would say to a plan."""
        return self._permits.foreseen(planned)

    async def _proposed(self, request: RunRequest, now: datetime) -> Proposal | str:
        """What the gate would be asked about, or why nothing would be done."""
        received = _received(request, now)
        diagnosis = asked_for(received.signal)
        target = await self._targets.resolve(diagnosis.causes[0], received.signal)
        if isinstance(target, NoTarget):
            return target.reason
        located = Located(Case(fold([received])[0]), diagnosis, target)
        opened = join_or_open(received.signal, located.cause, target, None, timedelta(0), timedelta(0))
        answer = self._index.select(opened.incident)
        if isinstance(answer, NoMatch):
            return answer.reason
        return Proposal(located, answer, decision_id(received.signal.tenant, opened.incident.id), 1)

    async def _known(self, runbook_id: str, tenant: str) -> Durations:
        """Without the graph there is no history; that stops nobody from looking."""
        try:
            async with asyncio.timeout(_HISTORY_SECONDS):
                return await self._history.durations(runbook_id, tenant)
        except (RemediationError, TimeoutError):
            return Durations()


def _received(request: RunRequest, now: datetime) -> Received:
    """The request as intake would read it."""
    data = request.model_dump(mode="json", by_alias=True)
    return from_run_request(data, Origin("", 0, 0), Envelope(now, IntakeSettings()))


def _named(target: Target) -> str:
    if target.kind == RUNBOOK:
        return "none"
    place = f"{target.namespace}/" if target.namespace else ""
    return f"{target.kind}/{place}{target.name} on {target.cluster}"


def _gate(no: Refusal | ApprovalNeeded | None) -> tuple[str, tuple[str, ...]]:
    if no is None:
        return "permit", ()
    return ("refusal", (no.message,)) if isinstance(no, Refusal) else ("approval", no.reasons)


def _step(step: PlannedStep, refused: Mapping[str, str], durations: Durations) -> StepForecast:
    asked = any(writes(leaf) and not leaf.deferred for leaf in step.leaves)
    return StepForecast(
        id=step.id,
        name=step.name,
        type=step.action,
        access=step.access.value,
        would=tuple(_would(step)),
        approval=_approval(step),
        server=refused.get(step.id, "") if asked else None,
        seconds=durations.steps.get(step.id),
    )


def _would(step: PlannedStep) -> Iterator[str]:
    """What a step would do, as far as it can be said now."""
    if step.when is False:
        yield "nothing: its condition does not hold"
        return
    if isinstance(step.when, str):
        yield f"only when {step.when}"
    if step.planned:
        yield "read just now"
        return
    for leaf in step.leaves:
        if leaf.deferred:
            yield f"rendered when its turn comes: it needs {', '.join(leaf.deferred)}"
        for change in leaf.changes:
            undo = f"undo: {change.undo}" if undoable(change) else "cannot be undone"
            yield f"{f'{change.ref}: ' if change.ref else ''}{change.summary} ({undo})"
        if not leaf.changes and not leaf.deferred:
            yield _spelt(leaf)


def _spelt(step: PlannedStep) -> str:
    given = ", ".join(f"{name}={value!r:.80}" for name, value in step.params.items() if value is not None)
    verb = {Access.READ: "reads", Access.NOTIFY: "tells", Access.WRITE: "does"}.get(step.access, "does")
    return f"{verb} {step.action}({given:.400})"


def _approval(step: PlannedStep) -> str:
    if step.action == "manual_approval":
        return "the step asks a human"
    if step.require_approval is False:
        return ""
    return (
        "the step asks a human first"
        if step.require_approval is True
        else f"a human first, when {step.require_approval}"
    )
