"""Graduated response to high memory through ``rb serve``: clean up, look, and restart only if that was not enough.

The runbook is a small one of our own in the dialect runbooks/v1, with every kind of part that the published example
has; a real Prometheus says how much memory there is and how many requests fail. The example itself, with its own long
times, is in test_v1_example_on_cluster.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes.examples import approve
from fakes.graduated import REPLICAS, Apps, settings
from fakes.outside import outside
from fakes.served import served, until
from fakes.web import Told
from integration.prometheus_server import run_monitoring

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

OURS = Path(__file__).parents[1] / "examples"
RUNBOOK = "relieve-memory"
TOKEN = "made-up-token"
RESTART = "kubectl.kubernetes.io/restartedAt"
SLACK, PAGERDUTY = "slack.com", "events.pagerduty.com"


@pytest.fixture(scope="module")
async def apps(stack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graduated")
    told = {"ok": True, "ts": "1.2", "status": "success", "dedup_key": "x"}
    (folder / "monitoring").mkdir()
    async with (
        outside(folder, lambda _: Told(200, told), SLACK, PAGERDUTY) as away,
        run_monitoring(folder / "monitoring") as monitoring,
    ):
        made = settings(
            monitoring, str(OURS / f"{RUNBOOK}-mappings.yaml"), RUNBOOK, restartCount=1, environment="staging"
        )
        environment = {**away.environment, "ROOTMEND_SECRET_ADMINTOKEN": TOKEN}
        async with served(stack, folder / "data", settings=made, environment=environment) as world:
            world.runbook(RUNBOOK, (OURS / f"{RUNBOOK}.yaml").read_text())
            await world.serve()
            one = Apps(world, monitoring, away)
            yield one
            await one.close()


async def begun(apps, app, memory=93.0, errors=0.01, **labels):
    """An alert about an app, and a yes to its plan; the pod and the execution."""
    pod = await apps.start(app, memory, errors)
    await apps.alert(app, pod, **labels)
    decision = await apps.decided(app)
    assert decision["kind"] == "approval", decision["message"]
    execution = await apps.world.execution(decision["event_id"], "waiting_approval")
    await approve(apps.world, execution["id"])
    return pod, decision


async def ended(apps, decision, outcome):
    done = await apps.world.execution(decision["event_id"], "done", seconds=90)
    steps = {key: status for (_, key), status in (await apps.world.steps(done["id"])).items()}
    assert done["outcome"] == outcome, (done.get("error"), steps)
    return done, steps


async def restarted(apps, app):
    notes = (await apps.deployment(app))["spec"]["template"]["metadata"].get("annotations") or {}
    return RESTART in notes


async def test_when_cleaning_up_is_enough_nothing_is_restarted(apps):
    """Asked once, since calls cannot be taken back; the rest is skipped, and the look is the proof of it."""
    pod, decision = await begun(apps, "eased")
    await apps.asked("eased", pod)
    await apps.measure("eased", memory=60)
    done, steps = await ended(apps, decision, "success")
    assert done["verdict"] == "verified"
    assert (steps["look_inside"], steps["clean_up"], steps["enough_now"]) == ("succeeded",) * 3
    assert steps.get("restart", "skipped") == "skipped"
    assert not await restarted(apps, "eased")
    (asked,) = apps.away.of(apps.host(pod))
    assert (asked.method, asked.path, asked.headers["authorization"]) == ("POST", "/clean-up", f"Bearer {TOKEN}")
    shown = (await apps.world.rb("executions", "show", done["id"], "--json")).stdout
    assert "PID" in shown
    assert TOKEN not in shown + apps.world.processes[0].log_file.read_text()


async def test_when_it_is_not_enough_the_restart_follows(apps):
    """The saved number of replicas is on record, and the new pods and the few errors are the proof."""
    _, decision = await begun(apps, "restarted")
    done, steps = await ended(apps, decision, "success")
    assert done["verdict"] == "verified"
    assert steps["enough_now"] == "failed"
    assert (steps["restart"], steps["all_there"]) == ("succeeded", "succeeded")
    assert await restarted(apps, "restarted")
    rows = await apps.world.query(
        "MATCH (s:StepRun {execution_id: $id, step_id: 'restart'}) RETURN s.state AS s", id=done["id"]
    )
    assert json.loads(rows[0]["s"])["previousReplicaCount"] == REPLICAS


async def test_errors_over_the_limit_for_the_window_take_it_back_by_its_procedure(apps):
    """Measured by a real Prometheus: the revision before comes back, and people read why."""
    pod, decision = await begun(apps, "failing", errors=0.08)
    done, steps = await ended(apps, decision, "rollback")
    assert done["rollback_with"] == "put_back"
    assert "metrics.errorRate > 0.05 holds for" in done["error"]
    assert (steps["undo"], steps["replicas"]) == ("succeeded", "succeeded")
    assert not await restarted(apps, "failing")
    for host in (SLACK, PAGERDUTY):
        told = [one.body for one in apps.away.of(host) if f"{pod} taken back" in one.body]
        assert len(told) == 1
        assert "errorRate" in told[0]


@pytest.mark.parametrize(("app", "errors"), [("loud", 0.5), ("silent", float("nan"))])
async def test_a_precondition_on_a_metric_refuses_also_when_it_is_not_measured(apps, app, errors):
    """Too many errors, and no number: nobody is asked, and nothing is touched."""
    pod = await apps.start(app, errors=errors)
    await apps.alert(app, pod)
    decision = await apps.decided(app)
    assert (decision["kind"], decision["check"]) == ("refusal", "precondition"), decision["message"]
    assert "quiet" in decision["message"]
    assert apps.away.of(apps.host(pod)) == []


async def test_in_production_the_restart_is_asked_for_and_a_no_leaves_all_as_it_is(apps):
    """The question comes when the gentle way was not enough; nothing was changed, so nothing is taken back."""
    _, decision = await begun(apps, "precious", env="production")
    execution = await apps.world.execution(decision["event_id"], "running", "paused", "done")

    async def asked():
        rows = await apps.world.query(
            "MATCH (a:Approval {execution_id: $id, status: 'pending'}) RETURN properties(a) AS a", id=execution["id"]
        )
        return rows[0]["a"] if rows else None

    question = await until(asked, "the restart is asked for")
    assert question["step"] == "approval/restart"
    said = await apps.world.rb("approvals", "deny", question["id"], "--yes", "--by", "bob", "--reason", "not now")
    assert said.returncode == 0, said.stderr
    await ended(apps, decision, "rollback")
    assert not await restarted(apps, "precious")
    assert (await apps.deployment("precious"))["metadata"]["generation"] == 1
