"""The gate under any order of events: workers ask, crash, confirm, renew, release, cancel, pause, and time passes.

Whatever happens, an independent book of who holds what is kept and compared. The same orders run on the gate in memory
and on Redis, and both have to answer alike.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest
from fakes.gate_rigs import LIMITS, MemoryRig, RedisRig, approval, request
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from safety.model import Permit
from safety.policy import PolicySettings

SETTINGS = PolicySettings(
    max_executions_per_hour_total=3,
    provisional_ttl_seconds=60,
    permit_ttl_seconds=120,
    lock_lease_seconds=300,
    rate_window_seconds=3600,
)
RUNBOOK_LIMIT = 2
CONCURRENT = 1
TARGETS = ("prod/shop/Deployment/cart", "prod/shop/Deployment/api", "edge/shop/Deployment/cart")
executions = st.integers(0, 11)
workers = st.integers(0, 1)


@dataclass(frozen=True)
class Held:
    """One line of the book: an execution with its target, until when it holds it, and until when it counts."""

    target: tuple[str, str]
    rates: tuple[tuple[str, ...], ...]
    permit: Permit
    until: float
    counts_until: float
    confirmed: bool = False
    over: bool = False
    came_back: bool = False
    """Its lock had run out, and was taken again: what runs already is not stopped for a limit."""


class GateMachine(RuleBasedStateMachine):
    """Asks every gate the same and keeps the book."""

    redis_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.rigs = [MemoryRig(SETTINGS)]
        if self.redis_url:
            real = RedisRig(self.redis_url, SETTINGS)
            self.rigs[0].clock.moment = real.clock.moment
            self.rigs.append(self._await(real.start()))
        self.gates = [(rig.gate, rig.another()) for rig in self.rigs]
        self.book: dict[str, Held] = {}
        self.tokens: dict[tuple[str, str], int] = {}
        self.paused = False

    def _await(self, waiting):
        return self.loop.run_until_complete(waiting)

    def teardown(self) -> None:
        for rig in self.rigs:
            self._await(rig.close())
        self.loop.close()

    @property
    def now(self) -> float:
        return self.rigs[0].clock.now().timestamp()

    def _request(self, number: int, plan: str = "hash-1", **changes):
        """Each execution has its own place; targets, runbooks and tenants are shared between them."""
        return request(
            f"e{number}",
            TARGETS[number % 3],
            tenant=("acme", "globex")[number % 2],
            runbook_id=f"r{number // 6}",
            plan_hash=plan,
            limits=replace(
                LIMITS,
                max_executions_per_hour=RUNBOOK_LIMIT,
                max_concurrent=CONCURRENT,
                ask_again_after=1 if number % 4 == 0 else None,
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
        rates = (("runbook", asked.tenant, asked.runbook_id), ("cluster", asked.tenant, asked.cluster))
        counted = self.book.get(asked.execution_id)
        counts = max(self.now + 60, counted.counts_until if counted else 0)
        self.book[asked.execution_id] = Held(target, rates, answer, self.now + 60, counts)

    def _known(self, number):
        return f"e{number}", TARGETS[number % 3], self.book.get(f"e{number}")

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
            token_time = held.permit.expires_at.timestamp() - 120
            counts, until = token_time + 3600, held.permit.expires_at.timestamp() + 300
            self.book[name] = replace(held, confirmed=True, until=until, counts_until=counts)

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

    @rule(seconds=st.sampled_from([0.001, 1, 59.999, 60, 300, 420, 1800, 3600]))
    def time_passes(self, seconds):
        for rig in self.rigs:
            self._await(rig.advance(seconds))

    @rule(worker=workers, on=st.booleans())
    def switch_pause(self, worker, on):
        self._same(worker, lambda gate: gate.pause("ada", "stop") if on else gate.resume("ada"))
        self.paused = on
        assert (self._same(1 - worker, lambda gate: gate.paused()) is not None) == on

    @invariant()
    def nobody_shares_a_target(self):
        holders = [held.target for held in self.book.values() if not held.over and held.until > self.now]
        assert len(holders) == len(set(holders)), "two executions hold one target"

    @invariant()
    def no_runbook_runs_more_often_at_once_than_it_may(self):
        alive = [held for held in self.book.values() if not held.over and held.until > self.now]
        running = [held.rates[0] for held in alive if not held.came_back]
        for runbook in set(running):
            assert running.count(runbook) <= CONCURRENT, f"too many of {runbook} at the same time"

    @invariant()
    def no_rate_is_exceeded(self):
        counted = [held for held in self.book.values() if held.counts_until > self.now]
        for rate in {rate for held in counted for rate in held.rates}:
            limit = RUNBOOK_LIMIT if rate[0] == "runbook" else SETTINGS.max_executions_per_hour_total
            assert sum(rate in held.rates for held in counted) <= limit, f"too many executions of {rate}"


def _run(examples: int) -> settings:
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    return settings(max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=quiet)


def test_any_order_of_events_keeps_the_promises_in_memory():
    """One holder a target, rates kept, a no changes nothing, tokens grow: in any order of events."""
    run_state_machine_as_test(GateMachine, settings=_run(150))


@pytest.mark.stack
def test_any_order_of_events_keeps_the_promises_on_redis(stack):
    """The same on Redis, answer by answer equal to the gate in memory."""

    class OnRedis(GateMachine):
        redis_url = stack.redis_url

    run_state_machine_as_test(OnRedis, settings=_run(60))
