"""A namespace to test in: on the API server in memory, and on the real one."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes.action_rig import Rig, deployment, facts
from fakes.cluster import FakeCluster
from fakes.world import FakeWorld

from executor.actions.base import Stamp, World
from executor.actions.naming import ref_of
from executor.ports import Cluster
from services.kubernetes.connect import connect


@dataclass
class Place:
    """A namespace of its own: ``admin`` sets things up, ``cluster`` is what the product uses."""

    namespace: str
    cluster: Cluster
    admin: Cluster
    real: bool

    async def deploy(self, name: str = "web", **more: Any) -> dict[str, Any]:
        made = await self.admin.create(deployment(name, self.namespace, **more))
        return dict(made)

    async def pods(self, name: str = "web") -> list[Any]:
        return list(await self.cluster.list("Pod", self.namespace, labels=f"app={name}"))

    async def ready(self, count: int, name: str = "web") -> list[Any]:
        async def enough() -> bool:
            pods = await self.pods(name)
            return len(pods) == count and all(_is_ready(pod) for pod in pods)

        await until(enough)
        return await self.pods(name)

    async def live(self, name: str = "web") -> dict[str, Any]:
        found = await self.cluster.get("Deployment", name, self.namespace)
        assert found is not None
        return dict(found)

    def world(self) -> World:
        fake = FakeWorld()
        return World(self.cluster, fake.http, fake.chat, fake.graph, fake.secrets, fake.clock)


def _is_ready(pod: Any) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - a server cannot set an event
            await asyncio.sleep(0.1)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.stack)])
async def place(request):
    namespace = f"contract-{uuid.uuid4().hex[:8]}"
    if request.param == "fake":
        fake = FakeCluster()
        yield Place(namespace, fake, fake, real=False)
        return
    stack = request.getfixturevalue("stack")
    admin = await connect(stack.admin_kubeconfig, "rootmend-practice-admin")
    cluster = await connect(stack.kubeconfig, stack.context)
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    made = await admin.create(body)
    try:
        yield Place(namespace, cluster, admin, real=True)
    finally:
        await admin.delete(ref_of(made))
        await cluster.close()
        await admin.close()


def rig(place: Place, name: str, params: dict[str, Any], step: str = "fix") -> Rig:
    about = facts("Deployment", "web", place.namespace)
    return Rig(place.world(), name, params, about, Stamp(str(uuid.uuid4()), step, 7))


class SystemClock:
    """Real time, for what real servers take time for."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
