"""The published runbooks/v1 example with its mappings, as they stand, through ``rb serve`` on the practice cluster.

Its own times count: a minute for the look after the gentle way, and five minutes without too many errors as the proof.
All branches therefore run side by side: cleaned up; restarted; restarted and failing; restarted and too many errors.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil

import pytest
from fakes.examples import ABSENT, EXAMPLES, approve
from fakes.graduated import REPLICAS, Apps, settings
from fakes.outside import outside
from fakes.served import served, until
from fakes.web import Told
from integration.prometheus_server import run_monitoring

pytestmark = [
    pytest.mark.stack,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not EXAMPLES.is_dir(), reason=ABSENT),
    pytest.mark.skipif("LONG_TESTS" not in os.environ, reason="it takes seven minutes: LONG_TESTS=1 runs it"),
]

RUNBOOK = "high-memory-pod-remediation"
SLACK, PAGERDUTY = "slack.com", "events.pagerduty.com"
TOKEN = "made-up-token"
WINDOW = 300
"""Seconds that errors are watched for."""
RESTART = "kubectl.kubernetes.io/restartedAt"


@pytest.fixture(scope="module")
async def apps(stack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("v1")
    told = {"ok": True, "ts": "1.2", "status": "success", "dedup_key": "x"}
    (folder / "monitoring").mkdir()
    async with (
        outside(folder, lambda _: Told(200, told), SLACK, PAGERDUTY) as away,
        run_monitoring(folder / "monitoring") as monitoring,
    ):
        mappings = str(EXAMPLES / "v1-runbook-mappings.yaml")
        made = settings(monitoring, mappings, RUNBOOK, restartCount=0, environment="staging")
        environment = {**away.environment, "ROOTMEND_SECRET_ADMINTOKEN": TOKEN}
        async with served(stack, folder / "data", settings=made, environment=environment) as world:
            for path in EXAMPLES.glob("v1-*.yaml"):
                shutil.copy(path, world.folder / "runbooks" / path.name)
            await world.serve()
            one = Apps(world, monitoring, away)
            yield one
            await one.close()


@pytest.fixture(scope="module")
async def begun(apps):
    """All alerts at once, each answered with a yes: exec and POST cannot be taken back. By app: pod and event."""
    errors = {"eased": 0.01, "restarted": 0.01, "dying": 0.01, "failing": 0.08}
    found = {}
    for app, share in errors.items():
        pod = await apps.start(app, errors=share)
        await apps.alert(app, pod)
        decision = await apps.decided(app)
        assert decision["kind"] == "approval", decision["message"]
        waiting = await apps.world.execution(decision["event_id"], "waiting_approval")
        assert json.loads(waiting["plan"])["context"]["params"]["memoryThreshold"] == 93
        await approve(apps.world, waiting["id"])
        await apps.asked(app, pod)
        found[app] = (pod, decision["event_id"])
    await apps.measure("eased", memory=60)
    return found


async def steps_of(apps, begun, app, *ended):
    """The execution of an app and its steps, once those are over."""

    async def look():
        execution = await apps.world.execution(begun[app][1])
        steps = {key: status for (_, key), status in (await apps.world.steps(execution["id"])).items()}
        return (execution, steps) if all(steps.get(key, "intended") != "intended" for key in ended) else None

    return await until(look, f"{app} is through {ended}", 120)


async def restarted(apps, app):
    notes = (await apps.deployment(app))["spec"]["template"]["metadata"].get("annotations") or {}
    return RESTART in notes


async def test_the_gentle_way_is_tried_first_with_the_token_of_the_settings(apps, begun):
    """In the pod, at the pod; what the program said is on record, the token is not."""
    execution, steps = await steps_of(apps, begun, "eased", "verify_memory_after_gc")
    pod = begun["eased"][0]
    assert (steps["capture_diagnostics"], steps["trigger_gc"], steps["verify_memory_after_gc"]) == ("succeeded",) * 3
    assert steps.get("rolling_restart", "skipped") == "skipped"
    (asked,) = apps.away.of(apps.host(pod))
    assert (asked.method, asked.path, asked.headers["authorization"]) == ("POST", "/admin/gc", f"Bearer {TOKEN}")
    shown = (await apps.world.rb("executions", "show", execution["id"], "--json")).stdout
    assert "PID" in shown
    assert TOKEN not in shown + apps.world.processes[0].log_file.read_text()


async def test_after_a_minute_without_relief_the_restart_follows(apps, begun):
    """The number of replicas and the revision before it are kept."""
    execution, steps = await steps_of(apps, begun, "restarted", "verify_restart_success")
    assert steps["verify_memory_after_gc"] == "failed"
    assert (steps["rolling_restart"], steps["verify_restart_success"]) == ("succeeded", "succeeded")
    assert await restarted(apps, "restarted")
    rows = await apps.world.query(
        "MATCH (s:StepRun {execution_id: $id, step_id: 'rolling_restart'}) RETURN s.state AS s", id=execution["id"]
    )
    assert json.loads(rows[0]["s"]) == {"previousReplicaCount": REPLICAS, "previousRevision": "1"}


async def test_new_pods_that_die_are_taken_back_by_the_procedure(apps, begun):
    """Undone to the revision before, replicas restored, waited for, and told in Slack and PagerDuty."""
    await steps_of(apps, begun, "dying", "verify_restart_success")
    await apps.spoil("dying")
    done = await apps.world.execution(begun["dying"][1], "done", seconds=120)
    steps = {
        key: status for (phase, key), status in (await apps.world.steps(done["id"])).items() if phase == "rollback"
    }
    assert (done["outcome"], done["rollback_with"]) == ("rollback", "rollback_deployment"), done.get("error")
    assert steps == dict.fromkeys(
        ("undo_rollout", "restore_replicas", "verify_rollback", "notify_rollback"), "succeeded"
    )
    assert not await restarted(apps, "dying")
    for host in (SLACK, PAGERDUTY):
        assert len([one for one in apps.away.of(host) if f"Rollback executed for {begun['dying'][0]}" in one.body]) == 1


async def test_five_minutes_decide(apps, begun):
    """Few errors for all of the window are the proof; too many for all of it take the restart back."""
    ended = await asyncio.gather(
        *(
            apps.world.execution(begun[app][1], "done", seconds=WINDOW + 120)
            for app in ("eased", "restarted", "failing")
        )
    )
    eased, kept, failing = ended
    assert [(one["verdict"], one["outcome"]) for one in (eased, kept)] == [("verified", "success")] * 2
    assert await restarted(apps, "restarted")
    assert (failing["outcome"], failing["rollback_with"]) == ("rollback", "rollback_deployment"), failing.get("error")
    assert "metrics.errorRate > 0.05 holds for 3" in failing["error"]
    assert not await restarted(apps, "failing")


async def test_production_asks_the_people_of_the_rule(apps, begun):
    """The same alert where the settings say production: two people for the restart, and one of them is not enough."""
    await apps.world.processes[0].stop()
    apps.world.settings["runbooks"]["parameters"][RUNBOOK]["environment"] = "production"
    apps.world.write()
    await apps.world.serve()
    pod = await apps.start("precious")
    await apps.alert("precious", pod)
    decision = await apps.decided("precious")
    assert decision["kind"] == "approval", decision["message"]
    number = (await apps.world.execution(decision["event_id"], "waiting_approval"))["id"]
    shown = (await apps.world.rb("approvals", "show", number)).stdout
    assert "rule production-restart-approval about step rolling_restart" in shown
    assert "role oncall-primary (required), team platform-team" in shown
    assert (await approve(apps.world, number, "ada")).startswith("Your yes is kept")
    assert not apps.away.of(apps.host(pod))
    await approve(apps.world, number, "bob")
    assert await apps.asked("precious", pod)
