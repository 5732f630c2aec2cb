"""What each runbook of the catalog is tried with: something broken whose health depends on what the runbook changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fakes.catalog_site import APP, Site, Told, gave_up, image
from fakes.practice_controllers import (
    BROKEN,
    DONE,
    EVICTED,
    MARK,
    UNREADY,
    Item,
    Node,
    autoscale,
    resize_volumes,
)

from compose.demo.workloads import PULL_SECRET, REGISTRY, deployment, expired_credentials
from runbooks.quantities import Quantity

Case = Callable[[Site], Awaitable[Told]]
NEVER = "0 0 31 2 *"
GIVE_UP_SECONDS = 10


def amount(text: Any) -> Any:
    """A quantity that can be compared."""
    return Quantity(str(text))


def resources(pod: Item) -> dict[str, Any]:
    """Those of a pod's only container."""
    found: dict[str, Any] = pod["spec"]["containers"][0].get("resources") or {}
    return found


async def new_revision(site: Site, why: str, deadline: int = GIVE_UP_SECONDS) -> None:
    """Revision 1 is well and revision 2 is not; with a wrong cause none is any more, once the second is out."""
    site.rule(lambda pod: why if site.sick or image(pod).endswith(":2") else "")
    await site.deploy(deadline=deadline)
    newer = {"name": APP, "image": "shop/app:2"}
    await site.change("Deployment", APP, {"spec": {"template": {"spec": {"containers": [newer]}}}})
    await site.pod_that(lambda pod: image(pod).endswith(":2") and pod["status"].get("message") == f"practice: {why}")
    site.sick = site.wrong


def undo(reason: str, why: str, message: str = "") -> Case:
    """A rollout that broke it."""

    async def broken(site: Site) -> Told:
        await new_revision(site, why)
        return Told(reason, message=message)

    return broken


async def stuck_rollout(site: Site) -> Told:
    """The controller gave up on the second revision."""
    await new_revision(site, UNREADY, deadline=3)
    await site.that("Deployment", APP, gave_up)
    return Told("KubeDeploymentRolloutStuck")


async def errors(site: Site) -> Told:
    """The second revision is ready and answers with errors."""
    await site.deploy()
    newer = {"name": APP, "image": "shop/app:2"}
    await site.change("Deployment", APP, {"spec": {"template": {"spec": {"containers": [newer]}}}})

    async def rate(_: str) -> float:
        return 0.4 if site.sick or any(image(pod).endswith(":2") for pod in await site.pods()) else 0.001

    site.measure(rate)
    site.sick = site.wrong
    await site.that("Deployment", APP, lambda it: it["status"].get("updatedReplicas") == 2)
    await site.that("Deployment", APP, lambda it: it["status"].get("replicas") == 2)
    return Told("HighErrorRate")


async def out_of_memory(site: Site) -> Told:
    """A stage of KWOK kills it as long as its limit is below its need; twice 256Mi is not enough for 3Gi."""
    made = deployment(site.namespace, APP, "shop/app:1", needs="3Gi" if site.wrong else "400Mi")
    made["spec"]["progressDeadlineSeconds"] = GIVE_UP_SECONDS
    await site.cluster.create(made)
    await site.pod_that(lambda pod: "OOMKilled" in str(pod.get("status")))
    return Told("OOMKilled")


async def credentials(site: Site) -> Told:
    """The registry of the practice cluster looks at the Secret; a tag that is not there needs none."""
    await site.cluster.create(expired_credentials(site.namespace, site.canaries.former_registry))
    spec = {"imagePullSecrets": [{"name": PULL_SECRET}]}
    tag = "missing" if site.wrong else "1"
    made = deployment(site.namespace, APP, f"{REGISTRY}/app:{tag}", pod_spec=spec)
    made["spec"]["progressDeadlineSeconds"] = GIVE_UP_SECONDS
    await site.cluster.create(made)
    await site.pod_that(lambda pod: "ImagePullBackOff" in str(pod.get("status")))
    return Told("ImagePullBackOff", message="authorization failed", watched=(f"Secret/{PULL_SECRET}",))


async def requests(site: Site) -> Told:
    """The scheduler finds no room on a node with two processors."""
    name = f"{site.namespace}-small"
    await site.kubelet.add(name, cpu="2")
    asked = {"requests": {"cpu": "16" if site.wrong else "3"}}
    await site.deploy(1, ready=False, container={"resources": asked}, node={"kubernetes.io/hostname": name})
    message = await unschedulable(site)
    return Told("FailedScheduling", message=message)


