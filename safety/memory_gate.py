"""The gate in memory: the same answers as the one on Redis, for replaying what was recorded and for trying runbooks.

It decides with the same policy, keeps the same rates, locks, cooldowns and reservations, and is held to them by the
same contract suite. Nothing of it is durable, and two processes do not see each other: it never stands in front of
production.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from safety import policy, replies
from safety.calls import milliseconds, since_1970
from safety.errors import GateUnavailable
from safety.keys import Place
from safety.model import Answer, ApprovalNeeded, GateRecord, GateRequest, Refusal
from safety.ports import Clock


class HandClock:
    """Wall clock that stands still until it is moved."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.moment = start

    def now(self) -> datetime:
        """Where it stands."""
        return self.moment

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.moment += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Target:
    """A target's lock and cooldown; times are milliseconds since 1970."""

    holder: str = ""
    token: int = 0
    until: int = 0
    cooling: int = 0
    cooled_by: str = ""


@dataclass(frozen=True)
class Reservation:
    """What was reserved for an execution."""

    plan: str
    token: int
    granted: int
    expires: int
    approval: str
    state: str = "provisional"


@dataclass
class State:
    """Everything that the gate remembers; values only, so that a copy can be compared."""

    primed: bool = True
    pause: tuple[str, str] | None = None
    targets: dict[tuple[str, str], Target] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    rates: dict[tuple[str, ...], dict[str, int]] = field(default_factory=dict)
    running: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)


class Found(NamedTuple):
    """Everything about one execution."""

    place: Place
    own: Reservation | None
    key: tuple[str, str]
    target: Target


