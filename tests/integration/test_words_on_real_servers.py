"""Every key and every word of the language in runbooks that ``rb serve`` carries out on real servers."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from fakes.served import WIDE, mark, runbook, served, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

HERE = {"resource": "deployment/{{ target.name }}", "namespace": "{{ target.namespace }}"}
READ = {"action": "kubectl_get", "params": HERE}
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
IN_VAIN = {"action": "wait", "params": {"condition": "deployment/not-there available", "timeout": "500ms"}}
PEOPLE = ("ada", "the-user", "cleo", "dan")
"""In the order of the approvers; a user is one certain person."""


def never(on_failure):
    """A change, a wait in vain, and what follows from it."""
    return (mark("one"), {"id": "never", "name": "Wait in vain", **IN_VAIN, "on_failure": on_failure})


def parameters():
    """One of each type."""
    values = {
        "string": "x-1",
        "integer": 3,
        "number": 1.5,
        "boolean": True,
        "quantity": "1Gi",
        "duration": "5m",
        "list": [1, 2],
        "object": {"a": 1},
    }
    made = [{"name": f"a_{kind}", "type": kind, "default": value} for kind, value in values.items()]
    made[0] |= {"pattern": "[a-z]-[0-9]", "required": False, "description": "A letter and a digit"}
    return made


def told(moment, severity):
    """Every channel, each with all that it can say."""
    return {
        "slack": {"channel": "#sre", "message": moment},
        "teams": {"channel": "default", "message": moment},
        "pagerduty": {"severity": severity, "message": moment},
        "email": {"to": ["sre@example.com"], "subject": moment, "message": moment},
        "webhook": {"url": "http://127.0.0.1:9/none", "message": moment},
    }


def wide(world):
    """Everything that is asked before, around and after the steps; each of it holds."""
    trigger = {
        "root_cause_reason": ["Wide*"],
        "alert": ["TestWide"],
        "symptom_reason": ["TestWide"],
        "min_confidence": 0.8,
        "affected_resource_kinds": ["Deployment", "Pod"],
        "namespaces": [f"{world.name}-*"],
        "exclude_namespaces": ["kube-system"],
        "labels": {"team": "sho*"},
        "severity": ["critical"],
        "cluster": [world.name],
        "tenant": [world.name],
        "when": "incident.labels.team == 'shop'",
        "manual": True,
    }
    uses = " ".join(f"{{{{ params.{one['name']} | json }}}}" for one in parameters())
    body = runbook(
        "TestWide",
        {
            "id": "sum",
            "name": "Sum",
            "action": "calculate",
            "params": {"expression": "{{ 1 + 1 }}"},
            "output_var": "two",
        },
        {
            "id": "get",
            "name": "Get",
            **READ,
            "outputs": {"name": "$.metadata.name"},
            "for_each": [1, 2],
            "max_parallel": 2,
        },
        mark("one", uses, id="one", description="All parameters in one", output_var="wrote", on_success="continue"),
        {"id": "look", "name": "Look", **READ, "output_var": "seen", "when": "wrote is defined", "depends_on": ["one"]},
        mark("two", "{{ seen.metadata.name }}", save_state={"was": "{{ target.name }}"}, on_success="complete"),
        safety={
            "require_approval": "incident.rca_confidence < 0.1",
            "rates": {"per_minute": 100, "per_hour": 500, "per_day": 1000},
            "max_concurrent": 5,
            "ask_again": {"executions": 9, "within": "1h"},
            "cooldown_after": {
                "success": "20m",
                "failure": "1h",
                "rollback": "1h",
                "not_fixed": "2h",
                "inconclusive": "1h",
            },
            "blast_radius_percent": 100,
            "protected_namespaces": ["bank"],
            "protected_labels": {"tier": "core"},
            "dry_run_first": True,
            "approval_timeout": "5m",
        },
        name="Everything around the steps",
        type="recovery",
        description="For the record",
        legal_basis="Contract 7",
        updated="2026-01-31",
        tags=["tests"],
        parameters=parameters(),
        assumptions=[
            {"name": "it is there", "description": "or we would not ask", **READ, "check": "output.spec.replicas == 1"}
        ],
        preconditions=[
            {
                "name": "always",
                "windows": [{"start": "00:00", "end": "24:00", "timezone": "Europe/Vienna", "days": DAYS}],
            },
            {
                "name": "known",
                **READ,
                "check": "output.metadata.name == target.name",
                "timeout": "20s",
                "on_failure": "abort",
            },
        ],
        procedures={"back": [mark("back")]},
        timeout="4m",
        max_parallel=2,
        kpis={"max_duration": "5m", "max_error_rate": 0.5, "min_success_rate": 0.1},
        notification={
            "on_start": told("start", "info"),
            "on_approval": told("ask", "warning"),
            "on_success": told("done", "warning"),
            "on_failure": told("failed", "error"),
            "on_rollback": told("back", "critical"),
            "on_inconclusive": told("who knows", "info"),
        },
    )
    verification = {
        "settle": "1s",
        "timeout": "20s",
        "observe": "2s",
        "success_criteria": [{"name": "marked", **READ, "check": "'one' in output.metadata.annotations"}],
        "on_not_fixed": "keep",
        "on_inconclusive": "keep",
    }
    triggers = [
        {"step_failed": "*"},
        {"not_fixed": True},
        {"condition": "target.name == 'another'", "window": "1s", "run": "back"},
        {"health_check_failed": 50},
    ]
    return {**body, "trigger": trigger, "verification": verification, "rollback": {"triggers": triggers}}


def asking():
    """Rules with every kind of approver, channel, answer and bypass."""
    kinds = ("role", "user", "group", "team")
    styles = ("primary", "danger", "default")
    channels = ("slack", "teams", "pagerduty", "email", "webhook")
    rule = {
        "name": "four people",
        "step": "one",
        "when": "target.kind == 'Deployment'",
        "approvers": [{"type": kind, "value": f"the-{kind}", "required": True, "min_approvals": 1} for kind in kinds],
        "order": "sequential",
        "timeout": "20m",
        "escalation": [{"after": "10m", "notify": ["lead"]}],
        "channels": [{"type": kind, "channel": "default", "severity": "high", "template": "ask"} for kind in channels],
        "approve": [{"label": s, "value": f"yes-{s}", "style": s, "requires_comment": True} for s in styles],
        "reject": [{"label": s, "value": f"no-{s}", "style": s, "requires_comment": False} for s in styles],
        "comment_required": True,
    }
    levels = ("info", "warning", "critical")
    bypass = [
        {"name": f"b-{level}", "roles": ["lead"], "requires_justification": True, "audit_level": level}
        for level in levels
    ]
    other = {"name": "anybody", "order": "parallel", "when": "target.kind == 'Node'"}
    return runbook(
        "TestAsking",
        mark("one"),
        type="maintenance",
        approvals={"rules": [rule, other], "bypass": bypass},
        verification={"settle": "1s", "timeout": "20s", "on_not_fixed": "rollback", "on_inconclusive": "rollback"},
        rollback={"steps": [mark("undone")]},
    )


FAILING = {
    "Abort": "abort",
    "Back": "rollback",
    "Go": "continue",
    "HelpAbort": {"run": "help", "then": "abort"},
    "HelpBack": {"run": "help", "then": "rollback"},
    "HelpGo": {"run": "help", "then": "continue"},
}
ASKS = {"Ask": "approve", "HelpAsk": {"run": "help", "then": "approve"}}


@pytest.fixture(scope="module")
async def world(stack, tmp_path_factory):
    settings = {"gate": WIDE}
    async with served(stack, tmp_path_factory.mktemp("words"), settings=settings) as one:
        one.runbook("wide", wide(one))
        one.runbook("asking", asking())
        ask = {
            "id": "ask",
            "name": "Ask",
            "action": "manual_approval",
            "params": {"message": "Go on?", "timeout": "5m"},
        }
        one.runbook("manual", runbook("TestManual", mark("one"), ask))
        for name, word in {**FAILING, **ASKS}.items():
            more = {"procedures": {"help": [mark("helped")]}} if isinstance(word, dict) else {}
            one.runbook(name.lower(), runbook(f"Test{name}", *never(word), type="incident", **more))
        shut = {"name": "never true", "check": "target.kind == 'Node'", "on_failure": "request_approval"}
        one.runbook("shut", runbook("TestShut", mark("one"), preconditions=[shut]))
        skip = {"name": "nothing to do", "check": "target.kind == 'Node'", "on_failure": "skip"}
        one.runbook("skip", runbook("TestSkip", mark("one"), preconditions=[skip]))
        await one.serve()
        yield one


@pytest.fixture(scope="module")
async def namespace(world):
    return await world.namespace()


async def raised(world, namespace, name):
    app = name.lower()
    await world.app(app, namespace)
    message = world.rca(app, namespace, f"Test{name}")
    await world.send([message])
    return json.loads(message[1])["incident_id"]


def alert(world, name, app, namespace, **labels):
    """A body of Alertmanager about one Deployment."""
    about = {"alertname": name, "namespace": namespace, "deployment": app, "cluster": world.name, "tenant": world.name}
    body = {
        "status": "firing",
        "labels": {**about, **labels},
        "annotations": {},
        "startsAt": datetime.now(UTC).isoformat(),
        "fingerprint": f"{name}-{app}",
    }
    return "alerts", json.dumps({"status": "firing", "alerts": [body]}).encode()


async def about(world, app):
    """The event of the decision about an app."""

    async def look():
        found = await world.decisions()
        return next((one["event_id"] for one in found if f'"{app}"' in one["signal"]), None)

    return await until(look, f"a decision about {app}", 90)


async def test_everything_around_the_steps_holds(world, namespace):
    """Trigger, parameters, assumptions, preconditions, limits, criteria, triggers, KPIs and messages in one runbook."""
    await world.app("wide", namespace)
    await world.send([alert(world, "TestWide", "wide", namespace, team="shop", severity="critical")])
    event = await about(world, "wide")
    decision = await world.decided(
        event, "permit", "refusal", "approval", "plan_failed", "no_match", "no_cause", seconds=90
    )
    assert decision["kind"] == "approval", decision["message"]  # what the last mark says is known only on the way
    waiting = await world.execution(event, "waiting_approval", seconds=60)
    assert (await world.rb("approvals", "approve", waiting["id"], "--yes", "--by", "alice")).returncode == 0
    done = await world.execution(event, "done", seconds=120)
    assert (done["outcome"], done.get("verdict")) == ("success", "verified"), done.get("error")
    assert done["cooldown_seconds"] == 20 * 60  # as the runbook wants it after a success
    found = await world.annotations("wide", namespace)
    assert found["one"] == '"x-1" 3 1.5 true "1Gi" 300.0 [1, 2] {"a": 1}'
    assert found["two"] == "wide"
    assert "back" not in found


async def test_four_people_say_yes_in_turn(world, namespace):
    """Every kind of approver; each with a comment and one of the answers that the rule offers."""
    event = await raised(world, namespace, "Asking")
    waiting = await world.execution(event, "waiting_approval", seconds=90)
    for person in PEOPLE:
        words = ("approve", waiting["id"], "--yes", "--by", person, "--reason", "looked", "--choice", "yes-primary")
        said = await world.rb("approvals", *words)
        assert said.returncode == 0, said.stdout + said.stderr
    assert "still waits" not in said.stdout
    done = await world.execution(event, "done", seconds=90)
    assert done["outcome"] == "success", done.get("error")


async def test_what_follows_when_a_step_fails(world, namespace):
    """Each word, alone and after a procedure."""
    events = await asyncio.gather(*(raised(world, namespace, name) for name in FAILING))
    done = dict(zip(FAILING, [await world.execution(event, "done", seconds=120) for event in events], strict=True))
    marks = {name: await world.annotations(name.lower(), namespace) for name in FAILING}
    assert {name for name in FAILING if "one" not in marks[name]} == {"Back", "HelpBack"}
    assert {name for name in FAILING if "helped" in marks[name]} >= {"HelpAbort", "HelpGo"}
    assert {done[name]["outcome"] for name in ("Back", "HelpBack")} == {"rollback"}
    assert {done[name]["outcome"] for name in ("Go", "HelpGo")} == {"partial"}
    assert {done[name]["outcome"] for name in ("Abort", "HelpAbort")}.isdisjoint({"success", "rollback"})


async def test_a_human_decides_after_a_step_failed(world, namespace):
    """The execution waits for the answer, and goes on after a yes."""
    for name in (*ASKS, "Manual"):
        event = await raised(world, namespace, name)
        running = await world.execution(event, "running", "waiting_approval", seconds=90)

        async def asked(execution=running["id"]):
            query = "MATCH (a:Approval {execution_id: $id, status: 'pending'}) RETURN a.id AS id"
            rows = await world.query(query, id=execution)
            return rows[0]["id"] if rows else None

        question = await until(asked, "a question is asked", 90)
        said = await world.rb("approvals", "approve", question, "--yes", "--by", "alice", "--reason", "go on")
        assert said.returncode == 0, said.stderr
        done = await world.execution(event, "done", seconds=90)
        assert done["outcome"] == ("partial" if name in ASKS else "success"), done.get("error")
        assert "one" in await world.annotations(name.lower(), namespace)


async def test_a_precondition_asks_or_skips(world, namespace):
    """What does not hold asks a human, or says that there is nothing to do."""
    shut = await raised(world, namespace, "Shut")
    assert (await world.decided(shut, "approval", seconds=90))["kind"] == "approval"
    skip = await raised(world, namespace, "Skip")
    await world.decided(skip, seconds=90)
    assert "one" not in await world.annotations("skip", namespace)


async def test_a_schedule_starts_a_runbook(world, namespace):
    """Each minute, on the workload that the schedule names, with its parameters."""
    await world.app("clock", namespace)
    schedule = {
        "cron": "* * * * *",
        "timezone": "Europe/Vienna",
        "target": {"kind": "Deployment", "name": "clock", "namespace": namespace},
        "parameters": {"word": "tick"},
        "catch_up": "5m",
    }
    step = mark("heard", "{{ params.word }}")
    body = runbook("x", step, id="clock", type="monitoring", parameters=[{"name": "word", "default": "none"}])
    world.runbook("clock", {**body, "trigger": {"schedule": [schedule], "manual": False}})
    done = await world.execution(await about(world, "clock"), "done", seconds=120)
    assert done["outcome"] == "success", done.get("error")
    assert (await world.annotations("clock", namespace))["heard"] == "tick"


async def test_a_version_on_trial_says_how(world, namespace):
    """As a suggestion a human is asked; as a canary without a version before it, it is the one in force."""
    limits = {"min_successes": 2, "max_failures": 2}
    trials = {"Hint": {"mode": "suggest"}, "Bird": {"mode": "canary", "canary": {"percent": 10}}}
    before = len(world.processes[0].log("runbooks.loaded"))
    for name, rollout in trials.items():
        world.runbook(name.lower(), runbook(f"Test{name}", mark("one"), rollout={**rollout, **limits}))

    async def loaded():
        changed = [line.get("added", ()) for line in world.processes[0].log("runbooks.loaded")[before:]]
        return {"fix-testhint", "fix-testbird"} <= {one for names in changed for one in names}

    await until(loaded, "both are in force", 60)
    kinds = {}
    for name in trials:
        event = await raised(world, namespace, name)
        kinds[name] = (await world.decided(event, "permit", "approval", "refusal", "no_match", seconds=90))["kind"]
    assert kinds == {"Hint": "approval", "Bird": "permit"}
