"""What belongs to one cluster is not carried out by the process of another that shares the graph."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from fakes import graph_samples as samples
from fakes.stores import DEFAULT_TENANT, real_store

from executor.model import Status
from matcher.model import Target
from safety.approvals import Verb, ask
from safety.scopes import PauseScope
from services.graph.executions import Neo4jExecutionStore
from services.graph.ledger import Neo4jDecisionLedger
from services.graph.pauses import Neo4jPauseLog
from services.records import DecisionKind

pytestmark = pytest.mark.stack


@pytest.fixture
async def store(stack):
    async with real_store(stack) as one:
        yield one


def incident(cluster):
    signal = samples.signal(cluster=cluster)
    target = Target(cluster, "Deployment", f"shop-{uuid4().hex[:8]}", "web")
    return samples.incident(signal, target=target)


async def test_invariant_4_orphans_and_answers_are_those_of_the_own_cluster(store):
    """A plan that was made for one cluster must not be adopted, sent or approved into another."""
    here, there = (f"{samples.RUN}-{side}" for side in ("here", "there"))
    now = datetime.now(UTC)
    ids = {}
    for cluster in (here, there):
        unclaimed = samples.permitted(of=incident(cluster))
        asked = incident(cluster)
        execution = samples.execution(asked, status=Status.WAITING_APPROVAL, requested_at=now)
        question = ask(execution.id, asked.id, execution.plan.hash, ("why",), now=now, timeout=timedelta(minutes=5))
        waiting = samples.decision(
            DecisionKind.APPROVAL, signal=asked.signal, incident=asked, execution=execution, approval=question
        )
        await store.ledger.record([unclaimed, waiting])
        await store.approvals.answer(
            question.id, Verb.APPROVE, by="alice", reason="", now=now, plan_hash=execution.plan.hash
        )
        ids[cluster] = unclaimed.execution.id, question.id
    mine = Neo4jExecutionStore(store.graph, here)
    orphans = (await mine.orphans(limit=10_000, unclaimed_seconds=0)).republish
    assert ids[here][0] in orphans
    assert ids[there][0] not in orphans
    answered = {one.id for one in await mine.answered(limit=10_000)}
    assert ids[here][1] in answered
    assert ids[there][1] not in answered


async def test_invariant_7_a_waiting_decision_of_another_cluster_is_left_to_it_but_not_for_ever(store):
    """Its own process looks first; when none does for a minute, anybody may, so that it ends."""
    here, there = (f"{samples.RUN}-{side}" for side in ("here", "there"))
    now = datetime.now(UTC)
    soon, late = (
        samples.decision(
            DecisionKind.WAITING, signal=samples.signal(cluster=there), next_check_at=now - age, deadline=now
        )
        for age in (timedelta(seconds=5), timedelta(minutes=2))
    )
    await store.ledger.record([soon, late])
    mine = Neo4jDecisionLedger(store.graph, DEFAULT_TENANT, here)
    due = {decision.id for decision in await mine.waiting_due(now, 10_000)}
    assert late.id in due
    assert soon.id not in due
    theirs = Neo4jDecisionLedger(store.graph, DEFAULT_TENANT, there)
    assert soon.id in {decision.id for decision in await theirs.waiting_due(now, 10_000)}


async def test_invariant_10_a_pause_belongs_to_one_gate(store):
    """Resuming one installation does not make an emptied Redis of another forget its pause."""
    one, other = (Neo4jPauseLog(store.graph, f"{samples.RUN}-{side}:") for side in ("one", "other"))
    await one.paused("alice", "storage migration")
    await one.paused("alice", "release", PauseScope(namespace="shop"), datetime(2099, 1, 1, tzinfo=UTC))
    await one.paused("alice", "over", PauseScope(namespace="web"), datetime(2020, 1, 1, tzinfo=UTC))
    await other.paused("bob", "a test")
    await other.resumed("bob")
    assert [(each.by, each.reason, each.scope.key) for each in await one.in_force()] == [
        ("alice", "storage migration", ""),
        ("alice", "release", "namespace=shop"),
    ]
    assert list(await other.in_force()) == []
    await store.graph.driver.execute_query(
        "MATCH (p:PauseSwitch) WHERE p.scope STARTS WITH $run DELETE p", run=samples.RUN, database_="neo4j"
    )