async def tainted(site: Site) -> Told:
    """The only node for it is reserved; with a wrong cause for two purposes."""
    name, taint = f"{site.namespace}-kept", {"key": "dedicated", "value": "batch", "effect": "NoSchedule"}
    await site.kubelet.add(name, taints=(taint,))
    await site.deploy(1, ready=False, node={"kubernetes.io/hostname": name})
    message = await unschedulable(site)
    if site.wrong:
        found = await site.cluster.get("Node", name)
        other = {"key": "other", "value": "x", "effect": "NoSchedule"}
        await site.change("Node", name, {"spec": {"taints": [*found["spec"]["taints"], other]}}, how="merge")
    return Told("FailedScheduling", message=message)


async def unschedulable(site: Site) -> str:
    """What the scheduler says, once it is about the obstacle and no longer about a node that has just come."""

    def said(pod: Item) -> str:
        conditions = pod.get("status", {}).get("conditions") or ()
        return next((one.get("message", "") for one in conditions if one["type"] == "PodScheduled"), "")

    pod = await site.pod_that(lambda pod: "Insufficient cpu" in said(pod) or "untolerated taint" in said(pod))
    return said(pod)


async def dead_node(site: Site) -> Told:
    """Its kubelet is silent; with a wrong cause its pods may run nowhere else."""
    name, other = f"{site.namespace}-dead", f"{site.namespace}-spare"
    node = await site.kubelet.add(name)
    await site.kubelet.add(other)
    await site.change("Node", other, {"spec": {"unschedulable": True}})
    places = [name] if site.wrong else [name, other]
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": places}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    await site.deploy(2, node={}, affinity=affinity, deadline=600)
    await site.change("Node", other, {"spec": {"unschedulable": None}}, how="merge")
    node.alive = False
    await site.that("Node", name, lambda it: any(t["key"].endswith("unreachable") for t in it["spec"]["taints"]))
    return Told("NodeNotReady", "Node", name, target=f"Deployment/{APP}")


async def full_disk(site: Site) -> Told:
    """Ended pods fill the disk; with a wrong cause something else does."""
    name = f"{site.namespace}-disk"
    node: Node = await site.kubelet.add(name)
    evicted: set[str] = set()
    site.rule(lambda pod: EVICTED if pod["metadata"]["name"] in evicted else "")
    await site.deploy(2, node={"kubernetes.io/hostname": name})
    evicted |= {pod["metadata"]["name"] for pod in await site.pods()}
    await site.pod_that(lambda pod: pod["status"].get("reason") == EVICTED)
    left = {"failed": 1}

    async def count() -> None:
        import asyncio  # noqa: PLC0415 - only here

        while True:
            left["failed"] = sum(pod["status"].get("phase") == "Failed" for pod in await site.pods())
            await asyncio.sleep(0.5)

    site.play(count())
    node.pressure = lambda: site.wrong or left["failed"] > 0
    await site.that("Node", name, lambda it: "'DiskPressure', 'status': 'True'" in str(sorted_conditions(it)))
    return Told("NodeHasDiskPressure", "Node", name, target=f"Node/{name}")


def sorted_conditions(node: Item) -> list[dict[str, str]]:
    """Type and status of each condition."""
    return [{"type": one["type"], "status": one["status"]} for one in node["status"].get("conditions") or ()]


async def full_volume(site: Site) -> Told:
    """The program needs more room than its volume has; with a wrong cause ten times as much."""
    name, volume = "data", f"{site.namespace}-data"
    storage = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": volume}}
    await site.cluster.create({**storage, "provisioner": "practice.rootmend.dev/none", "allowVolumeExpansion": True})
    modes, ten = ["ReadWriteOnce"], {"storage": "10Gi"}
    claimed = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": name, "namespace": site.namespace}
    spec = {"capacity": ten, "accessModes": modes, "hostPath": {"path": "/none"}, "storageClassName": volume}
    body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}}
    await site.cluster.create({**body, "spec": {**spec, "claimRef": claimed}})
    site.cleanups += [lambda: remove(site, "PersistentVolume", volume), lambda: remove(site, "StorageClass", volume)]
    asked = {"accessModes": modes, "resources": {"requests": ten}, "storageClassName": volume, "volumeName": volume}
    await site.create("v1", "PersistentVolumeClaim", name, spec=asked)
    await site.that("PersistentVolumeClaim", name, lambda it: it["status"].get("phase") == "Bound")
    size = {"now": amount("10Gi")}

    async def measure() -> None:
        import asyncio  # noqa: PLC0415 - only here

        while True:
            item = await site.cluster.get("PersistentVolumeClaim", name, site.namespace)
            size["now"] = amount(((item or {}).get("status", {}).get("capacity") or ten)["storage"])
            await asyncio.sleep(0.5)

    needs = amount("100Gi" if site.wrong else "12Gi")
    site.rule(lambda _: UNREADY if site.sick and size["now"] < needs else "")
    mounted = {"name": "data", "persistentVolumeClaim": {"claimName": name}}
    await site.deploy(1, volumes=[mounted], deadline=600)
    site.sick = True
    site.play(measure())
    site.play(resize_volumes(site.cluster, name, volume, site.namespace))
    await site.that("Deployment", APP, lambda it: not it["status"].get("availableReplicas"))
    return Told("KubePersistentVolumeFillingUp", "PersistentVolumeClaim", name)


