"""The practice cluster behaves like a cluster, and its faults can be mended by the right change only."""

import base64
import tempfile
import time
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
import yaml

from compose import stack
from compose.practice import bootstrap
from compose.practice.api import KubeApi

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("practice")]


def api_of(path):
    content = yaml.safe_load(path.read_text())
    cluster = content["clusters"][0]["cluster"]
    authority = Path(tempfile.mkdtemp()) / "ca.crt"
    authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    return KubeApi(cluster["server"], content["users"][0]["user"]["token"], authority)


@pytest.fixture(scope="session")
def admin(practice):
    with api_of(practice.admin_kubeconfig) as api:
        yield api


@pytest.fixture(scope="session")
def pipeline(practice):
    with api_of(practice.kubernetes.kubeconfig) as api:
        yield api


@pytest.fixture
def namespace(admin, request):
    name = request.node.name.replace("_", "-")[:50].rstrip("-")
    admin.post("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    admin.delete(f"/api/v1/namespaces/{name}")


def deployment(name, *, image="web:1.0", memory=None, needs=None, replicas=2, secret=None):
    container = {"name": "app", "image": image}
    if memory:
        container["resources"] = {"limits": {"memory": memory}, "requests": {"memory": "64Mi"}}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    if needs:
        template["metadata"]["annotations"] = {"practice.rootmend.dev/needs-memory": needs}
    if secret:
        template["spec"]["imagePullSecrets"] = [{"name": secret}]
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def eventually(ask, *, within=20.0):
    deadline = time.monotonic() + within
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def pods(admin, namespace):
    return admin.get(f"/api/v1/namespaces/{namespace}/pods")["items"]


def available(admin, namespace, name):
    found = admin.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
    status, wanted = found["status"], found["spec"]["replicas"]
    observed = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
    counts = (status.get("updatedReplicas", 0), status.get("availableReplicas", 0), status.get("replicas", 0))
    return observed and counts == (wanted, wanted, wanted)


def first_container(pod):
    return (pod["status"].get("containerStatuses") or [{}])[0]


def ready(pod):
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))


def create(api, namespace, manifest):
    api.post(f"/apis/apps/v1/namespaces/{namespace}/deployments", manifest)


def patch(api, namespace, name, spec):
    api.patch(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}", {"spec": {"template": spec}})


def test_healthy_pods_are_ready_in_well_under_a_second(admin, namespace):
    """A pod is Ready at once: watches work without waiting."""
    create(admin, namespace, deployment("web", replicas=1))
    eventually(lambda: available(admin, namespace, "web"))
    started = time.monotonic()
    admin.patch(f"/apis/apps/v1/namespaces/{namespace}/deployments/web", {"spec": {"replicas": 5}})
    eventually(lambda: available(admin, namespace, "web"))
    assert time.monotonic() - started < 2.0


def test_too_little_memory_is_killed_and_enough_is_mended(admin, namespace):
    """At 256Mi the container is OOMKilled again and again; at 300Mi still; at 512Mi the deployment is available."""
    create(admin, namespace, deployment("checkout", memory="256Mi", needs="400Mi"))

    def all_crashed():
        found = pods(admin, namespace)
        return len(found) == 2 and all(first_container(pod).get("restartCount", 0) >= 1 for pod in found)

    eventually(all_crashed)
    for pod in pods(admin, namespace):
        assert not ready(pod)
        last = first_container(pod)["lastState"]["terminated"]
        assert (last["reason"], last["exitCode"]) == ("OOMKilled", 137)
    assert not available(admin, namespace, "checkout")

    patch(admin, namespace, "checkout", {"spec": {"containers": [a_container("300Mi")]}})
    for _ in range(40):
        assert not available(admin, namespace, "checkout")
        time.sleep(0.1)

    patch(admin, namespace, "checkout", {"spec": {"containers": [a_container("512Mi")]}})
    eventually(lambda: available(admin, namespace, "checkout"), within=10)
    time.sleep(3)
    assert all(first_container(pod)["restartCount"] == 0 for pod in pods(admin, namespace))


def a_container(memory):
    return {
        "name": "app",
        "image": "web:1.0",
        "resources": {"limits": {"memory": memory}, "requests": {"memory": "64Mi"}},
    }


