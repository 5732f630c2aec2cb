"""The pipeline is killed in the middle of each starter runbook; what comes of it is what would have come anyway."""

import asyncio

import pytest

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
