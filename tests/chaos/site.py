"""An installation whose processes are killed, and the people and servers around it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import yaml
from fakes.served import WIDE, Served, served

from executor.errors import NotFound
from executor.model import ObjectRef
from safety.access import Grant
from services.access.tokens import issue
from services.graph.connect import Graph
from services.graph.tokens import Neo4jTokens
from tests.chaos.hub import Hub, hub
from tests.chaos.kinds import KINDS, SCRIPT, Kind
from tests.chaos.nursery import Nursery, Victim, nursery

SLOTS = ("a", "b")
_ROLES = {
    "roles": [{"name": "responder", "permissions": ["executions:*", "approvals:respond"]}],
    "assignments": [{"role": "responder", "subjects": [{"user": "ada"}]}],
}
_LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that breaks: one input, one workload of its own."""

    event: str
    app: str
    kind: Kind
    generation: int
    message: tuple[str, bytes]


@dataclass
class Site:
    """The installation.

    Attributes:
        world: its names, settings, and eyes in Kafka, graph, Redis and cluster.
        hub: the counting server.
        space: the namespace of its workloads.
        living: the process of each slot.
        places: topic, partition and offset of each input, by event.
    """

    world: Served
    hub: Hub
    nursery: Nursery
    space: str = ""
    token: str = ""
    living: dict[str, Victim] = field(default_factory=dict)
    places: dict[str, tuple[str, int, int]] = field(default_factory=dict)

    @property
    def files(self) -> Path:
        """Where commands leave their lines."""
        return self.world.folder / "files"

    async def start(self, slot: str = "a", **more: Any) -> Victim:
        """Start the process of a slot; see ``Nursery.start``."""
        config = self.world.folder / f"rootmend-{slot}.yaml"
        settings = json.loads(json.dumps(self.world.settings))
        # The broker takes a member of this name for the one that died: no rebalance, and nobody waits for a timeout.
        settings["kafka"]["client"]["group.instance.id"] = f"{self.world.name}-{slot}"
        config.write_text(yaml.safe_dump(settings))
        config.chmod(0o600)
        victim = await self.nursery.start(slot, self.world.folder, config, **more)
        self.living[slot] = victim
        return victim

    async def incidents(self, kinds: Sequence[Kind]) -> list[Incident]:
        """Workloads, and the messages about each; nothing is sent yet."""
        return list(await asyncio.gather(*(self._incident(kind) for kind in kinds)))

    async def _incident(self, kind: Kind) -> Incident:
        app = f"{kind.name.replace('_', '-')}-{uuid4().hex[:8]}"
        await self.world.app(app, self.space)
        found = await self.world.deployment(app, self.space)
        subject: dict[str, Any] = {}
        if kind.about_pod:
            pod = await self._pod(app)
            subject["subject"] = {"kind": "Pod", "name": pod, "ns": self.space}
            await self.world.query(
                "MERGE (r:Resource {rid: $rid}) SET r.client_id = $name, r.kind = 'Pod', r.ns = $ns, r.name = $pod, "
                "r.updated_at = datetime()",
                rid=f"pod:{self.space}:{pod}",
                ns=self.space,
                pod=pod,
            )
        message = self.world.rca(app, self.space, kind.reason, **subject)
        event = json.loads(message[1])["incident_id"]
        return Incident(event, app, kind, found["metadata"]["generation"], message)

    async def send(self, incidents: Sequence[Incident]) -> None:
        """Tell of incidents."""
        placed = await self.world.send([one.message for one in incidents])
        self.places |= {one.event: place for one, place in zip(incidents, placed, strict=True)}

    async def _pod(self, app: str) -> str:
        pods = await self.world.admin.list("Pod", self.space, labels=f"app={app}")
        return str(pods[0]["metadata"]["name"])

    async def answering(self) -> None:
        """A person who says yes to everything that is asked, over REST, until cancelled."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(trust_env=False, timeout=10, headers=headers) as http:
            while True:
                await asyncio.sleep(_LOOK_SECONDS)
                urls = [one.url for one in self.living.values() if not one.over.is_set() and one.url]
                if not urls:
                    continue
                for row in await self.questions():
                    body = {"answer": "approve", "plan_hash": row["plan_hash"], "reason": "chaos"}
                    with suppress(httpx.HTTPError):
                        await http.post(f"{random.choice(urls)}/api/v1/approvals/{row['id']}/answer", json=body)  # noqa: S311 - which process is asked is no secret

    async def questions(self) -> list[dict[str, Any]]:
        """What waits for an answer."""
        return await self.world.query(
            """
            MATCH (e:RunbookExecution) WHERE e.target_key STARTS WITH $name + '/'
            MATCH (a:Approval {execution_id: e.id, status: 'pending'})
            RETURN a.id AS id, a.plan_hash AS plan_hash
            """
        )

    async def forget(self, incidents: Sequence[Incident]) -> None:
        """Take away the workloads of incidents that are over."""
        for one in incidents:
            with suppress(NotFound):
                await self.world.admin.delete(ObjectRef(kind="Deployment", name=one.app, namespace=self.space))


def settings(url: str, folder: Path, more: dict[str, Any]) -> dict[str, Any]:
    """Settings of a run: leases are short, so that a crash is noticed soon; every message is a batch of its own."""
    own: dict[str, dict[str, Any]] = {
        "kafka": {"client": {"session.timeout.ms": 6000}, "batch_max_records": 1},
        "execution": {"lease_seconds": 3, "heartbeat_seconds": 0.8, "sweep_seconds": 0.4},
        "gate": {**WIDE, "lock_lease": "10s"},
        "access": {"roles_file": str(folder / "roles.yaml"), "people": {"ada": {"email": "ada@example.com"}}},
        "api": {"enabled": True, "port": 0},
        "actions": {"shell": {"enabled": True, "allow": [str(folder / "files" / "note.sh")]}},
        "audit": {"folder": str(folder / "audit"), "anchor_seconds": 1},
        "slack": {
            "token": "xoxb-chaos",
            "channel": "#chaos",
            "mode": "http",
            "signing_secret": "s1gned-by-chaos",
            "base_url": f"{url}/api/",
        },
    }
    return {group: {**own.get(group, {}), **more.get(group, {})} for group in {*own, *more}}


@asynccontextmanager
async def site(
    servers: Any, folder: Path, kinds: Sequence[Kind] = tuple(KINDS.values()), **more: Any
) -> AsyncIterator[Site]:
    """An installation with the runbooks of some kinds, and no process yet.

    Args:
        servers: addresses of the stack.
        folder: an empty one.
        kinds: whose runbooks it has.
        more: settings by group, on top of the usual ones.
    """
    home = folder / "home"
    async with AsyncExitStack() as held:
        one = await held.enter_async_context(hub())
        bred = await held.enter_async_context(nursery())
        world = await held.enter_async_context(served(servers, home, settings=settings(one.url, home, more)))
        (home / "roles.yaml").write_text(yaml.safe_dump(_ROLES))
        made = Site(world, one, bred)
        made.files.mkdir()
        (made.files / "note.sh").write_text(SCRIPT)
        (made.files / "note.sh").chmod(0o755)
        for kind in kinds:
            world.runbook(kind.name, kind.runbook(one.url, made.files))
        made.space = await world.namespace()
        graph = Graph(world.driver, world.settings["neo4j"].get("database", "neo4j"))
        grant, now = [Grant("responder")], datetime.now(UTC)
        made.token, kept = issue("chaos", grant, owner="ada", by="test", now=now, lasts=timedelta(days=1))
        await Neo4jTokens(graph, f"{world.name}:").create(kept)
        answers = asyncio.create_task(made.answering())
        try:
            yield made
        finally:
            answers.cancel()
            with suppress(asyncio.CancelledError):
                await answers
            for victim in made.living.values():
                await victim.kill()
