"""Looks at what came of incidents, from outside: Kafka, the graph, Redis, the cluster, the counting server, files."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services.audit.keys import TrustedKeys, open_key
from services.audit.verifying import Verification
from services.graph.connect import Graph
from tests.chaos.checker import Effect, Ran, Seen
from tests.chaos.site import Incident, Site

_SETTLED = ("done",)
_LOOK_SECONDS = 0.3


async def settled(site: Site, incidents: Sequence[Incident], seconds: float) -> bool:
    """Wait until everything has its decision and its end, and every lock is free; False when time is up.

    Whether it then holds is for the checker to say: this only waits.
    """
    end = asyncio.get_running_loop().time() + seconds
    events = [one.event for one in incidents]
    while asyncio.get_running_loop().time() < end:
        decided = await _decisions(site, events)
        ran = await _executions(site, events)
        open_ = [run for run in ran if run["status"] not in _SETTLED]
        told = all(event in decided for event in events) and not await _kafka_behind(site, decided, events)
        held = told and not open_ and (await unreleased(site, ran) or await locks(site) or await claims(site))
        if told and not open_ and not held:
            return True
        await asyncio.sleep(_LOOK_SECONDS)
    return False


async def _kafka_behind(site: Site, decided: Mapping[str, Sequence[str]], events: Sequence[str]) -> bool:
    """Whether a decision on record is not on Kafka yet."""
    told = await published(site)
    return any(not set(decided[event]) & told.get(event, set()) for event in events)


async def look(site: Site, incidents: Sequence[Incident], *, trail: bool = True) -> Seen:
    """Everything about these incidents, and what is left of the whole installation."""
    events = [one.event for one in incidents]
    ran = await _executions(site, events)
    letters = await site.world.read("dlq")
    decided = await _decisions(site, events)
    return Seen(
        inputs=events,
        decisions=decided,
        committed=await _committed(site, [event for event in events if event not in decided]),
        published={event: ids for event, ids in (await published(site)).items() if event in set(events)},
        effects=[await _effect(site, one, ran) for one in incidents],
        ran=[Ran(r["id"], r["event"], r["status"], r["outcome"], await _epochs(site, r["id"])) for r in ran],
        unreleased=await unreleased(site, ran),
        locks=await locks(site),
        claims=await claims(site),
        open_questions=[str(row["id"]) for row in await site.questions()],
        trail=await trail_problems(site) if trail else (),
        dead_letters=[str(letter.get("error", letter))[:200] for letter in letters],
    )


async def _decisions(site: Site, events: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Ids of decisions on record by event."""
    rows = await site.world.query(
        "MATCH (d:Decision {cluster: $name}) WHERE d.event_id IN $events RETURN d.id AS id, d.event_id AS event",
        events=list(events),
    )
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        found[row["event"]].append(row["id"])
    return found


async def _committed(site: Site, events: Sequence[str]) -> list[str]:
    """Which of these events nobody will read again."""
    offsets = await site.world.committed("rca")
    found = []
    for event in events:
        topic, partition, offset = site.places[event]
        if offsets.get((topic, partition), 0) > offset:
            found.append(event)
    return found


async def published(site: Site) -> Mapping[str, set[str]]:
    """Ids of decisions on Kafka by event."""
    found: dict[str, set[str]] = defaultdict(set)
    for message in await site.world.read("decisions"):
        found[str(message.get("event_id", ""))].add(str(message.get("decision_id", "")))
    return found


async def _executions(site: Site, events: Sequence[str]) -> list[dict[str, Any]]:
    return await site.world.query(
        """
        MATCH (d:Decision {cluster: $name}) WHERE d.event_id IN $events
        MATCH (e:RunbookExecution {decision_id: d.id})
        RETURN e.id AS id, d.event_id AS event, e.status AS status, coalesce(e.outcome, '') AS outcome,
               e.started_at IS NOT NULL AND e.status = 'done' AS begun
        """,
        events=list(events),
    )


