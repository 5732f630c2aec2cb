"""The pipeline is killed in the middle of runbooks; what comes of it is what would have come anyway."""

import asyncio
import json

import pytest
from fakes.served import mark, runbook, served, until

from compose import stack as local
from compose.demo.board import Board
from compose.demo.scenarios import DeadNode, ImagePull, OutOfMemory
from compose.demo.theatre import staged

pytestmark = [pytest.mark.stack, pytest.mark.slow]

QUICK = {"execution": {"lease_seconds": 3, "heartbeat_seconds": 1, "sweep_seconds": 0.5}}
"""A dead process is noticed sooner than in production, so that the test is short."""


async def kill_in(step, scenario, scene):
    """Kill the pipeline as soon as a step stands in the journal, and start it again."""

    async def begun():
        await scene.recorder.read()
        decision = scenario.mine(scene)
        steps = [run.id for one in (decision.executions if decision else ()) for run in one.steps]
        return (True if step in steps else None), steps

    await scene.started.wait()
    await scene.until(f"step {step} to begin", begun, seconds=90, every=0.01)
    scene.started.clear()
    await scene.pipeline.kill()
    await scene.pipeline.start()
    scene.started.set()


@pytest.mark.parametrize(
    ("kind", "step"), [(OutOfMemory, "raise_limit"), (ImagePull, "use_credentials"), (DeadNode, "drain")]
)
async def test_a_crash_in_a_step_changes_nothing_about_the_end(stack, kind, step):
    """Same steps, verdict and cluster as without a crash, and no effect twice: the scenario's own checks count them."""
    scenario = kind()
    async with staged(local.addresses(), Board({kind.key: kind.title}), settings=QUICK) as scene:
        crash = asyncio.create_task(kill_in(step, scenario, scene))
        result = await scenario.play(scene)
        if result.problem:
            crash.cancel()
        assert result.problem == "", "\n".join((result.problem, *result.log))
        await crash
        (execution,) = scenario.mine(scene).executions
        assert execution.resumed, "nobody had to take over: it was killed too late"
        assert (execution.status, execution.outcome) == ("done", "success")


ITEMS = [f"item-{number}" for number in range(16)]
RESTED = {"action": "wait", "params": {"condition": "deployment/not-there available", "timeout": "400ms"}}


def of_template(key, **step):
    """A step that writes into the pod template: each time that it happens is one more generation."""
    made = mark(key, "done", **step)
    made["params"]["patch"] = {"spec": {"template": {"metadata": {"annotations": {key: "done"}}}}}
    return made


def branching():
    """Two branches, attempts in vain, items one by one, and a change that counts how often it was made."""
    retry = {"attempts": 3, "backoff": "200ms", "errors": ["failed"]}
    target = {"resource": "{{ target.kind }}/{{ target.name }}", "namespace": "{{ target.namespace }}"}
    return [
        mark("one", "done"),
        mark("left", "done", depends_on=["one"]),
        {"id": "vain", "name": "In vain", **RESTED, "retry": retry, "depends_on": ["one"], "on_failure": "continue"},
        of_template("{{ item }}", for_each=ITEMS, id="all", name="Write all", depends_on=["left", "vain"]),
        {"id": "grow", "name": "One more", "action": "kubectl_scale", "params": {**target, "add": 1, "max": 5}},
    ]


async def state(world, app, namespace, execution):
    """What is there afterwards, and how often it was changed."""
    found = await world.deployment(app, namespace)
    notes = {**found["metadata"]["annotations"], **found["spec"]["template"]["metadata"]["annotations"]}
    written = sorted(key for key in notes if key in {"one", "left", *ITEMS})
    rows = await world.query(
        "MATCH (s:StepRun {execution_id: $id}) RETURN s.id AS id, s.status AS status", id=execution
    )
    runs = {row["id"].partition("/")[2]: row["status"] for row in rows}
    return written, found["spec"]["replicas"], found["metadata"]["generation"], runs


async def test_a_crash_in_a_graph_with_items_and_attempts_ends_as_without_it(stack, tmp_path):
    """The same annotations, replicas, generations and step outcomes, after a kill between two items and without one."""
    async with served(stack, tmp_path / "crash") as world:
        world.runbook("branching", runbook("TestBranching", *branching()))
        await world.serve()
        namespace = await world.namespace()
        ends = {}
        for app in ("whole", "killed"):
            await world.app(app, namespace)
            message = world.rca(app, namespace, "TestBranching")
            await world.send([message])
            event = json.loads(message[1])["incident_id"]
            if app == "killed":
                await kill_between_items(world, event)
            done = await world.execution(event, "done", seconds=60)
            assert (done["outcome"], done["verdict"]) == ("partial", "verified"), done.get("error")
            assert done.get("resumed", False) is (app == "killed")
            ends[app] = await state(world, app, namespace, done["id"])
        assert ends["killed"] == ends["whole"]
        written, replicas, generation, _ = ends["whole"]
        assert (len(written), replicas, generation) == (len(ITEMS) + 2, 2, 1 + len(ITEMS) + 3)


async def kill_between_items(world, event):
    """Kill the process when some items are done and some are not, and start another."""
    number = (await world.execution(event, "running"))["id"]

    async def some():
        rows = await world.query(
            "MATCH (s:StepRun {execution_id: $id, status: 'succeeded'}) WHERE s.item IS NOT NULL RETURN s.id AS id",
            id=number,
        )
        return len(rows) >= 3 and rows

    await until(some, "some items are done", 30)
    await world.processes[-1].kill()
    assert len(await some()) < len(ITEMS), "it was killed too late"
    await world.serve()
