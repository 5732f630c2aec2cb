"""What a runbook can say, through ``rb serve`` on real servers: the parts that no other test there uses.

Each case is an incident about an app of its own. ``fakes/coverage.py`` notes which keys and actions were used.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import suppress

import pytest
from fakes.served import WIDE, mark, runbook, served, until
from fakes.web import Told, web

from compose.practice.stages import EXEC_NAMESPACE
from executor.errors import Conflict
from executor.model import ObjectRef

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

THERE = {"namespace": "{{ target.namespace }}"}
PODS = {**THERE, "resource": "pods", "labels": "app={{ target.name }}", "field": "metadata.name"}
NOBODY = {"query": "MATCH (n:Episodic {eid: 'nobody'}) RETURN count(n) AS n", "expect": "n == 0"}
HERE = {"resource": "deployment/{{ target.name }}", "namespace": "{{ target.namespace }}"}
ANSWERS = ("permit", "approval", "refusal", "plan_failed", "no_match", "no_target")
FIRST, SECOND = "example.com/app:1", "example.com/app:2"
QUERY = "query Q($name: String!) { service(name: $name) { owner } }"
MUTATION = "mutation M($name: String!) { restart(name: $name) { owner } }"


def step(name, action, params, **more):
    """A step with the same id and name."""
    return {"id": name, "name": name, "action": action, "params": params, "timeout": "60s", **more}


def objects():
    """An object of its own that is made, one that is taken away, and a job; nothing of it touches the app."""
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made", **THERE}, "data": {"a": "b"}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "tidy", "namespace": "{{ target.namespace }}"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "tidy", "image": FIRST}]}}},
    }
    return (
        step("pods", "kubectl_list", PODS),
        step("apply", "kubectl_apply", {"manifest": made}),
        step("delete", "kubectl_delete", {**THERE, "resource": "configmap", "name": "old"}),
        step("job", "kubectl_create_job", {"manifest": job}),
        step("quiet", "check_neo4j", NOBODY),
    )


def calls(url):
    """Every way to call an API."""
    named = {"name": "{{ target.name }}"}
    return (
        step("read", "http_request", {"url": f"{url}/read", "method": "GET", "expect": "body.ok"}),
        step("again", "http_get", {"url": f"{url}/again"}),
        step("put", "http_put", {"url": f"{url}/put", "body": named, "idempotent": True}),
        step("change", "http_patch", {"url": f"{url}/patch", "body": named}),
        step("away", "http_delete", {"url": f"{url}/delete", "idempotent": True}),
        step("ask", "graphql", {"endpoint": f"{url}/graphql", "query": QUERY, "variables": named}),
        step("tell", "graphql", {"endpoint": f"{url}/graphql", "query": MUTATION, "variables": named, "write": True}),
        step("hook", "webhook", {"url": f"{url}/hook", "body": named}),
    )


CASES = {
    "Look": (
        step("pod", "kubectl_list", PODS),
        step("ready", "kubectl_check_ready", HERE),
        step("rolled", "kubectl_rollout_status", {**HERE, "timeout": "30s"}),
        step("log", "kubectl_logs", {**THERE, "resource": "pod/{{ steps.pod.output[0] }}"}),
    ),
    "Mark": (
        step("label", "kubectl_label", {**HERE, "labels": {"helped": "yes"}}),
        step("note", "kubectl_annotate", {**HERE, "annotations": {"helped": "{{ execution.id }}"}}),
    ),
    "Image": (step("image", "kubectl_set_image", {**HERE, "container": "app", "image": SECOND}),),
    "Size": (step("size", "kubectl_set_resources", {**HERE, "container": "app", "limits": {"memory": "64Mi"}}),),
    "Env": (step("env", "kubectl_set_env", {**HERE, "container": "app", "env": {"LEVEL": "debug"}}),),
    "More": (step("more", "kubectl_scale", {**HERE, "add": 1, "max": 3}),),
    "Hold": (step("hold", "kubectl_rollout_pause", HERE),),
    "Free": (step("free", "kubectl_rollout_resume", HERE),),
    "Restart": (step("restart", "kubectl_rollout_restart", HERE),),
    "Undo": (step("undo", "kubectl_rollout_undo", HERE),),
    "Objects": objects(),
}


@pytest.fixture(scope="module")
async def world(stack, tmp_path_factory):
    settings = {
        "actions": {"exec": {"enabled": True, "allow": ["printf **"]}},
        "gate": WIDE,
    }
    async with served(stack, tmp_path_factory.mktemp("language"), settings=settings) as one:
        for name, steps in CASES.items():
            one.runbook(name.lower(), runbook(f"Test{name}", *steps))
        await one.serve()
        yield one


@pytest.fixture(scope="module")
async def namespace(world):
    return await world.namespace()


async def installed(world, name, body):
    """A runbook that is in force before anything asks for it."""
    before = len(world.processes[0].log("runbooks.loaded"))
    world.runbook(name, body)

    async def loaded():
        return len(world.processes[0].log("runbooks.loaded")) > before

    await until(loaded, f"{name} is in force", 60)


async def granted(world, namespace):
    """More rights for the pipeline's account in one namespace, as an installation would give them there."""
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch", "delete"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "create", "delete"]},
    ]
    group = "rbac.authorization.k8s.io"
    meta = {"name": "more", "namespace": namespace}
    who = {"kind": "ServiceAccount", "name": "rootmend", "namespace": "rootmend-system"}
    role = {"apiGroup": group, "kind": "Role", "name": "more"}
    await world.admin.create({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": meta, "rules": rules})
    binding = {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": meta}
    await world.admin.create({**binding, "subjects": [who], "roleRef": role})


async def raised(world, app, namespace, reason, **changes):
    """An incident about an app; the id of its event."""
    message = world.rca(app, namespace, f"Test{reason}", **changes)
    await world.send([message])
    return json.loads(message[1])["incident_id"]


async def allowed(world, event):
    """The end of an execution, to which a human says yes when it is asked for."""
    decision = await world.decided(event, *ANSWERS, seconds=90)
    assert decision["kind"] in {"permit", "approval"}, decision["message"]
    found = await world.execution(event, "waiting_approval", "done", seconds=90)
    if found["status"] == "waiting_approval":
        said = await world.rb("approvals", "approve", found["id"], "--yes", "--by", "alice")
        assert said.returncode == 0, said.stderr
        found = await world.execution(event, "done", seconds=120)
    return found


async def ended(world, namespace, name, **app):
    """One case from the alert to its end; the app and the namespace are there already when the name is given."""
    await world.app(name.lower(), namespace, **app)
    done = await allowed(world, await raised(world, name.lower(), namespace, name))
    assert (done["outcome"], done.get("verdict")) == ("success", "verified"), done.get("error")
    return await world.deployment(name.lower(), namespace), done


def container(deployment):
    return deployment["spec"]["template"]["spec"]["containers"][0]


async def test_what_a_workload_looks_like_is_read(world, namespace):
    """Its pods are listed, counted, awaited, and their last words are read."""
    _, done = await ended(world, namespace, "Look")
    assert set((await world.steps(done["id"])).values()) == {"succeeded"}


async def test_labels_and_annotations_are_written(world, namespace):
    """On the workload itself, and nothing else changes."""
    found, done = await ended(world, namespace, "Mark")
    assert found["metadata"]["labels"]["helped"] == "yes"
    assert found["metadata"]["annotations"]["helped"] == done["id"]


async def test_images_sizes_and_variables_of_containers_are_changed(world, namespace):
    """Each in an app of its own, all at the same time."""
    names = ("Image", "Size", "Env")
    found = [container(app) for app, _ in await asyncio.gather(*(ended(world, namespace, name) for name in names))]
    assert found[0]["image"] == SECOND
    assert found[1]["resources"]["limits"]["memory"] == "64Mi"
    assert found[2]["env"] == [{"name": "LEVEL", "value": "debug"}]


async def test_replicas_and_rollouts_are_changed(world, namespace):
    """One more replica, a restart; a rollout is held, and another one is let go."""
    more, restarted = await asyncio.gather(*(ended(world, namespace, name) for name in ("More", "Restart")))
    assert more[0]["spec"]["replicas"] == 2
    assert "kubectl.kubernetes.io/restartedAt" in json.dumps(restarted[0]["spec"]["template"]["metadata"])
    await world.app("hold", namespace)
    done = await allowed(world, await raised(world, "hold", namespace, "Hold"))
    assert (await world.steps(done["id"]))["step", "hold"] == "succeeded", done.get("error")
    await world.app("free", namespace)
    here = ObjectRef(kind="Deployment", name="free", namespace=namespace)
    await world.admin.patch(here, {"spec": {"paused": True}}, how="merge")
    done = await allowed(world, await raised(world, "free", namespace, "Free"))
    assert done["outcome"] == "success", done.get("error")
    assert not (await world.deployment("free", namespace))["spec"].get("paused")


async def test_a_rollout_is_undone(world, namespace):
    """The pod template of the revision before comes back."""
    await world.app("undo", namespace)
    here = ObjectRef(kind="Deployment", name="undo", namespace=namespace)
    change = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": SECOND}]}}}}
    await world.admin.patch(here, change, how="strategic")

    async def second():
        found = await world.deployment("undo", namespace)
        return found["metadata"]["annotations"].get("deployment.kubernetes.io/revision") == "2"

    await until(second, "the second revision is known")
    done = await allowed(world, await raised(world, "undo", namespace, "Undo"))
    assert done["outcome"] == "success", done.get("error")
    assert container(await world.deployment("undo", namespace))["image"] == FIRST


async def test_objects_are_made_and_taken_away(world, namespace):
    """A ConfigMap comes, another one goes, a job is started."""
    old = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old", "namespace": namespace}, "data": {}}
    await world.admin.create(old)
    await granted(world, namespace)
    await world.app("objects", namespace)
    done = await allowed(world, await raised(world, "objects", namespace, "Objects"))
    assert done["outcome"] == "success", done.get("error")
    assert (await world.admin.get("ConfigMap", "made", namespace))["data"] == {"a": "b"}
    assert await world.admin.get("ConfigMap", "old", namespace) is None


async def test_a_program_runs_in_a_container(world):
    """After a human said yes, in the one namespace of the practice cluster where programs run."""
    with suppress(Conflict):  # another run made it; nobody takes it away
        await world.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": EXEC_NAMESPACE}})
    name = f"said-{uuid.uuid4().hex[:6]}"
    reason = f"TestSay{name[5:]}"
    say = step("say", "kubectl_exec", {**HERE, "container": "app", "command": ["printf", "%s!", "{{ target.name }}"]})
    await installed(world, "say", runbook(reason, say))
    await world.app(name, EXEC_NAMESPACE)

    async def running():
        found = await world.admin.list("Pod", EXEC_NAMESPACE, labels=f"app={name}")
        return [pod for pod in found if pod.get("status", {}).get("phase") == "Running"]

    try:
        (pod,) = await until(running, "the pod runs", 60)
        await world.query(
            "MERGE (r:Resource {rid: $rid}) SET r.client_id = $name, r.kind = 'Pod', r.ns = $ns, r.name = $pod, "
            "r.updated_at = datetime()",
            rid=f"pod:{EXEC_NAMESPACE}:{pod['metadata']['name']}",
            ns=EXEC_NAMESPACE,
            pod=pod["metadata"]["name"],
        )
        event = await raised(world, name, EXEC_NAMESPACE, reason.removeprefix("Test"))
        done = await allowed(world, event)
        assert done["outcome"] == "success", done.get("error")
        story = (await world.rb("executions", "show", done["id"], "--json")).stdout
        assert f"{name}!" in story
    finally:
        await world.admin.delete(ObjectRef(kind="Deployment", name=name, namespace=EXEC_NAMESPACE))


async def test_every_way_to_call_an_api(world, namespace):
    """Reads are made while planning, calls that change something once, after a human said yes."""

    def answer(asked):
        return Told(200, {"ok": True, "data": {"service": {"owner": "a"}, "restart": {"owner": "a"}}})

    async with web(answer) as service:
        await installed(world, "calls", runbook("TestCalls", *calls(service.url)))
        await world.app("calls", namespace)
        done = await allowed(world, await raised(world, "calls", namespace, "Calls"))
        assert done["outcome"] == "success", done.get("error")
        asked = [(one.method, one.path) for one in service.asked]
    for call in (("PUT", "/put"), ("PATCH", "/patch"), ("DELETE", "/delete"), ("POST", "/hook")):
        assert asked.count(call) == 1, asked
    assert {("GET", "/read"), ("GET", "/again"), ("POST", "/graphql")} <= set(asked)


async def test_a_node_is_closed_emptied_and_opened(world):
    """A node of the test's own."""
    name = f"{world.name}-node"
    made = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"type": "kwok"}},
        "spec": {"taints": [{"key": "tests-only", "effect": "NoSchedule"}]},
    }
    await world.admin.create(made)

    async def ready():
        found = await world.admin.get("Node", name)
        return "not-ready" not in json.dumps(found["spec"].get("taints", []))

    try:
        await until(ready, "the node is taken care of", 90)
        steps = [step(verb, f"kubectl_{verb}", {"node": name}) for verb in ("cordon", "drain", "uncordon")]
        await installed(world, "node", runbook("TestNode", *steps))
        await world.query(
            "MERGE (r:Resource {rid: $rid}) SET r.client_id = $name, r.kind = 'Node', r.ns = '', r.name = $node, "
            "r.updated_at = datetime()",
            rid=f"node:{name}",
            node=name,
        )
        done = await allowed(world, await raised(world, name, "", "Node", kind="Node"))
        assert {("step", verb): "succeeded" for verb in ("cordon", "drain", "uncordon")}.items() <= (
            await world.steps(done["id"])
        ).items(), done.get("error")
        assert not (await world.admin.get("Node", name))["spec"].get("unschedulable")
    finally:
        await world.admin.delete(ObjectRef(kind="Node", name=name))


async def test_a_step_fails_once_and_is_retried_with_each_class_of_errors(world, namespace):
    """Every part of ``retry`` is said, and the second attempt succeeds."""
    failed = []

    def answer(asked):
        failed.append(asked.path)
        return Told(503 if len(failed) == 1 else 200, {"ok": True})

    retry = {"attempts": 3, "backoff": "100ms", "factor": 1.5, "max_backoff": "1s", "jitter": 0.5}
    async with web(answer) as service:
        call = step("call", "webhook", {"url": f"{service.url}/once", "body": {}}, idempotent=True, description="why")
        call["retry"] = {**retry, "errors": ["temporary", "timeout", "conflict", "failed"]}
        await installed(world, "once", runbook("TestOnce", mark("one", on_success="continue"), call))
        await world.app("once", namespace)
        done = await allowed(world, await raised(world, "once", namespace, "Once"))
    assert done["outcome"] == "success", done.get("error")
    assert len(failed) == 2
