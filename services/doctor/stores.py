"""Neo4j, Redis and the disk."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from cypher import loader
from services.doctor.model import Finding, State, finding
from services.graph.connect import Graph, verify
from services.graph.migrate import pending

_NAMED = re.compile(r"(?:INDEX|CONSTRAINT) (\w+) IF NOT EXISTS")
_DROPPED = re.compile(r"DROP (?:INDEX|CONSTRAINT) (\w+)")
_LEAST_FREE = 1 << 30
_FULL = 0.9


async def neo4j(graph: Graph) -> Sequence[Finding]:
    """Who answers, the version of the schema, and whether every index can be used."""
    agent = await verify(graph)
    waiting = [f"migration {step.version} ({step.name}) is not applied" for step in await pending(graph)]
    found = {row["name"]: row["state"] for row in await graph.read("schema_indexes")}
    texts = [statement for step in loader.migrations() for statement in step.statements]
    dropped = {name for text in texts for name in _DROPPED.findall(text)}
    wanted = [name for text in texts for name in _NAMED.findall(text) if name not in dropped]
    broken = [f"{name} is {found.get(name, 'missing')}" for name in wanted if found.get(name) != "ONLINE"]
    version = len(loader.migrations())
    do = "SHOW INDEXES tells more; drop a failed one and make it again with the statement in cypher/migrations"
    return [
        Finding("neo4j", State.OK, agent),
        finding("neo4j schema", waiting, f"version {version}", "rb migrate, or start rb serve of this release"),
        finding("neo4j indexes", broken, f"all {len(wanted)} are online", do),
    ]


async def redis_store(client: Redis, primed: str) -> Sequence[Finding]:
    """Whether Redis keeps what it is told, and drops nothing by itself.

    Args:
        client: the gate's store.
        primed: the key that says that it was filled.
    """
    server: dict[str, Any] = await client.info()
    found = [Finding("redis", State.OK, f"version {server.get('redis_version', 'unknown')}")]
    policy = str(server.get("maxmemory_policy", "unknown"))
    evicts = [] if policy == "noeviction" else [f"maxmemory-policy is {policy}: locks and counts can be dropped"]
    found.append(finding("redis eviction", evicts, policy, "CONFIG SET maxmemory-policy noeviction, and in redis.conf"))
    found.append(_memory(server))
    found.append(await _persistence(client, server))
    filled = (
        [] if await client.exists(primed) else ["the gate's store is empty: the first question fills it from the graph"]
    )
    found.append(finding("redis gate", filled, "filled", "rb executions repair --apply fills it now", State.NOTE))
    return found


def _memory(server: dict[str, Any]) -> Finding:
    used, most = int(server.get("used_memory", 0)), int(server.get("maxmemory", 0))
    full = [f"{used >> 20} of {most >> 20} MiB are used"] if most and used > most * _FULL else []
    return finding("redis memory", full, f"{used >> 20} MiB used", "raise maxmemory: a full store permits nothing")


async def _persistence(client: Redis, server: dict[str, Any]) -> Finding:
    aof = bool(server.get("aof_enabled"))
    try:
        saves = str((await client.config_get("save")).get("save", ""))
    except ResponseError:
        saves = "unknown"  # CONFIG is often forbidden where Redis is a service
    problems = []
    if not aof and not saves:
        problems.append("neither AOF nor snapshots: a restart empties it, and it is filled from the graph again")
    if server.get("rdb_last_bgsave_status", "ok") != "ok" or (
        aof and server.get("aof_last_write_status", "ok") != "ok"
    ):
        problems.append("the last write to disk failed")
    do = "appendonly yes with appendfsync everysec keeps all but the last second"
    kept = f"AOF {'on' if aof else 'off'}, snapshots {saves or 'off'}"
    return finding("redis persistence", problems, kept, do, State.NOTE)


def disk(folders: Sequence[Path]) -> list[Finding]:
    """Room for what this machine writes: anchors of the audit trail, reports."""
    full = []
    for folder in dict.fromkeys(folders):
        there = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(there).free
        if free < _LEAST_FREE:
            full.append(f"{free >> 20} MiB free for {folder}")
    return [
        finding("disk", full, "a GiB free at least", "make room: without it no anchor of the audit trail is written")
    ]
