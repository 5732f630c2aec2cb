"""The causal graph in memory and the one in Neo4j answer alike, so that what the fake proves holds."""

from __future__ import annotations

from uuid import uuid4

import pytest
from fakes.graph_causes import FakeCausalGraph
from fakes.graph_samples import T0, signal
from fakes.stores import DEFAULT_TENANT, real_store

from matcher.model import Subject


class InMemory:
    """The fake, filled as KGroot fills its graph."""

    def __init__(self):
        self.tenant = f"tenant-{uuid4().hex[:12]}"
        self.graph = FakeCausalGraph(default_tenant=DEFAULT_TENANT)

    async def event(self, reason, *, tenant="", tagged=True, about=None):
        eid = str(uuid4())
        owner = (tenant or self.tenant) if tagged else None
        self.graph.event(eid, reason, client_id=owner, about=about, event_time=T0)
        return eid

    async def link(self, cause, symptom, **facts):
        self.graph.link(cause, symptom, **facts)

    async def controlled(self, pod, *chain):
        self.graph.controlled(self.tenant, pod, *chain)


class OnNeo4j:
    """The adapter, on nodes and edges of a tenant that nobody else uses."""

    def __init__(self, store):
        self.tenant = f"tenant-{uuid4().hex[:12]}"
        self.graph = store.causes
        self._driver = store.graph.driver

    async def _run(self, query, **parameters):
        await self._driver.execute_query(query, parameters, database_="neo4j")

    async def _resource(self, subject):
        rid = f"{subject.kind}:{subject.namespace}:{subject.name}".lower()
        await self._run(
            "MERGE (r:Resource {rid: $rid}) "
            "SET r.client_id = $tenant, r.kind = $kind, r.ns = $ns, r.name = $name, r.uid = $uid",
            rid=rid,
            tenant=self.tenant,
            kind=subject.kind,
            ns=subject.namespace,
            name=subject.name,
            uid=subject.uid or None,
        )
        return rid

    async def event(self, reason, *, tenant="", tagged=True, about=None):
        eid = str(uuid4())
        owner = (tenant or self.tenant) if tagged else None
        await self._run(
            "CREATE (:Episodic {eid: $eid, client_id: $owner, reason: $reason, event_time: $at})",
            eid=eid,
            owner=owner,
            reason=reason,
            at=T0,
        )
        if about is not None:
            await self._run(
                "MATCH (e:Episodic {eid: $eid}) MATCH (r:Resource {rid: $rid}) CREATE (e)-[:ABOUT]->(r)",
                eid=eid,
                rid=await self._resource(about),
            )
        return eid

    async def link(self, cause, symptom, **facts):
        await self._run(
            "MATCH (c:Episodic {eid: $cause}) MATCH (s:Episodic {eid: $symptom}) "
            "CREATE (c)-[p:POTENTIAL_CAUSE]->(s) SET p = $facts",
            cause=cause,
            symptom=symptom,
            facts=facts,
        )

    async def controlled(self, pod, *chain):
        lower = await self._resource(pod)
        for owner in chain:
            upper = await self._resource(owner)
            await self._run(
                "MATCH (a:Resource {rid: $a}) MATCH (b:Resource {rid: $b}) MERGE (a)-[:CONTROLS]->(b)", a=upper, b=lower
            )
            lower = upper


@pytest.fixture(params=["memory", pytest.param("neo4j", marks=pytest.mark.stack)])
async def kgroot(request):
    if request.param == "memory":
        yield InMemory()
        return
    async with real_store(request.getfixturevalue("stack")) as store:
        yield OnNeo4j(store)


async def causes(kgroot, *symptoms, tenant=""):
    return await kgroot.graph.causes_of([signal(event_id=s, tenant=tenant or kgroot.tenant) for s in symptoms])


async def test_writers_are_told_apart_and_null_counts_as_nothing(kgroot):
    """The edge's properties say who wrote it; raw scores stay raw."""
    symptom = await kgroot.event("BackOff")
    live, batch, fallback = [await kgroot.event(reason) for reason in ("OOMKilled", "Failed", "Unhealthy")]
    await kgroot.link(live, symptom, confidence=0.5, hops=2)
    await kgroot.link(batch, symptom, confidence=0.7, version="enhanced_v1")
    await kgroot.link(fallback, symptom)
    found = {
        c.event_id: (c.reason, c.raw_score, c.confidence, c.writer, c.hops, c.event_time)
        for c in (await causes(kgroot, symptom))[symptom]
    }
    assert found == {
        live: ("OOMKilled", 0.5, 0.5, "kgroot-live", 2, T0),
        batch: ("Failed", 0.7, 0.7, "kgroot-enhanced_v1", None, T0),
        fallback: ("Unhealthy", 0.0, 0.0, "kgroot-unknown", None, T0),
    }


