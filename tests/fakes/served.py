"""``rb serve`` as processes of their own on the shared servers, with names that nobody else uses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import yaml
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from fakes import coverage
from neo4j import AsyncDriver, AsyncGraphDatabase
from redis.asyncio import Redis

from compose.addresses import LOOPBACK
from executor.errors import NotFound
from executor.model import ObjectRef
from services.kubernetes.cluster import KubernetesCluster
from services.kubernetes.connect import connect

T = TypeVar("T")

WIDE: Mapping[str, Any] = {
    "max_executions_per_hour": 1000,
    "limits": {
        "target": {"per_day": None},
        "cluster": dict.fromkeys(("per_minute", "per_day", "concurrent", "blast_in_flight")),
        "namespace": {"blast_in_flight": None},
    },
    "ask_again": {"executions": None},
}
"""Settings of the gate for many runbooks at once: the limits for a whole cluster are tried elsewhere."""

_RB = "import sys; from services.cli.app import main; sys.exit(main())"
TOPICS = (
    "alerts",
    "events",
    "enriched",
    "rca",
    "run_requests",
    "decisions",
    "requests",
    "executions",
    "approvals",
    "dlq",
)
_DELETIONS, _DELETION_SECONDS = 3, 10
_TAKE_AWAY = (
    "MATCH (d:Decision {cluster: $name}) DETACH DELETE d",
    """
    MATCH (e:RunbookExecution) WHERE e.target_key STARTS WITH $name + '/'
    OPTIONAL MATCH (e)-[:STEP]->(s:StepRun) OPTIONAL MATCH (a:Approval {execution_id: e.id})
    DETACH DELETE e, s, a
    """,
    "MATCH (p:ApprovalPlace {cluster: $name}) DETACH DELETE p",
    "MATCH (c:TargetClaim) WHERE c.key CONTAINS '|' + $name + '/' DELETE c",
    "MATCH (p:PauseSwitch {scope: $name + ':'}) DELETE p",
    "MATCH (s:StormStop {scope: $name + ':'}) DELETE s",
    "MATCH (s:RunbookSchedule {cluster: $name}) DELETE s",
    "MATCH (n:AutonomyStanding|AutonomyMove) WHERE n.tenant STARTS WITH $name DETACH DELETE n",
    "MATCH (n:Episodic|Resource) WHERE n.client_id STARTS WITH $name DETACH DELETE n",
)


async def until(look: Callable[[], Awaitable[T]], what: str, seconds: float = 45) -> T:
    """What ``look`` gives as soon as it is true."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        found = await look()
        if found:
            return found
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}; last seen: {found!r}")
        await asyncio.sleep(0.1)


class Process:
    """One ``rb serve``."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self._child = child
        self.log_file = log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def ended(self) -> bool:
        """Whether it ended."""
        return self._child.poll() is not None

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """Its log lines, all or those of one event."""
        lines = []
        for line in self.log_file.read_text().splitlines():
            try:
                read = json.loads(line)
            except ValueError:
                read = None
            if not isinstance(read, dict):
                read = {"event": line}
            if not event or read.get("event") == event:
                lines.append(read)
        return lines

    def freeze(self) -> None:
        """It stands still, as in a long pause of its machine."""
        self._child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on as if nothing had happened."""
        self._child.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """It dies without a word."""
        self._child.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self._child.wait)

    async def stop(self) -> None:
        """Asked to end, then made to."""
        if self.ended:
            return
        self.thaw()
        self._child.terminate()
        try:
            await asyncio.to_thread(self._child.wait, 20)
        except subprocess.TimeoutExpired:
            await self.kill()