def test_restarts_are_counted_up(admin, namespace):
    """A crashing pod goes on crashing: the count grows, and events tell."""
    create(admin, namespace, deployment("checkout", memory="256Mi", needs="400Mi", replicas=1))
    eventually(lambda: [pod for pod in pods(admin, namespace) if first_container(pod).get("restartCount", 0) >= 2])
    reasons = {each["reason"] for each in admin.get(f"/api/v1/namespaces/{namespace}/events")["items"]}
    assert {"OOMKilling", "BackOff"} <= reasons


def a_secret(data, *, expired=False):
    metadata = {"name": "regcred"}
    if expired:
        metadata["annotations"] = {"practice.rootmend.dev/expired-data": data}
    return {"metadata": metadata, "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": data}}


def back_off(admin, namespace):
    return [pod for pod in pods(admin, namespace) if waiting(pod) == "ImagePullBackOff"]


def waiting(pod):
    return first_container(pod).get("state", {}).get("waiting", {}).get("reason")


def restart(admin, namespace, name):
    patch(
        admin, namespace, name, {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": str(time.time())}}}
    )


def test_an_expired_pull_secret_is_mended_by_a_new_one(admin, namespace):
    """A restart alone does not help; a new credential and a restart do."""
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    admin.post(secrets, a_secret("e30=", expired=True))
    create(admin, namespace, deployment("pay", image="registry.practice.rootmend.dev/pay:1.0", secret="regcred"))
    eventually(lambda: len(back_off(admin, namespace)) == 2)
    restart(admin, namespace, "pay")
    time.sleep(3)
    assert not available(admin, namespace, "pay")

    admin.patch(f"{secrets}/regcred", {"data": {".dockerconfigjson": "eyJhdXRocyI6IHt9fQ=="}})
    # The policy reads Secrets from a cache that follows within moments.
    time.sleep(0.5)
    restart(admin, namespace, "pay")
    eventually(lambda: available(admin, namespace, "pay"))


def test_a_missing_pull_secret_is_mended_by_creating_and_naming_it(admin, namespace):
    """Neither naming a Secret that is not there nor creating one that nobody names helps; both together do."""
    create(admin, namespace, deployment("pay", image="registry.practice.rootmend.dev/pay:1.0"))
    eventually(lambda: len(back_off(admin, namespace)) == 2)
    patch(admin, namespace, "pay", {"spec": {"imagePullSecrets": [{"name": "regcred"}]}})
    time.sleep(3)
    assert not available(admin, namespace, "pay")
    admin.post(f"/api/v1/namespaces/{namespace}/secrets", a_secret("eyJhdXRocyI6IHt9fQ=="))
    time.sleep(0.5)
    restart(admin, namespace, "pay")
    eventually(lambda: available(admin, namespace, "pay"))


def test_an_unknown_tag_is_mended_by_another_one(admin, namespace):
    """A bad roll-out stays broken until the image is right again, and the old pods serve on."""
    create(admin, namespace, deployment("web"))
    eventually(lambda: available(admin, namespace, "web"))
    patch(admin, namespace, "web", {"spec": {"containers": [{"name": "app", "image": "web:missing"}]}})
    eventually(lambda: back_off(admin, namespace))
    assert not available(admin, namespace, "web")
    assert sum(ready(pod) for pod in pods(admin, namespace)) >= 1
    patch(admin, namespace, "web", {"spec": {"containers": [{"name": "app", "image": "web:1.0"}]}})
    eventually(lambda: available(admin, namespace, "web"))


def node_ready(admin, name):
    conditions = admin.get(f"/api/v1/nodes/{name}")["status"]["conditions"]
    return next(each["status"] for each in conditions if each["type"] == "Ready")


def test_a_node_whose_kubelet_dies_is_not_ready_until_it_is_back(admin, namespace):
    """Without its kubelet a node becomes Unknown, evicted pods hang and are replaced elsewhere; with it all is well."""
    create(admin, namespace, deployment("web", replicas=6))
    eventually(lambda: available(admin, namespace, "web"))
    name = "practice-node-2"
    stuck = [pod["metadata"]["name"] for pod in pods(admin, namespace) if pod["spec"]["nodeName"] == name]
    assert stuck
    admin.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": {bootstrap.KUBELET_LABEL: None}}})
    try:
        eventually(lambda: node_ready(admin, name) == "Unknown", within=30)
        admin.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
        for pod in stuck:
            eviction = {
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": pod, "namespace": namespace},
            }
            admin.post(f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", eviction)

        def replaced():
            return sum(ready(pod) for pod in pods(admin, namespace) if pod["spec"].get("nodeName") != name) == 6

        eventually(replaced)
        left = {pod["metadata"]["name"] for pod in pods(admin, namespace) if "deletionTimestamp" in pod["metadata"]}
        assert left == set(stuck)
    finally:
        admin.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": {bootstrap.KUBELET_LABEL: "running"}}})
        admin.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": None}})
    eventually(lambda: node_ready(admin, name) == "True", within=30)
    eventually(lambda: len(pods(admin, namespace)) == 6)


@pytest.mark.parametrize("name", ["oomkilled", "imagepullbackoff", "nodenotready"])
def test_every_ready_example_is_accepted(admin, name):
    """The examples in the documentation can be applied as they are."""
    path = files("compose") / "practice" / "scenarios" / f"{name}.yaml"
    for manifest in yaml.safe_load_all(path.read_text()):
        admin.apply(manifest)


def test_a_job_ends(admin, namespace):
    """A pod of a Job succeeds, and so does the Job."""
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "job:1"}]}}}
    job = {"metadata": {"name": "once"}, "spec": spec}
    admin.post(f"/apis/batch/v1/namespaces/{namespace}/jobs", job)
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs/once"
    eventually(lambda: admin.get(path)["status"].get("succeeded") == 1)


