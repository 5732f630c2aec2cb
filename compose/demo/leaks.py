"""Looks for a secret everywhere where it must not be."""

import base64
import json
from collections.abc import Iterator

from redis.asyncio import Redis

from compose.demo.scene import Scene


async def places_of(secret: str, scene: Scene) -> list[str]:
    """Where a secret can be found: in the graph, on Kafka, in Redis, in Slack, or in the log of the pipeline.

    Looked for are the whole text, each long string inside it when it is JSON, and both in base64.
    """
    needles = [needle.encode() for needle in _needles(secret)]
    found: list[str] = []

    def look(place: str, content: bytes) -> None:
        if any(needle in content for needle in needles) and place not in found:
            found.append(place)

    for row in await scene.graph.run("everything", tenant=scene.run.tenant):
        look(f"graph node {row['labels']}", json.dumps(row["facts"], default=str, ensure_ascii=False).encode())
        for value in row["facts"].values():
            look(f"graph node {row['labels']}", str(value).encode())
    for seen in scene.wire.everything():
        look(f"topic {seen.topic}", seen.value)
    async for key in scene.redis.scan_iter(match=f"{scene.run.redis_prefix}*"):
        look(f"redis key {key!r}", bytes(key) + repr(await _content(scene.redis, key)).encode())
    for message in scene.slack.workspace.messages:
        look("Slack", json.dumps([message.text, message.blocks], ensure_ascii=False).encode())
    look("the log of rb serve", scene.run.log.read_bytes())
    return found


async def _content(redis: Redis, key: bytes) -> object:
    match await redis.type(key):
        case b"hash":
            return await redis.hgetall(key)
        case b"zset":
            return await redis.zrange(key, 0, -1)
        case b"set":
            return await redis.smembers(key)
        case b"list":
            return await redis.lrange(key, 0, -1)
        case b"stream":
            return await redis.xrange(key)
        case _:
            return await redis.get(key)


def _needles(secret: str) -> Iterator[str]:
    for text in (secret, *_long_strings(json.loads(secret))):
        yield text
        yield base64.b64encode(text.encode()).decode().rstrip("=")


def _long_strings(node: object, least: int = 12) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from _long_strings(value, least)
    elif isinstance(node, str) and len(node) >= least:
        yield node
