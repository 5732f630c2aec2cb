"""A storm breaker beside its gate, with hand-moved time, a look at the store, other processes and a log that lasts."""

from __future__ import annotations

from typing import Protocol

from fakes.gate_rigs import MemoryRig, RedisRig, hand_timed

from safety.breaker import BreakerSettings, Change, Counted, Limit, Stopped
from safety.memory_breaker import MemoryBreaker, Storms
from safety.ports import Breaker
from safety.redis_breaker import RedisBreaker
from safety.redis_gate import RedisGate
from safety.scopes import Axis, StormScope

LIMITS = BreakerSettings(
    {
        (Axis.REASON, Counted.CAUSES): Limit(5, 3, 60),
        (Axis.RUNBOOK, Counted.CAUSES): Limit(8, 4, 60),
        (Axis.NAMESPACE, Counted.CAUSES): Limit(8, 4, 60),
        (Axis.CLUSTER, Counted.CAUSES): Limit(20, 10, 60),
        (Axis.RUNBOOK, Counted.FAILURES): Limit(3, 2, 600),
        (Axis.CLUSTER, Counted.NOT_FIXED): Limit(2, 1, 600),
    },
    quiet_seconds=30,
)


class StormRecord:
    """Implements ``safety.ports.StormLog`` in memory.

    Attributes:
        changes: what was noted, each change once.
        error: raised by every call while it is set.
    """

    def __init__(self) -> None:
        self.changes: dict[tuple[StormScope, int, bool], Change] = {}
        self.told_of: set[tuple[str, int]] = set()
        self.error: Exception | None = None

    def _fail(self) -> None:
        if self.error:
            raise self.error

    async def note(self, change: Change) -> None:
        self._fail()
        self.changes.setdefault((change.stopped.scope, change.stopped.since, change.open), change)

    async def told(self, tenant: str, since: int) -> None:
        self._fail()
        self.told_of.add((tenant, since))

    async def in_force(self) -> list[tuple[Stopped, bool]]:
        self._fail()
        closed = {(scope, since) for scope, since, is_open in self.changes if not is_open}
        return [
            (change.stopped, any(tenant == scope.tenant and since >= at for tenant, at in self.told_of))
            for (scope, since, is_open), change in self.changes.items()
            if is_open and (scope, since) not in closed
        ]


class BreakerRig(Protocol):
    """What a test does with a breaker beside asking it."""

    breaker: Breaker

    def another_breaker(self) -> Breaker:
        """The breaker of another process on the same store."""
        ...


class MemoryBreakerRig(MemoryRig):
    def __init__(self) -> None:
        super().__init__()
        self._storms = Storms()
        self.breaker = self.another_breaker()

    def another_breaker(self) -> MemoryBreaker:
        return MemoryBreaker(LIMITS, self.clock, self.gate.state, self._storms)


class RedisBreakerRig(RedisRig):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.log = StormRecord()
        self.breaker = self.another_breaker()

    def another_breaker(self) -> RedisBreaker:
        return RedisBreaker(
            self.redis,
            LIMITS,
            self.clock,
            prefix=self.prefix,
            timeout_seconds=5,
            log=self.log,
            lua=hand_timed(self._time_key),
        )

    def filling_gate(self) -> RedisGate:
        """A gate that fills an emptied store from the records, with what a storm has stopped."""
        return RedisGate(
            self.redis,
            self.settings,
            self.clock,
            prefix=self.prefix,
            timeout_seconds=5,
            history=NoExecutions(),
            lua=hand_timed(self._time_key),
            also=[self.another_breaker().restore],
        )


class NoExecutions:
    """Durable records of a new installation."""

    async def gate_records(self) -> list[object]:
        return []
