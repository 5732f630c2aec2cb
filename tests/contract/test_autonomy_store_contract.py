"""What every store of rungs does; the same suite runs on the one in memory and on Neo4j."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from fakes.actions import VirtualClock
from fakes.autonomy import MemoryAutonomy

from safety.autonomy import Climber, Declined, Ended, Ladder, Move, Result, Rung, Standing, by_person, next_move

NOW = datetime.now(UTC).replace(microsecond=0)
LADDER = Ladder()


@pytest.fixture
async def memory():
    store = MemoryAutonomy(VirtualClock())

    async def ran(climber, *results):
        for number, result in enumerate(results):
            store.ended.append((climber, Ended(f"{climber.tenant}-{number}", _at(number), result)))

    return store, ran


@pytest.fixture
async def neo4j(stack):
    from services.graph.autonomy import Neo4jAutonomy  # noqa: PLC0415 - only where the server is wanted
    from services.graph.connect import GraphSettings, connect  # noqa: PLC0415 - as above
    from services.graph.migrate import migrate  # noqa: PLC0415 - as above

    graph = connect(GraphSettings(stack.neo4j_uri, stack.neo4j_user, stack.neo4j_password))
    await migrate(graph)

    async def ran(climber, *results):
        rows = [
            {
                "id": f"{climber.tenant}-{number}",
                "tenant": climber.tenant,
                "runbook_id": climber.runbook,
                "target_key": f"here/shop/{climber.kind}/app",
                "status": "done",
                "started_at": _at(number),
                "finished_at": _at(number),
                **WORDS[result],
            }
            for number, result in enumerate(results)
        ]
        await graph.driver.execute_query(
            "UNWIND $rows AS row CREATE (e:RunbookExecution) SET e = row, "
            "e.finished_at = datetime({epochSeconds: row.finished_at.epochSeconds})",  # as the server says it
            {"rows": rows},
        )

    yield Neo4jAutonomy(graph, page=3), ran
    await graph.driver.execute_query(
        "MATCH (n:AutonomyStanding|AutonomyMove|RunbookExecution) WHERE n.tenant STARTS WITH 'rungs-' DETACH DELETE n"
    )
    await graph.close()


WORDS = {
    Result.VERIFIED: {"outcome": "success", "verdict": "verified"},
    Result.NOT_FIXED: {"outcome": "failure", "verdict": "not_fixed"},
    Result.FAILED: {"outcome": "failure", "verdict": None},
    Result.ROLLED_BACK: {"outcome": "rollback", "verdict": None},
    Result.UNCLEAR: {"outcome": "partial", "verdict": "verified"},
}


def _at(number):
    return NOW - timedelta(hours=5) + timedelta(minutes=number // 2)  # pairs end at the same moment


@pytest.fixture(params=["memory", pytest.param("neo4j", marks=pytest.mark.stack)])
def kept(request):
    """A store, and what makes executions end."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def climber():
    return Climber(f"rungs-{uuid4().hex[:8]}", "raise-memory", "Deployment")


def moved(climber, rung, standing=None, ended=()):
    """A person's move."""
    before = standing or Standing(Rung.APPROVE)
    move = by_person(climber, before, ended, LADDER, NOW, rung=rung, by="ada", reason=f"to {rung}", unproven=True)
    assert not isinstance(move, Declined)
    return move


async def mine(store, climber):
    """The standing of a climber, without the store's own time."""
    found = (await store.standings()).get(climber)
    return None if found is None else replace(found, since=None)


async def test_a_move_is_kept_with_its_history(kept, climber):
    """Who, why, when and on what evidence can be read afterwards, newest first."""
    store, _ = kept
    up = moved(climber, Rung.AUTO)
    assert await store.move(up)
    down = moved(climber, Rung.OBSERVE, up.standing)
    assert await store.move(down)
    assert await mine(store, climber) == down.standing
    history = await store.history([climber])
    assert [(one.before, one.after, one.by) for one in history] == [
        (Rung.AUTO, Rung.OBSERVE, "ada"),
        (Rung.APPROVE, Rung.AUTO, "ada"),
    ]
    assert "without enough evidence" in history[1].reason
    assert "0 of 0 verified" in history[1].evidence
    assert not await store.history([replace(climber, kind="Node")])


async def test_of_two_moves_at_once_one_counts(kept, climber):
    """A process that decided on what is no longer true records nothing."""
    store, _ = kept
    assert await store.move(moved(climber, Rung.AUTO))
    assert not await store.move(moved(climber, Rung.OBSERVE))
    found = await mine(store, climber)
    assert found is not None
    assert found.rung is Rung.AUTO
    assert len(await store.history([climber])) == 1


async def test_a_move_that_is_sent_again_meets_itself(kept, climber):
    """An answer that was lost does not make two moves of one."""
    store, _ = kept
    up = moved(climber, Rung.AUTO)
    assert await store.move(up)
    assert await store.move(up)
    assert len(await store.history([climber])) == 1


async def test_evidence_comes_whole_and_in_order(kept, climber):
    """Every result of an execution is read once, across pages and equal times, as what it says about the runbook."""
    store, ran = kept
    await ran(climber, *Result)
    found = [ended for who, ended in await store.evidence(NOW - timedelta(days=1)) if who == climber]
    assert [one.result for one in found] == list(Result)
    assert [one.at for one in found] == [_at(number) for number in range(len(Result))]
    later = [ended for who, ended in await store.evidence(_at(2)) if who == climber]
    assert [one.execution_id for one in later] == [f"{climber.tenant}-{number}" for number in range(2, len(Result))]


async def test_a_move_on_evidence_is_read_back_whole(kept, climber):
    """What a demotion notes of the evidence is what the next look goes by: it is not demoted twice."""
    store, ran = kept
    await ran(climber, Result.VERIFIED, Result.NOT_FIXED)
    ended = [one for who, one in await store.evidence(NOW - timedelta(days=1)) if who == climber]
    down = next_move(climber, Standing(Rung.AUTO), ended, LADDER, NOW)
    assert isinstance(down, Move)
    assert await store.move(down)
    standing = await mine(store, climber)
    assert standing == down.standing
    assert next_move(climber, standing, ended, LADDER, NOW) is None
