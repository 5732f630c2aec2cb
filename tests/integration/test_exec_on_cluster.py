"""Programs in containers through the real API server: KWOK runs them on this machine, in an empty folder."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace

import pytest
from fakes.action_rig import Rig, deployment, facts
from fakes.actions import ListedSignals, RecordingHooks, SwitchGuard, match_for, permit_for, record_of
from fakes.journal import MemoryJournal
from fakes.places import SystemClock, until
from fakes.world import FakeWorld

from compose.practice.stages import EXEC_NAMESPACE
from executor.actions import default_actions
from executor.actions.base import Found
from executor.actions.naming import ref_of
from executor.errors import Conflict, Forbidden, Invalid, NotFound, StepFailed, Unavailable
from executor.exec_rules import ExecRules
from executor.model import Outcome, StepStatus
from executor.planner import Planner
from executor.runner import Executor
from services.kubernetes.connect import connect

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
async def admin(stack):
    cluster = await connect(stack.admin_kubeconfig, "rootmend-practice-admin")
    yield cluster
    await cluster.close()


@pytest.fixture(scope="module")
async def pipeline(stack):
    cluster = await connect(stack.kubeconfig, stack.context)
    yield cluster
    await cluster.close()


@pytest.fixture(scope="module")
async def pod(admin):
    """A running pod in the one namespace where programs can be run."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": EXEC_NAMESPACE}}
    with suppress(Conflict):  # another run made it; nobody takes it away
        await admin.create(namespace)
    made = await running(admin, EXEC_NAMESPACE)
    yield ref_of(made)
    await admin.delete(ref_of(made), grace_seconds=0)


async def running(admin, namespace):
    name = f"exec-{uuid.uuid4().hex[:8]}"
    spec = {"containers": [{"name": "app", "image": "app:1"}, {"name": "side", "image": "side:1"}]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}
    made = await admin.create(body)

    async def runs() -> bool:
        found = await admin.get("Pod", name, namespace)
        return found is not None and found.get("status", {}).get("phase") == "Running"

    await until(runs)
    return made


def rig(pipeline, pod, allow, **params):
    fake = FakeWorld()
    world = replace(fake.ports, cluster=pipeline, clock=SystemClock(), exec_rules=ExecRules(True, tuple(allow)))
    about = facts("Deployment", "web", pod.namespace)
    return Rig(world, "kubernetes/execCommand", {"pod": pod.name, "container": "app", **params}, about)


async def test_a_program_runs_and_its_output_comes_back(pipeline, pod):
    """Plan, rights, run: the arguments arrive as they are, and a human would have been asked."""
    one = rig(pipeline, pod, ["printf **"], command=["printf", "%s|", "a b", "$HOME", "100%+&?"])
    step = await one.plan()
    assert step.changes[0].irreversible
    await one.action.dry_run(step, one.world)
    assert (await one.act())["stdout"] == "a b|$HOME|100%+&?|"
    assert (await one.recover()).found is Found.UNKNOWN


async def test_an_exit_code_fails_the_step_with_what_the_program_said(pipeline, pod):
    """Its words are in the error."""
    one = rig(pipeline, pod, ["ls *"], command=["ls", "/no-such-folder"])
    with pytest.raises(StepFailed, match=r"ls in Pod/practice-exec/.* ended with \d: .*no-such-folder"):
        await one.run()


async def test_long_output_is_bounded_and_long_runs_are_cut(pipeline, pod):
    """300 kB are read and 1000 bytes kept; a program that does not end is left with an open question."""
    long = rig(pipeline, pod, ["seq *"], command=["seq", "60000"], max_output=1000)
    given = await long.run()
    assert given["truncated"]
    assert len(given["stdout"]) == 1000
    slow = rig(pipeline, pod, ["sleep *"], command=["sleep", "3"], timeout="500ms")
    with pytest.raises(Unavailable, match="may still be running"):
        await slow.run()


async def test_a_program_that_is_not_there_is_a_mistake_and_no_riddle(pipeline, pod):
    """It did not run, for certain."""
    with pytest.raises(Invalid, match="executable file not found"):
        await rig(pipeline, pod, ["no-such-program"], command=["no-such-program"]).run()


async def test_the_servers_refusals_keep_their_reason(pipeline, pod, admin):
    """A pod or container that is not there, as the pipeline's own account."""
    gone = pod.model_copy(update={"name": "exec-gone"})
    with pytest.raises(NotFound, match='pods "exec-gone" not found'):
        await pipeline.exec(gone, ["ls"], container="app", timeout_seconds=5, limit=9)
    with pytest.raises(Invalid, match="container nope is not valid"):
        await pipeline.exec(pod, ["ls"], container="nope", timeout_seconds=5, limit=9)


async def test_the_rights_are_those_of_the_manifest_and_what_is_not_in_it_is_refused(pipeline, pod):
    """Exec and logs are granted; reaching a pod's ports is not."""
    for verb in ("create", "get"):
        assert await pipeline.allowed(verb, pod, "exec")
    assert await pipeline.allowed("get", pod, "log")
    assert not await pipeline.allowed("create", pod, "portforward")
    assert not await pipeline.allowed("create", pod, "attach")


async def test_in_every_other_namespace_no_program_reaches_this_machine(admin, pipeline):
    """A runbook that is practised with must not touch it by accident."""
    made = await running(admin, "default")
    try:
        with pytest.raises((Unavailable, Invalid, Forbidden), match="no exec found"):
            await pipeline.exec(ref_of(made), ["ls"], container="app", timeout_seconds=5, limit=9)
    finally:
        await admin.delete(ref_of(made), grace_seconds=0)


async def test_a_runbook_that_runs_a_program_asks_a_human_and_then_runs_it(admin, pipeline, pod):
    """From planner to verified fix; without a yes the executor runs nothing."""
    name = f"exec-{uuid.uuid4().hex[:8]}"
    made = await admin.create(deployment(name, EXEC_NAMESPACE, replicas=1))
    world = replace(FakeWorld().ports, cluster=pipeline, clock=SystemClock(), exec_rules=ExecRules(True, ("echo **",)))
    step = {"name": "say", "action": "kubectl_exec", "params": {"resource": "deployment", "command": ["echo", "fixed"]}}
    match = match_for(
        {"steps": [step]}, name=name, namespace=EXEC_NAMESPACE, uid=made["metadata"]["uid"], container="app"
    )
    actions = default_actions()

    async def has_pod() -> bool:
        found = await admin.list("Pod", EXEC_NAMESPACE, labels=f"app={name}")
        return any(item.get("status", {}).get("phase") == "Running" for item in found)

    try:
        await until(has_pod)
        plan = await Planner(actions, world, {}).plan(match, "x1234567")
        assert any("cannot be undone: run echo fixed" in reason for reason in plan.approval_reasons)
        for approval, status in (("", None), ("a1", StepStatus.SUCCEEDED)):
            journal = MemoryJournal()
            record = record_of(plan, "x1234567", started_at=world.clock.now(), settle_seconds=0.2)
            journal.open(record, 1)
            executor = Executor(
                actions=actions,
                world=world,
                journal=journal,
                guard=SwitchGuard(),
                clock=world.clock,
                hooks=RecordingHooks(),
                fresh=ListedSignals(),
            )
            ended = await executor.run(permit_for(record, 1, approval), record)
            if status is None:
                assert (ended.outcome, ended.steps) == (Outcome.ABORTED, ())
                continue
            assert [run.status for run in ended.steps] == [status]
            assert ended.steps[0].output["stdout"] == "fixed\n"
            assert ended.outcome is Outcome.SUCCESS
    finally:
        await admin.delete(ref_of(made))
