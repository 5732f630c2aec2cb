"""What the adapters make of KGroot's graph, on a real Neo4j with the faults that KGroot's graph has."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from fakes.graph_samples import RUN, T0, decision, incident, permitted, signal
from fakes.stores import DEFAULT_TENANT, real_store

from executor.errors import Forbidden, Invalid
from executor.model import ObjectRef
from matcher.model import Subject
from matcher.ports import CausalGraph
from services.graph.blast import Neo4jBlastRadius, UnknownTarget
from services.graph.causes import Neo4jCausalGraph
from services.graph.reader import Neo4jGraphReader
from services.records import Repeat

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
async def store(stack):
    async with real_store(stack) as real:
        yield real


class Kgroot:
    """Writes nodes and edges as KGroot does, for one tenant that nobody else uses."""

    def __init__(self, graph) -> None:
        self.graph = graph
        self.tenant = f"{RUN}-{uuid4().hex[:8]}"
        self.ns = f"ns-{uuid4().hex[:8]}"

    async def run(self, query, **parameters):
        await self.graph.driver.execute_query(query, {"tenant": self.tenant, **parameters}, database_="neo4j")

    async def event(self, reason="X", *, tenant="", at=T0, severity="ERROR", about=(), tagged=True):
        eid = str(uuid4())
        owner = (tenant or self.tenant) if tagged else None
        await self.run(
            "CREATE (e:Episodic {eid: $eid, client_id: $owner, reason: $reason, severity: $severity, event_time: $at, "
            "test_run: $run})",
            run=RUN,
            eid=eid,
            owner=owner,
            reason=reason,
            severity=severity,
            at=at,
        )
        for rid in about:
            await self.run(
                "MATCH (e:Episodic {eid: $eid}) MATCH (r:Resource {rid: $rid}) MERGE (e)-[:ABOUT]->(r)",
                eid=eid,
                rid=rid,
            )
        return eid

    async def resource(self, rid, **properties):
        facts = {"client_id": self.tenant, "test_run": RUN, **properties}
        await self.run("MERGE (r:Resource {rid: $rid}) SET r += $facts", rid=rid, facts=facts)
        return rid

    async def cause(self, cause, symptom, **properties):
        await self.run(
            "MATCH (c:Episodic {eid: $c}) MATCH (s:Episodic {eid: $s}) "
            "CREATE (c)-[p:POTENTIAL_CAUSE]->(s) SET p = $facts",
            c=cause,
            s=symptom,
            facts=properties,
        )

    async def edge(self, source, kind, target):
        await self.run(
            f"MATCH (a:Resource {{rid: $a}}) MATCH (b:Resource {{rid: $b}}) MERGE (a)-[:{kind}]->(b)",
            a=source,
            b=target,
        )


@pytest.fixture
async def kgroot(store):
    return Kgroot(store.graph)


async def _causes(store, kgroot, symptom, tenant=""):
    asked = signal(event_id=symptom, tenant=tenant or kgroot.tenant)
    return (await store.causes.causes_of([asked])).get(symptom, ())


async def test_the_most_confident_cause_comes_first_with_its_writer(store, kgroot):
    """Writers are told apart by what they leave on the edge; NULL confidence counts as 0."""
    symptom = await kgroot.event("BackOff")
    live, batch, fallback = [await kgroot.event(reason) for reason in ("OOMKilled", "Failed", "Unhealthy")]
    await kgroot.cause(live, symptom, confidence=0.5, hops=2, temporal_score=0.4)
    await kgroot.cause(batch, symptom, confidence=0.7, version="enhanced_v1")
    await kgroot.cause(fallback, symptom)
    found = await _causes(store, kgroot, symptom)
    assert [(c.reason, c.raw_score, c.confidence, c.writer, c.hops) for c in found] == [
        ("Failed", 0.7, 0.7, "kgroot-enhanced_v1", None),
        ("OOMKilled", 0.5, 0.5, "kgroot-live", 2),
        ("Unhealthy", 0.0, 0.0, "kgroot-unknown", None),
    ]
    assert found[0].event_time == T0
    port: CausalGraph = store.causes
    assert port is store.causes


async def test_many_signals_are_answered_together_and_unknown_ones_are_missing(store, kgroot):
    """One query for a batch."""
    symptoms = [await kgroot.event() for _ in range(3)]
    cause = await kgroot.event("OOMKilled")
    for symptom in symptoms[:2]:
        await kgroot.cause(cause, symptom, confidence=0.4)
    asked = [signal(event_id=eid, tenant=kgroot.tenant) for eid in (*symptoms, "unknown")]
    assert set(await store.causes.causes_of(asked)) == set(symptoms[:2])
    assert await store.causes.causes_of([]) == {}


async def test_causes_of_another_tenant_are_not_seen(store, kgroot):
    """Edges carry no tenant, so the nodes are compared, on both ends."""
    mine, theirs = await kgroot.event(), await kgroot.event(tenant="somebody-else")
    symptom = await kgroot.event()
    await kgroot.cause(theirs, symptom, confidence=0.9, client_id=kgroot.tenant)
    assert await _causes(store, kgroot, symptom) == ()
    await kgroot.cause(mine, symptom, confidence=0.1)
    assert [c.event_id for c in await _causes(store, kgroot, symptom)] == [mine]
    assert await _causes(store, kgroot, symptom, tenant="somebody-else") == ()


async def test_an_event_id_that_two_tenants_send_is_answered_to_neither(store, kgroot):
    """The answer is keyed by event id alone; nobody may learn another tenant's causes through it."""
    symptom, cause = await kgroot.event(), await kgroot.event()
    await kgroot.cause(cause, symptom, confidence=0.9)
    asked = [signal(event_id=symptom, tenant=tenant) for tenant in (kgroot.tenant, "somebody-else")]
    assert await store.causes.causes_of(asked) == {}


