"""Whatever happens in whatever order, the fake and the graph agree, and a target has one writer."""

from __future__ import annotations

import pytest
from fakes.graph_samples import incident, permitted, signal, step_run
from fakes.stores import memory_store, real_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executor.errors import Fenced
from executor.model import Outcome
from safety.ports import Claim

_EXECUTIONS = 2
_MOVES = st.one_of(
    st.tuples(st.just("claim"), st.integers(0, _EXECUTIONS - 1), st.sampled_from([0, 600])),
    st.tuples(st.just("adopt"), st.integers(0, _EXECUTIONS - 1), st.sampled_from([0, 600])),
    st.tuples(st.just("renew"), st.integers(0, _EXECUTIONS - 1), st.sampled_from([0, 600])),
    st.tuples(st.just("write"), st.integers(0, 7), st.just(0)),
    st.tuples(st.just("finish"), st.integers(0, 7), st.just(0)),
)


class World:
    """One target with two permits, and every claim that anybody ever got."""

    def __init__(self, store, runs) -> None:
        self.store = store
        self.runs = runs
        self.claims: list[Claim] = []

    async def move(self, what, which, lease):
        """Make a move; gives what can be compared."""
        if what in {"write", "finish"}:
            return await self._write(what, which)
        run = self.runs[which]
        if what == "renew":
            return [
                self.runs.index(r) for r in self.runs if r.id in await self.store.executions.renew("h", [run.id], lease)
            ]
        if what == "claim":
            answer = await self.store.permits.claim(run.id, run.plan.hash, "h", lease)
        else:
            answer = await self.store.permits.adopt(run.id, "h", lease)
        if isinstance(answer, Claim):
            assert all(answer.epoch > earlier.epoch for earlier in self.claims)
            self.claims.append(answer)
            return answer.epoch
        return answer.partition(" by execution")[0]

    async def _write(self, what, which):
        if not self.claims:
            return "nobody"
        claim = self.claims[which % len(self.claims)]
        try:
            if what == "write":
                await self.store.journal.intend(claim.execution_id, claim.epoch, step_run(claim.execution_id))
            else:
                await self.store.journal.finish(claim.execution_id, claim.epoch, Outcome.SUCCESS, None)
        except Fenced:
            return "fenced"
        if what == "write":
            assert claim == self.claims[-1], "only the newest holder of a target writes (invariant 4)"
        return "done"


async def _world(store):
    problem = incident(signal())
    written = [permitted(of=problem, token=1000 * (n + 1), seconds=600) for n in range(_EXECUTIONS)]
    await store.ledger.record(written)
    return World(store, [one.execution for one in written])


@settings(max_examples=150, deadline=None)
@given(moves=st.lists(_MOVES, max_size=15))
async def test_only_the_newest_holder_of_a_target_writes(moves):
    """Epochs only grow, and an older holder is fenced (invariant 4), in memory."""
    world = await _world(memory_store())
    for move in moves:
        await world.move(*move)


@pytest.fixture(scope="module")
async def store(stack):
    async with real_store(stack) as real:
        yield real


@pytest.mark.stack
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(_MOVES, max_size=12))
async def test_the_fake_and_the_graph_agree_on_who_holds_a_target(store, moves):
    """Every move has the same answer in memory and in Neo4j, so tests on the fake say something."""
    fake, real = await _world(memory_store()), await _world(store)
    for move in moves:
        assert await fake.move(*move) == await real.move(*move)