async def _epochs(site: Site, execution: str) -> list[int]:
    """The epochs of what was written about an execution, in the order of writing.

    Intents are left out: one that is written anew tells when its step first began.
    """
    rows = await site.world.query(
        """
        MATCH (a:AuditEntry {execution_id: $id}) WHERE a.kind <> 'step.intended'
        RETURN a.facts AS facts ORDER BY a.at, a.seq
        """,
        id=execution,
    )
    facts = [json.loads(row["facts"]) for row in rows]
    return [int(fact["epoch"]) for fact in facts if isinstance(fact.get("epoch"), int)]


async def _effect(site: Site, one: Incident, ran: Sequence[Mapping[str, Any]]) -> Effect:
    statuses: dict[tuple[str, str], str] = {}
    for run in ran:
        if run["event"] == one.event:
            statuses |= await site.world.steps(run["id"])
    made = await _made(site, one)
    return Effect(one.event, one.kind.name, made, one.kind.allowed(statuses), statuses.get(("step", "effect"), ""))


async def _made(site: Site, one: Incident) -> int:
    """How often the effect happened, counted at the target."""
    match one.kind.counted:
        case "generation":
            found = await site.world.deployment(one.app, site.space)
            return int(found["metadata"]["generation"]) - one.generation
        case "pods":
            return await _pods_made(site, one.app) - 1
        case "calls":
            return len(site.hub.keys[one.app])
        case "lines":
            path = site.files / "effects"
            return Counter(path.read_text().split() if path.exists() else ())[one.app]
        case _:
            return 0


async def _pods_made(site: Site, app: str) -> int:
    """How many pods the controllers of a Deployment ever made, by their own events."""
    events = await site.world.admin.list("Event", site.space, fields="reason=SuccessfulCreate")
    mine = [e for e in events if str(e.get("involvedObject", {}).get("name", "")).rpartition("-")[0] == app]
    return sum(int(e.get("count") or 1) for e in mine)


async def locks(site: Site) -> list[str]:
    """Targets that somebody holds in Redis now."""
    seconds, micros = await site.world.redis.time()
    now = seconds * 1000 + micros // 1000
    held = []
    async for key in site.world.redis.scan_iter(match=f"{site.world.name}:{{{site.world.name}}}:target:*", count=1000):
        holder, until = await site.world.redis.hmget(key, "holder", "until")
        if holder and float(until or 0) > now:
            held.append(key.decode())
    return held


async def unreleased(site: Site, ran: Sequence[Mapping[str, Any]]) -> list[str]:
    """Executions that ended after they had begun, and that still hold something in Redis."""
    keys = [f"{site.world.name}:{{{site.world.name}}}:execution:{run['id']}" for run in ran if run["begun"]]
    states = [await site.world.redis.hget(key, "state") for key in keys]
    return [key for key, state in zip(keys, states, strict=True) if state != b"spent"]


async def claims(site: Site) -> list[str]:
    """Targets that somebody holds in the graph now."""
    rows = await site.world.query(
        """
        MATCH (c:TargetClaim) WHERE c.target_key STARTS WITH $name + '/' AND c.lease_until_ms > timestamp()
        RETURN c.target_key AS key
        """
    )
    return [row["key"] for row in rows]


async def trail_problems(site: Site) -> list[str]:
    """What is wrong with the tenant's audit trail and its anchors."""
    audit = Path(site.world.settings["audit"]["folder"])
    book, key = audit / "anchors.jsonl", audit / "signing-key.pem"
    graph = Graph(site.world.driver, site.world.settings["neo4j"].get("database", "neo4j"))
    trust = TrustedKeys([open_key(key).key] if key.exists() else [])
    report = await Verification(graph, [book] if book.exists() else [], trust).run(site.world.name)
    return [str(problem) for problem in report.problems]