async def test_nodes_without_a_tenant_belong_to_the_default_tenant_only(store, kgroot):
    """KGroot's exporters leave client_id out."""
    symptom, cause = await kgroot.event(tagged=False), await kgroot.event(tagged=False)
    await kgroot.cause(cause, symptom, confidence=0.3)
    assert await _causes(store, kgroot, symptom) == ()
    assert [c.event_id for c in await _causes(store, kgroot, symptom, tenant=DEFAULT_TENANT)] == [cause]


async def test_a_cause_whose_resource_is_gone_is_still_a_cause(store, kgroot):
    """KGroot deletes a pod's node with its ABOUT; the subject is then empty, not invented."""
    symptom, cause = await kgroot.event(), await kgroot.event("OOMKilled")
    await kgroot.cause(cause, symptom, confidence=0.4)
    (found,) = await _causes(store, kgroot, symptom)
    assert found.subject == Subject("", "")


async def test_the_two_nodes_of_one_pod_are_one_subject(store, kgroot):
    """Events name a pod by uid, topology by name; what each knows is put together."""
    uid = str(uuid4())
    by_uid = await kgroot.resource(f"pod:{uid}", kind="pod", ns=kgroot.ns, name="shop-1")
    by_name = await kgroot.resource(f"pod:{kgroot.ns}:shop-1", kind="Pod", ns=kgroot.ns, name="shop-1")
    symptom, cause = await kgroot.event(), await kgroot.event("OOMKilled", about=(by_uid, by_name))
    await kgroot.cause(cause, symptom, confidence=0.4)
    (found,) = await _causes(store, kgroot, symptom)
    assert found.subject == Subject("Pod", "shop-1", kgroot.ns, uid)


async def test_kinds_are_spelled_one_way(store, kgroot):
    """The graph says Replicaset, the API says ReplicaSet."""
    rid = await kgroot.resource(f"replicaset:{kgroot.ns}:shop-6d", kind="Replicaset", ns=kgroot.ns, name="shop-6d")
    symptom, cause = await kgroot.event(), await kgroot.event(about=(rid,))
    await kgroot.cause(cause, symptom, confidence=0.4)
    assert (await _causes(store, kgroot, symptom))[0].subject.kind == "ReplicaSet"


