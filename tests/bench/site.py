"""Where the measurements take place: own topics, tenant, namespace and key prefix on the stack's servers.

Nothing that others wrote is touched, and everything of one's own is taken away at the end.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from confluent_kafka.admin import AdminClient
from redis.asyncio import Redis

from compose import stack as local
from compose.addresses import Addresses
from executor.model import ObjectRef
from services.graph.connect import Graph, GraphSettings, connect
from services.kubernetes.cluster import KubernetesCluster
from services.kubernetes.connect import connect as connect_cluster
from tests.bench import runbook

CLUSTER = "bench"
_AT_ONCE = 16
_NO_STORM = dict.fromkeys(("reason", "runbook", "namespace", "cluster"), 1_000_000)
"""The breaker counts as it does in production, and lets the measurement through."""
_TOPICS = ("alerts", "events", "enriched", "rca", "decisions", "requests", "executions", "approvals", "dlq")


@dataclass(frozen=True, slots=True)
class Workload:
    """A healthy Deployment with its one pod."""

    name: str
    pod: str
    pod_uid: str


@dataclass(slots=True)
class Site:
    """Everything that a measurement needs to know."""

    addresses: Addresses
    folder: Path
    graph: Graph
    admin: KubernetesCluster
    name: str
    workloads: list[Workload] = field(default_factory=list)
    pids: dict[str, int] = field(default_factory=dict)

    @property
    def tenant(self) -> str:
        return self.name

    @property
    def namespace(self) -> str:
        return self.name

    @property
    def bootstrap(self) -> str:
        if self.addresses.kafka is None:
            raise RuntimeError("Kafka is not up")
        return self.addresses.kafka.bootstrap_servers

    @property
    def redis_url(self) -> str:
        if self.addresses.redis is None:
            raise RuntimeError("Redis is not up")
        return self.addresses.redis.url

    @property
    def prefix(self) -> str:
        """Begins every key in Redis."""
        return f"{self.name}:"

    def topic(self, which: str, run: str) -> str:
        """The name of a topic of one run of the product."""
        return f"{self.name}.{run}.{which}"

    def settings(self, run: str, runbooks: Path, changes: Mapping[str, Any] | None = None) -> Path:
        """Write the settings file of one run of the product, which meets no other.

        Args:
            run: names its topics, consumer groups and keys.
            runbooks: its folder of runbooks.
            changes: over the settings that the measurement needs, by group.
        """
        found: dict[str, Any] = self.addresses.settings()
        own: dict[str, dict[str, Any]] = {
            "kafka": {
                "group_id": f"{self.name}-{run}",
                "topics": {which: self.topic(which, run) for which in _TOPICS},
                "partitions": 1,
            },
            "redis": {"prefix": f"{self.prefix}{run}:"},
            "kubernetes": {"cluster_name": CLUSTER},
            "runbooks": {"paths": [str(runbooks)]},
            "matching": {"default_tenant": self.tenant},
            "autonomy": {"enabled": False},  # what is measured is a pipeline that acts
            "gate": {
                "max_executions_per_hour": 1_000_000,
                "limits": {
                    "target": {"per_day": None},
                    "cluster": dict.fromkeys(("per_minute", "per_day", "concurrent", "blast_in_flight")),
                    "namespace": {"blast_in_flight": None},
                },
                "ask_again": {"executions": None},
            },
            "breaker": dict.fromkeys(("causes", "failures", "not_fixed"), _NO_STORM),
            "api": {"port": 0},
            "logging": {"format": "json"},
        }
        for group, values in (*own.items(), *(changes or {}).items()):
            found[group] = {**found.get(group, {}), **values}
        path = self.folder / f"{run}.yaml"
        path.write_text(yaml.safe_dump(found), encoding="utf-8")
        path.chmod(0o600)  # it holds a password
        return path


@asynccontextmanager
async def redis_alone() -> AsyncIterator[str]:
    """The address of the stack's Redis. Where nothing runs, nothing but Redis is started, and it is stopped again."""
    ran = any(server.state == "up" for server in local.status())
    addresses = await asyncio.to_thread(local.up, ["redis"])
    if not addresses.redis:
        raise RuntimeError("Redis did not come up: rb doctor")
    try:
        yield addresses.redis.url
    finally:
        if not ran:
            await asyncio.to_thread(local.down)


@asynccontextmanager
async def site(workloads: int) -> AsyncIterator[Site]:
    """Prepare the servers; a stack that does not run is started, and stopped again."""
    ran = all(server.state == "up" for server in local.status())
    addresses = await asyncio.to_thread(local.up)
    if not (addresses.neo4j and addresses.admin_kubeconfig):
        raise RuntimeError("the stack came up without all of its servers: rb doctor")
    graph = connect(
        GraphSettings(uri=addresses.neo4j.uri, user=addresses.neo4j.user, password=addresses.neo4j.password)
    )
    context = yaml.safe_load(addresses.admin_kubeconfig.read_text(encoding="utf-8"))["current-context"]
    admin = await connect_cluster(addresses.admin_kubeconfig, context, allow_context=True)
    folder = Path(tempfile.mkdtemp(prefix="rootmend-bench-"))
    made = Site(addresses, folder, graph, admin, f"bench-{uuid4().hex[:8]}")
    made.pids = {server.name: server.pid for server in await asyncio.to_thread(local.status) if server.pid}
    try:
        if workloads:
            await _deploy(made, workloads)
            await _draw(made)
        yield made
    finally:
        await _clean(made, workloads)
        await admin.close()
        await graph.close()
        shutil.rmtree(folder, ignore_errors=True)
        if not ran:
            await asyncio.to_thread(local.down)