async def remove(site: Site, kind: str, name: str) -> None:
    """Take an object of the whole cluster away."""
    from executor.model import ObjectRef  # noqa: PLC0415 - only here

    await site.cluster.delete(ObjectRef(kind=kind, name=name))


async def at_maximum(site: Site) -> Told:
    """The load needs three pods and two are allowed; with a wrong cause no number is enough."""
    await site.deploy(2)
    scaled = {"apiVersion": "apps/v1", "kind": "Deployment", "name": APP}
    spec = {"minReplicas": 1, "maxReplicas": 2, "scaleTargetRef": scaled}
    await site.create("autoscaling/v2", "HorizontalPodAutoscaler", "web", spec=spec)
    site.play(autoscale(site.cluster, "web", site.namespace, 100 if site.wrong else 3))
    await site.that(
        "HorizontalPodAutoscaler",
        "web",
        lambda it: (it.get("status") or {}).get("currentReplicas") == 2,
    )
    watched = ("HorizontalPodAutoscaler/web",)
    return Told("KubeHpaMaxedOut", "HorizontalPodAutoscaler", "web", watched=watched)


async def throttled(site: Site) -> Told:
    """It uses 1200m of 1 processor; with a wrong cause it uses what it can get."""
    await site.deploy(container={"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}}})

    async def share(_: str) -> float:
        least = min(amount(resources(pod)["limits"]["cpu"]) for pod in await site.pods())
        return 0.6 if site.wrong or least < amount("1200m") else 0.02

    site.measure(share)
    return Told("CPUThrottlingHigh")


async def memory(site: Site) -> Told:
    """A restart does not help and half as much again does; with a wrong cause it fills whatever it gets."""
    await site.deploy(container={"resources": {"limits": {"memory": "256Mi"}, "requests": {"memory": "64Mi"}}})

    async def share(_: str) -> float:
        least = min(amount(resources(pod)["limits"]["memory"]) for pod in await site.pods())
        return 0.95 if site.wrong or least < amount("300Mi") else 0.7

    site.measure(share)
    return Told("HighMemoryUsage")


async def failed_job(site: Site) -> Told:
    """The last job failed; the next one ends well, unless the cause is still there."""
    site.sick = True
    site.rule(lambda _: BROKEN if site.sick or site.wrong else DONE)
    made = await cronjob(site, "report")
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "report", "uid": made["metadata"]["uid"]}
    meta = {"ownerReferences": [{**owner, "controller": True}]}
    await site.create("batch/v1", "Job", "report-1", metadata=meta, spec=made["spec"]["jobTemplate"]["spec"])
    await site.that("Job", "report-1", lambda it: "BackoffLimitExceeded" in str(it.get("status")))
    site.sick = False
    return Told("KubeJobFailed", "Job", "report-1", target="CronJob/report")


async def cronjob(site: Site, name: str) -> Item:
    """One that its schedule never starts."""
    spec = site.pod_spec(restartPolicy="Never")
    template = {"metadata": {"labels": {MARK: site.kubelet.mark}}, "spec": spec}
    job = {"spec": {"backoffLimit": 0, "template": template}}
    return await site.create("batch/v1", "CronJob", name, spec={"schedule": NEVER, "jobTemplate": job})


async def certificate(site: Site) -> Told:
    """Good for three days until a job renews it; with a wrong cause the job renews another one."""
    site.rule(lambda pod: DONE if pod["metadata"].get("labels", {}).get("app") != APP else "")
    await site.deploy()
    await cronjob(site, "certificate-renewal")

    async def left(_: str) -> float:
        jobs = await site.cluster.list("Job", site.namespace)
        renewed = any(job.get("status", {}).get("succeeded") for job in jobs)
        return 86_400.0 * (90 if renewed and not site.wrong else 3)

    site.measure(left)
    return Told("CertificateExpiring", watched=("CronJob/certificate-renewal",))


async def evicted(site: Site) -> Told:
    """Evicted pods use up the quota of pods; with a wrong cause every pod is evicted sooner or later."""
    gone: set[str] = set()
    site.rule(lambda pod: EVICTED if site.sick or pod["metadata"]["name"] in gone else "")
    await site.deploy(2, deadline=600)
    await site.create("v1", "ResourceQuota", "pods", spec={"hard": {"count/pods": "3"}})
    await site.that("ResourceQuota", "pods", lambda it: bool((it.get("status") or {}).get("used")))
    for count in (1, 2):
        well = [pod for pod in await site.pods() if pod["status"].get("phase") == "Running"]
        gone.add(well[0]["metadata"]["name"])
        expected = count

        async def look(expected: int = expected) -> bool:
            return sum(pod["status"].get("reason") == EVICTED for pod in await site.pods()) == expected

        await wait_until(look)
    await site.that("Deployment", APP, lambda it: it["status"].get("availableReplicas") == 1)
    site.sick = site.wrong
    return Told("Evicted")


async def wait_until(look: Callable[[], Awaitable[bool]]) -> None:
    """Until it holds."""
    from fakes.served import until  # noqa: PLC0415 - only here

    await until(look, "the pods are evicted")


async def terminating(site: Site) -> Told:
    """A stateful pod whose kubelet does not confirm its end; with a wrong cause a finalizer holds it."""
    meta = {"labels": {"app": APP, MARK: site.kubelet.mark}}
    held = ["practice.rootmend.dev/hold"] if site.wrong else []
    template = {**site.template(), "metadata": {**meta, "finalizers": held}}
    spec = {"replicas": 1, "serviceName": APP, "selector": {"matchLabels": {"app": APP}}, "template": template}
    await site.create("apps/v1", "StatefulSet", APP, spec=spec)
    await site.that("StatefulSet", APP, lambda it: it["status"].get("readyReplicas") == 1)
    site.kubelet.stuck.add(site.namespace)
    pod = f"{APP}-0"
    await site.cluster.delete(site.ref("Pod", pod))
    site.cleanups.append(lambda: let_go(site, pod))
    await site.that("StatefulSet", APP, lambda it: not it["status"].get("readyReplicas"))
    return Told("PodStuckTerminating", "Pod", pod, target=f"StatefulSet/{APP}")


async def let_go(site: Site, pod: str) -> None:
    """Let the pod end."""
    site.kubelet.stuck.discard(site.namespace)
    await site.change("Pod", pod, {"metadata": {"finalizers": None}}, how="merge")


NOT_FOUND = 'Failed to pull image "shop/app:2": rpc error: code = NotFound desc = docker.io/shop/app:2: not found'
CASES: dict[str, Case] = {
    "oomkilled-increase-memory": out_of_memory,
    "crashloop-after-rollout-undo": undo("CrashLoopBackOff", "CrashLoopBackOff"),
    "imagepullbackoff-registry-credentials": credentials,
    "imagepullbackoff-bad-tag-undo": undo("ImagePullBackOff", "ImagePullBackOff", NOT_FOUND),
    "createcontainerconfigerror-undo": undo("CreateContainerConfigError", "CreateContainerConfigError"),
    "failedscheduling-lower-requests": requests,
    "failedscheduling-tolerate-taint": tainted,
    "nodenotready-cordon-drain": dead_node,
    "nodediskpressure-clean-up": full_disk,
    "pvc-nearly-full-expand": full_volume,
    "hpa-at-maximum-raise": at_maximum,
    "cpu-throttling-raise-limit": throttled,
    "readiness-failing-after-change-undo": undo("Unhealthy", UNREADY),
    "rollout-stuck-undo": stuck_rollout,
    "job-failed-retry": failed_job,
    "certificate-expiring-renew": certificate,
    "evicted-pods-clean-up": evicted,
    "pod-stuck-terminating-force-delete": terminating,
    "high-error-rate-after-deployment-undo": errors,
    "high-memory-graduated": memory,
}
"""By the id of the runbook."""