@dataclass
class Served:
    """An installation of its own: settings, topics, consumer groups, Redis prefix, cluster name, tenant, runbooks.

    Attributes:
        name: begins everything that is its own, and is the name of its cluster and of its first tenant.
        folder: holds its settings, its log files and ``runbooks``.
    """

    name: str
    folder: Path
    settings: dict[str, Any]
    driver: AsyncDriver
    redis: Redis
    admin: KubernetesCluster
    environment: Mapping[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    looked: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    # Processes

    async def serve(self, *words: str, environment: Mapping[str, str] | None = None) -> Process:
        """Start a process; returns when it reads its topics."""
        log = self.folder / f"serve-{len(self.processes)}.log"
        command = [sys.executable, "-c", _RB, "--config", str(self.config), "serve", *words]
        with log.open("wb") as out:
            child = subprocess.Popen(  # noqa: ASYNC220 - starting it takes no time
                command, stdout=out, stderr=out, env=self._env(environment), cwd=self.folder
            )
        process = Process(child, log)
        self.processes.append(process)

        async def ready() -> bool:
            if process.ended:
                raise AssertionError(f"rb serve ended: {log.read_text()[-3000:]}")
            return bool(process.log("service.ready"))

        await until(ready, "rb serve is ready", 180)
        return process

    async def rb(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = [sys.executable, "-c", _RB, "--config", str(self.config), *words]
        return await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, env=self._env(), cwd=self.folder, timeout=240
        )

    def _env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ROOTMEND_")}
        return {**inherited, **self.environment, **(more or {})}

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.folder / "rootmend.yaml"

    def write(self) -> None:
        """Write the settings; processes that start later see them."""
        self.config.write_text(yaml.safe_dump(self.settings))
        self.config.chmod(0o600)

    def runbook(self, name: str, text: str | Mapping[str, Any]) -> Path:
        """Put a runbook into the watched folder, in one move as an editor does."""
        path = self.folder / "runbooks" / f"{name}.yaml"
        part = path.with_suffix(".part")
        part.write_text(text if isinstance(text, str) else yaml.safe_dump({"runbook": text}, sort_keys=False))
        part.rename(path)
        return path

    # Kafka

    def topic(self, short: str) -> str:
        """The full name of a topic."""
        return f"{self.name}.{short}"

    async def send(self, messages: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, int, int]]:
        """Write messages (short topic name, value); where each one is."""
        return await asyncio.to_thread(self._send, list(messages))

    def _send(self, messages: Sequence[tuple[str, bytes | None]]) -> list[tuple[str, int, int]]:
        placed: dict[int, tuple[str, int, int]] = {}
        producer = Producer({"bootstrap.servers": self._bootstrap, "message.max.bytes": 4_000_000, "linger.ms": 5})

        def told(number: int) -> Callable[[Any, Any], None]:
            def on_delivery(error: Any, message: Any) -> None:
                if error is None:
                    placed[number] = (message.topic(), message.partition(), message.offset())

            return on_delivery

        for number, (short, value) in enumerate(messages):
            producer.produce(self.topic(short), value=value, on_delivery=told(number))
        producer.flush(30)
        return [placed[number] for number in range(len(messages))]

    async def read(self, short: str) -> list[dict[str, Any]]:
        """Everything that a topic holds now, as JSON."""
        return [json.loads(value) for value in await self.raw(short)]

    async def raw(self, short: str) -> list[bytes]:
        """Everything that a topic holds now, keys and headers included, as bytes."""
        return await asyncio.to_thread(self._read, self.topic(short))

    def _read(self, topic: str) -> list[bytes]:
        consumer = self._consumer(f"reader-{uuid4().hex}")
        try:
            ends = {place: consumer.get_watermark_offsets(place, timeout=10)[1] for place in _places(consumer, topic)}
            consumer.assign([TopicPartition(p.topic, p.partition, 0) for p, end in ends.items() if end])
            values: list[bytes] = []
            while len(values) < sum(ends.values()):
                message = consumer.poll(10)
                if message is None:
                    raise AssertionError(f"{topic} stopped at {len(values)} of {sum(ends.values())}")
                values.append(message.value() or b"")
            return values
        finally:
            consumer.close()

    async def committed(self, *shorts: str, role: str = "decide") -> dict[tuple[str, int], int]:
        """The committed offsets of a role by topic and partition; 0 for none."""
        return await asyncio.to_thread(self._committed, [self.topic(short) for short in shorts], role)

    def _committed(self, topics: Sequence[str], role: str) -> dict[tuple[str, int], int]:
        consumer = self._consumer(f"{self.name}-{role}")
        try:
            places = [place for topic in topics for place in _places(consumer, topic)]
            return {(p.topic, p.partition): max(p.offset, 0) for p in consumer.committed(places, timeout=10)}
        finally:
            consumer.close()

    def _consumer(self, group: str) -> Consumer:
        return Consumer(
            {"bootstrap.servers": self._bootstrap, "group.id": group, "enable.auto.commit": False,
             "fetch.message.max.bytes": 4_000_000}
        )  # fmt: skip

    @property
    def _bootstrap(self) -> str:
        return str(self.settings["kafka"]["bootstrap_servers"])

    # Messages

    def rca(self, app: str, namespace: str, reason: str = "TestTrouble", **changes: Any) -> tuple[str, bytes]:
        """An RCA result about a Deployment, for ``send``."""
        event = changes.pop("event_id", None) or str(uuid4())
        subject = {"kind": changes.pop("kind", "Deployment"), "name": app, "ns": namespace}
        cause = {"event_id": f"cause-{event}", "reason": reason, "confidence": changes.pop("confidence", 0.8)}
        body = {
            "schema": "rca.result/v1",
            "result_id": f"r-{event}",
            "tenant": self.name,
            "cluster": self.name,
            "incident_id": event,
            "reason": "TestSymptom",
            "produced_at": datetime.now(UTC).isoformat(),
            "writer": "kgroot-live",
            "subject": subject,
            "causes": [cause],
        }
        return "rca", json.dumps({**body, **changes}).encode()

    def event(self, app: str, namespace: str, **changes: Any) -> tuple[str, bytes]:
        """A normalised event about a Deployment without a cause, for ``send``."""
        body = {
            "etype": "prom.alert",
            "event_id": str(uuid4()),
            "event_time": datetime.now(UTC).isoformat(),
            "client_id": self.name,
            "cluster": self.name,
            "reason": "TestSymptom",
            "severity": "WARNING",
            "status": "firing",
            "message": "it does not answer",
            "subject": {"kind": "Deployment", "name": app, "ns": namespace},
        }
        return "events", json.dumps({**body, **changes}).encode()

    # The graph

    async def query(self, text: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a query, ``$name`` given."""
        given: Any = {"name": self.name, **parameters}
        result = await self.driver.execute_query(text, given, database_="neo4j")
        return [record.data() for record in result.records]

    async def decisions(self, event_id: str = "") -> list[dict[str, Any]]:
        """Decision nodes of this installation, or those about one event."""
        rows = await self.query(
            """
            MATCH (d:Decision {cluster: $name}) WHERE $event = '' OR d.event_id = $event
            RETURN properties(d) AS d ORDER BY d.created_at
            """,
            event=event_id,
        )
        return [row["d"] for row in rows]

    async def decided(self, event_id: str, *kinds: str, seconds: float = 45) -> dict[str, Any]:
        """The decision about an event, once it is there, and of one of the kinds where some are given."""
        self.looked[event_id].add(coverage.current_test())

        async def look() -> dict[str, Any] | None:
            found = await self.decisions(event_id)
            return next((d for d in found if not kinds or d["kind"] in kinds), None)

        found = await until(look, f"a decision about {event_id} {kinds}", seconds)
        assert found is not None
        return found

    async def execution(self, event_id: str, *statuses: str, seconds: float = 60) -> dict[str, Any]:
        """The newest execution for an event, once it has one of the statuses."""
        self.looked[event_id].add(coverage.current_test())

        async def look() -> dict[str, Any] | None:
            rows = await self.query(
                """
                MATCH (d:Decision {cluster: $name, event_id: $event})
                MATCH (e:RunbookExecution {decision_id: d.id})
                RETURN properties(e) AS e ORDER BY e.requested_at DESC LIMIT 1
                """,
                event=event_id,
            )
            return rows[0]["e"] if rows and (not statuses or rows[0]["e"]["status"] in statuses) else None

        found = await until(look, f"an execution for {event_id} {statuses}", seconds)
        assert found is not None
        return found

    async def steps(self, execution_id: str) -> dict[tuple[str, str], str]:
        """Status of each step by phase and step id."""
        rows = await self.query("MATCH (s:StepRun {execution_id: $id}) RETURN properties(s) AS s", id=execution_id)
        return {(row["s"]["phase"], row["s"]["step_id"]): row["s"]["status"] for row in rows}

    # The cluster

    async def namespace(self) -> str:
        """A new namespace; gone after the test."""
        name = f"{self.name}-{len(self.namespaces)}"
        await self.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.namespaces.append(name)
        return name

    async def app(self, name: str, namespace: str, replicas: int = 1, **pod_spec: Any) -> None:
        """A Deployment, also known to the graph; one whose pods nobody has changed is well when this returns."""
        usual = not pod_spec
        container = {"name": "app", "image": pod_spec.pop("image", "example.com/app:1")}
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], **pod_spec}}
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
        meta = {"name": name, "namespace": namespace}
        await self.admin.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})

        async def seen() -> bool:
            found = await self.deployment(name, namespace)
            known = "deployment.kubernetes.io/revision" in (found["metadata"].get("annotations") or {})
            status = found.get("status", {})
            return known and "observedGeneration" in status and (not usual or well(status))

        def well(status: Mapping[str, Any]) -> bool:
            # Who looks unwell when it is decided, and well at the first change, is left alone.
            return bool(status.get("availableReplicas", 0) == status.get("updatedReplicas", 0) == replicas)

        # A plan that is made before the controller has looked at it would drift by the controller's own marks.
        await until(seen, f"the controller knows {name}")
        await self.query(
            "MERGE (r:Resource {rid: $rid}) SET r.client_id = $name, r.kind = 'Deployment', r.ns = $ns, r.name = $app, "
            "r.updated_at = datetime()",
            rid=f"deployment:{namespace}:{name}",
            ns=namespace,
            app=name,
        )

    async def deployment(self, name: str, namespace: str) -> Mapping[str, Any]:
        """A Deployment as it is."""
        found = await self.admin.get("Deployment", name, namespace)
        assert found is not None
        return found

    async def annotations(self, name: str, namespace: str) -> Mapping[str, str]:
        """A Deployment's annotations."""
        return (await self.deployment(name, namespace))["metadata"].get("annotations") or {}

    # Redis

    async def dump(self) -> dict[bytes, Any]:
        """Every key of this installation with its content."""
        found: dict[bytes, Any] = {}
        async for key in self.redis.scan_iter(match=f"{self.name}:*", count=1000):
            kind = await self.redis.type(key)
            if kind == b"hash":
                found[key] = await self.redis.hgetall(key)
            elif kind == b"zset":
                found[key] = await self.redis.zrange(key, 0, -1, withscores=True)
            else:
                found[key] = await self.redis.get(key)
        return found

    async def close(self) -> None:
        """End the processes and take away what they wrote."""
        for process in self.processes:
            await process.stop()
        await coverage.RUN.note(self, self.looked)
        for statement in _TAKE_AWAY:
            await self.query(statement)
        for namespace in self.namespaces:
            try:
                await self.admin.delete(ObjectRef(kind="Namespace", name=namespace))
            except NotFound:
                continue
        await asyncio.to_thread(self._delete_topics)
        async for key in self.redis.scan_iter(match=f"{self.name}:*", count=1000):
            await self.redis.delete(key)
        await self.admin.close()
        await self.driver.close()
        await self.redis.aclose()

    def _delete_topics(self) -> None:
        """Tried again where Kafka is slow; what is left then harms nobody, since its name is used once."""
        left = {self.topic(short) for short in TOPICS}
        client = AdminClient({"bootstrap.servers": self._bootstrap})
        for _ in range(_DELETIONS):
            try:
                asked = client.delete_topics(sorted(left), request_timeout=_DELETION_SECONDS)
            except KafkaException:
                continue
            left = {name for name, future in asked.items() if not _deleted(future)}
            if not left:
                return


def _deleted(future: Future[None]) -> bool:
    """Whether a topic is gone, or was never made."""
    try:
        future.result(_DELETION_SECONDS + 1)
    except KafkaException as error:
        return bool(error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART)
    except TimeoutError:
        return False
    return True


def _context(kubeconfig: str) -> str:
    return str(yaml.safe_load(Path(kubeconfig).read_text())["current-context"])


def _places(consumer: Consumer, topic: str) -> list[TopicPartition]:
    found = consumer.list_topics(topic, timeout=10).topics[topic]
    return [TopicPartition(topic, number) for number in found.partitions]


def _settings(servers: Any, name: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """Settings on the shared servers; ``more`` by group wins."""
    stack = yaml.safe_load(Path(servers.settings_file).read_text())
    own: dict[str, dict[str, Any]] = {
        "kafka": {"group_id": name, "partitions": 1, "topics": {short: f"{name}.{short}" for short in TOPICS}},
        "redis": {"prefix": f"{name}:"},
        "kubernetes": {"cluster_name": name},
        "matching": {"default_tenant": name},
        "runbooks": {"paths": ["runbooks"]},
        "api": {"enabled": False},
        # What is tested on these begins where a runbook has earned to run by itself; its own tests switch it on.
        "autonomy": {"enabled": False},
        "execution": {"lease_seconds": 6, "heartbeat_seconds": 1, "sweep_seconds": 0.5},
        "outgoing": {"allow": list(LOOPBACK)},
        # What fails here fails on purpose, one test after the other: no storm.
        "breaker": {"enabled": False},
        "logging": {"format": "json"},
    }
    groups = {*stack, *own, *more}
    return {group: {**stack.get(group, {}), **own.get(group, {}), **more.get(group, {})} for group in groups}


@asynccontextmanager
async def served(
    servers: Any,
    folder: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Served]:
    """An installation without processes yet.

    Args:
        servers: the fixture ``stack``.
        folder: an empty folder.
        settings: by group, on top of the usual ones.
        environment: variables of its processes.
    """
    name = f"inv-{uuid4().hex[:10]}"
    (folder / "runbooks").mkdir(parents=True)
    made = _settings(servers, name, settings or {})
    one = Served(
        name=name,
        folder=folder,
        settings=made,
        driver=AsyncGraphDatabase.driver(servers.neo4j_uri, auth=(servers.neo4j_user, servers.neo4j_password)),
        redis=Redis.from_url(made["redis"]["url"]),
        admin=await connect(servers.admin_kubeconfig, _context(servers.admin_kubeconfig), allow_context=True),
        environment=environment or {},
    )
    one.write()
    try:
        yield one
    finally:
        await one.close()


# Runbooks


def mark(key: str, value: str = "{{ execution.id }}", **step: Any) -> dict[str, Any]:
    """A step that writes an annotation on the target: a change that can be seen and does not restart anything."""
    return {
        "id": key,
        "name": f"Write {key}",
        "action": "kubectl_patch",
        "params": {
            "resource": "{{ target.kind }}/{{ target.name }}",
            "namespace": "{{ target.namespace }}",
            "type": "merge",
            "patch": {"metadata": {"annotations": {key: value}}},
        },
        **step,
    }


def pause(seconds: float, name: str = "breathe") -> dict[str, Any]:
    """A step that takes its time."""
    return {"id": name, "name": name, "action": "wait", "params": {"seconds": seconds}}


def runbook(reason: str, *steps: Mapping[str, Any], **parts: Any) -> dict[str, Any]:
    """A runbook that acts by itself and is proven in a second, unless ``parts`` say otherwise."""
    safety = {"require_approval": False, "max_executions_per_hour": 1000, "blast_radius_limit": 10, "cooldown": "0s"}
    return {
        "id": parts.pop("id", f"fix-{reason.lower()}"),
        "version": "1.0.0",
        "author": "tests",
        "trigger": {"root_cause_reason": reason, "min_confidence": 0.8},
        "safety": {**safety, **parts.pop("safety", {})},
        "steps": [dict(step) for step in steps],
        "verification": {"settle": "1s", "timeout": "20s"},
        **parts,
    }
