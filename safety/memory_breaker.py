"""The storm breaker in memory: the same answers as the one on Redis, held to them by the same contract suite."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from safety.breaker import (
    BreakerSettings,
    Change,
    Counter,
    Seen,
    Stopped,
    StormCall,
    counters_of,
    heard,
    looked,
)
from safety.errors import GateUnavailable
from safety.memory_gate import HandClock, State
from safety.ports import Clock
from safety.scopes import StormScope, Where, storm_scopes

_CALL_MS = 60_000


@dataclass
class Told:
    """How far people were told of a tenant's storm."""

    told: bool = False
    since: int = 0
    lease: int = 0
    doing: str = ""


@dataclass
class Storms:
    """What the breaker remembers beside what is open, which the gate has to see."""

    counts: dict[Counter, dict[str, int]] = field(default_factory=dict)
    calls: dict[str, Told] = field(default_factory=dict)
    held: dict[str, Tally[str]] = field(default_factory=dict)


class MemoryBreaker:
    """Implements ``safety.ports.Breaker``.

    Attributes:
        away: as if the store could not be reached.
    """

    def __init__(
        self,
        settings: BreakerSettings | None = None,
        clock: Clock | None = None,
        state: State | None = None,
        storms: Storms | None = None,
    ) -> None:
        self.settings = settings or BreakerSettings()
        self.clock = clock or HandClock()
        self.state = state or State()
        self.storms = storms or Storms()
        self.away = False

    @property
    def _now(self) -> int:
        return int(self.clock.now().timestamp() * 1000)

    def _reach(self) -> None:
        if self.away:
            raise GateUnavailable

    async def heard(self, seen: Sequence[Seen]) -> Sequence[Change]:
        """Count."""
        self._reach()
        changes = []
        for counter, members in counters_of(seen, self.settings).items():
            limit = self.settings.limits[counter.scope.axis, counter.counted]
            self.storms.counts.setdefault(counter, {}).update(dict.fromkeys(members, self._now))
            count = self._count(counter, int(limit.window_seconds * 1000))
            before = self.state.storms.get(counter.scope)
            after = heard(before, counter, count, limit, self._now)
            if after:
                self.state.storms[counter.scope] = after
                self.storms.calls.setdefault(counter.scope.tenant, Told())
            if after and not before:
                changes.append(Change(after, True, self.clock.now()))
        return changes

    def _count(self, counter: Counter, window: int) -> int:
        return sum(1 for at in self.storms.counts.get(counter, {}).values() if at > self._now - window)

    async def look(self) -> Sequence[Change]:
        """Look, and close."""
        self._reach()
        changes = []
        for scope, state in list(self.state.storms.items()):
            counts = {
                counter.key: self._count(counter, hot.window)
                for counter in self.storms.counts
                if counter.scope == scope and (hot := state.hot.get(counter.key))
            }
            after = looked(state, counts, self._now, self.settings.quiet_seconds)
            if after:
                self.state.storms[scope] = after
            else:
                changes.append(Change(self.state.storms.pop(scope), False, self.clock.now()))
        return changes

    async def stopped(self) -> Sequence[Stopped]:
        """What is open."""
        self._reach()
        return [state for _, state in sorted(self.state.storms.items(), key=lambda pair: _order(pair[0]))]

    async def close(self, scope: StormScope, by: str, reason: str) -> Change | None:
        """A person closes a scope."""
        self._reach()
        state = self.state.storms.pop(scope, None)
        if state is None:
            return None
        for counter in [each for each in self.storms.counts if each.scope == scope and each.key in state.hot]:
            del self.storms.counts[counter]
        return Change(state, False, self.clock.now(), by, reason)

    async def stops(self, where: Where) -> bool:
        """Whether a storm has stopped an execution there."""
        self._reach()
        return any(scope in self.state.storms for scope in storm_scopes(where))

    async def hold_back(self, tenant: str, kinds: Mapping[str, int]) -> None:
        """Count what nobody is told of one by one."""
        self._reach()
        self.storms.held.setdefault(tenant, Tally()).update(kinds)

    async def due(self) -> Sequence[StormCall]:
        """What people are to be told now."""
        self._reach()
        return [call for tenant in sorted(self.storms.calls) if (call := self._due(tenant))]

    def _due(self, tenant: str) -> StormCall | None:
        told = self.storms.calls[tenant]
        open_ = [state for scope, state in self.state.storms.items() if scope.tenant == tenant]
        if told.lease > self._now:
            return None
        if bool(open_) == told.told:  # told of what is open, or nothing to tell
            if not open_:
                self._forget(tenant)
            return None
        told.since = told.since or min([self._now, *(state.since for state in open_)])
        told.doing, told.lease = ("begin" if open_ else "end"), self._now + _CALL_MS
        return StormCall(tenant, bool(open_), told.since, dict(self.storms.held.get(tenant, {})))

    def _forget(self, tenant: str) -> None:
        self.storms.calls.pop(tenant, None)
        self.storms.held.pop(tenant, None)

    async def told(self, call: StormCall, *, reached: bool) -> None:
        """People were told, or could not be reached."""
        self._reach()
        told = self.storms.calls.get(call.tenant)
        if told is None:
            return
        ended = told.doing == "end"
        told.lease, told.doing = 0, ""
        if reached and not ended:
            told.told = True
        elif reached:
            self._forget(call.tenant)
            if any(scope.tenant == call.tenant for scope in self.state.storms):
                self.storms.calls[call.tenant] = Told()


def _order(scope: StormScope) -> tuple[str, str]:
    return scope.tenant, scope.key
