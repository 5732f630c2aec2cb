"""Schema, queries and connection on a real Neo4j."""

from __future__ import annotations

import asyncio

import pytest
from fakes.graph_samples import permitted
from fakes.stores import graph_store, real_store

from cypher import loader
from services.audit.trail import Neo4jTrail
from services.graph import migrate as migrations
from services.graph.connect import GraphSettings, connect, verify
from services.graph.errors import GraphRejected, GraphUnavailable, SchemaTooNew
from services.graph.migrate import migrate, pending
from services.graph.permits import CLAIMED

pytestmark = pytest.mark.stack

_SCANS_ALLOWED = {"schema_versions", "backup_nodes", "backup_relationships"}
"""A label with a handful of nodes; what reads all of a label."""
_FILLED_IN = {"backup_nodes", "backup_relationships", "restore_nodes", "restore_relationships"}
"""The loader puts a label into these first."""


@pytest.fixture(scope="module")
async def store(stack):
    async with real_store(stack) as real:
        yield real


def _operators(plan):
    yield plan["operatorType"].split("@")[0]
    for child in plan.get("children", []):
        yield from _operators(child)


async def _explain(store, text, parameters=()):
    async with store.graph.driver.session(database="neo4j") as session:
        result = await session.run(f"EXPLAIN {text}", dict.fromkeys(parameters))
        return set(_operators((await result.consume()).plan))


@pytest.mark.parametrize("name", [name for name in loader.query_names() if name not in _FILLED_IN])
async def test_every_query_is_understood_and_scans_no_label(store, name):
    """Cost must not grow with history: each look-up has its index."""
    text = loader.query(name)
    if name == "schema_prepare":
        await store.graph.schema(text)
        return
    await _understood(store, name, text)


@pytest.mark.parametrize("label", sorted(loader.ours()))
async def test_every_query_is_understood_with_every_label_that_is_put_into_it(store, label):
    """A backup reads whole labels; putting it back looks up each node by an index."""
    for name in sorted(_FILLED_IN - {"restore_relationships"}):
        await _understood(store, name, loader.labelled(name, label))
    for other in sorted({**loader.ours(), **loader.FOREIGN}):
        await _understood(store, "restore_relationships", loader.tied(label, "TELLS_OF", other))
        if other in loader.ours():
            await _understood(store, "restore_relationships", loader.tied(other, "TELLS_OF", label))


async def _understood(store, name, text):
    found = await _explain(store, text, [word[1:] for word in text.replace("(", " ").split() if word.startswith("$")])
    scans = {operator for operator in found if operator in {"NodeByLabelScan", "AllNodesScan"}}
    assert not scans or name in _SCANS_ALLOWED


@pytest.mark.parametrize("name", [query.name for query in loader.audit_queries()])
async def test_every_audit_query_runs_as_it_is(store, name):
    """What is in the file goes into Neo4j Browser without a change."""
    (query,) = [query for query in loader.audit_queries() if query.name == name]
    await store.ledger.record([permitted()])
    await store.graph.driver.execute_query(query.text, database_="neo4j")


async def test_two_processes_may_migrate_at_once(store):
    """Replicas start together; a schema that is there already is left alone."""
    assert await asyncio.gather(migrate(store.graph), migrate(store.graph)) == [(), ()]
    assert await pending(store.graph) == ()


async def test_a_newer_schema_is_refused(store, monkeypatch):
    """An old release must not write into what it does not know."""
    monkeypatch.setattr(migrations, "migrations", lambda: ())
    with pytest.raises(SchemaTooNew, match="at schema"):
        await pending(store.graph)


async def test_the_server_says_who_it_is(store):
    """For the doctor and the health check."""
    assert (await verify(store.graph)).startswith("Neo4j/5")


async def test_a_server_that_is_away_is_unavailable(stack):
    """Worth retrying: the loop waits where it is."""
    away = connect(GraphSettings("bolt://127.0.0.1:1", password="x", connect_seconds=0.5, retry_seconds=0.2))
    store = graph_store(away)
    try:
        with pytest.raises(GraphUnavailable):
            await store.ledger.open_incidents(["f"])
        with pytest.raises(GraphUnavailable):
            await store.journal.advance("e", 1, "running")
    finally:
        await store.close()


async def test_wrong_credentials_are_rejected(stack):
    """Retrying would not help, and could lock the account."""
    wrong = connect(GraphSettings(stack.neo4j_uri, "nobody", "wrong-password", database="neo4j"))
    try:
        with pytest.raises(GraphRejected):
            await verify(wrong)
    finally:
        await wrong.close()


async def test_a_row_that_the_server_refuses_fails_alone(store):
    """One execution with an impossible fact does not take the others' writes down with it."""
    runs = [permitted() for _ in range(3)]
    await store.ledger.record(runs)
    claims = [await store.permits.claim(one.execution.id, one.execution.plan.hash, "h", 30) for one in runs]
    answers = await asyncio.gather(
        *(
            store.journal.advance(one.execution.id, claim.epoch, "verifying", note={"a": {}} if n == 1 else "fine")
            for n, (one, claim) in enumerate(zip(runs, claims, strict=True))
        ),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [type(None), GraphRejected, type(None)]


async def test_a_cancelled_writer_does_not_take_others_with_it(store):
    """A step that times out leaves the rest of the batch alone."""
    runs = [permitted() for _ in range(4)]
    await store.ledger.record(runs)
    claims = [await store.permits.claim(one.execution.id, one.execution.plan.hash, "h", 30) for one in runs]
    writes = [
        asyncio.create_task(store.journal.advance(one.execution.id, claim.epoch, "verifying"))
        for one, claim in zip(runs, claims, strict=True)
    ]
    await asyncio.sleep(0)
    writes[0].cancel()
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(answer) for answer in answers[1:]] == [type(None)] * 3


async def test_a_claim_that_is_sent_again_is_answered_the_same(store):
    """Its answer was lost on the way; another call of the same holder is still told that it comes too late."""
    (run,) = [permitted()]
    await store.ledger.record([run])
    call = {"execution_id": run.execution.id, "plan_hash": run.execution.plan.hash, "holder": "h", "lease_ms": 30_000}
    trail = Neo4jTrail(store.graph)

    async def claim(number):
        parameters = {"rows": [{"n": 0, **call, "claim_id": number}], "expected": 1}
        return await trail.guarded(["permit_claim"], parameters, {}, CLAIMED, apart=True)

    first = await claim("one")
    assert first[0]["refusal"] is None
    assert await claim("one") == first
    assert (await claim("two"))[0]["refusal"] == "it is running already"
