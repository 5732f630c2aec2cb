"""(5) A runbook whose change does not help: the pipeline sees it, and puts back exactly what was there."""

import json
from typing import ClassVar

from compose.demo.cluster import Json
from compose.demo.kgroot import Event
from compose.demo.messages import raw_event, rca_result
from compose.demo.record import Decision
from compose.demo.scenarios.base import Scenario, Told
from compose.demo.scene import Scene, died_at, hold
from compose.demo.workloads import deployment

_CONTROLLERS_OWN = "deployment.kubernetes.io/"
_STAMPS = frozenset(f"rootmend.dev/{name}" for name in ("execution", "step", "epoch"))


class NotFixed(Scenario):
    """The signal comes as a raw Kubernetes event without any edge; another RCA engine gives the cause on Kafka."""

    key: ClassVar[str] = "not-fixed"
    title: ClassVar[str] = "Change does not help, rolled back"
    app: ClassVar[str] = "search"
    told: ClassVar[Told] = Told(
        kind="permit",
        runbook="demo-cache-too-large",
        steps=("shrink_cache",),
        verdict="not_fixed",
        outcome="rollback",
    )

    before: Json

    async def break_it(self, scene: Scene) -> None:
        """It needs 800Mi; the demo's own runbook gives it 300Mi and a smaller cache."""
        made = deployment(scene.run.namespace, self.app, "shop/search:5.2.0", needs="800Mi")
        # A rolling update between two revisions that are both broken never ends; this one ends, so that it is seen
        # how the controller finishes the way back.
        made["spec"]["strategy"] = {"type": "Recreate"}
        await self.deploy(scene, made)
        await scene.pod_that(self.app, "OOMKilled")
        self.before = await scene.deployment(self.app)

    async def tell(self, scene: Scene) -> None:
        """First the event, for which there is no cause; then the result that it waits for."""
        pod = await scene.pod_that(self.app, "OOMKilled")
        symptom = Event("BackOff", scene.about_pod(pod), "Back-off restarting failed container app", at=died_at(pod))
        cause = Event("CacheThrashing", scene.about("Deployment", self.app), "Cache hit rate fell below 5%")
        await scene.kgroot.events([symptom])
        self.told_at = await scene.wire.send("events", [(symptom.eid, raw_event(symptom))], "none")

        async def look() -> tuple[bool | None, object]:
            mine = self.mine(scene)
            return (True if mine and mine.kind == "waiting" else None), mine

        await scene.until("the event without a cause to wait", look, seconds=30)
        names = {"tenant": scene.run.tenant, "cluster": scene.run.cluster, "writer": "latency-rca"}
        result = rca_result(symptom, [(cause, 0.9)], **names)
        self.rca_at = await scene.wire.send("rca", [(symptom.eid, result)], "zstd")

    async def check(self, scene: Scene, decision: Decision) -> None:
        """Byte for byte the prior spec, and no annotation more but our stamps."""
        after = await scene.deployment(self.app)
        changes = after["metadata"]["generation"] - self.before["metadata"]["generation"]
        hold(changes == 2, f"the spec of {self.app} was changed {changes} times")  # noqa: PLR2004 - there and back
        hold(_canonical(after["spec"]) == _canonical(self.before["spec"]), f"the spec of {self.app} is another now")
        left = _own(after).keys() - _own(self.before).keys()
        hold(left <= _STAMPS, f"annotations were left: {sorted(left - _STAMPS)}")
        labels = (self.before["metadata"].get("labels"), after["metadata"].get("labels"))
        hold(labels[0] == labels[1], f"labels were changed: {labels}")


def _canonical(spec: Json) -> str:
    return json.dumps(spec, sort_keys=True, separators=(",", ":"))


def _own(item: Json) -> dict[str, str]:
    """Annotations that are not the Deployment controller's bookkeeping."""
    annotations = item["metadata"].get("annotations") or {}
    return {name: value for name, value in annotations.items() if not name.startswith(_CONTROLLERS_OWN)}