async def test_cycles_end_and_longer_ways_count_less(store, kgroot):
    """A and B that cause each other, with a cause behind them: each is told once, the symptom never."""
    symptom, near, far = await kgroot.event("A"), await kgroot.event("B"), await kgroot.event("C")
    await kgroot.cause(near, symptom, confidence=0.8, hops=1)
    await kgroot.cause(symptom, near, confidence=0.9, hops=1)
    await kgroot.cause(symptom, symptom, confidence=1.0, hops=1)
    await kgroot.cause(far, near, confidence=0.5, hops=1)
    assert [c.reason for c in await _causes(store, kgroot, symptom)] == ["B"]
    deep = Neo4jCausalGraph(store.graph, DEFAULT_TENANT, depth=4)
    found = (await deep.causes_of([signal(event_id=symptom, tenant=kgroot.tenant)]))[symptom]
    assert [(c.reason, c.raw_score) for c in found] == [("B", 0.8), ("C", pytest.approx(0.4))]


async def test_scores_outside_of_0_to_1_are_put_right(store, kgroot):
    """A broken writer cannot make a certainty of 7."""
    symptom = await kgroot.event()
    for confidence in (7.0, -1, float("nan"), "high"):
        await kgroot.cause(await kgroot.event(), symptom, confidence=confidence)
    assert sorted(c.raw_score for c in await _causes(store, kgroot, symptom)) == [0.0, 0.0, 0.0, 1.0]


async def _workload(kgroot, pods=3):
    names = [f"deployment:{kgroot.ns}:shop", f"replicaset:{kgroot.ns}:shop-6d", f"replicaset:{kgroot.ns}:shop-old"]
    for rid, kind in zip(names, ("Deployment", "Replicaset", "Replicaset"), strict=True):
        await kgroot.resource(rid, kind=kind, ns=kgroot.ns, name=rid.split(":")[2])
    await kgroot.edge(names[0], "CONTROLS", names[1])
    await kgroot.edge(names[0], "CONTROLS", names[2])
    service = await kgroot.resource(f"service:{kgroot.ns}:shop", kind="Service", ns=kgroot.ns, name="shop")
    node = await kgroot.resource(f"node:{kgroot.ns}-n1", kind="Node", name=f"{kgroot.ns}-n1", ns="")
    for n in range(pods):
        pod = await kgroot.resource(f"pod:{kgroot.ns}:shop-{n}", kind="Pod", ns=kgroot.ns, name=f"shop-{n}")
        await kgroot.edge(names[1], "CONTROLS", pod)
        await kgroot.edge(pod, "RUNS_ON", node)
        await kgroot.edge(service, "SELECTS", pod)
    return names


async def test_the_chain_of_controllers_is_told_nearest_first(store, kgroot):
    """The hint for a pod that is gone from the cluster."""
    await _workload(kgroot)
    chain = await store.causes.controllers_of(Subject("Pod", "shop-1", kgroot.ns, "some-uid"), kgroot.tenant)
    assert [(one.kind, one.name) for one in chain] == [("ReplicaSet", "shop-6d"), ("Deployment", "shop")]
    assert await store.causes.controllers_of(Subject("Pod", "shop-1", kgroot.ns), "somebody-else") == ()


async def test_the_blast_radius_counts_pods_and_the_services_in_front(store, kgroot):
    """Three pods and their service; the ReplicaSets in between are not resources of their own."""
    await _workload(kgroot)
    counted = await store.blast.count([ObjectRef(kind="Deployment", name="shop", namespace=kgroot.ns)], kgroot.tenant)
    assert (counted.count, counted.reason) == (4, "")
    texts = [f"Deployment/{kgroot.ns}/shop", f"Pod/{kgroot.ns}/shop-1", f"ConfigMap/{kgroot.ns}/shop"]
    assert (await store.blast.count(texts, kgroot.tenant)).count == 5


