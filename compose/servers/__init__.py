"""One module for each server: how it is prepared, started and asked whether it is up."""

from collections.abc import Mapping

from compose.servers.base import Server
from compose.servers.etcd import Etcd
from compose.servers.kafka import Kafka
from compose.servers.kubernetes import ApiServer, ControllerManager, Scheduler
from compose.servers.kwok import Kwok
from compose.servers.neo4j import Neo4j
from compose.servers.redis import Redis

SERVERS: Mapping[str, Server] = {
    server.name: server
    for server in (Redis(), Kafka(), Neo4j(), Etcd(), ApiServer(), ControllerManager(), Scheduler(), Kwok())
}

GROUPS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "redis": (("redis",),),
    "kafka": (("kafka",),),
    "neo4j": (("neo4j",),),
    # Each line needs the one before it.
    "cluster": (("etcd",), ("kube-apiserver",), ("kube-controller-manager", "kube-scheduler", "kwok")),
}
"""What a person starts by name, and the servers in it in the order of their start."""
