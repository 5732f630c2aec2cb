"""The keeper of rungs: moves what executions prove, once, and knows nothing before it has read."""

from datetime import timedelta

import pytest
from fakes.actions import RecordingHooks, VirtualClock
from fakes.autonomy import MemoryAutonomy

from safety.autonomy import Climber, Ended, Ladder, Result, Rung, Threshold
from services.autonomy.keeper import AutonomyKeeper

WHO = Climber("acme", "raise-memory", "Deployment")
LADDER = Ladder(
    thresholds={Rung.SUGGEST: Threshold(1, 0.05), Rung.APPROVE: Threshold(3, 0.3), Rung.AUTO: Threshold(5, 0.5)}
)


class World:
    """A store, its clock, and processes that look after it."""

    def __init__(self):
        self.clock = VirtualClock()
        self.store = MemoryAutonomy(self.clock)
        self.hooks = RecordingHooks()

    def keeper(self):
        return AutonomyKeeper(self.store, LADDER, self.clock, self.hooks)

    def ended(self, *results):
        for result in results:
            self.clock.passed += 1
            number = f"e{len(self.store.ended)}"
            self.store.ended.append((WHO, Ended(number, self.clock.now(), result)))


async def test_nobody_stands_anywhere_before_the_rungs_were_read():
    """An unread rung is unknown, also when a store that is away makes the first look fail."""
    world = World()
    keeper = world.keeper()
    assert keeper.standing(WHO) is None
    world.store.broken = ConnectionError("away")
    with pytest.raises(ConnectionError):
        await keeper.sweep()
    assert keeper.standing(WHO) is None


async def test_a_runbook_without_record_stands_where_it_begins():
    """Missing evidence is the configured first rung."""
    keeper = World().keeper()
    await keeper.sweep()
    assert keeper.standing(WHO).rung is Rung.APPROVE


async def test_what_executions_prove_moves_up_and_down_and_every_process_follows():
    """Enough verified fixes promote, the next failure demotes at the next look; each move is recorded once."""
    world = World()
    one, other = world.keeper(), world.keeper()
    for keeper in (one, other):
        await keeper.sweep()
    world.ended(*[Result.VERIFIED] * 5)
    for keeper in (one, other):
        await keeper.sweep()
        assert keeper.standing(WHO).rung is Rung.AUTO
    world.ended(Result.ROLLED_BACK)
    for keeper in (other, one, other):
        await keeper.sweep()
        assert keeper.standing(WHO).rung is Rung.APPROVE
    moves = await world.store.history([WHO])
    assert [(made.before, made.after) for made in moves] == [(Rung.AUTO, Rung.APPROVE), (Rung.APPROVE, Rung.AUTO)]
    assert "rolled_back by execution e5" in moves[0].reason


async def test_what_is_known_stays_while_the_store_is_away():
    """A graph that does not answer changes nobody's rung."""
    world = World()
    keeper = world.keeper()
    world.ended(*[Result.VERIFIED] * 5)
    await keeper.sweep()
    world.store.broken = ConnectionError("away")
    with pytest.raises(ConnectionError):
        await keeper.sweep()
    assert keeper.standing(WHO).rung is Rung.AUTO


async def test_a_process_that_starts_later_stands_by_the_record():
    """Restarting neither promotes nor demotes: the record says what was judged already."""
    world = World()
    keeper = world.keeper()
    await keeper.sweep()
    world.ended(*[Result.VERIFIED] * 9)
    await keeper.sweep()
    world.ended(Result.NOT_FIXED)
    await keeper.sweep()
    later = world.keeper()
    await later.sweep()
    assert later.standing(WHO).rung is Rung.APPROVE
    assert len(await world.store.history([WHO])) == 2


async def test_evidence_outside_the_window_is_forgotten():
    """What is older than the window neither promotes nor keeps memory busy."""
    world = World()
    keeper = world.keeper()
    world.ended(*[Result.VERIFIED] * 4)
    await keeper.sweep()
    world.clock.passed += timedelta(days=40).total_seconds()
    world.ended(Result.VERIFIED)
    await keeper.sweep()
    assert keeper.standing(WHO).rung is Rung.APPROVE