def test_every_pod_has_a_log(admin, namespace):
    """`kubectl logs` answers, with words that say what this cluster is."""
    create(admin, namespace, deployment("web", replicas=1))
    eventually(lambda: available(admin, namespace, "web"))
    name = pods(admin, namespace)[0]["metadata"]["name"]
    assert "practice cluster" in admin.text(f"/api/v1/namespaces/{namespace}/pods/{name}/log")


def test_the_pipeline_has_its_rights_and_no_more(admin, pipeline, namespace):
    """The service account may mend workloads; it may not raise its rights, create workloads or run commands."""
    create(admin, namespace, deployment("web", replicas=1))
    patch(pipeline, namespace, "web", {"metadata": {"annotations": {"by": "pipeline"}}})
    pipeline.get("/api/v1/nodes")
    for path, body in {
        f"/apis/apps/v1/namespaces/{namespace}/deployments": deployment("other"),
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings": {"metadata": {"name": "mine"}},
        f"/api/v1/namespaces/{bootstrap.NAMESPACE}/serviceaccounts/rootmend/token": {"spec": {}},
    }.items():
        with pytest.raises(httpx.HTTPStatusError) as refused:
            pipeline.post(path, body)
        assert refused.value.response.status_code == httpx.codes.FORBIDDEN
    with pytest.raises(httpx.HTTPStatusError):
        pipeline.get(f"/api/v1/namespaces/{namespace}/secrets")


def test_the_practice_cluster_can_be_told_from_any_other(practice, pipeline):
    """The pipeline reads the mark and finds the id that the settings file names."""
    mark = pipeline.get("/api/v1/namespaces/kube-system/configmaps/rootmend-practice")
    assert mark["data"]["id"] == practice.kubernetes.practice_id


def test_nobody_without_a_token_gets_in(practice):
    """Anonymous requests see health and version only."""
    server = yaml.safe_load(practice.admin_kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    answer = httpx.get(f"{server}/api/v1/namespaces", verify=False, trust_env=False)  # noqa: S501 - nothing is trusted here
    assert answer.status_code in (401, 403)


def test_a_second_up_keeps_the_token_of_the_pipeline(practice):
    """A running pipeline is not thrown out by another `rb up`."""
    before = practice.kubernetes.kubeconfig.read_text()
    assert stack.up(["cluster"], state=practice.state, engine="process") == practice
    assert practice.kubernetes.kubeconfig.read_text() == before


def test_no_stage_ever_failed(practice, admin):
    """KWOK's log tells of no stage that could not be rendered (a pod that is gone already is no fault)."""
    log = (practice.state / "stack" / "logs" / "kwok.log").read_text()
    bad = [line for line in log.splitlines() if '"ERROR"' in line and "not found" not in line]
    assert not bad
    assert "panic" not in log
