"""What the gate in memory counts executions in: the buckets of ``safety.axes``, compared as in ``lua/gate.lua``."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from safety import replies
from safety.axes import BLAST_IN_FLIGHT, Bucket, Place, buckets_of, concurrent_check
from safety.calls import milliseconds
from safety.limits import Bounds
from safety.model import Refusal

Key = tuple[str, ...]


@dataclass
class Tally:
    """The executions of one bucket; times are milliseconds since 1970.

    Attributes:
        settled: when each was permitted.
        moments: the same, sorted.
        waiting: when each that is provisional lapses.
    """

    settled: dict[str, int] = field(default_factory=dict)
    moments: list[int] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)

    def used(self, now: int, within: int, but: str) -> int:
        """How many count, without one that must not stand in its own way."""
        after = max(now - within, 0)
        settled = len(self.moments) - bisect_right(self.moments, after) - (self.settled.get(but, 0) > after)
        return settled + sum(lapses > now for who, lapses in self.waiting.items() if who != but)

    def wait(self, execution_id: str, now: int, lapses: int, memory: int) -> None:
        """Count a provisional one, and forget what no longer counts."""
        self.waiting = {who: until for who, until in self.waiting.items() if until > now}
        old = bisect_right(self.moments, max(now - memory, 0))
        if old:
            del self.moments[:old]
            self.settled = {who: at for who, at in self.settled.items() if at > max(now - memory, 0)}
        if execution_id in self.settled:
            self.settle(execution_id, now)  # it was confirmed before, and lost its target since
        else:
            self.waiting[execution_id] = lapses

    def settle(self, execution_id: str, granted: int) -> None:
        """Count it from the moment in which it was permitted."""
        self.drop(execution_id)
        self.settled[execution_id] = granted
        insort(self.moments, granted)

    def drop(self, execution_id: str) -> None:
        """Count it no longer."""
        self.waiting.pop(execution_id, None)
        before = self.settled.pop(execution_id, None)
        if before is not None:
            del self.moments[bisect_left(self.moments, before)]


class Live(NamedTuple):
    """An execution that holds its target until then."""

    until: int
    blast: int


@dataclass
class Counts:
    """Every bucket that was used; values only, so that a copy can be compared."""

    tallies: dict[Key, Tally] = field(default_factory=dict)
    lives: dict[Key, dict[str, Live]] = field(default_factory=dict)

    def no(self, execution_id: str, tenant: str, blast: int, found: Sequence[Bounds], now: int) -> Refusal | None:
        """The first limit that would be exceeded: of what runs at once, then of the rates, then of the blast radius."""
        return next(
            (
                refusal
                for check in (self._concurrent, self._rates, self._in_flight)
                for bounds in found
                for refusal in check(execution_id, tenant, blast, bounds, now)
            ),
            None,
        )

    def _concurrent(self, who: str, tenant: str, _blast: int, bounds: Bounds, now: int) -> Iterator[Refusal]:
        if bounds.concurrent is None:
            return
        used = sum(1 for _ in self._alive(who, tenant, bounds.bucket, now))
        if used >= bounds.concurrent:
            yield _refusal(concurrent_check(bounds.bucket.axis.name), bounds, used=used, limit=bounds.concurrent)

    def _rates(self, who: str, tenant: str, _blast: int, bounds: Bounds, now: int) -> Iterator[Refusal]:
        for rate in bounds.rates:
            used = self._used(who, tenant, bounds.bucket, now, rate.within_seconds)
            if used >= rate.limit:
                yield _refusal(rate.check, bounds, used=used, limit=rate.limit)

    def _in_flight(self, who: str, tenant: str, blast: int, bounds: Bounds, now: int) -> Iterator[Refusal]:
        if bounds.blast is None:
            return
        used = sum(one.blast for one in self._alive(who, tenant, bounds.bucket, now))
        if used + blast > bounds.blast:
            yield _refusal(BLAST_IN_FLIGHT, bounds, used=used, count=blast, limit=bounds.blast)

    def asks(
        self, execution_id: str, tenant: str, found: Sequence[Bounds], now: int
    ) -> Sequence[tuple[str, int, float]]:
        """Axis, number and seconds of what happened so often that a human is asked."""
        asked = []
        for bounds in found:
            if bounds.asks is not None:
                used = self._used(execution_id, tenant, bounds.bucket, now, bounds.asks.within_seconds)
                if used >= bounds.asks.limit:
                    asked.append((bounds.bucket.axis.name, used, bounds.asks.within_seconds))
        return asked

    def _used(self, who: str, tenant: str, bucket: Bucket, now: int, within_seconds: float) -> int:
        tally = self.tallies.get(_key(tenant, bucket))
        return tally.used(now, milliseconds(within_seconds), who) if tally else 0

    def _alive(self, who: str, tenant: str, bucket: Bucket, now: int) -> Iterator[Live]:
        held = self.lives.get(_key(tenant, bucket), {})
        return (one for name, one in held.items() if name != who and one.until > now)

    def reserve(self, execution_id: str, place: Place, target_key: str, now: int, held: Live) -> None:
        """Count it provisionally, until its lock ends."""
        for bucket in buckets_of(place, target_key):
            tally = self.tallies.setdefault(_key(place.tenant, bucket), Tally())
            tally.wait(execution_id, now, held.until, milliseconds(bucket.axis.memory_seconds))
            if bucket.axis.live:
                lives = self.lives.setdefault(_key(place.tenant, bucket), {})
                for gone in [who for who, one in lives.items() if one.until <= now]:
                    del lives[gone]
        self.hold(execution_id, place, target_key, held)

    def settle(self, execution_id: str, place: Place, target_key: str, granted: int) -> None:
        """Its decision is durable."""
        for bucket in buckets_of(place, target_key):
            self.tallies.setdefault(_key(place.tenant, bucket), Tally()).settle(execution_id, granted)

    def remember(self, execution_id: str, place: Place, target_key: str, granted: int, now: int) -> None:
        """The same from the durable records, in every bucket that still remembers it."""
        for bucket in buckets_of(place, target_key):
            if granted + milliseconds(bucket.axis.memory_seconds) > now:
                self.tallies.setdefault(_key(place.tenant, bucket), Tally()).settle(execution_id, granted)

    def hold(self, execution_id: str, place: Place, target_key: str, held: Live | None) -> None:
        """It holds its target until then; None when it no longer does."""
        for bucket in buckets_of(place, target_key):
            if not bucket.axis.live:
                continue
            lives = self.lives.setdefault(_key(place.tenant, bucket), {})
            if held:
                lives[execution_id] = held
            else:
                lives.pop(execution_id, None)

    def drop(self, execution_id: str, place: Place, target_key: str) -> None:
        """It will not run."""
        self.hold(execution_id, place, target_key, None)
        for bucket in buckets_of(place, target_key):
            self.tallies.setdefault(_key(place.tenant, bucket), Tally()).drop(execution_id)


def _key(tenant: str, bucket: Bucket) -> Key:
    return (tenant, bucket.axis.name, *bucket.names)


def _refusal(check: str, bounds: Bounds, **numbers: int) -> Refusal:
    facts: dict[str, float | str] = {name: float(value) for name, value in numbers.items()}
    if check == BLAST_IN_FLIGHT:
        facts["axis"] = bounds.bucket.axis.name
    names = bounds.bucket.facts
    return replies.refusal(check, {**facts, **dict(zip(names[::2], names[1::2], strict=True))})