class MemoryGate:
    """Implements ``safety.ports.Gate``.

    Two gates with one ``state`` behave as two processes.

    Attributes:
        away: as if the store could not be reached.
    """

    def __init__(
        self, settings: policy.PolicySettings | None = None, clock: Clock | None = None, state: State | None = None
    ) -> None:
        self.settings = settings or policy.PolicySettings()
        self.clock = clock or HandClock()
        self.state = state or State()
        self.away = False
        self._last_token = 0
        self._unbacked: set[str] = set()
        self._owed: dict[str, tuple[str, float, datetime]] = {}
        self._places: dict[str, Place] = {}

    def empty(self) -> None:
        """As if the store had forgotten everything."""
        for name, value in vars(State(primed=False)).items():
            setattr(self.state, name, value)

    @property
    def _now(self) -> int:
        return int(self.clock.now().timestamp() * 1000)

    async def ask(self, requests: Sequence[GateRequest]) -> Sequence[Answer]:
        """Answer each request, in order."""
        self._pay()
        return [self._ask(request) for request in requests]

    def _ask(self, request: GateRequest) -> Answer:
        decided = policy.decide(request, self.settings)
        if isinstance(decided, Refusal):
            return decided
        self._places[request.execution_id] = Place(request.tenant, request.cluster, request.runbook_id)
        if self.away or not self.state.primed:
            return self._without_store(request, decided)
        self._unbacked.discard(request.execution_id)
        own = self.state.reservations.get(request.execution_id)
        target = self.state.targets.get((request.tenant, request.target_key), Target())
        held = bool(target.holder) and target.until > self._now
        mine = held and target.holder == request.execution_id
        if own and own.state == "spent":
            return replies.refusal("used", {"execution": request.execution_id})
        if own and (mine or own.state == "confirmed") and own.plan != request.plan_hash:
            return replies.refusal("plan_changed", {"permitted": own.plan, "asked": request.plan_hash})
        if own and mine:
            return replies.permit(request, own.token, own.expires, own.approval)
        no = self._no(request, target, held)
        return no or self._again(request, decided) or decided or self._reserve(request, target)

    def _without_store(self, request: GateRequest, needed: ApprovalNeeded | None) -> Answer:
        if request.approval is None or needed:
            why = "away" if self.away else "emptied"
            return ApprovalNeeded((f"gate store away: {why}", *(needed.reasons if needed else ())))
        self._last_token = max(self._last_token + 1, self._now)
        expires = self._now + milliseconds(self.settings.permit_ttl_seconds)
        self._unbacked.add(request.execution_id)
        return replies.permit(request, self._last_token, expires, request.approval.approval_id)

    def _again(self, request: GateRequest, needed: ApprovalNeeded | None) -> ApprovalNeeded | None:
        count = policy.counts(request, self.settings)[-1]
        if count.limit < 0:
            return None
        used = self._used(request, len(policy.windows(self.settings)) - 1, count)
        return replies.again(needed, used, count.within_seconds) if count.limit <= used else None

    def _used(self, request: GateRequest, number: int, count: policy.Count) -> int:
        place = self._places[request.execution_id]
        after = self._now + milliseconds(count.window_seconds) - milliseconds(count.within_seconds)
        entries = self.state.rates.get(_count_keys(place, request.target_key)[number], {})
        counted = len([until for until in entries.values() if until > after])
        return counted - (entries.get(request.execution_id, after) > after)

    def _no(self, request: GateRequest, target: Target, held: bool) -> Refusal | None:
        now = self._now
        if self.state.pause:
            return replies.refusal("pause", {"by": self.state.pause[0], "reason": self.state.pause[1]})
        if held:
            facts: dict[str, float | str] = {
                "holder": target.holder,
                "token": float(target.token),
                "seconds_left": (target.until - now) / 1000,
            }
            return replies.refusal("lock", facts)
        if target.cooling > now:
            return replies.refusal(
                "cooldown", {"after": target.cooled_by, "seconds_left": (target.cooling - now) / 1000}
            )
        most, running = policy.concurrent(request), self.state.running.get((request.tenant, request.runbook_id), {})
        used = sum(1 for who, until in running.items() if until > now and who != request.execution_id)
        if 0 <= most <= used:
            return replies.refusal("concurrent", {"used": float(used), "limit": float(most)})
        for number, count in enumerate(policy.counts(request, self.settings)[:-1]):
            # Most limits are not set, and what counts for a day is long.
            used = self._used(request, number, count) if count.limit >= 0 else 0
            if 0 <= count.limit <= used:
                return replies.refusal(count.check, {"used": float(used), "limit": float(count.limit)})
        return None

    def _reserve(self, request: GateRequest, target: Target) -> Answer:
        now, settings = self._now, self.settings
        token = max(target.token + 1, now)
        self.state.places[request.execution_id] = self._places[request.execution_id]
        lapses, expires = (
            now + milliseconds(settings.provisional_ttl_seconds),
            now + milliseconds(settings.permit_ttl_seconds),
        )
        approval = request.approval.approval_id if request.approval else ""
        self.state.reservations[request.execution_id] = Reservation(request.plan_hash, token, now, expires, approval)
        key = (request.tenant, request.target_key)
        self.state.targets[key] = replace(target, holder=request.execution_id, token=token, until=lapses)
        place = self._places[request.execution_id]
        self._runs(request.execution_id, place, lapses)
        for rate in _count_keys(place, request.target_key):
            entries = self.state.rates.setdefault(rate, {})
            _forget(entries, now)
            entries[request.execution_id] = max(entries.get(request.execution_id, 0), lapses)
        return replies.permit(request, token, expires, approval)

    def _find(self, execution_id: str, target_key: str) -> Found | None:
        place = self._places.get(execution_id) or self.state.places.get(execution_id)
        if place is None or self.away:
            return None
        key = (place.tenant, target_key)
        return Found(place, self.state.reservations.get(execution_id), key, self.state.targets.get(key, Target()))

    def _count(self, execution_id: str, target_key: str, place: Place, granted: int) -> None:
        for key, window in zip(_count_keys(place, target_key), policy.windows(self.settings), strict=True):
            self.state.rates.setdefault(key, {})[execution_id] = granted + milliseconds(window)

    def _runs(self, execution_id: str, place: Place, until: int) -> None:
        """It holds its target until then; 0 when it no longer does."""
        running = self.state.running.setdefault((place.tenant, place.runbook), {})
        if until:
            running[execution_id] = until
        else:
            running.pop(execution_id, None)

    def _settle(self, execution_id: str, found: Found, own: Reservation, state: str) -> None:
        if own.state == "provisional":
            self._count(execution_id, found.key[1], found.place, own.granted)
        self.state.reservations[execution_id] = replace(own, state=state)

    async def confirm(self, permits: Sequence[tuple[str, str]]) -> Sequence[str]:
        """Confirm reservations; the ids of those that lapsed."""
        return [] if self.away else [each for each, target_key in permits if not self._confirm(each, target_key)]

    def _confirm(self, execution_id: str, target_key: str) -> bool:
        found = self._find(execution_id, target_key)
        if execution_id in self._unbacked:
            return True
        if found is None or found.own is None:
            return False
        if found.own.state != "provisional":
            return True
        if found.target.holder != execution_id or found.target.until <= self._now:
            return False
        self._settle(execution_id, found, found.own, "confirmed")
        until = found.own.expires + milliseconds(self.settings.lock_lease_seconds)
        self._runs(execution_id, found.place, until)
        self.state.targets[found.key] = replace(found.target, until=until)
        return True

    async def cancel(self, execution_id: str, target_key: str) -> None:
        """Give back a reservation."""
        found = self._find(execution_id, target_key)
        if found is None or found.own is None or found.own.state == "spent":
            return
        if found.target.holder == execution_id:
            self.state.targets[found.key] = replace(found.target, holder="", until=0)
        for entries in (*self.state.rates.values(), *self.state.running.values()):
            entries.pop(execution_id, None)
        del self.state.reservations[execution_id]
        self._places.pop(execution_id, None)
        self.state.places.pop(execution_id, None)

    async def renew(self, execution_id: str, target_key: str, token: int) -> bool:
        """Extend the lock; False when somebody else holds the target."""
        found = self._find(execution_id, target_key)
        if found is None:
            return True
        target, own = found.target, found.own
        held = bool(target.holder) and target.until > self._now
        spent = own is not None and own.state == "spent"
        if spent or (held and target.holder != execution_id) or token < target.token:
            return False
        if own:
            until = max(self._now + milliseconds(self.settings.lock_lease_seconds), target.until if held else 0)
            self.state.targets[found.key] = replace(target, holder=execution_id, token=token, until=until)
            self._runs(execution_id, found.place, until)
            self._settle(execution_id, found, replace(own, token=token), "confirmed")
        return True

    async def release(self, execution_id: str, target_key: str, cooldown_seconds: float) -> None:
        """Free the target and start its cooldown."""
        milliseconds(cooldown_seconds)
        self._owed[execution_id] = (target_key, cooldown_seconds, self.clock.now())
        self._pay()

    def _pay(self) -> None:
        if self.away:
            return
        for execution_id, (target_key, cooldown, since) in self._owed.items():
            left = max(0.0, cooldown - (self.clock.now() - since).total_seconds())
            self._release(execution_id, target_key, milliseconds(left))
        self._owed.clear()

    def _release(self, execution_id: str, target_key: str, cooldown: int) -> None:
        found = self._find(execution_id, target_key)
        if found is None or (found.own and found.own.state == "spent"):
            return
        target, own = found.target, found.own
        if cooldown and self._now + cooldown > target.cooling:
            target = replace(target, cooling=self._now + cooldown, cooled_by=execution_id)
        if target.holder == execution_id:
            target = replace(target, holder="", until=0)
        self.state.targets[found.key] = target
        self._runs(execution_id, found.place, 0)
        self._settle(execution_id, found, own or Reservation("", 0, 0, 0, "", "spent"), "spent")

    async def pause(self, by: str, reason: str) -> None:
        """Stop all automation."""
        self._reach()
        self.state.pause = (by, reason)

    async def resume(self, by: str) -> None:
        """Lift the pause."""
        self._reach()
        self.state.pause = None

    async def paused(self) -> str | None:
        """Why automation is paused, or None."""
        self._reach()
        if self.state.pause:
            return f"paused by {self.state.pause[0]}: {self.state.pause[1]}"
        if not self.state.primed:
            raise GateUnavailable("emptied")
        return None

    def _reach(self) -> None:
        if self.away:
            raise GateUnavailable

    async def restore(self, records: Sequence[GateRecord]) -> None:
        """Fill the state from the durable records."""
        self._reach()
        for record in records:
            self._restore(record)
        self.state.primed = True

    def _restore(self, record: GateRecord) -> None:
        now, key = self._now, (record.tenant, record.target_key)
        place = Place(record.tenant, record.cluster, record.runbook_id)
        own = self.state.reservations.get(record.execution_id)
        spent = own is not None and own.state == "spent"
        target = self.state.targets.get(key, Target())
        held = bool(target.holder) and target.until > now
        token, last = record.token, target.token
        granted, expires, cooling = map(since_1970, (record.granted_at, record.expires_at, record.cooldown_until))
        free = not held or target.holder == record.execution_id
        target = replace(target, token=max(last, token))
        if record.holds_target and not spent and free:
            until = max(target.until, max(now, expires) + milliseconds(self.settings.lock_lease_seconds))
            target = replace(target, holder=record.execution_id, until=until)
            self._runs(record.execution_id, place, until)
        if not record.holds_target:
            self._runs(record.execution_id, place, 0)
        if not record.holds_target and target.holder == record.execution_id:
            target = replace(target, holder="", until=0)
        if cooling > max(now, target.cooling):
            target = replace(target, cooling=cooling, cooled_by=record.execution_id)
        self.state.targets[key] = target
        self.state.places[record.execution_id] = place
        state = "confirmed" if record.holds_target else "spent"
        fresh = Reservation(record.plan_hash, token, granted, expires, record.approval_id, state)
        if not spent:
            self.state.reservations[record.execution_id] = fresh
        for name, window in zip(_count_keys(place, record.target_key), policy.windows(self.settings), strict=True):
            if granted + milliseconds(window) > now:
                self.state.rates.setdefault(name, {})[record.execution_id] = granted + milliseconds(window)


def _forget(entries: dict[str, int], now: int) -> None:
    """Let go of what no longer counts. It stands in front; what ended out of turn stays a while, and is not counted."""
    while entries and entries[first := next(iter(entries))] <= now:
        del entries[first]


def _count_keys(place: Place, target_key: str) -> list[tuple[str, ...]]:
    """Where the counts of an execution are, in the order of ``policy.windows``."""
    return [
        ("runbook", place.tenant, place.runbook),
        ("cluster", place.tenant, place.cluster),
        ("minute", place.tenant, place.runbook),
        ("day", place.tenant, place.runbook),
        ("again", place.tenant, place.runbook, target_key),
    ]
