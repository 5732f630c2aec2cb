"""(1) A container is OOM-killed; its limit is doubled without asking anybody."""

from typing import ClassVar

from compose.demo.kgroot import Event
from compose.demo.messages import event_normalized
from compose.demo.record import Decision
from compose.demo.scenarios.base import Scenario, Told
from compose.demo.scene import Scene, died_at, hold
from compose.demo.workloads import deployment

REPLICAS = 2
FIXED = Told(
    kind="permit",
    runbook="oomkilled-increase-memory",
    steps=("read_limit", "new_limit", "raise_limit", "rollout"),
    verdict="verified",
    outcome="success",
)


class OutOfMemory(Scenario):
    """The alert comes as an EventNormalized, the cause stands in the graph already."""

    key: ClassVar[str] = "oom"
    title: ClassVar[str] = "OOMKilled, fixed by itself"
    app: ClassVar[str] = "checkout"
    told: ClassVar[Told] = FIXED

    generation: int = 0

    async def break_it(self, scene: Scene) -> None:
        """The program needs 400Mi and may have 256Mi."""
        image = f"shop/{self.app}:1.4.2"
        await self.deploy(scene, deployment(scene.run.namespace, self.app, image, replicas=REPLICAS, needs="400Mi"))
        await scene.pod_that(self.app, "OOMKilled")
        self.generation = (await scene.deployment(self.app))["metadata"]["generation"]

    async def tell(self, scene: Scene) -> None:
        """KGroot links the two because they are about different resources: a pod, and its Deployment."""
        cause, symptom = await oom_events(scene, self.app)
        await scene.kgroot.events([cause, symptom])
        await scene.kgroot.link(cause, [symptom], domain=0.95)
        body = event_normalized(symptom, scene.run.tenant)
        self.told_at = await scene.wire.send("events", [(f"{scene.run.tenant}::{symptom.eid}", body)], "zstd")
        self.rca_at = self.told_at

    async def check(self, scene: Scene, decision: Decision) -> None:
        """Double the memory, one change, all pods ready."""
        await doubled_once(scene, self.app, self.generation)


async def oom_events(scene: Scene, app: str) -> tuple[Event, Event]:
    """The death of a pod, and the alert about its Deployment that follows."""
    pod = await scene.pod_that(app, "OOMKilled")
    message = f"Container app in pod {pod['metadata']['name']} was OOMKilled (exit code 137)"
    cause = Event("OOMKilled", scene.about_pod(pod), message, severity="ERROR", at=died_at(pod))
    symptom = Event(
        "KubeDeploymentReplicasMismatch",
        scene.about("Deployment", app),
        f"Deployment {scene.run.namespace}/{app} has not matched the expected number of replicas.",
        etype="prom.alert",
    )
    return cause, symptom


async def doubled_once(scene: Scene, app: str, generation: int) -> None:
    """The limit was doubled by a single change, and all pods are ready."""
    found = await scene.deployment(app)
    limit = found["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    hold(limit == "512Mi", f"the memory limit of {app} is {limit}")
    changes = found["metadata"]["generation"] - generation
    hold(changes == 1, f"the spec of {app} was changed {changes} times")
    await scene.all_ready(app, REPLICAS)
