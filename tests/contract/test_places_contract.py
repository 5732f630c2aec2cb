"""What every memory of where questions stand does; the same suite runs on the one in memory and on Neo4j."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from fakes.memory_approvals import MemoryApprovalStore
from fakes.memory_places import MemoryPlaces

from safety.approvals import Verb, ask
from services.approvals.surface import Shown, Spot

SPOT = Spot("C1", "1.5", "1.0")


@pytest.fixture
async def memory():
    approvals = MemoryApprovalStore()
    places = MemoryPlaces(approvals, lambda: asyncio.get_running_loop().time())

    async def move(execution, state, *, ended=False):
        places.states[execution] = (state, ended)

    async def execution(number):
        return None

    return SimpleNamespace(places=places, approvals=approvals, move=move, execution=execution, surface="here")


@pytest.fixture
async def neo4j(stack):
    """On a cluster of its own: others may be asked in the same database."""
    from services.graph.approvals import Neo4jApprovalStore  # noqa: PLC0415 - only where the server is wanted
    from services.graph.connect import GraphSettings, connect  # noqa: PLC0415 - as above
    from services.graph.migrate import migrate  # noqa: PLC0415 - as above
    from services.graph.places import Neo4jPlaces  # noqa: PLC0415 - as above

    graph = connect(GraphSettings(stack.neo4j_uri, stack.neo4j_user, stack.neo4j_password))
    await migrate(graph)
    cluster = f"places-{uuid4().hex[:8]}"

    async def execution(number):
        await graph.driver.execute_query(
            "CREATE (:RunbookExecution {id: $id, status: 'waiting_approval', target_key: $key})",
            {"id": number, "key": f"{cluster}/ns/Deployment/app"},
        )

    async def move(number, state, *, ended=False):
        status = "done" if ended else state
        await graph.driver.execute_query(
            "MATCH (e:RunbookExecution {id: $id}) SET e.status = $status", {"id": number, "status": status}
        )

    yield SimpleNamespace(
        places=Neo4jPlaces(graph, cluster),
        approvals=Neo4jApprovalStore(graph),
        move=move,
        execution=execution,
        surface="here",
    )
    await graph.driver.execute_query(
        """
        MATCH (e:RunbookExecution) WHERE e.target_key STARTS WITH $name
        OPTIONAL MATCH (a:Approval {execution_id: e.id}) OPTIONAL MATCH (a)-[:ASKED_AT]->(p)
        DETACH DELETE e, a, p
        """,
        {"name": cluster},
    )
    await graph.close()


@pytest.fixture(params=["memory", pytest.param("neo4j", marks=pytest.mark.stack)])
def kept(request):
    return request.getfixturevalue(request.param)


async def asked(kept, incident="i-1", minutes=30):
    """A question that is open."""
    execution, now, timeout = f"e-{uuid4()}", datetime.now(UTC), timedelta(minutes=minutes)
    await kept.execution(execution)
    made = ask(execution, f"{incident}-{kept.surface}", "hash", ("careful",), now=now, timeout=timeout)
    return await kept.approvals.request(made)


async def put(kept, approval, spot=SPOT):
    assert await kept.places.claim(kept.surface, approval, "me", 60)
    await kept.places.asked(kept.surface, approval, "me", spot, "pending/0")


async def test_an_open_question_is_found_until_it_was_asked(kept):
    """What could not be put anywhere stays to be asked; what stands somewhere is not asked again."""
    approval = await asked(kept)
    assert [one.id for one in await kept.places.unasked(kept.surface, 10)] == [approval.id]
    await put(kept, approval)
    assert await kept.places.unasked(kept.surface, 10) == []
    (standing,) = await kept.places.standing(kept.surface, 10)
    assert (standing.approval, standing.spot, standing.shown) == (approval, SPOT, "pending/0")


async def test_each_surface_is_asked_for_itself(kept):
    """A question that stands on one surface is still to be asked on another."""
    approval = await asked(kept)
    await put(kept, approval)
    assert [one.id for one in await kept.places.unasked("elsewhere", 10)] == [approval.id]
    assert await kept.places.standing("elsewhere", 10) == []


async def test_of_many_processes_one_may_write(kept):
    """Ten claim a question in the same moment: one gets it, and it is hidden from the others meanwhile."""
    approval = await asked(kept)
    got = await asyncio.gather(*(kept.places.claim(kept.surface, approval, f"p{n}", 60) for n in range(10)))
    assert got.count(True) == 1
    assert await kept.places.unasked(kept.surface, 10) == []


async def test_a_claim_that_ran_out_goes_to_the_next(kept):
    """A process that died in the middle keeps nobody from asking, and can write nothing any more."""
    approval = await asked(kept)
    assert await kept.places.claim(kept.surface, approval, "dead", -1)
    assert await kept.places.claim(kept.surface, approval, "next", 60)
    await kept.places.asked(kept.surface, approval, "dead", Spot("C9", "9.9"), "pending/0")
    assert await kept.places.standing(kept.surface, 10) == []
    await kept.places.asked(kept.surface, approval, "next", SPOT, "pending/0")
    (standing,) = await kept.places.standing(kept.surface, 10)
    assert standing.spot == SPOT


async def test_what_is_told_is_remembered_until_it_is_over(kept):
    """A restart goes on where the messages stand, and finds nothing more of what is over."""
    approval = await asked(kept)
    await put(kept, approval)
    assert await kept.places.claim(kept.surface, approval, "other", 60)
    await kept.places.showed(kept.surface, approval, "other", Shown("approved/1", told="2.5", told_state="running"))
    (standing,) = await kept.places.standing(kept.surface, 10)
    assert (standing.shown, standing.told, standing.told_state) == ("approved/1", "2.5", "running")
    assert await kept.places.claim(kept.surface, approval, "me", 60)
    await kept.places.showed(kept.surface, approval, "me", Shown(over=True))
    assert await kept.places.standing(kept.surface, 10) == []
    assert await kept.places.unasked(kept.surface, 10) == []


async def test_a_standing_question_tells_its_answer_and_how_its_execution_stands(kept):
    """Whatever changes is seen by whoever looks: the answer, and each move of the execution."""
    approval = await asked(kept)
    await put(kept, approval)
    (before,) = await kept.places.standing(kept.surface, 10)
    await kept.approvals.answer(
        approval.id, Verb.APPROVE, by="ada", reason="", now=datetime.now(UTC), plan_hash=approval.plan_hash
    )
    await kept.move(approval.execution_id, "running")
    (after,) = await kept.places.standing(kept.surface, 10)
    assert (after.approval.status, after.approval.answered_by) == ("approved", "ada")
    assert after.state != before.state
    assert not after.ended
    await kept.move(approval.execution_id, "done", ended=True)
    (done,) = await kept.places.standing(kept.surface, 10)
    assert done.ended


async def test_the_first_message_of_an_incident_is_its_root(kept):
    """Later questions of the same incident find the thread, those of others do not."""
    first, second = await asked(kept, "i-7"), await asked(kept, "i-7")
    assert await kept.places.root(kept.surface, first.incident_id) is None
    await put(kept, first, Spot("C1", "1.1"))
    await put(kept, second, Spot("C1", "2.2", "1.1"))
    assert await kept.places.root(kept.surface, first.incident_id) == Spot("C1", "1.1")
    assert await kept.places.root(kept.surface, "another") is None


async def test_a_question_whose_time_is_over_is_not_asked_any_more(kept):
    """Nobody is asked what cannot be answered."""
    if isinstance(kept.places, MemoryPlaces):
        approval = await asked(kept)
        await kept.approvals.answer(
            approval.id, Verb.EXPIRE, by="x", reason="late", now=approval.expires_at, plan_hash=approval.plan_hash
        )
    else:
        await asked(kept, minutes=-1)
    assert await kept.places.unasked(kept.surface, 10) == []
