"""The durable store for contract suites: in memory, or the real graph."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from fakes.graph_samples import RUN
from fakes.memory_store import MemoryStore

from services.graph.approvals import Neo4jApprovalStore
from services.graph.blast import Neo4jBlastRadius
from services.graph.causes import Neo4jCausalGraph
from services.graph.connect import Graph, GraphSettings, connect
from services.graph.executions import Neo4jExecutionStore
from services.graph.fresh import Neo4jFreshSignals
from services.graph.journal import Neo4jJournal
from services.graph.ledger import Neo4jDecisionLedger
from services.graph.migrate import migrate
from services.graph.permits import Neo4jPermitLedger
from services.graph.reader import Neo4jGraphReader

DEFAULT_TENANT = "the-default-tenant-of-the-tests"

_KGROOT = (
    "CREATE CONSTRAINT res_rid IF NOT EXISTS FOR (r:Resource) REQUIRE r.rid IS UNIQUE",
    "CREATE CONSTRAINT epi_eid IF NOT EXISTS FOR (e:Episodic) REQUIRE e.eid IS UNIQUE",
)
"""What KGroot itself creates."""

_TAKE_AWAY = (
    "MATCH (d:Decision) WHERE d.tenant STARTS WITH $run DETACH DELETE d",
    """
    MATCH (e:RunbookExecution) WHERE e.tenant STARTS WITH $run
    OPTIONAL MATCH (e)-[:STEP]->(s:StepRun) OPTIONAL MATCH (a:Approval {execution_id: e.id})
    DETACH DELETE e, s, a
    """,
    "MATCH (c:TargetClaim) WHERE c.key STARTS WITH $run DELETE c",
    "MATCH (n:Episodic|Resource) WHERE n.test_run = $run DETACH DELETE n",
)
"""A pipeline that runs on the same stack would look after what the tests leave behind."""


@dataclass(frozen=True)
class GraphStore:
    """All adapters over one driver."""

    graph: Graph
    causes: Neo4jCausalGraph
    blast: Neo4jBlastRadius
    fresh: Neo4jFreshSignals
    reader: Neo4jGraphReader
    ledger: Neo4jDecisionLedger
    executions: Neo4jExecutionStore
    permits: Neo4jPermitLedger
    journal: Neo4jJournal
    approvals: Neo4jApprovalStore

    async def close(self) -> None:
        """Write what the journal still holds, and close the driver."""
        await self.journal.close()
        await self.graph.close()


def graph_store(graph: Graph) -> GraphStore:
    """The adapters as the composition root makes them."""
    return GraphStore(
        graph=graph,
        causes=Neo4jCausalGraph(graph, DEFAULT_TENANT),
        blast=Neo4jBlastRadius(graph, DEFAULT_TENANT),
        fresh=Neo4jFreshSignals(graph, DEFAULT_TENANT),
        reader=Neo4jGraphReader(graph),
        ledger=Neo4jDecisionLedger(graph, DEFAULT_TENANT),
        executions=Neo4jExecutionStore(graph),
        permits=Neo4jPermitLedger(graph),
        journal=Neo4jJournal(graph),
        approvals=Neo4jApprovalStore(graph),
    )


@asynccontextmanager
async def real_store(servers: Any) -> AsyncIterator[GraphStore]:
    """The graph of the running stack, with KGroot's constraints and our schema."""
    settings = GraphSettings(servers.neo4j_uri, servers.neo4j_user, servers.neo4j_password, database="neo4j")
    store = graph_store(connect(settings))
    try:
        for statement in _KGROOT:
            await store.graph.schema(statement)
        await migrate(store.graph)
        yield store
        for statement in _TAKE_AWAY:
            await store.graph.driver.execute_query(statement, run=RUN, database_="neo4j")
    finally:
        await store.close()


def memory_store() -> Any:
    """The fake, under the names that the real store has."""
    store = MemoryStore()
    return SimpleNamespace(ledger=store, executions=store, permits=store, journal=store, approvals=store)
