"""Answers handed over, what people were told, links that were used: the same suite in memory and on Neo4j."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from fakes.memory_notices import MemoryNotices, MemoryUsedLinks

from safety.approvals import Verb, ask
from safety.memory_approvals import MemoryApprovalStore
from services.approvals.delegations import Delegation, MemoryDelegations
from services.approvals.ports import Told

CLUSTER = f"contract-{uuid4().hex[:8]}"
TOLD = Told("escalation", "mail", ("ada",))


@pytest.fixture
async def memory():
    approvals = MemoryApprovalStore()
    return SimpleNamespace(
        approvals=approvals,
        notices=MemoryNotices(approvals, time.monotonic),
        links=MemoryUsedLinks(),
        delegations=MemoryDelegations(),
        audit=None,
    )


@pytest.fixture
async def neo4j(stack):
    """The stores in Neo4j; others use the same database."""
    from services.graph.approvals import Neo4jApprovalStore  # noqa: PLC0415 - only where the server is wanted
    from services.graph.connect import GraphSettings, connect  # noqa: PLC0415 - as above
    from services.graph.migrate import migrate  # noqa: PLC0415 - as above
    from services.graph.workflows import Neo4jDelegations, Neo4jNotices, Neo4jUsedLinks  # noqa: PLC0415 - as above

    graph = connect(GraphSettings(stack.neo4j_uri, stack.neo4j_user, stack.neo4j_password))
    await migrate(graph)

    async def audit(subject):
        query = "MATCH (e:AuditEntry {subject: $subject}) RETURN e.kind AS kind ORDER BY e.at, e.seq"
        found = await graph.driver.execute_query(query, subject=subject)
        return [row["kind"] for row in found.records]

    async def execution(number):
        await graph.driver.execute_query(
            "MERGE (e:RunbookExecution {id: $id}) SET e.target_key = $key, e.tenant = 'contract'",
            id=number,
            key=f"{CLUSTER}/n/Deployment/x",
        )

    yield SimpleNamespace(
        approvals=Neo4jApprovalStore(graph),
        notices=Neo4jNotices(graph, CLUSTER),
        links=Neo4jUsedLinks(graph),
        delegations=Neo4jDelegations(graph, f"{CLUSTER}:"),
        audit=audit,
        execution=execution,
    )
    for query in (
        """MATCH (e:RunbookExecution) WHERE e.target_key STARTS WITH $c
        OPTIONAL MATCH (a:Approval {execution_id: e.id}) OPTIONAL MATCH (n:ApprovalNotice {approval_id: a.id})
        DETACH DELETE n, a, e""",
        "MATCH (d:ApprovalDelegation) WHERE d.scope STARTS WITH $c DETACH DELETE d",
        "MATCH (l:ApprovalLink) WHERE l.id STARTS WITH $c DETACH DELETE l",
    ):
        await graph.driver.execute_query(query, c=CLUSTER)
    await graph.close()


@pytest.fixture(params=["memory", pytest.param("neo4j", marks=pytest.mark.stack)])
def stores(request):
    return request.getfixturevalue(request.param)


async def question(stores):
    now = datetime.now(UTC)
    number = f"e-{uuid4()}"
    if stores.audit:
        await stores.execution(number)
    made = ask(number, "contract-i", "hash-1", ["why"], now=now, timeout=timedelta(minutes=30))
    return await stores.approvals.request(made)


async def keys(stores, approval):
    return next((done for one, done in await stores.notices.open(datetime.now(UTC)) if one.id == approval.id), None)


async def test_of_many_processes_one_tells_and_never_again(stores):
    """Ten take at once: one gets the right; when it was told, nobody does."""
    approval = await question(stores)
    key = f"{approval.id}|escalation|0"
    taken = await asyncio.gather(*(stores.notices.take(key, approval, f"p{one}", 60) for one in range(10)))
    assert taken.count(True) == 1
    winner = f"p{taken.index(True)}"
    assert await keys(stores, approval) == frozenset()
    await stores.notices.done(key, approval, "p-other", TOLD, datetime.now(UTC))
    assert await keys(stores, approval) == frozenset()
    await stores.notices.done(key, approval, winner, TOLD, datetime.now(UTC))
    assert await keys(stores, approval) == {key}
    assert not await stores.notices.take(key, approval, winner, 60)
    if stores.audit:
        assert await stores.audit(approval.id) == ["approval.asked", "approval.told"]


async def test_what_did_not_work_or_was_left_by_a_crash_is_taken_by_another(stores):
    """Given back at once; after a crash when the claim has ended."""
    approval = await question(stores)
    key = f"{approval.id}|reminder|1"
    assert await stores.notices.take(key, approval, "one", 60)
    assert not await stores.notices.take(key, approval, "two", 60)
    await stores.notices.free(key, "two")
    assert not await stores.notices.take(key, approval, "two", 60)
    await stores.notices.free(key, "one")
    assert await stores.notices.take(key, approval, "two", -1)
    assert await stores.notices.take(key, approval, "three", 60)


async def test_a_question_is_looked_after_while_it_is_open_and_after_a_bypass(stores):
    """An answer ends it; a bypass still has to be announced."""
    denied, bypassed = await question(stores), await question(stores)
    facts = {"by": "ada", "reason": "because", "now": datetime.now(UTC), "plan_hash": "hash-1"}
    await stores.approvals.answer(denied.id, Verb.DENY, **facts)
    await stores.approvals.answer(bypassed.id, Verb.BYPASS, choice="emergency", **facts)
    assert await keys(stores, denied) is None
    assert await keys(stores, bypassed) == frozenset()
    if stores.audit:
        assert await stores.audit(bypassed.id) == ["approval.asked", "approval.answered", "override.used"]


async def test_a_link_is_used_once_and_is_good_again_when_its_answer_did_not_count(stores):
    """Of ten who use it at once one does."""
    number = f"{CLUSTER}-{uuid4()}"
    now = datetime.now(UTC)
    assert not await stores.links.used(number)
    uses = await asyncio.gather(*(stores.links.take(number, "a", now) for _ in range(10)))
    (use,) = filter(None, uses)
    assert await stores.links.used(number)
    await stores.links.free(number, "another")
    assert await stores.links.used(number)
    await stores.links.free(number, use)
    assert await stores.links.take(number, "a", now)


async def test_a_delegation_holds_for_its_time_and_ends_when_its_owner_says_so(stores):
    """Nobody else can take it back."""
    now = datetime.now(UTC)
    made = Delegation(str(uuid4()), "ada", "bob", now, now + timedelta(hours=8), "on a plane")
    await stores.delegations.add(made)
    await stores.delegations.add(made)
    assert [one for one in await stores.delegations.in_force(now) if one.id == made.id] == [made]
    assert await stores.delegations.in_force(now - timedelta(seconds=1)) == []
    assert await stores.delegations.in_force(made.until) == []
    later = now + timedelta(hours=1)
    assert await stores.delegations.end(made.id, "bob", later) is None
    ended = await stores.delegations.end(made.id, "ada", later)
    assert (ended.id, ended.ended_at) == (made.id, later)
    assert await stores.delegations.in_force(later) == []
    assert await stores.delegations.end(made.id, "ada", later) is None
    if stores.audit:
        assert set(await stores.audit(made.id)) == {"approval.delegated", "approval.delegation_ended"}
