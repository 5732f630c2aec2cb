"""(2) The registry takes the credentials no more; a human agrees, in Slack, to hand out the current ones."""

import asyncio
import base64
from datetime import UTC, datetime
from typing import ClassVar

from compose.demo.board import BUSY, Cell, Row, row_of
from compose.demo.kgroot import Event
from compose.demo.leaks import places_of
from compose.demo.messages import alertmanager_body
from compose.demo.pipeline import EARNS
from compose.demo.record import Decision, Execution
from compose.demo.scenarios.base import Scenario, Told
from compose.demo.scenarios.earned import earned
from compose.demo.scene import PERSON, Scene, hold
from compose.demo.workloads import PULL_SECRET, REGISTRY, deployment, expired_credentials

REPLICAS = 2
SECRET = "registry_config"  # noqa: S105 - its name
_LATER = 2.0
_APPROVE = "rootmend_approve"


class ImagePull(Scenario):
    """The alert comes as Alertmanager's own body, and the cause is linked two seconds after it."""

    key: ClassVar[str] = "image-pull"
    title: ClassVar[str] = "ImagePullBackOff, approved, fixed"
    app: ClassVar[str] = "payments"
    told: ClassVar[Told] = Told(
        kind="permit",
        runbook="imagepullbackoff-registry-credentials",
        steps=("credentials", "use_credentials", "rollout"),
        verdict="verified",
        outcome="success",
        approved=True,
    )

    generation: int = 0
    version: str = ""

    async def break_it(self, scene: Scene) -> None:
        """The image is of a private registry, the Secret in the namespace has expired."""
        space = scene.run.namespace
        image = f"{REGISTRY}/billing/{self.app}:2.0.1"
        await scene.cluster.apply(expired_credentials(space))
        await self.deploy(scene, deployment(space, self.app, image, replicas=REPLICAS))
        await scene.pod_that(self.app, "ImagePullBackOff")
        self.generation = (await scene.deployment(self.app))["metadata"]["generation"]
        self.version = await scene.cluster.version("Secret", space)

    async def tell(self, scene: Scene) -> None:
        """Until the edge is there, the pipeline waits and looks again."""
        pod = await scene.pod_that(self.app, "ImagePullBackOff")
        cause = Event("ImagePullBackOff", scene.about_pod(pod), "Back-off pulling image", severity="ERROR")
        symptom = Event(
            "KubeDeploymentRolloutStuck",
            scene.about("Deployment", self.app),
            f"Rollout of Deployment {scene.run.namespace}/{self.app} is not progressing.",
            etype="prom.alert",
        )
        await scene.kgroot.events([cause, symptom])
        body = alertmanager_body(symptom, scene.run.tenant)
        self.told_at = await scene.wire.send("alerts", [(symptom.reason, body)], "gzip")
        await asyncio.sleep(_LATER)
        await scene.kgroot.link(cause, [symptom], domain=0.9)
        self.rca_at = datetime.now(UTC)

    def row(self, scene: Scene, decision: Decision) -> Row:
        """The stage of the approval is what stands in Slack."""
        row = row_of(decision)
        for execution in decision.executions:
            if message := scene.question(execution.id):
                row["approval"] = Cell(row["approval"].mark, f"Slack #sre: {message.text}")
        return row

    async def answer(self, scene: Scene, execution: Execution, answered: set[str]) -> None:
        """A person clicks Approve below the question."""
        message = scene.question(execution.id)
        if execution.status != "waiting_approval" or message is None or execution.id in answered:
            return
        answered.add(execution.id)
        scene.board.put(self.key, {"approval": Cell(BUSY, "Slack #sre: demo clicks Approve")})
        await scene.slack.click(PERSON, message, _APPROVE)

    async def _check_slack(self, scene: Scene, decision: Decision) -> None:
        """The message says who approved it, and its thread how it ended."""
        (execution,) = decision.executions

        async def look() -> tuple[bool | None, object]:
            message = scene.question(execution.id)
            thread = scene.slack.thread(message) if message else []
            told = message is not None and message.text.startswith("Approved") and message.button(_APPROVE) is None
            return (True if told and any("verified" in str(one.blocks) for one in thread) else None), message

        await scene.until("the answer and the end in Slack", look, seconds=30)

    async def check(self, scene: Scene, decision: Decision) -> None:
        """New pods run with the new credentials, which stand in the Secret and nowhere else."""
        await self._check_slack(scene, decision)
        found = await scene.deployment(self.app)
        used = found["spec"]["template"]["spec"].get("imagePullSecrets")
        hold(used == [{"name": PULL_SECRET}], f"imagePullSecrets of {self.app} are {used}")
        changes = found["metadata"]["generation"] - self.generation
        hold(changes == 1, f"the spec of {self.app} was changed {changes} times")
        await scene.all_ready(self.app, REPLICAS)
        await earned(scene, self.key, EARNS)
        history = await scene.cluster.history("Secret", self.version, scene.run.namespace)
        writes = [one["type"] for one in history if one["object"]["metadata"]["name"] == PULL_SECRET]
        hold(writes == ["MODIFIED"], f"what was done to Secret {PULL_SECRET}: {writes}")
        secret = await scene.cluster.existing("Secret", PULL_SECRET, scene.run.namespace)
        stored = base64.b64decode(secret["data"][".dockerconfigjson"]).decode()
        hold(stored == scene.secrets[SECRET], "the Secret does not hold the credentials that the pipeline was given")
        leaks = await places_of(scene.secrets[SECRET], scene)
        hold(not leaks, f"the credentials are found in {', '.join(leaks)}")