async def _deploy(made: Site, count: int) -> None:
    """Healthy Deployments of one pod each, and wait until they are."""
    await made.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.namespace}})
    slots = asyncio.Semaphore(_AT_ONCE)

    async def create(number: int) -> None:
        async with slots:
            await made.admin.create(_deployment(f"shop-{number:03d}", made.namespace))

    await asyncio.gather(*(create(number) for number in range(count)))
    for _ in range(600):
        found = await made.admin.list("Deployment", made.namespace)
        if sum(1 for one in found if one.get("status", {}).get("availableReplicas")) == count:
            break
        await asyncio.sleep(0.2)
    else:
        raise RuntimeError(f"the {count} Deployments of the measurement did not become available")
    pods = await made.admin.list("Pod", made.namespace)
    made.workloads = [
        Workload(pod["metadata"]["labels"]["app"], pod["metadata"]["name"], pod["metadata"]["uid"]) for pod in pods
    ]


def _deployment(name: str, namespace: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "app", "image": "example.com/app:1", "resources": {"limits": {"memory": "64Mi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


async def _draw(made: Site) -> None:
    """The topology of the Deployments, as KGroot draws it."""
    rows = [
        {"deployment": f"deployment:{made.namespace}:{one.name}", "pod": f"pod:{made.namespace}:{one.pod}"}
        | {"name": one.name, "pod_name": one.pod, "uid": one.pod_uid}
        for one in made.workloads
    ]
    await run(
        made.graph,
        "UNWIND $rows AS row "
        "CREATE (d:Resource {rid: row.deployment, kind: 'Deployment', ns: $ns, name: row.name, client_id: $tenant, "
        "  updated_at: datetime()}) "
        "CREATE (p:Resource {rid: row.pod, kind: 'Pod', ns: $ns, name: row.pod_name, uid: row.uid, "
        "  client_id: $tenant}) "
        "CREATE (d)-[:CONTROLS]->(p)",
        rows=rows,
        ns=made.namespace,
        tenant=made.tenant,
    )


async def draw_events(made: Site, messages: Sequence[Mapping[str, Any]]) -> None:
    """Symptom and cause of each message with the edge between them, as KGroot has them before it says so."""
    rows = [
        {
            "symptom": message["incident_id"],
            "cause": message["causes"][0]["event_id"],
            "reason": message["causes"][0]["reason"],
            "pod": f"pod:{made.namespace}:{message['subject']['name']}",
        }
        for message in messages
    ]
    await run(
        made.graph,
        "UNWIND $rows AS row MATCH (p:Resource {rid: row.pod}) WHERE p.client_id = $tenant "
        "CREATE (s:Episodic {eid: row.symptom, reason: 'BenchSymptom', severity: 'ERROR', client_id: $tenant, "
        "  event_time: datetime()})-[:ABOUT]->(p) "
        "CREATE (c:Episodic {eid: row.cause, reason: row.reason, severity: 'WARNING', client_id: $tenant, "
        "  event_time: datetime()})-[:ABOUT]->(p) "
        "CREATE (c)-[:POTENTIAL_CAUSE {confidence: 0.9, hops: 1}]->(s)",
        rows=rows,
        tenant=made.tenant,
    )


async def run(graph: Graph, text: str, **parameters: Any) -> list[dict[str, Any]]:
    """Run one statement of the measurement's own."""
    async with graph.driver.session(database=graph.database) as session:
        result = await session.run(text, parameters)
        return [record.data() async for record in result]


_TRACES = (
    "MATCH (n:Resource) WHERE n.client_id = $tenant RETURN n",
    "MATCH (n:Episodic) WHERE n.client_id = $tenant RETURN n",
    "MATCH (n:TargetClaim) WHERE n.key STARTS WITH $tenant + '|' RETURN n",
    "MATCH (e:RunbookExecution) WHERE e.tenant = $tenant MATCH (e)-[:STEP]->(n:StepRun) RETURN n",
    "MATCH (n:RunbookExecution) WHERE n.tenant = $tenant RETURN n",
    "MATCH (n:Decision) WHERE n.tenant = $tenant RETURN n",
    "MATCH (n:BenchFloor) WHERE n.tenant = $tenant RETURN n",
    "MATCH (n:RunbookVersion) WHERE n.id = $runbook AND NOT (n)--() RETURN n",
)


async def _clean(made: Site, workloads: int) -> None:
    """Take away what the measurement made."""
    if workloads and await made.admin.get("Namespace", made.namespace) is not None:
        await made.admin.delete(ObjectRef(kind="Namespace", name=made.namespace))
    for traces in _TRACES:
        await run(
            made.graph,
            f"CALL {{ {traces} }} CALL (n) {{ DETACH DELETE n }} IN TRANSACTIONS OF 500 ROWS",
            tenant=made.tenant,
            runbook=runbook.RUNBOOK,
        )
    redis = Redis.from_url(made.redis_url)
    own = [key async for key in redis.scan_iter(match=f"{made.prefix}*", count=1000)]
    for start in range(0, len(own), 1000):
        await redis.unlink(*own[start : start + 1000])
    await redis.aclose()
    await asyncio.to_thread(_drop_topics, made)


def _drop_topics(made: Site) -> None:
    admin = AdminClient({"bootstrap.servers": made.bootstrap})
    own = [name for name in admin.list_topics(timeout=10).topics if name.startswith(f"{made.name}.")]
    if own:
        for future in admin.delete_topics(own).values():
            future.result(15)
