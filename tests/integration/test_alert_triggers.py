"""Alerts that start runbooks by their names, through the running pipeline on the real servers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from fakes.served import mark, runbook, served, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

SETTINGS = {
    "matching": {"bridge": {"first_delay": "200ms", "max_delay": "500ms", "deadline": "3s"}},
    "runbooks": {"paths": ["runbooks"], "mappings": ["mappings.yaml"]},
}
MAPPINGS = """\
mappings:
  - alert: DiskSlow
    runbook: note-the-pod
    autoTrigger: true
    conditions: [{tier: "!test"}, {value: "> 50"}]
    parameters: {podName: "{{ $labels.pod }}", share: "{{ $value }}"}
  - alert: DiskFull
    runbook: note-the-pod
    parameters: {podName: "{{ $labels.pod }}"}
"""
V1 = """\
apiVersion: runbooks/v1
kind: Runbook
metadata: {name: answer-by-name, version: 1.0, owner: tests}
trigger: {type: alert, alertName: AnswersSlow}
safety: {require_approval: false, blast_radius_limit: 10, cooldown: 0}
verification: {settle: 1s, timeout: 20s}
steps:
  - name: leave-a-note
    type: kubernetes
    action: annotate
    params: {deployment: "{{ target.name }}", namespace: "{{ context.namespace }}", annotations: {seen: "by-v1"}}
"""


@pytest.fixture(scope="module")
async def world(stack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alerts")
    async with served(stack, folder, settings=SETTINGS) as one:
        (folder / "mappings.yaml").write_text(MAPPINGS)
        parameters = [{"name": "podName", "required": True}, {"name": "share", "type": "integer", "default": 0}]
        step = mark("note", "{{ params.podName }} at {{ params.share }}")
        one.runbook("note", runbook("Nothing", step, id="note-the-pod", parameters=parameters))
        one.running = await one.serve()
        yield one


@pytest.fixture(scope="module")
async def namespace(world):
    return await world.namespace()


def alert(world, name, app, namespace, value="", **labels):
    """A body of Alertmanager about one Deployment."""
    told = {"alertname": name, "namespace": namespace, "deployment": app, "pod": f"{app}-1", "cluster": world.name}
    body = {
        "status": "firing",
        "alerts": [
            {
                "status": "firing",
                "labels": {**told, "tenant": world.name, **labels},
                "annotations": {"value": value} if value else {},
                "startsAt": datetime.now(UTC).isoformat(),
                "fingerprint": f"{name}-{app}",
            }
        ],
    }
    return "alerts", json.dumps(body).encode()


async def decided(world, app, *kinds):
    """The decision about an app, once it is of one of the kinds."""

    async def look():
        for found in await world.decisions():
            if f'"{app}"' in found["signal"] and found["kind"] in kinds:
                return found
        return None

    return await until(look, f"a decision about {app} {kinds}")


async def note(world, app, namespace, key):
    async def look():
        return ((await world.deployment(app, namespace))["metadata"].get("annotations") or {}).get(key)

    return await until(look, f"{app} has {key}")


async def test_a_mapped_alert_runs_its_runbook_with_the_alerts_values(world, namespace):
    """From Kafka to the cluster: no cause in the graph, and none is waited for; labels and value are parameters."""
    await world.app("mapped", namespace)
    await world.send([alert(world, "DiskSlow", "mapped", namespace, "72.6", tier="web")])
    assert await note(world, "mapped", namespace, "note") == "mapped-1 at 73"
    permitted = await decided(world, "mapped", "permit")
    assert json.loads(permitted["causes"])[0]["writer"] == "alert"


async def test_without_auto_trigger_a_human_is_asked(world, namespace):
    """The bridge has its time first; then the question waits, and nothing has changed."""
    await world.app("asked", namespace)
    await world.send([alert(world, "DiskFull", "asked", namespace)])
    asked = await decided(world, "asked", "approval")
    assert "suggested only: mappings.yaml" in asked["message"]
    assert "note" not in ((await world.deployment("asked", namespace))["metadata"].get("annotations") or {})


async def test_conditions_that_do_not_hold_start_nothing(world, namespace):
    """A label that is excluded, and a value that is not told: both end without a cause."""
    for app, value, tier in (("excluded", "90", "test"), ("silent", "", "web")):
        await world.app(app, namespace)
        await world.send([alert(world, "DiskSlow", app, namespace, value, tier=tier)])
    for app in ("excluded", "silent"):
        assert not (await decided(world, app, "no_cause")).get("execution_id")


async def test_a_file_of_another_dialect_is_taken_while_the_pipeline_runs(world, namespace):
    """runbooks/v1, put into the watched folder as it stands, answers the alert that it names."""
    await world.app("slow", namespace)
    world.runbook("v1", V1)

    async def taken():
        return any("answer-by-name" in line.get("added", ()) for line in world.running.log("runbooks.loaded"))

    await until(taken, "the runbook is in force")
    await world.send([alert(world, "AnswersSlow", "slow", namespace)])
    assert await note(world, "slow", namespace, "seen") == "by-v1"
