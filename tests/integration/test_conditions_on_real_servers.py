"""Conditions around the steps with ``rb serve`` on real Neo4j, Redis, Kafka and API server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes.served import mark, runbook, served

pytestmark = [pytest.mark.stack, pytest.mark.timeout(200)]

HERE = {"resource": "deployment/{{ target.name }}", "namespace": "{{ target.namespace }}"}
READ = {"action": "kubectl_get", "params": HERE}
FAILS = {
    "id": "never",
    "name": "Wait in vain",
    "action": "wait",
    "params": {"condition": "deployment/not-there available", "timeout": "2s"},
    "timeout": "3s",
    "on_failure": "continue",
}
RULE = {
    "name": "two people",
    "step": "one",
    "when": "target.kind == 'Deployment'",
    "approvers": [{"value": "on-call", "required": True}, {"type": "team", "value": "platform"}],
    "comment_required": True,
    "reject": [{"label": "Not now", "value": "later"}],
}


def in_hours(first: int, second: int) -> dict[str, str]:
    """A window that begins and ends so many hours from now."""
    now = datetime.now(UTC)
    return {name: f"{now + timedelta(hours=h):%H:%M}" for name, h in (("start", first), ("end", second))}


def annotated(key: str) -> str:
    return f"'{key}' in output.metadata.annotations"


RUNBOOKS: dict[str, dict[str, Any]] = {
    "Shut": {"preconditions": [{"name": "window", "windows": [in_hours(2, 4)]}]},
    "Skip": {
        "preconditions": [{"name": "untouched", **READ, "check": f"not ({annotated('one')})", "on_failure": "skip"}]
    },
    "Held": {
        "preconditions": [
            {"name": "exists", **READ, "check": "output.spec.replicas == 1"},
            {"name": "open", "windows": [{**in_hours(-2, 2), "timezone": "UTC"}]},
        ],
        "assumptions": [
            {"name": "owned", "check": "target.kind == 'Deployment'"},
            {"name": "agreed", "description": "the team knows"},
        ],
        "verification": {
            "settle": "1s",
            "observe": "2s",
            "timeout": "20s",
            "success_criteria": [{"name": "marked", **READ, "check": annotated("one")}],
        },
        "kpis": {"max_duration": "5m", "max_error_rate": 0, "min_success_rate": 0.5},
    },
    "Missed": {
        "verification": {
            "settle": "1s",
            "timeout": "4s",
            "success_criteria": [{"name": "elsewhere", **READ, "check": annotated("two")}],
        }
    },
    "Back": {
        "rollback": {"triggers": [{"step_failed": "never", "run": "note"}]},
        "procedures": {"note": [mark("note", "{{ execution.id }}")]},
    },
    "Rule": {"approvals": {"rules": [RULE], "bypass": [{"roles": ["sre-lead"]}]}},
    "Label": {"safety": {"protected_labels": {"tier": "pay*"}, "blast_radius_percent": 100}},
    "Again": {"safety": {"ask_again": {"executions": 1, "within": "1d"}}},
}


@pytest.fixture(scope="module")
async def world(stack, tmp_path_factory):
    async with served(stack, tmp_path_factory.mktemp("conditions")) as one:
        for name, parts in RUNBOOKS.items():
            steps = [mark("one"), FAILS] if name == "Back" else [mark("one")]
            one.runbook(name.lower(), runbook(f"Test{name}", *steps, **parts))
        await one.serve()
        yield one


@pytest.fixture(scope="module")
async def namespace(world):
    return await world.namespace()


async def raised(world, namespace, reason, app):
    await world.app(app, namespace)
    return await again(world, namespace, reason, app)


async def again(world, namespace, reason, app):
    message = world.rca(app, namespace, f"Test{reason}")
    await world.send([message])
    return json.loads(message[1])["incident_id"]


async def explained(world, event):
    told = await world.rb("explain", event)
    assert told.returncode == 0, told.stderr
    return told.stdout if isinstance(told.stdout, str) else told.stdout.decode()


async def test_a_closed_window_refuses_and_says_when_it_opens(world, namespace):
    """Nothing is changed, and rb explain tells why."""
    event = await raised(world, namespace, "Shut", "shut")
    decision = await world.decided(event)
    assert (decision["kind"], decision["check"]) == ("refusal", "precondition")
    assert "no window is open, the next opens" in await explained(world, event)
    assert "one" not in await world.annotations("shut", namespace)


async def test_a_read_of_the_live_object_can_say_that_there_is_nothing_to_do(world, namespace):
    """The first time the runbook acts, the second time it finds its own mark and is skipped."""
    first = await raised(world, namespace, "Skip", "skip")
    assert (await world.execution(first, "done"))["verdict"] == "verified"
    await world.app("skipped", namespace)
    await world.admin.patch(
        _ref("skipped", namespace), {"metadata": {"annotations": {"one": "there already"}}}, how="merge"
    )
    event = await again(world, namespace, "Skip", "skipped")
    decision = await world.decided(event)
    assert (decision["kind"], decision["check"]) == ("refusal", "skipped")
    assert "the runbook has nothing to do here" in await explained(world, event)


def _ref(name, namespace):
    from executor.model import ObjectRef  # noqa: PLC0415 - beside its only use

    return ObjectRef(kind="Deployment", name=name, namespace=namespace)


async def test_a_fix_with_all_its_evidence_is_told_whole(world, namespace):
    """Preconditions, assumptions, criteria, observation and promises, in one story."""
    event = await raised(world, namespace, "Held", "held")
    done = await world.execution(event, "done")
    assert (done["verdict"], done["outcome"]) == ("verified", "success")
    told = await explained(world, event)
    for line in (
        "precondition exists: holds",
        "precondition open: holds",
        "assumption owned: holds",
        "assumption agreed: the team knows",
        "success criterion marked",
        "KPI duration_seconds",
        "KPI error_rate: 0, promised at most 0: kept",
        "KPI success_rate: 1",
    ):
        assert line in told, told


async def test_a_criterion_that_does_not_hold_is_not_fixed_and_rolled_back(world, namespace):
    """However well the Deployment is."""
    event = await raised(world, namespace, "Missed", "missed")
    done = await world.execution(event, "done")
    assert (done["verdict"], done["outcome"]) == ("not_fixed", "rollback")
    assert "elsewhere does not hold" in done["error"]
    assert "one" not in await world.annotations("missed", namespace)


async def test_a_trigger_takes_back_by_its_own_procedure(world, namespace):
    """The step may fail, its trigger says otherwise: the procedure runs instead of the inverse."""
    event = await raised(world, namespace, "Back", "back")
    done = await world.execution(event, "done")
    assert (done["outcome"], done["rollback_with"]) == ("rollback", "note")
    annotations = await world.annotations("back", namespace)
    assert annotations["note"] == done["id"]
    assert ("rollback", "note") in await world.steps(done["id"])


async def test_two_people_say_yes_on_the_command_line(world, namespace):
    """One is not enough, nobody counts twice, a comment is needed, and a bypass needs a justification."""
    event = await raised(world, namespace, "Rule", "rule")
    waiting = await world.execution(event, "waiting_approval")
    number = waiting["id"]

    async def rb(*words):
        done = await world.rb("approvals", *words)
        return done.returncode, str(done.stdout) + str(done.stderr)

    code, told = await rb("show", number)
    assert code == 0
    assert "rule two people about step one: role on-call (required), team platform, with a comment" in told
    assert "emergency bypass emergency-bypass (for sre-lead)" in told
    yes = ("approve", number, "--yes")
    code, told = await rb(*yes, "--bypass", "emergency-bypass")
    assert code == 2
    assert "needs a justification" in told
    code, told = await rb(*yes, "--by", "ada")
    assert code == 1
    assert "needs a comment" in told
    assert (await rb(*yes, "--by", "ada", "--reason", "looked"))[1].startswith("Your yes is kept")
    code, told = await rb(*yes, "--by", "Ada", "--reason", "again")
    assert code == 1
    assert "said yes already" in told
    code, told = await rb("deny", number, "--yes", "--by", "bob", "--reason", "no")
    assert code == 1
    assert "one of the choices: later" in told
    assert (await rb(*yes, "--by", "bob", "--reason", "agreed"))[0] == 0
    assert (await world.execution(event, "done"))["outcome"] == "success"
    assert "yes by ada" in await explained(world, event)


async def test_a_protected_label_of_the_live_object_refuses(world, namespace):
    """With the label nothing is touched; without it the share of the pods is measured and the fix runs."""
    await world.app("paying", namespace)
    await world.admin.patch(_ref("paying", namespace), {"metadata": {"labels": {"tier": "payment"}}}, how="merge")
    event = await again(world, namespace, "Label", "paying")
    decision = await world.decided(event)
    assert (decision["kind"], decision["check"]) == ("refusal", "protected_label")
    free = await raised(world, namespace, "Label", "free")
    assert (await world.execution(free, "done"))["verdict"] == "verified"
    assert json.loads((await world.decided(free))["numbers"])["namespace_pods"] >= 1


async def test_the_second_time_for_a_target_asks_a_human_also_after_redis_was_emptied(world, namespace):
    """The records in the graph know what ran; the store is filled from them."""
    first = await raised(world, namespace, "Again", "again")
    assert (await world.execution(first, "done"))["outcome"] == "success"
    async for key in world.redis.scan_iter(match=f"{world.name}:*"):
        await world.redis.delete(key)
    await world.query("MATCH (d:Decision {event_id: $event}) SET d.fingerprint = 'of another time'", event=first)
    second = await again(world, namespace, "Again", "again")
    decision = await world.decided(second)
    assert (decision["kind"], decision["check"]) == ("approval", "approval")
    assert "ran for this target once in the last 1d already" in decision["message"]
