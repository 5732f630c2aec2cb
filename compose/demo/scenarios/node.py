"""(3) A node's kubelet dies; a human agrees, the node is cordoned and drained, its pods run elsewhere."""

from datetime import UTC, datetime
from typing import ClassVar

from compose.demo.cluster import Json
from compose.demo.kgroot import About, Event
from compose.demo.messages import alerts_enriched
from compose.demo.record import Decision
from compose.demo.scenarios.base import Scenario, Told
from compose.demo.scene import Scene, hold, is_ready
from compose.demo.workloads import KUBELET_DIES, LABEL, budget, deployment, node, prefers_node

REPLICAS = 3


class DeadNode(Scenario):
    """The alert comes enriched; the cause is about the node, which has no namespace and two names."""

    key: ClassVar[str] = "node"
    title: ClassVar[str] = "NodeNotReady, approved, drained"
    app: ClassVar[str] = "gateway"
    told: ClassVar[Told] = Told(
        kind="permit",
        runbook="nodenotready-cordon-drain",
        steps=("cordon", "drain"),
        verdict="verified",
        outcome="success",
        approved=True,
    )

    version: str = ""

    def target_key(self, scene: Scene) -> str:
        """The node itself."""
        return f"{scene.run.cluster}//Node/{scene.run.node}"

    async def break_it(self, scene: Scene) -> None:
        """A node of its own, to which its pods go first; then its kubelet falls silent."""
        run = scene.run
        await scene.cluster.apply(node(run.node, run.mark))
        await self._node_is(scene, ready=True)
        made = deployment(
            run.namespace, self.app, "edge/gateway:3.1.0", replicas=REPLICAS, pod_spec=prefers_node(run.mark)
        )
        await self.deploy(scene, made, budget(run.namespace, self.app, 1))
        await self._settle_on_node(scene)
        self.version = await scene.cluster.version("Pod", run.namespace)
        await scene.cluster.patch("Node", run.node, KUBELET_DIES)
        await self._node_is(scene, ready=False)

    async def _settle_on_node(self, scene: Scene) -> None:
        """The scheduler may not have heard of the node when it places the first pods: those try again."""

        async def look() -> tuple[bool | None, object]:
            pods = await scene.all_ready(self.app, REPLICAS)
            elsewhere = [pod["metadata"]["name"] for pod in pods if pod["spec"]["nodeName"] != scene.run.node]
            for name in elsewhere:
                await scene.cluster.delete("Pod", name, scene.run.namespace)
            return (None if elsewhere else True), f"{elsewhere} run elsewhere"

        await scene.until(f"all pods of {self.app} to be on {scene.run.node}", look, seconds=60)

    async def _node_is(self, scene: Scene, *, ready: bool) -> None:
        async def look() -> tuple[Json | None, object]:
            found = await scene.cluster.existing("Node", scene.run.node)
            # A node that was not ready keeps a taint for a moment after it has become so.
            taints = {taint["key"] for taint in found["spec"].get("taints") or ()} - {LABEL}
            settled = is_ready(found) is ready and bool(taints) is not ready
            return (found if settled else None), (found.get("status", {}).get("conditions"), taints)

        await scene.until(f"node {scene.run.node} to be {'' if ready else 'not '}ready", look, seconds=60)

    async def tell(self, scene: Scene) -> None:
        """The Deployment's alert, with the node's silence as its cause."""
        name = scene.run.node
        cause = Event("NodeNotReady", About("Node", name), f"Node {name} status is now: NodeNotReady")
        symptom = Event(
            "KubeDeploymentReplicasMismatch",
            scene.about("Deployment", self.app),
            f"Deployment {scene.run.namespace}/{self.app} has not matched the expected number of replicas.",
            severity="CRITICAL",
            etype="prom.alert",
            at=datetime.now(UTC),
        )
        await scene.kgroot.events([cause, symptom])
        await scene.kgroot.link(cause, [symptom], domain=0.95)
        body = alerts_enriched(symptom, scene.run.tenant, [cause.about.rid])
        self.told_at = await scene.wire.send("enriched", [(symptom.eid, body)], "lz4")
        self.rca_at = self.told_at

    async def check(self, scene: Scene, decision: Decision) -> None:
        """Closed and empty; as many pods as before run elsewhere, each evicted and replaced once."""
        run = scene.run
        found = await scene.cluster.existing("Node", run.node)
        hold(found["spec"].get("unschedulable") is True, f"node {run.node} takes pods")
        left = await scene.cluster.find("Pod", fieldSelector=f"spec.nodeName={run.node}")
        alive = [pod["metadata"]["name"] for pod in left if not pod["metadata"].get("deletionTimestamp")]
        hold(not alive, f"still on the node: {alive}")
        pods = await scene.all_ready(self.app, REPLICAS)
        elsewhere = {pod["spec"]["nodeName"] for pod in pods}
        hold(run.node not in elsewhere, f"replacements run on {elsewhere}")
        changes = await scene.cluster.history("Pod", self.version, run.namespace)
        mine = [one["object"] for one in changes if one["object"]["metadata"]["name"].startswith(f"{self.app}-")]
        evicted = {pod["metadata"]["uid"] for pod in mine if pod["metadata"].get("deletionTimestamp")}
        hold(len(evicted) == REPLICAS, f"{len(evicted)} pods of {self.app} were evicted instead of {REPLICAS}")
