"""The gate under any order of events: workers ask, crash, confirm, renew, release, cancel, pause, and clocks jump.

Whatever happens, an independent book of who holds what is kept beside the gate, and the promises are checked on it. The
same orders run on the gate in memory and on Redis, and both have to answer alike.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from itertools import count
from math import inf

import pytest
from fakes.gate_rigs import LIMITS, MemoryRig, RedisRig, Wall, approval, request
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from safety.model import BlastRadius, Permit
from safety.policy import PolicySettings

SETTINGS = PolicySettings(
    max_executions_per_hour_total=5,
    provisional_ttl_seconds=60,
    permit_ttl_seconds=120,
    lock_lease_seconds=300,
    rate_window_seconds=3600,
    runbook_per_minute=2,
    target_per_hour=2,
    target_per_day=4,
    namespace_per_minute=3,
    namespace_per_hour=4,
    cluster_per_day=9,
    tenant_per_hour=7,
    tenant_per_day=12,
    namespace_concurrent=3,
    cluster_concurrent=4,
    tenant_concurrent=4,
    namespace_blast_in_flight=9,
    cluster_blast_in_flight=12,
    tenant_blast_in_flight=14,
    ask_again_after=None,
)
"""Tight, so that every limit is met sooner or later."""

RUNBOOK_LIMIT = 3
CONCURRENT = 2
WINDOWS = {"minute": 60, "hour": 3600, "day": 86_400}
NAMES = (
    "prod/shop/Deployment/cart",
    "prod/shop/Deployment/api",
    "prod/pay/Deployment/api",
    "edge/shop/Deployment/cart",
)
TARGETS = (*NAMES, *(f"prod/shop/Deployment/more{number}" for number in range(3)))
executions = st.integers(0, 59)
workers = st.integers(0, 2)


def limits_of(axis: str) -> dict[str, int]:
    """The limits of the book, from where the gate has them too: by window, ``concurrent`` and ``blast_in_flight``."""
    found = {name: getattr(SETTINGS, f"{axis}_per_{name}", None) for name in WINDOWS}
    found |= {name: getattr(SETTINGS, f"{axis}_{name}", None) for name in ("concurrent", "blast_in_flight")}
    found |= {"cluster": {"hour": SETTINGS.max_executions_per_hour_total}}.get(axis, {})
    found |= {"runbook": {"hour": RUNBOOK_LIMIT, "concurrent": CONCURRENT}}.get(axis, {})
    return {name: limit for name, limit in found.items() if limit is not None}


LIMITS_OF = {axis: limits_of(axis) for axis in ("runbook", "target", "namespace", "cluster", "tenant")}


@dataclass(frozen=True)
class Held:
    """One line of the book: an execution, where it counts, until when it holds its target, and since when it counts."""

    target: tuple[str, str]
    buckets: frozenset[tuple[str, ...]]
    blast: int
    permit: Permit
    granted: float
    until: float
    counts: bool = False
    confirmed: bool = False
    over: bool = False
    came_back: bool = False
    """Its lock had run out, and was taken again: what runs already is not stopped for a limit."""


def buckets_of(asked) -> frozenset[tuple[str, ...]]:
    """Where an execution counts, as the book sees it."""
    tenant, cluster, namespace = asked.tenant, asked.cluster, asked.target_key.split("/")[1]
    spaces = {("namespace", tenant, cluster, each) for each in (namespace, *asked.namespaces)}
    whole = {("tenant", tenant), ("cluster", tenant, cluster)}
    return frozenset({("runbook", tenant, asked.runbook_id), ("target", tenant, asked.target_key), *spaces, *whole})


class GateMachine(RuleBasedStateMachine):
    """Asks every gate the same and keeps the book."""

    redis_url = ""
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.rigs = [MemoryRig(SETTINGS)]
        if self.redis_url:
            real = RedisRig(self.redis_url, SETTINGS)
            self.rigs[0].clock.moment = real.clock.moment
            self.rigs.append(self._await(real.start()))
        self.walls = [[Wall(rig.clock) for _ in range(3)] for rig in self.rigs]
        self.gates = [[rig.another(wall) for wall in walls] for rig, walls in zip(self.rigs, self.walls, strict=True)]
        self.book: dict[str, Held] = {}
        self.tokens: dict[tuple[str, str], int] = {}
        self.paused = False

    def _await(self, waiting):
        return self.loop.run_until_complete(waiting)

    def teardown(self) -> None:
        """A sum that is less than what its members add up to would let too much be affected at once."""
        sums = [self._await(rig.sums()) for rig in self.rigs if isinstance(rig, RedisRig)]
        for rig in self.rigs:
            self._await(rig.close())
        self.loop.close()
        for found in sums:
            wrong = {key: pair for key, pair in found.items() if pair[0] != pair[1]}
            assert not wrong, f"a sum that is kept is not what its members add up to: {wrong}"

    @property
    def now(self) -> float:
        return self.rigs[0].clock.now().timestamp()

    def _request(self, number: int, plan: str = "hash-1", **changes):
        """Each execution has its own place; targets, runbooks and tenants are shared between them."""
        return request(
            f"e{number}",
            TARGETS[number % 7],
            tenant=("globex", "acme", "acme", "acme")[number % 4],
            runbook_id=f"r{number % 5}",
            plan_hash=plan,
            namespaces=("shop", "pay") if number % 6 == 0 else (TARGETS[number % 7].split("/")[1],),
            blast=BlastRadius(number % 4, 1 + number % 4, (TARGETS[number % 7],), graph_age_seconds=1),
            limits=replace(
                LIMITS,
                max_executions_per_hour=RUNBOOK_LIMIT,
                max_concurrent=CONCURRENT,
                ask_again_after=1 if number % 9 == 0 else None,
                ask_again_seconds=1800,
            ),
            **changes,
        )

    def _same(self, worker: int, call):
        """The answer of all gates to one call."""
        answers = [self._await(call(pair[worker])) for pair in self.gates]
        assert all(answer == answers[0] for answer in answers), answers
        return answers[0]

    @rule(number=executions, worker=workers, plan=st.sampled_from(["hash-1", "hash-1", "hash-2"]), asks=st.booleans())
    def ask(self, number, worker, plan, asks):
        reasons = ("careful",) if asks else ()
        self._ask(worker, self._request(number, plan, approval_reasons=reasons))

    @rule(number=executions, worker=workers)
    def ask_with_approval(self, number, worker):
        self._ask(worker, self._request(number, approval_reasons=("careful",), approval=approval()))

    def _ask(self, worker, asked):
        before = [self._await(rig.dump()) for rig in self.rigs]
        (answer,) = self._same(worker, lambda gate: gate.ask([asked]))
        if not isinstance(answer, Permit):
            assert [self._await(rig.dump()) for rig in self.rigs] == before, "a no has changed the store"
            return
        known = self.book.get(answer.execution_id)
        if known and not known.over and known.permit == answer:
            assert known.until > self.now, "a lapsed permit came back"
            return
        assert not self.paused, "a new permit while paused"
        assert not known or not known.over, "an ended execution was permitted again"
        self._enter(asked, answer)

    def _enter(self, asked, answer):
        target = (asked.tenant, asked.target_key)
        assert answer.token > self.tokens.get(target, 0), "a token did not grow"
        self.tokens[target] = answer.token
        known = self.book.get(asked.execution_id)
        blast = asked.blast.count
        held = Held(
            target, buckets_of(asked), blast, answer, self.now, self.now + 60, counts=bool(known and known.counts)
        )
        self.book[asked.execution_id] = held

    def _known(self, number):
        return f"e{number}", TARGETS[number % 7], self.book.get(f"e{number}")

    @rule(number=executions, worker=workers)
    def confirm(self, number, worker):
        name, target, held = self._known(number)
        lost = self._same(worker, lambda gate: gate.confirm([(name, target)]))
        if not held:
            return
        if held.confirmed or held.over:
            assert lost == []
        elif held.until <= self.now:
            assert lost == [name]
        else:
            assert lost == []
            until = held.permit.expires_at.timestamp() + 300
            self.book[name] = replace(held, confirmed=True, until=until, counts=True)

    @rule(numbers=st.lists(executions, min_size=1, max_size=4), worker=workers)
    def run(self, numbers, worker):
        """Executions that go the usual way: asked for, confirmed, carried out, released."""
        for number in numbers:
            self._ask(worker, self._request(number))
            held = self.book.get(f"e{number}")
            if held and not held.over and held.until > self.now:
                self.confirm(number, worker)
                self.release(number, worker, 0)

    @rule(number=executions, worker=workers)
    def renew(self, number, worker):
        name, target, held = self._known(number)
        if not held or not held.confirmed:
            return
        kept = self._same(worker, lambda gate: gate.renew(name, target, held.permit.token))
        fenced = self.tokens[held.target] > held.permit.token
        assert kept == (not held.over and not fenced)
        if kept:
            came_back = held.came_back or held.until <= self.now
            self.book[name] = replace(held, until=max(held.until, self.now + 300), came_back=came_back)

    @rule(number=executions, worker=workers, cooldown=st.sampled_from([0, 30, 600]))
    def release(self, number, worker, cooldown):
        name, target, held = self._known(number)
        if held and held.confirmed:
            self._same(worker, lambda gate: gate.release(name, target, cooldown))
            self.book[name] = replace(held, over=True, until=0)

    @rule(number=executions, worker=workers)
    def cancel(self, number, worker):
        name, target, held = self._known(number)
        if held and not held.confirmed:
            self._same(worker, lambda gate: gate.cancel(name, target))
            del self.book[name]

    @rule(seconds=st.sampled_from([0.001, 1, 59.999, 60, 300, 420, 1800, 3600, 86_400]))
    def time_passes(self, seconds):
        for rig in self.rigs:
            self._await(rig.advance(seconds))

    @rule(worker=workers, seconds=st.sampled_from([-86_400, -3600, -1, 61, 86_400]))
    def the_clock_of_a_worker_jumps(self, worker, seconds):
        """What counts is the store's time: nobody may do more because his own clock is wrong."""
        for walls in self.walls:
            walls[worker].jump(seconds)

    @rule(worker=workers)
    def a_worker_crashes(self, worker):
        """Another process takes its place and knows nothing but the store."""
        for rig, gates, walls in zip(self.rigs, self.gates, self.walls, strict=True):
            gates[worker] = rig.another(walls[worker])

    @rule(worker=workers, on=st.sampled_from([True, False, False]))
    def switch_pause(self, worker, on):
        self._same(worker, lambda gate: gate.pause("ada", "stop") if on else gate.resume("ada"))
        self.paused = on
        assert (self._same((worker + 1) % 3, lambda gate: gate.paused()) is not None) == on

    @invariant()
    def a_step_was_taken(self):
        type(self).steps += 1

    @invariant()
    def nobody_shares_a_target(self):
        holders = [held.target for held in self.book.values() if not held.over and held.until > self.now]
        assert len(holders) == len(set(holders)), "two executions hold one target"

    @invariant()
    def no_limit_on_what_runs_at_once_is_exceeded(self):
        alive = [held for held in self.book.values() if not held.over and held.until > self.now and not held.came_back]
        for bucket in {bucket for held in alive for bucket in held.buckets}:
            limits, inside = LIMITS_OF[bucket[0]], [held for held in alive if bucket in held.buckets]
            assert len(inside) <= limits.get("concurrent", inf), f"too many executions of {bucket} at the same time"
            blast = sum(held.blast for held in inside)
            assert blast <= limits.get("blast_in_flight", inf), f"too much of {bucket} is affected"

    @invariant()
    def no_rate_is_exceeded(self):
        for window, seconds in WINDOWS.items():
            counted = [held for held in self.book.values() if self._counts(held, seconds)]
            for bucket in {bucket for held in counted for bucket in held.buckets}:
                limit = LIMITS_OF[bucket[0]].get(window, inf)
                found = sum(bucket in held.buckets for held in counted)
                assert found <= limit, f"too many executions of {bucket} in a {window}"

    def _counts(self, held, seconds):
        """Whether an execution counts: a provisional one until it lapses, a confirmed one for the window."""
        return held.granted > self.now - seconds if held.counts else held.until > self.now


