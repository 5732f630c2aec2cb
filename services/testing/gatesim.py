"""The gate on recorded time: what it would have answered, in the order in which it was asked."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from safety.limits import cooldown_after, cooldowns
from safety.memory_gate import HandClock, MemoryGate
from safety.model import GateRequest, Permit, Refusal
from safety.policy import PolicySettings, in_force
from services.testing.proposing import Answer, Kind, Proposed


@dataclass(order=True, frozen=True, slots=True)
class _Ending:
    """When an execution lets go of its target."""

    at: datetime
    execution: str
    tenant: str = field(compare=False)
    target: str = field(compare=False)
    cooldown: float = field(compare=False)


class GateSimulation:
    """Asks the gate in memory, at recorded times.

    An execution that ran then takes as long as it took then. One that never ran takes as long as its runbook's last
    recorded run before it; the first one takes the runbook's verification timeout, the longest it may need.
    Requests must come in the order of their times.
    """

    def __init__(self, policy: PolicySettings) -> None:
        self._policy = policy
        self._clock = HandClock()
        self._gate = MemoryGate(policy, self._clock)
        self._endings: list[_Ending] = []
        self._running: dict[tuple[str, str], tuple[str, int]] = {}
        self._took: dict[str, float] = {}
        self.assumed = 0

    def answer(self, proposed: Proposed, *, paused: bool) -> Answer:
        """What would have come of an incident."""
        self._learn(proposed)
        request = proposed.request
        if request is None:
            return proposed.answer
        self._forward(proposed.at)
        self._keep_lock(request)
        self._gate.state.pause = ("somebody", "automation was paused then") if paused else None
        (given,) = self._do(self._gate.ask([request]))
        if isinstance(given, Permit):
            self._begin(proposed, request, given)
            return replace(proposed.answer, kind=Kind.PERMIT)
        if isinstance(given, Refusal):
            return replace(proposed.answer, kind=Kind.REFUSAL, check=given.check, message=given.message)
        message = "; ".join(given.reasons)
        return replace(proposed.answer, kind=Kind.APPROVAL, check="approval", message=message)

    def _learn(self, proposed: Proposed) -> None:
        """How long the runbook took, from what was recorded."""
        if proposed.finished_at is not None:
            self._took[proposed.recorded.runbook] = (proposed.finished_at - proposed.at).total_seconds()

    def _forward(self, moment: datetime) -> None:
        """Let time pass: what ended meanwhile lets go of its target, at its own time."""
        while self._endings and self._endings[0].at <= moment:
            ending = heapq.heappop(self._endings)
            self._clock.moment = max(self._clock.moment, ending.at)
            self._do(self._gate.release(ending.execution, ending.target, ending.cooldown))
            self._running.pop((ending.tenant, ending.target), None)
        self._clock.moment = max(self._clock.moment, moment)

    def _keep_lock(self, request: GateRequest) -> None:
        """A running execution renews its lock; here only when somebody asks for its target."""
        held = self._running.get((request.tenant, request.target_key))
        if held:
            self._do(self._gate.renew(held[0], request.target_key, held[1]))

    def _begin(self, proposed: Proposed, request: GateRequest, permit: Permit) -> None:
        self._do(self._gate.confirm([(request.execution_id, request.target_key)]))
        self._running[request.tenant, request.target_key] = (request.execution_id, permit.token)
        until, cooldown = self._end_of(proposed), self._cooldown(proposed, request)
        ending = _Ending(until, request.execution_id, request.tenant, request.target_key, cooldown)
        heapq.heappush(self._endings, ending)

    def _cooldown(self, proposed: Proposed, request: GateRequest) -> float:
        """In seconds, after the end that the recorded execution of this runbook had; else after a success."""
        found = cooldowns(request.limits, in_force(request, self._policy))
        recorded = proposed.ended if proposed.recorded.runbook == proposed.answer.runbook else ("", "")
        outcome, verdict = recorded if recorded[0] else ("success", "verified")
        return cooldown_after(found, outcome, verdict, request.limits.cooldown_seconds)

    def _end_of(self, proposed: Proposed) -> datetime:
        if proposed.finished_at is not None and proposed.recorded.runbook == proposed.answer.runbook:
            return max(proposed.finished_at, proposed.at)
        self.assumed += 1
        seconds = self._took.get(proposed.answer.runbook, proposed.longest_seconds)
        return proposed.at + timedelta(seconds=max(seconds, 0))

    def _do(self, work: Any) -> Any:
        """The gate in memory never waits, so its calls end at the first step; an event loop would only cost time."""
        try:
            work.send(None)
        except StopIteration as done:
            return done.value
        raise RuntimeError("the gate in memory waited for something")
