"""(7) Many workloads fall ill of one cause: automation stops for it, a human is called, it goes on when it is calm."""

import asyncio
import json
from typing import ClassVar
from uuid import uuid4

from compose.demo.kgroot import Event
from compose.demo.messages import rca_result
from compose.demo.patience import Look
from compose.demo.pipeline import STORM_LIMIT
from compose.demo.record import Decision
from compose.demo.scenarios.base import Scenario, Told
from compose.demo.scene import Scene, hold
from compose.demo.workloads import deployment

REASON = "CertificateExpired"
_WRITER = "kgroot-live"


class StormStop(Scenario):
    """A certificate that everybody uses has run out. Restarting each of them would help nobody."""

    key: ClassVar[str] = "storm-stop"
    title: ClassVar[str] = "One cause everywhere, automation stops"
    app: ClassVar[str] = "edge-last"
    told: ClassVar[Told] = Told(kind="refusal", check="storm", runbook="restart-after-renewal")

    async def break_it(self, scene: Scene) -> None:
        """Every workload is there, and known to the graph."""
        apps = [*(f"edge-{number}" for number in range(STORM_LIMIT + 1)), self.app]
        image = "shop/edge:2.0.1"
        await asyncio.gather(*(self._one(scene, app, image) for app in apps))

    async def _one(self, scene: Scene, app: str, image: str) -> None:
        await scene.cluster.apply(deployment(scene.run.namespace, app, image, replicas=0))

    async def tell(self, scene: Scene) -> None:
        """The first ones are doubtful findings, so that nothing runs for them either; they count all the same."""
        first = [self._finding(scene, f"edge-{number}", 0.3) for number in range(STORM_LIMIT + 1)]
        await scene.wire.send("rca", first, "gzip")
        await scene.until("people to hear that automation is stopped", _told(scene, 1), seconds=self.patience)
        self.told_at = self.rca_at = await scene.wire.send("rca", [self._finding(scene, self.app, 0.95)], "gzip")

    def _finding(self, scene: Scene, app: str, sure: float) -> tuple[str, dict[str, object]]:
        about = scene.about("Deployment", app)
        cause = Event(REASON, about, "x509: certificate has expired")
        symptom = Event("KubeDeploymentUnavailable", about, f"{app} answers nobody", eid=str(uuid4()))
        return symptom.eid, rca_result(
            symptom, [(cause, sure)], tenant=scene.run.tenant, cluster=scene.run.cluster, writer=_WRITER
        )

    async def check(self, scene: Scene, decision: Decision) -> None:
        """Nothing was touched, one call at the beginning, one at the end, and it goes on."""
        found = await scene.deployment(self.app)
        stamps = [name for name in found["metadata"].get("annotations") or {} if name.startswith("rootmend.dev/")]
        hold(not stamps, f"{self.app} carries stamps: {stamps}")
        await scene.until("people to hear that it is over", _told(scene, 2), seconds=self.patience)
        code, said = await scene.pipeline.rb("breaker", "list", "--json")
        hold(code == 0 and json.loads(said) == [], f"rb breaker list ended with {code}: {said}")
        texts = _calls(scene)
        hold(len(texts) == 2, f"people were called {len(texts)} times: {texts}")  # noqa: PLR2004 - beginning and end
        hold("automation is stopped" in texts[0] and "Storm over" in texts[1], f"people were told: {texts}")


def _calls(scene: Scene) -> list[str]:
    """What people were told of storms."""
    return [message.text for message in scene.slack.workspace.messages if message.text.startswith("Storm")]


def _told(scene: Scene, count: int) -> Look[bool]:
    async def look() -> tuple[bool | None, object]:
        texts = _calls(scene)
        return (True if len(texts) >= count else None), texts

    return look
