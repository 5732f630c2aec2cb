"""Proving the fix: watch the owning workload or the node until it is clear whether it is well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from executor.context import facts_of, results_of, scope
from executor.criteria import Checker
from executor.health import Reading
from executor.judge import Observation, healthy_since, judge, with_restarts
from executor.looking import Looker
from executor.model import Evidence, ExecutionRecord, ObjectRef, Verdict
from executor.ports import Clock, Cluster, FreshSignals
from executor.settings import ExecutorSettings
from executor.triggers import Tripped, Watcher, tripped, watch_seconds

_GROWTH = 1.5
_MOST_LINES = 40


@dataclass(frozen=True, slots=True)
class Proof:
    """How a verification ended.

    Attributes:
        evidence: what was seen, one line for each change.
        tripped: the rollback trigger that ended it, if one did.
    """

    verdict: Verdict
    evidence: tuple[Evidence, ...]
    tripped: Tripped | None = None


class Verifier:
    """Watches targets.

    Args:
        cluster: the API server.
        fresh: signals that came after the steps.
        clock: time.
        settings: how often to look.
        checker: looks at success criteria and rollback triggers.
    """

    def __init__(
        self,
        cluster: Cluster,
        fresh: FreshSignals,
        clock: Clock,
        settings: ExecutorSettings | None = None,
        checker: Checker | None = None,
    ) -> None:
        self._cluster = cluster
        self._fresh = fresh
        self._clock = clock
        self._settings = settings or ExecutorSettings()
        self._checker = checker

    async def verify(
        self, record: ExecutionRecord, target: ObjectRef, checkpoint: Callable[[], None] = lambda: None
    ) -> Proof:
        """Watch until there is a verdict.

        The window began at ``record.verify_from``, also for a process that takes over: the deadline stays, and the
        settle time starts again, because nobody looked meanwhile.

        Args:
            record: with the settle time, the deadline and the outputs of its steps.
            target: what must be well.
            checkpoint: called between two looks; may raise to leave.

        A rollback trigger that is set off ends it at once, as not fixed.
        """
        begun = record.verify_from or self._clock.now()
        deadline = begun + timedelta(seconds=record.verify_timeout_seconds)
        settle = timedelta(seconds=watch_seconds(record))
        looker = Looker(self._cluster, self._fresh, record, target, begun)
        watcher = self._watcher(record)
        seen: list[Observation] = []
        pause = self._settings.poll_first_seconds
        while True:
            seen.append(await self._observe(looker, watcher, seen))
            if set_off := tripped(record.plan.terms.triggers, seen):
                last = Evidence(at=seen[-1].at, healthy=False, detail=set_off.detail)
                return Proof(Verdict.NOT_FIXED, (*_evidence(seen), last), set_off)
            verdict = judge(seen, settle, self._clock.now(), deadline)
            if verdict is not None:
                return Proof(verdict, _evidence(seen))
            checkpoint()
            await self._clock.sleep(self._next(pause, seen, settle, deadline))
            pause = min(pause * _GROWTH, self._settings.poll_longest_seconds)

    def _watcher(self, record: ExecutionRecord) -> Watcher | None:
        """What looks beside the target; None where the runbook wants nothing more."""
        terms, context = record.plan.terms, record.plan.context
        if self._checker is None or not (terms.criteria or terms.triggers):
            return None
        return Watcher(self._checker, terms, scope(context, results_of(record.plan, record.steps)), facts_of(context))

    async def _observe(self, looker: Looker, watcher: Watcher | None, seen: Sequence[Observation]) -> Observation:
        found = await looker.look(self._clock.now())
        reading = with_restarts(seen[-1].reading if seen else None, found)
        if watcher is None:
            return Observation(self._clock.now(), reading, target=reading.healthy)
        observation = await watcher.observe(self._clock.now(), reading)
        return replace(observation, at=self._clock.now())

    def _next(self, pause: float, seen: Sequence[Observation], settle: timedelta, deadline: datetime) -> float:
        """How long until the next look: not past the end of the settle time or the deadline."""
        now = self._clock.now()
        ends = [deadline]
        healthy = healthy_since(seen)
        if healthy is not None:
            ends.append(healthy + settle)
        left = [(end - now).total_seconds() for end in ends if end > now]
        return max(0.05, min([pause, *left]))

    async def restored(self, record: ExecutionRecord, target: ObjectRef) -> tuple[Evidence, ...]:
        """Watch, for a bounded time, until the target's controller is done with a rollback; what was seen last."""
        begun = self._clock.now()
        looker = Looker(self._cluster, self._fresh, record, target, begun)
        end = begun + timedelta(seconds=self._settings.restore_timeout_seconds)
        pause = self._settings.poll_first_seconds
        while True:
            reading = await looker.look(self._clock.now())
            if reading.rolled_out or reading.healthy is None or self._clock.now() >= end:
                return (_line(self._clock.now(), reading, "after the rollback: "),)
            await self._clock.sleep(pause)
            pause = min(pause * _GROWTH, self._settings.poll_longest_seconds)


def _evidence(seen: Sequence[Observation]) -> tuple[Evidence, ...]:
    """One line for each change, and the last look; the newest ones when there are too many."""
    lines: list[Evidence] = []
    for observation in seen:
        line = _line(observation.at, observation.reading)
        if not lines or (line.healthy, line.detail) != (lines[-1].healthy, lines[-1].detail):
            lines.append(line)
    last = _line(seen[-1].at, seen[-1].reading)
    if lines[-1].at != last.at:
        lines.append(last)
    return tuple(lines[-_MOST_LINES:])


def _line(at: datetime, reading: Reading, prefix: str = "") -> Evidence:
    return Evidence(at=at, healthy=reading.healthy, detail=prefix + reading.detail)
