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
from safety.axes import Place
from safety.breaker import Stopped
from safety.calls import blast_of, milliseconds, since_1970
from safety.errors import GateUnavailable
from safety.limits import bounds, place_of
from safety.memory_counts import Counts, Live
from safety.model import Answer, ApprovalNeeded, GateRecord, GateRequest, Refusal
from safety.ports import Clock
from safety.scopes import EVERYTHING, Pause, PauseScope, StormScope, Where, storm_scopes


class HandClock:
    """Wall clock that stands still until it is moved."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.moment = start
        self._elapsed = 0.0

    def now(self) -> datetime:
        """Where it stands."""
        return self.moment

    def advance(self, seconds: float) -> None:
        """Let time pass; less than none sets the wall clock back."""
        self.moment += timedelta(seconds=seconds)
        self._elapsed += max(0.0, seconds)

    def monotonic(self) -> float:
        """How much time has passed."""
        return self._elapsed


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
    blast: int = 0


@dataclass
class State:
    """Everything that the gate remembers; values only, so that a copy can be compared."""

    primed: bool = True
    pause: tuple[str, str] | None = None
    pauses: dict[str, Pause] = field(default_factory=dict)
    storms: dict[StormScope, Stopped] = field(default_factory=dict)
    targets: dict[tuple[str, str], Target] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    places: dict[str, Place] = field(default_factory=dict)


class Found(NamedTuple):
    """Everything about one execution."""

    place: Place
    own: Reservation | None
    key: tuple[str, str]
    target: Target


class MemoryGate:
    """Implements ``safety.ports.Gate``.

    Two gates with one ``state`` behave as two processes: ``clock`` is the store's, ``wall`` that of the process.

    Attributes:
        away: as if the store could not be reached.
    """

    def __init__(
        self,
        settings: policy.PolicySettings | None = None,
        clock: Clock | None = None,
        state: State | None = None,
        wall: Clock | None = None,
    ) -> None:
        self.settings = settings or policy.PolicySettings()
        self.clock = clock or HandClock()
        self._wall = wall or self.clock
        self.state = state or State()
        self.away = False
        self._last_token = 0
        self._unbacked: set[str] = set()
        self._owed: dict[str, tuple[str, float, float]] = {}
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
        found = bounds(request, self.settings)
        counted = self.state.counts.asks(request.execution_id, request.tenant, found, self._now)
        return replies.again(needed, counted) if counted else None

    def _no(self, request: GateRequest, target: Target, held: bool) -> Refusal | None:
        now = self._now
        if stopped := self._stopped(policy.where_of(request)):
            return stopped
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
        found, blast = bounds(request, self.settings), request.blast.count or 0
        return self.state.counts.no(request.execution_id, request.tenant, blast, found, now)

    def _stopped(self, where: Where) -> Refusal | None:
        """The no of a pause or a storm."""
        if found := self._paused(where):
            by, reason, scope = found
            return replies.refusal("pause", {"by": by, "reason": reason} | ({"scope": scope} if scope else {}))
        for scope_ in storm_scopes(where) if self.settings.storm_breaker else ():
            if storm := self.state.storms.get(scope_):
                return replies.refusal("storm", storm.numbers)
        return None

    def _reserve(self, request: GateRequest, target: Target) -> Answer:
        now, settings = self._now, self.settings
        token = max(target.token + 1, now)
        place = place_of(request)
        self._places[request.execution_id] = self.state.places[request.execution_id] = place
        lapses, expires = (
            now + milliseconds(settings.provisional_ttl_seconds),
            now + milliseconds(settings.permit_ttl_seconds),
        )
        approval = request.approval.approval_id if request.approval else ""
        blast = request.blast.count or 0
        reserved = Reservation(request.plan_hash, token, now, expires, approval, blast=blast)
        self.state.reservations[request.execution_id] = reserved
        key = (request.tenant, request.target_key)
        self.state.targets[key] = replace(target, holder=request.execution_id, token=token, until=lapses)
        self.state.counts.reserve(request.execution_id, place, request.target_key, now, Live(lapses, blast))
        return replies.permit(request, token, expires, approval)

    def _find(self, execution_id: str, target_key: str) -> Found | None:
        place = self._places.get(execution_id) or self.state.places.get(execution_id)
        if place is None or self.away:
            return None
        key = (place.tenant, target_key)
        return Found(place, self.state.reservations.get(execution_id), key, self.state.targets.get(key, Target()))

    def _runs(self, execution_id: str, found: Found, until: int) -> None:
        """It holds its target until then; 0 when it no longer does."""
        held = Live(until, found.own.blast if found.own else 0) if until else None
        self.state.counts.hold(execution_id, found.place, found.key[1], held)

    def _settle(self, execution_id: str, found: Found, own: Reservation, state: str) -> None:
        if own.state == "provisional":
            self.state.counts.settle(execution_id, found.place, found.key[1], own.granted)
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
        self._runs(execution_id, found, until)
        self.state.targets[found.key] = replace(found.target, until=until)
        return True

    async def cancel(self, execution_id: str, target_key: str) -> None:
        """Give back a reservation."""
        found = self._find(execution_id, target_key)
        if found is None or found.own is None or found.own.state == "spent":
            return
        if found.target.holder == execution_id:
            self.state.targets[found.key] = replace(found.target, holder="", until=0)
        self.state.counts.drop(execution_id, found.place, target_key)
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
            self._runs(execution_id, found, until)
            self._settle(execution_id, found, replace(own, token=token), "confirmed")
        return True

    async def release(self, execution_id: str, target_key: str, cooldown_seconds: float) -> None:
        """Free the target and start its cooldown."""
        milliseconds(cooldown_seconds)
        self._owed[execution_id] = (target_key, cooldown_seconds, self._wall.monotonic())
        self._pay()

    def _pay(self) -> None:
        if self.away:
            return
        for execution_id, (target_key, cooldown, since) in self._owed.items():
            left = max(0.0, cooldown - (self._wall.monotonic() - since))
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
        self._runs(execution_id, found, 0)
        self._settle(execution_id, found, own or Reservation("", 0, 0, 0, "", "spent"), "spent")

    async def pause(self, by: str, reason: str, scope: PauseScope = EVERYTHING, until: datetime | None = None) -> None:
        """Stop automation."""
        self._reach()
        if scope == EVERYTHING and until is None:
            self.state.pause = (by, reason)
            self.state.pauses.pop(scope.key, None)
        else:
            self.state.pauses[scope.key] = Pause(by, reason, scope, self.clock.now(), until)

    async def resume(self, by: str, scope: PauseScope = EVERYTHING) -> None:
        """Lift the pause of a scope."""
        self._reach()
        if scope == EVERYTHING:
            self.state.pause = None
        self.state.pauses.pop(scope.key, None)

    async def pauses(self) -> Sequence[Pause]:
        """Every pause that is in force."""
        await self.paused()
        brake = [Pause(*self.state.pause)] if self.state.pause else []
        return brake + [pause for _, pause in sorted(self.state.pauses.items()) if pause.holds(self.clock.now())]

    async def paused(self, where: Where | None = None) -> str | None:
        """Why automation is paused, or None."""
        self._reach()
        if found := self._paused(where):
            by, reason, scope = found
            return f"{scope} is paused by {by}: {reason}" if scope else f"paused by {by}: {reason}"
        if not self.state.primed:
            raise GateUnavailable("emptied")
        return None

    def _paused(self, where: Where | None) -> tuple[str, str, str] | None:
        """Who paused, why and what ('' for everything), if anybody did."""
        if self.state.pause:
            return (*self.state.pause, "")
        for key, pause in sorted(self.state.pauses.items()):
            covers = pause.scope.covers(where) if where else not key
            if covers and pause.holds(self.clock.now()):
                return pause.by, pause.reason, str(pause.scope) if key else ""
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
        place = place_of(record)
        own = self.state.reservations.get(record.execution_id)
        spent = own is not None and own.state == "spent"
        target = self.state.targets.get(key, Target())
        held = bool(target.holder) and target.until > now
        blast = own.blast if own else blast_of(record, self.settings)
        token, last = record.token, target.token
        granted, expires, cooling = map(since_1970, (record.granted_at, record.expires_at, record.cooldown_until))
        free = not held or target.holder == record.execution_id
        target = replace(target, token=max(last, token))
        if record.holds_target and not spent and free:
            until = max(target.until, max(now, expires) + milliseconds(self.settings.lock_lease_seconds))
            target = replace(target, holder=record.execution_id, until=until)
            self.state.counts.hold(record.execution_id, place, record.target_key, Live(until, blast))
        if not record.holds_target:
            self.state.counts.hold(record.execution_id, place, record.target_key, None)
        if not record.holds_target and target.holder == record.execution_id:
            target = replace(target, holder="", until=0)
        if cooling > max(now, target.cooling):
            target = replace(target, cooling=cooling, cooled_by=record.execution_id)
        self.state.targets[key] = target
        self.state.places[record.execution_id] = place
        state = "confirmed" if record.holds_target else "spent"
        fresh = Reservation(record.plan_hash, token, granted, expires, record.approval_id, state, blast)
        if not spent:
            self.state.reservations[record.execution_id] = fresh
        self.state.counts.remember(record.execution_id, place, record.target_key, granted, now)
