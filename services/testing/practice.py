"""Trials on the practice cluster: each scenario gets a namespace of its own, which is deleted afterwards."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from executor.errors import NotFound
from executor.model import ObjectRef
from services.kubernetes.cluster import KubernetesCluster
from services.settings import Settings
from services.testing.trial_world import Notes, Sent

_READY_SECONDS = 30.0
_WRITES = frozenset({"patch", "create", "replace", "delete", "evict", "exec"})


class Watched:
    """Implements ``executor.ports.Cluster`` on another one, and keeps what is sent to it."""

    def __init__(self, cluster: KubernetesCluster, notes: Notes) -> None:
        self._cluster = cluster
        self._notes = notes

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._cluster, name)
        if name not in _WRITES:
            return call

        async def noted(what: Any, *args: Any, **kwargs: Any) -> Any:
            answer = await call(what, *args, **kwargs)
            if not kwargs.get("dry_run"):
                meta = what.get("metadata", {}) if isinstance(what, Mapping) else {}
                told = f"{what['kind']}/{meta.get('name')}" if isinstance(what, Mapping) else str(what)
                self._notes.sent.append(Sent(name, told, str(args[0] if args else "")))
            return answer

        return noted


class Practice:
    """The practice cluster, for trials."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        self.cluster = cluster

    @asynccontextmanager
    async def deployed(self, objects: Sequence[Mapping[str, Any]]) -> AsyncIterator[str]:
        """The objects in a namespace of their own; its name. Objects of the whole cluster are not deployed."""
        name = f"rootmend-test-{uuid.uuid4().hex[:8]}"
        await self.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        try:
            for item in objects:
                await self.cluster.create({**item, "metadata": {**item["metadata"], "namespace": name}})
            await self._settled(objects, name)
            yield name
        finally:
            with suppress(NotFound):
                await self.cluster.delete(ObjectRef(kind="Namespace", name=name))

    async def _settled(self, objects: Sequence[Mapping[str, Any]], namespace: str) -> None:
        """Wait until the workloads have their pods; whether these get ready is the scenario's affair."""
        wanted = sum(int(item.get("spec", {}).get("replicas", 1)) for item in objects if _is_workload(item))
        async with asyncio.timeout(_READY_SECONDS):
            while len(await self.cluster.list("Pod", namespace)) < wanted:  # noqa: ASYNC110 - a server is asked
                await asyncio.sleep(0.2)


def _is_workload(item: Mapping[str, Any]) -> bool:
    return item.get("kind") in ("Deployment", "StatefulSet", "ReplicaSet")


@asynccontextmanager
async def open_practice(settings: Settings) -> AsyncIterator[Practice]:
    """The practice cluster of the settings; any other cluster is refused."""
    from services.kubernetes.connect import connect  # noqa: PLC0415 - only when it is asked for

    cluster = await connect(
        settings.kubernetes.kubeconfig,
        settings.kubernetes.context,
        settings.kubernetes.practice_id,
        allow_context=False,
        timeout_seconds=settings.kubernetes.request_timeout_seconds,
    )
    try:
        yield Practice(cluster)
    finally:
        await cluster.close()