class SetBack(GateMachine):
    """The store's own clock is set back as well: then limits may be exceeded by what had lapsed, but nothing else."""

    @rule(seconds=st.sampled_from([0.5, 30, 400]))
    def the_clock_of_the_store_is_set_back(self, seconds):
        """Whoever was displaced meanwhile is displaced, whatever the time is."""
        holders = {
            held.target: name for name, held in self.book.items() if held.permit.token == self.tokens[held.target]
        }
        self.book = {
            name: held if holders.get(held.target) == name else replace(held, until=0)
            for name, held in self.book.items()
        }
        for rig in self.rigs:
            self._await(rig.advance(-seconds))

    def no_limit_on_what_runs_at_once_is_exceeded(self):
        """Not promised then."""

    def no_rate_is_exceeded(self):
        """Not promised then."""


STEPS = 20_000
LONG = bool(os.environ.get("LONG_TESTS"))


def _walk(machine: type[GateMachine], steps: int) -> None:
    """Try orders of events until there were so many steps in all."""
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    machine.steps = 0
    for start in count():
        run_state_machine_as_test(
            seed(start)(machine),
            settings=settings(
                max_examples=min(100, steps // 50),
                stateful_step_count=50,
                deadline=None,
                suppress_health_check=quiet,
                database=None,
            ),
        )
        if machine.steps >= steps:
            return


@pytest.mark.timeout(1200)
def test_twenty_thousand_steps_in_any_order_keep_the_promises_in_memory():
    """One holder a target, no limit exceeded at any moment, a no changes nothing, tokens grow, paused is paused."""
    _walk(GateMachine, STEPS)


def test_a_clock_of_the_store_that_is_set_back_shares_no_target():
    """One holder a target, a no changes nothing, tokens grow, a pause permits nothing."""
    _walk(SetBack, STEPS // 10)


@pytest.mark.timeout(3600 if LONG else 1200)
@pytest.mark.stack
def test_any_order_of_events_keeps_the_promises_on_redis(stack):
    """The same on Redis, answer by answer equal to the gate in memory."""

    class OnRedis(GateMachine):
        redis_url = stack.redis_url

    _walk(OnRedis, STEPS if LONG else STEPS // 20)