async def test_the_two_nodes_of_one_pod_count_once(store, kgroot):
    """Split identities must not make a radius look larger than it is."""
    await _workload(kgroot, pods=1)
    uid = str(uuid4())
    await kgroot.resource(f"pod:{uid}", kind="Pod", ns=kgroot.ns, name="shop-0", uid=uid)
    await kgroot.edge(f"replicaset:{kgroot.ns}:shop-6d", "CONTROLS", f"pod:{uid}")
    assert (await store.blast.count([f"Deployment/{kgroot.ns}/shop"], kgroot.tenant)).count == 2


async def test_a_node_counts_itself_its_pods_and_their_services(store, kgroot):
    """Draining a node affects what runs on it."""
    await _workload(kgroot)
    assert (await store.blast.count([f"Node/{kgroot.ns}-n1"], kgroot.tenant)).count == 5


async def test_an_unknown_target_is_refused_unless_the_live_count_may_decide(store, kgroot):
    """Missing data never permits (invariant 6); the reason names what is unknown."""
    touched = [f"Deployment/{kgroot.ns}/new"]
    refused = await store.blast.count(touched, kgroot.tenant)
    assert refused.count is None
    assert f"Deployment/{kgroot.ns}/new" in refused.reason
    lenient = Neo4jBlastRadius(store.graph, DEFAULT_TENANT, UnknownTarget.LIVE)
    answered = await lenient.count(touched, kgroot.tenant)
    assert answered.count == 1
    assert "does not know" in answered.reason


async def test_another_tenants_or_clusters_resource_is_unknown(store, kgroot):
    """A count must not come from somebody else's graph."""
    await _workload(kgroot)
    assert (await store.blast.count([f"Deployment/{kgroot.ns}/shop"], "somebody-else")).count is None
    await kgroot.resource(f"deployment:{kgroot.ns}:shop", cluster="east")
    assert (await store.blast.count([f"Deployment/{kgroot.ns}/shop"], kgroot.tenant, "west")).count is None


async def test_a_stale_graph_gives_no_count(store, kgroot):
    """Topology that nobody updates is no evidence."""
    await _workload(kgroot)
    strict = Neo4jBlastRadius(store.graph, DEFAULT_TENANT, stale_after=timedelta(minutes=10))
    touched = [f"Deployment/{kgroot.ns}/shop"]
    assert (await strict.count(touched, kgroot.tenant)).count is None
    await kgroot.resource(f"deployment:{kgroot.ns}:shop", updated_at=datetime.now(UTC))
    assert (await strict.count(touched, kgroot.tenant)).count == 4


async def test_the_count_says_how_old_the_graph_is_about_the_least_recent_object(store, kgroot):
    """By the object's own nodes, or by what depends on it; without any date nobody can say."""
    await _workload(kgroot)
    touched = [f"Deployment/{kgroot.ns}/shop"]
    assert (await store.blast.count(touched, kgroot.tenant)).age_seconds is None
    await kgroot.resource(f"replicaset:{kgroot.ns}:shop-6d", updated_at=datetime.now(UTC) - timedelta(hours=1))
    assert (await store.blast.count(touched, kgroot.tenant)).age_seconds > 3000
    await kgroot.resource(f"deployment:{kgroot.ns}:shop", updated_at=datetime.now(UTC))
    assert (await store.blast.count(touched, kgroot.tenant)).age_seconds < 3000


async def test_parts_of_an_object_count_and_every_edge_can_be_told(store, kgroot):
    """What is PART_OF an object goes down with it; the tree names the kind of each edge."""
    await _workload(kgroot)
    part = await kgroot.resource(f"pod:{kgroot.ns}:helper", kind="Pod", ns=kgroot.ns, name="helper")
    before = (await store.blast.count([f"Deployment/{kgroot.ns}/shop"], kgroot.tenant)).count
    await kgroot.edge(part, "PART_OF", f"deployment:{kgroot.ns}:shop")
    touched = [f"Deployment/{kgroot.ns}/shop"]
    assert (await store.blast.count(touched, kgroot.tenant)).count == before + 1
    edges = await store.blast.edges(touched, kgroot.tenant)
    assert (touched[0], "PART_OF", f"Pod/{kgroot.ns}/helper") in edges
    assert {how for _, how, _ in edges} >= {"CONTROLS", "PART_OF", "SELECTS"}
    assert await store.blast.edges(touched, "somebody-else") == []


