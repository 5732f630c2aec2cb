"""Neo4j refuses for a moment: a real deadlock, and answers of a cluster that has just chosen another leader."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from fakes.served import until
from neo4j import AsyncGraphDatabase

from services.graph.connect import GraphSettings, connect

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

IN_ORDER = """
UNWIND $order AS place
CALL (place) { MATCH (n:FaultProbe {id: $id, place: place}) SET n.times = n.times + 1 RETURN n }
RETURN count(n) AS written
"""
HOLD = "MATCH (n:FaultProbe {id: $id, place: $place}) SET n.held = true RETURN n.place AS place"
TIMES = "MATCH (n:FaultProbe {id: $id}) RETURN n.place AS place, n.times AS times ORDER BY place"
MORE = range(4, 21)
"""The server ends the transaction that holds less."""
ROUNDS = 5
"""The last word is the server's."""


@pytest.fixture
async def servers(stack):
    """Our graph, a driver that tries nothing again, and some nodes."""
    settings = GraphSettings(stack.neo4j_uri, stack.neo4j_user, stack.neo4j_password, retry_seconds=60)
    graph, number = connect(settings), uuid4().hex
    driver = AsyncGraphDatabase.driver(stack.neo4j_uri, auth=(stack.neo4j_user, stack.neo4j_password))
    await driver.execute_query(
        "UNWIND range(1, 20) AS place CREATE (:FaultProbe {id: $id, place: place, times: 0})", id=number
    )
    yield graph, driver, number
    await driver.execute_query("MATCH (n:FaultProbe {id: $id}) DETACH DELETE n", id=number)
    await driver.close()
    await graph.close()


async def entangled(graph, driver, number):
    """A write of ours against a transaction that takes the same nodes the other way round; whether we were refused."""
    async with driver.session() as one, driver.session() as two:
        gate = await one.begin_transaction()
        await held(gate, number, 3)
        ours = asyncio.create_task(graph.run_repeatable(IN_ORDER, {"id": number, "order": [1, 3, 2]}))
        await blocked(driver, number, 1)
        other = await two.begin_transaction()
        for place in (2, *MORE):
            await held(other, number, place)
        asked = asyncio.create_task(held(other, number, 1))
        await blocked(driver, number, 2)
        # Ours holds the first node, for which the other waits, and comes now to the second one: the circle is closed.
        await gate.commit()
        (ended,) = await asyncio.gather(asked, return_exceptions=True)
        if ended is None:
            await other.commit()
        else:
            assert ended.code == "Neo.TransientError.Transaction.DeadlockDetected"
            await other.close()
        async with asyncio.timeout(120):
            assert await ours == [{"written": 3}]
        return ended is None


async def held(transaction, number, place):
    """Take the lock of a node."""
    await (await transaction.run(HOLD, id=number, place=place)).consume()


async def blocked(driver, number, wanted):
    """Return when so many transactions wait for a lock."""
    question = (
        "SHOW TRANSACTIONS YIELD status, parameters WHERE status STARTS WITH 'Blocked' "
        "AND parameters.id = $id RETURN count(*) AS waiting"
    )

    async def waiting():
        return (await driver.execute_query(question, id=number)).records[0]["waiting"] >= wanted

    await until(waiting, f"{wanted} wait for a lock", 120)


async def test_a_write_that_is_refused_for_a_deadlock_is_done_once_all_the_same(servers):
    """The server ends our transaction in a real deadlock: it is tried again, and what it writes is there once."""
    graph, driver, number = servers
    refused, rounds = False, 0
    while not refused:
        assert rounds < ROUNDS, "the server never chose us"
        refused = await entangled(graph, driver, number)
        rounds += 1
    rows = (await driver.execute_query(TIMES, id=number)).records
    assert [row["times"] for row in rows if row["place"] not in MORE] == [rounds] * 3


async def test_many_writers_that_entangle_each_other_each_write_once(servers):
    """Sixteen of our writes in both orders at once: every one is done, and none twice."""
    graph, driver, number = servers
    orders = [[1, 2], [2, 1]] * 8
    async with asyncio.timeout(200):
        await asyncio.gather(*(graph.run_repeatable(IN_ORDER, {"id": number, "order": order}) for order in orders))
    rows = (await driver.execute_query(TIMES, id=number)).records
    assert [row["times"] for row in rows if row["place"] not in MORE] == [16, 16, 0]
