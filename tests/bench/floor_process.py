"""The barest loop that drives the same servers: synchronous clients, no checks, no journal, no recovery.

Reads its configuration from the file that is named first; says ``ready`` on standard output, and answers each line on
standard input with the messages that went through since the last one, as JSON.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import yaml
from confluent_kafka import Consumer, Message, Producer
from neo4j import Driver, GraphDatabase
from redis import Redis

_LUA = "redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000) return redis.call('INCR', KEYS[2])"
_READ = (
    "MATCH (s:Episodic {eid: $id})<-[edge:POTENTIAL_CAUSE]-(c:Episodic) "
    "RETURN c.reason AS reason, edge.confidence AS confidence"
)
_WRITE = "CREATE (n:BenchFloor {id: $id, tenant: $tenant, at: datetime.realtime()}) RETURN elementId(n) AS node"
_CLAIM = "MATCH (n) WHERE elementId(n) = $node SET n.claimed_at = datetime.realtime()"
_READ_MANY = "UNWIND $ids AS id MATCH (s:Episodic {eid: id}) RETURN s.eid AS id"
_WRITE_MANY = "UNWIND $ids AS id CREATE (:BenchFloor {id: id, tenant: $tenant, at: datetime.realtime()})"
_AT_ONCE = 500


class Api:
    """One kept connection to the API server."""

    def __init__(self, kubeconfig: Path) -> None:
        found = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = found["clusters"][0]["cluster"], found["users"][0]["user"]
        self._headers = {"Authorization": f"Bearer {user['token']}", "Accept": "application/json"}
        if "certificate-authority-data" in cluster:
            data = base64.b64decode(cluster["certificate-authority-data"]).decode()
            context = ssl.create_default_context(cadata=data)
        else:
            context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        address = urlsplit(cluster["server"])
        self._connection = http.client.HTTPSConnection(address.hostname or "", address.port, context=context)

    def get(self, path: str) -> Any:
        try:
            return self._get(path)
        except http.client.RemoteDisconnected:  # it was idle for long; the next request connects again
            return self._get(path)

    def _get(self, path: str) -> Any:
        self._connection.request("GET", path, headers=self._headers)
        return orjson.loads(self._connection.getresponse().read())


class Loop:
    """Both modes, on one configuration."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self.done: dict[str, float] = {}
        neo4j = config["neo4j"]
        self._driver: Driver = GraphDatabase.driver(neo4j["uri"], auth=(neo4j["user"], neo4j["password"]))
        self._redis = Redis.from_url(config["redis"])
        self._lua = self._redis.script_load(_LUA)
        self._producer = Producer({"bootstrap.servers": config["bootstrap"], "linger.ms": 0})
        self._api = Api(Path(config["kubeconfig"]))

    def consumer(self, topic: str) -> Consumer:
        consumer = Consumer(
            {
                "bootstrap.servers": self._config["bootstrap"],
                "group.id": f"{topic}-floor",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        consumer.subscribe([topic])
        while not consumer.assignment():
            consumer.poll(0.05)
        return consumer

    def decide(self, consumer: Consumer) -> None:
        """One message after the other, up to handing it on."""
        config = self._config
        pods = f"/api/v1/namespaces/{config['namespace']}/pods"
        with self._driver.session() as session:
            while True:
                message = consumer.poll(1.0)
                if message is None:
                    continue
                body = orjson.loads(message.value() or b"")
                event_id = body["incident_id"]
                session.run(_READ, id=event_id).data()
                self._api.get(f"{pods}/{body['subject']['name']}")
                self._redis.evalsha(self._lua, 2, f"{config['prefix']}{event_id}", f"{config['prefix']}count", "1")
                rows = session.run(_WRITE, id=event_id, tenant=config["tenant"]).data()
                value = orjson.dumps({"id": event_id, "node": rows[0]["node"]})
                self._producer.produce(config["handed_on"], value, key=event_id)
                self._producer.poll(0)
                consumer.commit(message=message, asynchronous=True)

    def act(self, consumer: Consumer) -> None:
        """One claim after the other."""
        with self._driver.session() as session:
            while True:
                message = consumer.poll(1.0)
                if message is None:
                    continue
                body = orjson.loads(message.value() or b"")
                session.run(_CLAIM, node=body["node"]).consume()
                self.done[body["id"]] = time.time()

    def decide_many(self, consumer: Consumer) -> None:
        """Many messages together."""
        with self._driver.session() as session:
            while True:
                batch: list[Message] = consumer.consume(_AT_ONCE, 0.01)
                if batch:
                    self._together(batch, session, consumer)

    def _together(self, batch: list[Message], session: Any, consumer: Consumer) -> None:
        config = self._config
        ids = [orjson.loads(message.value() or b"")["incident_id"] for message in batch]
        session.run(_READ_MANY, ids=ids).data()
        with self._redis.pipeline(transaction=False) as pipe:
            for event_id in ids:
                pipe.evalsha(self._lua, 2, f"{config['prefix']}{event_id}", f"{config['prefix']}count", "1")
            pipe.execute()
        session.run(_WRITE_MANY, ids=ids, tenant=config["tenant"]).consume()
        for event_id in ids:
            self._producer.produce(config["handed_on"], event_id.encode(), key=event_id)
        self._producer.flush(30)
        consumer.commit(asynchronous=False)
        now = time.time()
        self.done |= dict.fromkeys(ids, now)


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    loop = Loop(config)
    reading = loop.consumer(config["read"])
    works = [(loop.decide_many, reading)]
    if config["mode"] == "latency":
        works = [(loop.decide, reading), (loop.act, loop.consumer(config["handed_on"]))]
    for work, consumer in works:
        threading.Thread(target=work, args=(consumer,), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        since, loop.done = loop.done, {}
        sys.stdout.write(json.dumps(since) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