async def test_what_the_graph_does_not_know_is_missing(kgroot):
    """An unknown event, and one without causes, are not in the answer."""
    symptom, lonely, cause = [await kgroot.event(reason) for reason in ("BackOff", "BackOff", "OOMKilled")]
    await kgroot.link(cause, symptom, confidence=0.4, hops=1)
    assert set(await causes(kgroot, symptom, lonely, "unknown")) == {symptom}
    assert await causes(kgroot) == {}


async def test_tenants_are_kept_apart_by_the_nodes(kgroot):
    """Neither a symptom nor a cause of somebody else is seen; nodes without a tenant are the default tenant's."""
    symptom, foreign = await kgroot.event("BackOff"), await kgroot.event("OOMKilled", tenant="somebody-else")
    await kgroot.link(foreign, symptom, confidence=0.8, hops=1)
    assert await causes(kgroot, symptom) == {}
    assert await causes(kgroot, symptom, tenant="somebody-else") == {}
    bare, untagged = await kgroot.event("BackOff", tagged=False), await kgroot.event("OOMKilled", tagged=False)
    await kgroot.link(untagged, bare, confidence=0.8, hops=1)
    assert await causes(kgroot, bare) == {}
    assert [c.event_id for c in (await causes(kgroot, bare, tenant=DEFAULT_TENANT))[bare]] == [untagged]


async def test_cycles_end(kgroot):
    """Two events that explain each other each have the other as their cause."""
    one, other = await kgroot.event("KubePodCrashLooping"), await kgroot.event("TargetDown")
    await kgroot.link(one, other, confidence=0.5, hops=1)
    await kgroot.link(other, one, confidence=0.5, hops=1)
    found = await causes(kgroot, one, other)
    assert [c.event_id for c in found[one]] == [other]
    assert [c.event_id for c in found[other]] == [one]


async def test_subjects_have_canonical_kinds_and_may_be_lost(kgroot):
    """Mixed casing is put right; a cause whose ABOUT is gone is still a cause."""
    symptom, lost = await kgroot.event("BackOff"), await kgroot.event("OOMKilled")
    replica_set = Subject("Replicaset", f"cart-{uuid4().hex[:6]}", "shop")
    known = await kgroot.event("Failed", about=replica_set)
    for cause in (known, lost):
        await kgroot.link(cause, symptom, confidence=0.5, hops=1)
    found = {c.event_id: c.subject for c in (await causes(kgroot, symptom))[symptom]}
    assert found[known] == Subject("ReplicaSet", replica_set.name, "shop")
    assert found[lost].name == ""


async def test_controllers_are_given_nearest_first(kgroot):
    """The chain above a pod, to its own tenant only; nothing for a pod that is not known."""
    mark = uuid4().hex[:6]
    pod = Subject("Pod", f"cart-{mark}-abcde", "shop")
    chain = (Subject("ReplicaSet", f"cart-{mark}", "shop"), Subject("Deployment", f"shop-{mark}", "shop"))
    await kgroot.controlled(pod, *chain)
    found = await kgroot.graph.controllers_of(pod, kgroot.tenant)
    assert [(s.kind, s.name) for s in found] == [(s.kind, s.name) for s in chain]
    assert await kgroot.graph.controllers_of(pod, "somebody-else") == ()
    assert await kgroot.graph.controllers_of(Subject("Pod", "never", "shop"), kgroot.tenant) == ()


@pytest.mark.stack
async def test_an_alertmanager_alert_is_found_by_what_it_is_about(stack):
    """Alertmanager bodies carry no id of KGroot's: its own event of that reason about that object counts."""
    async with real_store(stack) as store:
        graph = OnNeo4j(store)
        subject = Subject("Deployment", "cart", f"ns-{uuid4().hex[:8]}")
        symptom = await graph.event("KubeDeploymentReplicasMismatch", about=subject)
        await graph.event("SomethingElse", about=subject)
        cause = await graph.event("OOMKilled")
        await graph.link(cause, symptom, confidence=0.8, hops=1)
        asked = signal(
            tenant=graph.tenant,
            event_id="made-by-us",
            reason="KubeDeploymentReplicasMismatch",
            shape="alertmanager",
            subject=subject,
            received_at=T0,
        )
        found = await graph.graph.causes_of([asked])
        assert [c.event_id for c in found["made-by-us"]] == [cause]
