"""Where one runbook of the catalog is tried on the practice cluster: a namespace with something broken in it."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from fakes.canaries import Canaries
from fakes.practice_controllers import MARK, Item, Kubelet, Measure
from fakes.served import Served, until

from executor.model import ObjectRef

APP = "app"
_RESTARTED = "kubectl.kubernetes.io/restartedAt"


@dataclass(frozen=True)
class Told:
    """The incident that is told to the pipeline.

    Attributes:
        kind: of what the cause is about; with ``name``.
        message: of the alert.
        target: the workload or node whose specification must be the same after a rollback.
        watched: other objects that must.
    """

    reason: str
    kind: str = "Deployment"
    name: str = APP
    message: str = ""
    target: str = f"Deployment/{APP}"
    watched: tuple[str, ...] = ()


@dataclass
class Site:
    """One namespace, one broken thing, and what plays the machines below it.

    Attributes:
        wrong: the cause is another one, so that the runbook cannot help.
        canaries: secrets that stand where such things hold some: in workloads, alerts and Secrets.
        sick: nothing is well any more, whatever it runs.
    """

    world: Served
    kubelet: Kubelet
    namespace: str
    wrong: bool
    measures: dict[str, Measure]
    canaries: Canaries = field(default_factory=Canaries)
    sick: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    cleanups: list[Callable[[], Awaitable[Any]]] = field(default_factory=list)

    @property
    def cluster(self) -> Any:
        """As an administrator."""
        return self.world.admin

    def rule(self, rule: Callable[[Item], str]) -> None:
        """How well pods are."""
        self.kubelet.rules[self.namespace] = rule

    def measure(self, measure: Measure) -> None:
        """What Prometheus says about this namespace."""
        self.measures[self.namespace] = measure

    def play(self, work: Coroutine[Any, Any, None]) -> None:
        """A controller that runs until the end."""
        self.tasks.append(asyncio.create_task(work))

    async def create(self, api: str, kind: str, name: str, **parts: Any) -> Item:
        """An object of this namespace."""
        meta = {"name": name, "namespace": self.namespace, **parts.pop("metadata", {})}
        made: Item = await self.cluster.create({"apiVersion": api, "kind": kind, "metadata": meta, **parts})
        return made

    def pod_spec(self, image: str = "shop/app:1", **more: Any) -> dict[str, Any]:
        """Pods for the nodes of the kubelet."""
        mark = self.kubelet.mark
        dsn = [{"name": "DSN", "value": self.canaries.address}]
        container = {"name": APP, "image": image, "env": dsn, **more.pop("container", {})}
        own = {"key": MARK, "operator": "Equal", "value": mark, "effect": "NoSchedule"}
        selector = more.pop("node", {MARK: mark, "kubernetes.io/hostname": f"{mark}-main"})
        return {
            "containers": [container],
            "tolerations": [own, *more.pop("tolerations", ())],
            "nodeSelector": selector,
            "terminationGracePeriodSeconds": 1,
            **more,
        }

    def template(self, **pods: Any) -> dict[str, Any]:
        """A pod template."""
        labels = {"app": APP, MARK: self.kubelet.mark}
        return {"metadata": {"labels": labels}, "spec": self.pod_spec(**pods)}

    async def deploy(self, replicas: int = 2, *, deadline: int = 10, ready: bool = True, **pods: Any) -> None:
        """The workload; returns when it is well."""
        spec = {
            "replicas": replicas,
            "progressDeadlineSeconds": deadline,
            "selector": {"matchLabels": {"app": APP}},
            "template": self.template(**pods),
        }
        await self.create("apps/v1", "Deployment", APP, spec=spec)
        if ready:
            await self.that("Deployment", APP, lambda it: it.get("status", {}).get("availableReplicas") == replicas)
            await self.that("Deployment", APP, lambda it: _progress(it) == "NewReplicaSetAvailable")

    async def change(self, kind: str, name: str, body: Any, **how: Any) -> None:
        """Patch an object."""
        await self.cluster.patch(self.ref(kind, name), body, **{"how": "strategic", **how})

    def ref(self, kind: str, name: str) -> ObjectRef:
        """An object of this namespace, or a node."""
        return ObjectRef(kind=kind, name=name, namespace="" if kind == "Node" else self.namespace)

    async def that(self, kind: str, name: str, holds: Callable[[Item], bool]) -> Item:
        """The object, once something holds for it."""

        async def look() -> Item | None:
            ref = self.ref(kind, name)
            item: Item | None = await self.cluster.get(kind, name, ref.namespace)
            return item if item is not None and holds(item) else None

        found = await until(look, f"{kind} {name} of {self.namespace} is as it should be", 180)
        assert found is not None
        return found

    async def pods(self) -> list[Item]:
        """The pods that are not on their way out."""
        found = await self.cluster.list("Pod", self.namespace)
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    async def pod_that(self, holds: Callable[[Item], bool]) -> Item:
        """A pod, once something holds for it."""

        async def look() -> Item | None:
            return next((pod for pod in await self.pods() if holds(pod)), None)

        found = await until(look, f"a pod of {self.namespace} is as it should be", 180)
        assert found is not None
        return found

    async def known(self, told: Told) -> None:
        """The graph knows the workloads and pods, as KGroot would have written them."""
        kinds = ("Deployment", "StatefulSet", "CronJob", "Job", "Pod")
        listed = [(kind, one) for kind in kinds for one in await self.cluster.list(kind, self.namespace)]
        rows = [
            {"rid": f"{kind.lower()}:{self.namespace}:{name}", "kind": kind, "ns": self.namespace, "name": name}
            for kind, name in ((kind, one["metadata"]["name"]) for kind, one in listed)
        ]
        if told.kind == "Node":
            rows.append({"rid": f"node:{told.name}", "kind": "Node", "ns": "", "name": told.name})
        await self.world.query(
            "UNWIND $rows AS row MERGE (r:Resource {rid: row.rid}) "
            "SET r.client_id = $name, r.kind = row.kind, r.ns = row.ns, r.name = row.name, r.updated_at = datetime()",
            rows=rows,
        )

    async def specs(self, told: Told) -> dict[str, Any]:
        """What must be as before after a rollback; only the time of a restart may stay in the template."""
        found: dict[str, Any] = {}
        for text in (told.target, *told.watched):
            kind, name = text.split("/")
            item = await self.cluster.get(kind, name, self.ref(kind, name).namespace)
            spec = copy.deepcopy((item or {}).get("spec", (item or {}).get("data")))
            if kind == "Node" and spec:
                spec = {"unschedulable": spec.get("unschedulable")}
            notes = ((spec or {}).get("template") or {}).get("metadata", {})
            if (notes.get("annotations") or {}).pop(_RESTARTED, None) and not notes["annotations"]:
                del notes["annotations"]
            found[text] = spec
        return found

    async def remedied(self, told: Told) -> Mapping[str, Any]:
        """Tell the incident, say yes to what is asked, and wait for the end; the execution."""
        event = str(uuid4())
        namespace = "" if told.kind == "Node" else self.namespace
        await self.world.send(
            [self.world.rca(told.name, namespace, told.reason, kind=told.kind, event_id=event, confidence=0.83,
                            message=f"{told.message} {self.canaries.address}".strip())]
        )  # fmt: skip
        decision = await self.world.decided(
            event, "permit", "approval", "refusal", "no_match", "no_target", "plan_failed", seconds=300
        )
        assert decision["kind"] in ("permit", "approval"), decision
        answered: set[str] = set()

        async def ended() -> Mapping[str, Any] | None:
            execution = await self.world.execution(event)
            for question in await self._asked(execution["id"]):
                if question not in answered:
                    answered.add(question)
                    words = ("approvals", "approve", question, "--yes", "--by", "alice", "--reason", "it is a test")
                    said = await self.world.rb(*words)
                    assert said.returncode == 0, said.stderr
            return execution if execution["status"] == "done" else None

        done = await until(ended, f"the execution of {self.namespace} has ended", 400)
        assert done is not None
        return done

    async def _asked(self, execution: str) -> list[str]:
        rows = await self.world.query(
            "MATCH (a:Approval {execution_id: $id, status: 'pending'}) RETURN a.id AS id", id=execution
        )
        return [row["id"] for row in rows]

    async def close(self) -> None:
        """Stop what plays here, and let go of what would keep the namespace."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for cleanup in self.cleanups:
            await cleanup()


def _progress(deployment: Item) -> str:
    conditions = deployment.get("status", {}).get("conditions") or ()
    return next((one["reason"] for one in conditions if one["type"] == "Progressing"), "")


def image(pod: Item) -> str:
    """The image of a pod's only container."""
    found: str = pod["spec"]["containers"][0]["image"]
    return found


def gave_up(deployment: Item) -> bool:
    """Whether the controller gave up on the rollout."""
    return _progress(deployment) == "ProgressDeadlineExceeded"