async def test_nothing_touched_is_no_count(store, kgroot):
    """An empty selector is an error, never "affects nothing"."""
    assert (await store.blast.count([], kgroot.tenant)).count is None


async def test_fresh_signals_are_failing_later_and_about_the_subjects(store, kgroot):
    """Older, harmless and foreign events are not told; both names of a subject are looked at."""
    uid = str(uuid4())
    rid = await kgroot.resource(f"pod:{uid}", kind="Pod", ns=kgroot.ns, name="shop-1")
    later = T0 + timedelta(minutes=1)
    await kgroot.event("BackOff", at=later, about=(rid,))
    await kgroot.event("TooOld", at=T0 - timedelta(minutes=1), about=(rid,))
    await kgroot.event("Pulled", at=later, severity="INFO", about=(rid,))
    await kgroot.event("Foreign", at=later, tenant="somebody-else", about=(rid,))
    ref = ObjectRef(kind="Pod", name="shop-1", namespace=kgroot.ns, uid=uid)
    (line,) = await store.fresh.since(kgroot.tenant, "c/n/Deployment/none", [ref], T0)
    assert "BackOff" in line
    assert "2026-03-01T12:01" in line


async def test_repeats_of_an_alert_about_the_target_are_fresh_signals(store, kgroot):
    """Also when KGroot's graph has lost the event."""
    problem = incident(signal(tenant=kgroot.tenant))
    written = permitted(of=problem)
    await store.ledger.record([written])
    assert not await store.fresh.since(kgroot.tenant, problem.target.key, [], T0)
    await store.ledger.record([Repeat(written.id, kgroot.tenant, T0 + timedelta(minutes=2), (), event_ids=("e",))])
    (line,) = await store.fresh.since(kgroot.tenant, problem.target.key, [], T0)
    assert "KubePodCrashLooping" in line


async def test_questions_that_come_at_once_have_their_own_answers(store, kgroot):
    """Executions share a query; none hears of another's target, tenant or moment."""
    later = T0 + timedelta(minutes=1)
    pods = []
    for number in range(3):
        uid = str(uuid4())
        rid = await kgroot.resource(f"pod:{uid}", kind="Pod", ns=kgroot.ns, name=f"shop-{number}")
        await kgroot.event(f"BackOff{number}", at=later, about=(rid,))
        pods.append(ObjectRef(kind="Pod", name=f"shop-{number}", namespace=kgroot.ns, uid=uid))
    asked = [
        *(store.fresh.since(kgroot.tenant, "c/n/Deployment/none", [pod], T0) for pod in pods),
        store.fresh.since("somebody-else", "c/n/Deployment/none", pods, T0),
        store.fresh.since(kgroot.tenant, "c/n/Deployment/none", pods, later),
    ]
    *own, foreign, past = await asyncio.gather(*asked)
    assert [len(lines) for lines in own] == [1, 1, 1]
    assert all(f"BackOff{number}" in lines[0] for number, lines in enumerate(own))
    assert (foreign, past) == ((), ())


async def test_counts_that_are_asked_for_at_once_are_those_of_their_own_objects(store, kgroot):
    """Plans share a query; an object that is unknown, or another tenant's, changes no other plan's count."""
    await kgroot.resource(f"deployment:{kgroot.ns}:one", kind="Deployment", ns=kgroot.ns, name="one")
    await kgroot.resource(f"deployment:{kgroot.ns}:two", kind="Deployment", ns=kgroot.ns, name="two")
    one, two = (ObjectRef(kind="Deployment", name=name, namespace=kgroot.ns) for name in ("one", "two"))
    missing = ObjectRef(kind="Deployment", name="none", namespace=kgroot.ns)
    plans = [([one], kgroot.tenant), ([missing], kgroot.tenant), ([two, one], kgroot.tenant), ([one], "somebody-else")]
    answers = await asyncio.gather(*(store.blast.count(touched, tenant) for touched, tenant in plans))
    assert [answer.count for answer in answers] == [1, None, 2, None]


