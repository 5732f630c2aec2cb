"""What is encrypted in the real graph: nobody reads it there, the executor gets it back, and keys can be changed."""

from __future__ import annotations

import os

import pytest
from fakes.graph_samples import execution, incident, permitted, signal, step_run
from fakes.stores import real_store

from services.graph.recorded import RecordedHistory
from services.graph.sealed import rewrap
from services.masking import Masker
from services.sealing import KeyRing, Sealer, SealError, Unkept
from services.testing.unsealing import unsealed

pytestmark = pytest.mark.stack

PASSWORD = "hunter2-in-the-old-deployment"
DSN = f"postgres://app:{PASSWORD}@db/shop"
OLD, NEW = os.urandom(32), os.urandom(32)


@pytest.fixture(scope="module")
async def store(stack):
    async with real_store(stack) as real:
        yield real


@pytest.fixture
def sealing(monkeypatch):
    made = Sealer(Masker())
    made.ring = KeyRing("old", {"old": OLD})
    monkeypatch.setattr("services.graph.execution_rows.sealer", made)
    return made


async def sealed(store):
    """An execution whose plan and prior state hold a password."""
    problem = incident(signal())
    record = execution(problem)
    plan = record.plan.model_copy(update={"context": {**record.plan.context, "dsn": DSN}})
    made = permitted(of=problem, execution=record.model_copy(update={"plan": plan}))
    await store.ledger.record([made])
    claim = await store.permits.claim(record.id, plan.hash, "h", 30)
    await store.journal.intend(record.id, claim.epoch, step_run(record.id, 0, before={"dsn": DSN}))
    return made.execution


async def in_graph(store, record):
    found = await store.graph.driver.execute_query(
        "MATCH (e:RunbookExecution {id: $id})-[:STEP]->(s) RETURN properties(e) AS e, properties(s) AS s", id=record.id
    )
    return found.records[0].data()


async def test_the_graph_holds_no_password_and_the_executor_gets_it_back(store, sealing):
    """A process that takes over undoes with what was there, not with stars."""
    record = await sealed(store)
    assert PASSWORD not in repr(await in_graph(store, record))
    loaded = await store.journal.load(record.id)
    assert loaded.plan == record.plan
    assert loaded.steps[0].before == {"dsn": DSN}
    sealing.ring = None
    with pytest.raises(SealError, match=r"secrets\.encryption"):
        await store.journal.load(record.id)


async def test_a_recorded_execution_is_opened_with_the_key_only(store, sealing):
    """What is exported and shown stays masked; a replay by who has the key sees what was."""
    record = await sealed(store)
    ((told,),) = [one["executions"] for one in await RecordedHistory(store.graph, "test:").of_execution(record.id)]
    assert PASSWORD not in repr(told)
    whole = unsealed(told, sealing.ring)
    assert whole["plan"]["context"]["dsn"] == DSN
    assert whole["steps"][0]["before"] == {"dsn": DSN}


async def test_after_rotate_key_the_old_key_can_go(store, sealing):
    """Until then it is still read; what another installation's key encrypted is told of, and left alone."""
    record, foreign = await sealed(store), await sealed(store)
    await store.graph.driver.execute_query(
        "MATCH (e:RunbookExecution {id: $id}) SET e.plan_sealed = $sealed, e.sealed_with = 'lost'",
        id=foreign.id,
        sealed=KeyRing("lost", {"lost": os.urandom(32)}).seal("{}", f"plan of {foreign.id}"),
    )
    sealing.ring = both = KeyRing("new", {"old": OLD, "new": NEW})
    assert (await store.journal.load(record.id)).plan == record.plan
    result = await rewrap(store.graph, both)
    assert result.changed >= 2
    assert any(foreign.id in problem and "'lost'" in problem for problem in result.problems)
    sealing.ring = KeyRing("new", {"new": NEW})
    loaded = await store.journal.load(record.id)
    assert (loaded.plan, loaded.steps[0].before) == (record.plan, {"dsn": DSN})
    assert (await rewrap(store.graph, both)).changed == 0


async def test_a_changed_envelope_is_an_error_and_never_a_plan(store, sealing):
    """Whoever can write to the graph cannot choose what is written to the cluster."""
    record, other = await sealed(store), await sealed(store)
    await store.graph.driver.execute_query(
        "MATCH (a:RunbookExecution {id: $a}), (b:RunbookExecution {id: $b}) SET a.plan_sealed = b.plan_sealed",
        a=record.id,
        b=other.id,
    )
    with pytest.raises(SealError, match=record.id):
        await store.journal.load(record.id)


async def test_without_a_key_the_graph_never_holds_a_secret(store, monkeypatch):
    """Neither the plan nor a prior state; the step's intent is refused, and nothing of it is written."""
    monkeypatch.setattr("services.graph.execution_rows.sealer", Sealer(Masker()))
    problem = incident(signal())
    record = execution(problem)
    made = permitted(of=problem, execution=record)
    await store.ledger.record([made])
    claim = await store.permits.claim(record.id, record.plan.hash, "h", 30)
    with pytest.raises(Unkept, match=r"secrets\.encryption"):
        await store.journal.intend(record.id, claim.epoch, step_run(record.id, 0, before={"dsn": DSN}))
    assert (await store.journal.load(record.id)).steps == ()
    await store.journal.intend(record.id, claim.epoch, step_run(record.id, 0, before={"replicas": 3}))
    assert (await store.journal.load(record.id)).steps[0].before == {"replicas": 3}

    other = incident(signal())
    second = execution(other)
    plan = second.plan.model_copy(update={"context": {**second.plan.context, "dsn": DSN}})
    await store.ledger.record([permitted(of=other, execution=second.model_copy(update={"plan": plan}))])
    found = await store.graph.driver.execute_query(
        "MATCH (e:RunbookExecution {id: $id}) RETURN properties(e) AS e", id=second.id
    )
    assert PASSWORD not in repr(found.records[0].data())
    with pytest.raises(SealError, match="stored without it"):
        await store.journal.load(second.id)
