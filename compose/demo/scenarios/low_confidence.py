"""(4) The analysis is not sure enough: nothing is done, and the record says why."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

from compose.demo.kgroot import Event
from compose.demo.messages import normalizer_v2, v2_event_id
from compose.demo.record import Decision
from compose.demo.scenarios.base import Scenario, Told
from compose.demo.scene import Scene, hold
from compose.demo.workloads import deployment

_EARLIER = timedelta(minutes=4)


class LowConfidence(Scenario):
    """The alert comes from the second normalizer. Its only cause is old, and a poor match."""

    key: ClassVar[str] = "low-confidence"
    title: ClassVar[str] = "Confidence too low, nothing done"
    app: ClassVar[str] = "reports"
    told: ClassVar[Told] = Told(kind="refusal", check="confidence", runbook="oomkilled-increase-memory")

    generation: int = 0

    async def break_it(self, scene: Scene) -> None:
        """It is broken in the very way that the runbook would mend: there is something to be tempted by."""
        await self.deploy(scene, deployment(scene.run.namespace, self.app, "shop/reports:0.9.1", needs="400Mi"))
        await scene.pod_that(self.app, "OOMKilled")
        self.generation = (await scene.deployment(self.app))["metadata"]["generation"]

    async def tell(self, scene: Scene) -> None:
        """About 0.39 by KGroot's formula: its own average, which is no better than a guess."""
        pod = await scene.pod_that(self.app, "OOMKilled")
        cause = Event("OOMKilled", scene.about_pod(pod), "Container app was OOMKilled", at=datetime.now(UTC) - _EARLIER)
        symptom = Event(
            "KubeDeploymentRolloutStuck",
            scene.about("Deployment", self.app),
            "The roll-out does not move on.",
            eid=v2_event_id(),
        )
        await scene.kgroot.events([cause, symptom])
        await scene.kgroot.link(cause, [symptom], domain=0.45)
        self.told_at = await scene.wire.send(
            "events", [(symptom.eid, normalizer_v2(symptom, scene.run.cluster))], "snappy"
        )
        self.rca_at = self.told_at

    async def check(self, scene: Scene, decision: Decision) -> None:
        """Nothing was touched."""
        found = await scene.deployment(self.app)
        hold(found["metadata"]["generation"] == self.generation, f"the spec of {self.app} was changed")
        stamps = [name for name in found["metadata"].get("annotations") or {} if name.startswith("rootmend.dev/")]
        hold(not stamps, f"{self.app} carries stamps: {stamps}")
        hold(decision.confidence is not None and decision.confidence < 0.5, f"confidence {decision.confidence}")  # noqa: PLR2004 - the floor
