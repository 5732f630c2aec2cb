"""What graduated response to high memory needs around it: metrics, alerts, an app that can be asked to clean up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fakes.examples import deployed, known, pods, workload
from fakes.outside import Outside
from fakes.served import Served, until
from integration.prometheus_server import Monitoring

from compose.practice.stages import EXEC_NAMESPACE
from executor.errors import Conflict
from executor.model import ObjectRef

PS = "ps aux --sort=-%mem | head -20"
REPLICAS = 2


def settings(monitoring: Monitoring, mappings: str, runbook: str, **parameters: Any) -> dict[str, Any]:
    """Settings of an installation that measures memory and errors, and lets ``ps`` run in containers."""
    queries = {
        "podMemoryPercent": 'max(pod_memory_percent{app="{{ name }}"})',
        "errorRate": 'max(error_rate{app="{{ name }}"})',
    }
    return {
        "matching": {"bridge": {"first_delay": "200ms", "max_delay": "500ms", "deadline": "3s"}},
        "runbooks": {"paths": ["runbooks"], "mappings": [mappings], "parameters": {runbook: parameters}},
        "actions": {"exec": {"enabled": True, "allow": [f"sh -c '{PS}'"]}},
        "prometheus": {"url": monitoring.prometheus, "queries": queries},
        "slack": {"token": "xoxb-test", "channel": "#sre"},
        "pagerduty": {"routing_keys": {"default": "a-routing-key"}, "base_url": "https://events.pagerduty.com"},
    }


@dataclass
class Apps:
    """Deployments in the one namespace where programs can be run, with their numbers in Prometheus."""

    world: Served
    monitoring: Monitoring
    away: Outside
    made: list[str] = field(default_factory=list)

    async def start(self, app: str, memory: float = 93, errors: float = 0.01) -> str:
        """Deploy an app, measure it; the name of one of its pods."""
        try:
            named = {"metadata": {"name": EXEC_NAMESPACE}}
            await self.world.admin.create({"apiVersion": "v1", "kind": "Namespace", **named})
        except Conflict:
            pass  # another run made it, and nobody takes it away
        name = self.named(app)
        self.made.append(name)
        await deployed(self.world, workload(name, EXEC_NAMESPACE, replicas=REPLICAS))
        await self.measure(app, memory, errors)

        async def counted() -> bool:
            return (await self.deployment(app))["status"].get("readyReplicas") == REPLICAS

        await until(counted, f"{name} is ready", 60)
        running = [pod["metadata"]["name"] for pod in await pods(self.world, name, EXEC_NAMESPACE)]
        for pod in running:
            await known(self.world, "Pod", pod, EXEC_NAMESPACE)
        return str(running[0])

    def named(self, app: str) -> str:
        """The name of its Deployment."""
        return f"{self.world.name}-{app}"

    async def measure(self, app: str, memory: float = 93, errors: float = 0.01) -> None:
        """What Prometheus says about an app from now on; returns when it says so."""
        about = f'{{app="{self.named(app)}"}}'
        await self.monitoring.push(app, f"pod_memory_percent{about} {memory}\nerror_rate{about} {errors}\n")

        async def read() -> bool:
            return await self.monitoring.value(f"pod_memory_percent{about}") == memory

        await until(read, f"Prometheus says {memory} about {app}")

    async def alert(self, app: str, pod: str, **labels: str) -> None:
        """Alertmanager tells of an app's memory."""
        named = {"alertname": "PodMemoryHigh", "namespace": EXEC_NAMESPACE, "pod": pod, "cluster": self.world.name}
        one = {
            "status": "firing",
            "labels": {**named, "tenant": self.world.name, **labels},
            "annotations": {"value": "93.4"},
            "startsAt": datetime.now(UTC).isoformat(),
            "fingerprint": f"memory-{app}",
        }
        await self.world.send([("alerts", json.dumps({"status": "firing", "alerts": [one]}).encode())])

    async def decided(self, app: str, *kinds: str) -> dict[str, Any]:
        """The decision about an app, once it is of one of the kinds."""
        name = self.named(app)

        async def look() -> dict[str, Any] | None:
            found = [one for one in await self.world.decisions() if f'"{name}-' in one["signal"]]
            return next((one for one in found if not kinds or one["kind"] in kinds), None)

        found = await until(look, f"a decision about {name} {kinds}")
        assert found is not None
        return found

    async def asked(self, app: str, pod: str) -> bool:
        """Wait until a pod was asked to clean up."""

        async def look() -> bool:
            return bool(self.away.of(self.host(pod)))

        return await until(look, f"{pod} is asked to clean up")

    def host(self, pod: str) -> str:
        """What a pod is called in the cluster."""
        return f"{pod}.{EXEC_NAMESPACE}.svc.cluster.local"

    async def deployment(self, app: str) -> Mapping[str, Any]:
        """An app's Deployment as it is."""
        return await self.world.deployment(self.named(app), EXEC_NAMESPACE)

    async def spoil(self, app: str) -> None:
        """The running pods of an app die of memory again and again; new ones do not."""
        for pod in await pods(self.world, self.named(app), EXEC_NAMESPACE):
            ref = ObjectRef(kind="Pod", name=pod["metadata"]["name"], namespace=EXEC_NAMESPACE)
            needs = {"metadata": {"annotations": {"practice.rootmend.dev/needs-memory": "8Gi"}}}
            await self.world.admin.patch(ref, needs, how="merge")

    async def close(self) -> None:
        """Take the Deployments away."""
        refs = [ObjectRef(kind="Deployment", name=name, namespace=EXEC_NAMESPACE) for name in self.made]
        await asyncio.gather(*(self.world.admin.delete(ref) for ref in refs))