async def test_decisions_and_executions_are_tied_to_what_kgroot_has(store, kgroot):
    """Events and resources that exist are tied, whatever they are called; none is created."""
    symptom, cause = await kgroot.event("BackOff"), await kgroot.event("OOMKilled")
    await kgroot.resource(f"deployment:{kgroot.ns}:shop", kind="Deployment", ns=kgroot.ns, name="shop")
    sent = signal(tenant=kgroot.tenant, event_id=symptom)
    problem = incident(sent)
    problem = incident(
        sent,
        cause=problem.cause.__class__(cause, "OOMKilled", sent.subject, 0.6, "kgroot-live", 0.9),
        target=problem.target.__class__("prod", "Deployment", "shop", kgroot.ns, uid="not-in-the-graph"),
    )
    written = permitted(of=problem)
    lonely = decision(signal=signal(tenant=kgroot.tenant))
    await store.ledger.record([written, lonely])
    records, _, _ = await store.graph.driver.execute_query(
        "MATCH (d:Decision {id: $d})-[:LED_TO]->(e:RunbookExecution) "
        "RETURN [(d)-[a:ABOUT]->(x) | [x.eid, a.role]] AS about, [(e)-[:REMEDIATES]->(x) | x.eid] AS remediates, "
        "[(e)-[:CAUSED_BY]->(x) | x.eid] AS causes, [(e)-[:TARGETS]->(r) | r.rid] AS targets, "
        "[(e)-[:USED]->(v:RunbookVersion) | v.version] AS used",
        d=written.id,
        database_="neo4j",
    )
    row = records[0].data()
    assert sorted(row["about"]) == sorted([[symptom, "symptom"], [cause, "cause"]])
    assert (row["remediates"], row["causes"]) == ([symptom], [cause])
    assert (row["targets"], row["used"]) == ([f"deployment:{kgroot.ns}:shop"], ["1.0"])
    records, _, _ = await store.graph.driver.execute_query(
        "MATCH (x:Episodic {eid: $eid}) RETURN x", eid=lonely.signal.event_id, database_="neo4j"
    )
    assert not records


# check_neo4j


async def test_a_runbook_reads_rows_as_plain_values(store):
    """Times and lists come as JSON knows them."""
    rows = await store.reader.read("UNWIND $xs AS x RETURN x, datetime('2026-03-01T12:00:00Z') AS at", {"xs": [1, 2]})
    assert rows == [
        {"x": 1, "at": "2026-03-01T12:00:00.000000000+00:00"},
        {"x": 2, "at": "2026-03-01T12:00:00.000000000+00:00"},
    ]


@pytest.mark.parametrize(
    "query",
    [
        "CREATE (:Episodic {eid: 'made-by-a-runbook'})",
        "MATCH (d:Decision) SET d.kind = 'permit'",
        "LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line",
        "CALL dbms.listConfig() YIELD name RETURN name",
        "CALL db.labels() YIELD label RETURN label",
        "SHOW USERS",
        "CREATE INDEX stray IF NOT EXISTS FOR (n:Stray) ON (n.x)",
    ],
)
async def test_a_runbook_can_only_read_the_graph(store, query):
    """Writes, schema, procedures and files are refused, before anything runs."""
    with pytest.raises((Forbidden, Invalid)):
        await store.reader.read(query, {})


async def test_a_runbook_cannot_read_without_end(store):
    """Too many rows are an error, not a cut answer; a query that never ends is ended."""
    with pytest.raises(Invalid, match="rows"):
        await store.reader.read("UNWIND range(1, 5000) AS n RETURN n", {})
    hasty = Neo4jGraphReader(store.graph, seconds=0.5)
    with pytest.raises(Invalid):
        await hasty.read("UNWIND range(1, 100000) AS a UNWIND range(1, 100000) AS b RETURN max(a * b) AS m", {})


async def test_a_query_with_a_mistake_is_told_as_such(store):
    """The author reads what is wrong."""
    with pytest.raises(Invalid, match="refuses"):
        await store.reader.read("MATCH (n RETURN n", {})
