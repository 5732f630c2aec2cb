"""Trials on the practice cluster: each scenario gets a namespace of its own, which is deleted afterwards."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from executor.errors import Forbidden, NotFound
from executor.model import ObjectRef
from services.kubernetes.cluster import KubernetesCluster
from services.settings import Settings
from services.testing.trial_world import Notes, Sent

_READY_SECONDS = 30.0
_WRITES = frozenset({"patch", "create", "replace", "delete", "evict", "exec"})


class Watched:
    """Implements ``executor.ports.Cluster`` on another one, and keeps what is sent to it.

    Args:
        namespace: of the trial; it is told as ``declared``, the one that the scenario names.
    """

    def __init__(self, cluster: KubernetesCluster, notes: Notes, namespace: str, declared: str) -> None:
        self._cluster = cluster
        self._notes = notes
        self._namespace = namespace
        self._declared = declared

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._cluster, name)
        if name not in _WRITES:
            return call

        async def noted(what: Any, *args: Any, **kwargs: Any) -> Any:
            answer = await call(what, *args, **kwargs)
            if not kwargs.get("dry_run"):
                meta = what.get("metadata", {}) if isinstance(what, Mapping) else {}
                told = f"{what['kind']}/{meta.get('name')}" if isinstance(what, Mapping) else str(what)
                told = told.replace(self._namespace, self._declared)
                self._notes.sent.append(Sent(name, told, str(args[0] if args else "")))
            return answer

        return noted


class Practice:
    """The practice cluster, for trials.

    Attributes:
        cluster: as runbooks act on it, with their rights and no more.
        deployer: as scenarios are set up on it.
    """

    def __init__(self, cluster: KubernetesCluster, deployer: KubernetesCluster) -> None:
        self.cluster = cluster
        self.deployer = deployer

    @asynccontextmanager
    async def deployed(self, objects: Sequence[Mapping[str, Any]]) -> AsyncIterator[str]:
        """The objects in a namespace of their own; its name. Objects of the whole cluster are not deployed."""
        name = f"rootmend-test-{uuid.uuid4().hex[:8]}"
        try:
            await self.deployer.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        except Forbidden as error:
            raise Forbidden(f"{error}; name somebody who may with --kubeconfig") from error
        try:
            for item in objects:
                await self.deployer.create({**item, "metadata": {**item["metadata"], "namespace": name}})
            await self._settled(objects, name)
            yield name
        finally:
            with suppress(NotFound):
                await self.deployer.delete(ObjectRef(kind="Namespace", name=name))

    async def _settled(self, objects: Sequence[Mapping[str, Any]], namespace: str) -> None:
        """Wait until the workloads have their pods; whether these get ready is the scenario's affair."""
        wanted = sum(int(item.get("spec", {}).get("replicas", 1)) for item in objects if _is_workload(item))
        async with asyncio.timeout(_READY_SECONDS):
            while len(await self.deployer.list("Pod", namespace)) < wanted:  # noqa: ASYNC110 - a server is asked
                await asyncio.sleep(0.2)


def _is_workload(item: Mapping[str, Any]) -> bool:
    return item.get("kind") in ("Deployment", "StatefulSet", "ReplicaSet")


@asynccontextmanager
async def open_practice(settings: Settings, kubeconfig: Path | None = None) -> AsyncIterator[Practice]:
    """The practice cluster of the settings; any other cluster is refused.

    Args:
        settings: name it, and the rights with which runbooks act.
        kubeconfig: of somebody who may create namespaces there; None for the same.
    """
    async with _opened(settings, settings.kubernetes.kubeconfig, settings.kubernetes.context) as cluster:
        if kubeconfig is None:
            yield Practice(cluster, cluster)
            return
        async with _opened(settings, kubeconfig, "") as deployer:
            yield Practice(cluster, deployer)


@asynccontextmanager
async def _opened(settings: Settings, kubeconfig: Path | None, context: str) -> AsyncIterator[KubernetesCluster]:
    from services.kubernetes.connect import connect  # noqa: PLC0415 - only when it is asked for

    seconds = settings.kubernetes.request_timeout_seconds
    practice = settings.kubernetes.practice_id
    cluster = await connect(kubeconfig, context, practice, allow_context=False, timeout_seconds=seconds)
    try:
        yield cluster
    finally:
        await cluster.close()
