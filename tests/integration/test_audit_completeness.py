"""Every change of state that a running pipeline makes is told in the audit trail, seen from outside."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict

import pytest
from fakes.served import mark, runbook, served, until

from safety.trail import SYSTEM

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

NEVER = {"action": "wait", "params": {"condition": "deployment/not-there available", "timeout": "600ms"}}


@pytest.fixture(scope="module")
async def world(stack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audited")
    settings = {"audit": {"folder": str(folder / "audit"), "anchor_seconds": 1}}
    async with served(stack, folder, settings=settings) as one:
        one.runbook("fix", runbook("TestTrouble", mark("fixed")))
        one.runbook("ask", runbook("TestRisk", mark("fixed"), safety={"require_approval": True}))
        one.runbook("break", runbook("TestBreak", mark("fixed"), {"id": "never", "name": "Never", **NEVER}))
        await one.serve()
        yield one
        await one.query("MATCH (a:AuditEntry {tenant: $name}) DETACH DELETE a")


@pytest.fixture(scope="module")
async def ran(world):
    """Three incidents: fixed, denied and approved by a person, rolled back; and a pause between."""
    namespace = await world.namespace()
    for app in ("good", "asked", "denied", "bad"):
        await world.app(app, namespace)
    messages = {
        "good": world.rca("good", namespace),
        "asked": world.rca("asked", namespace, "TestRisk"),
        "denied": world.rca("denied", namespace, "TestRisk"),
        "bad": world.rca("bad", namespace, "TestBreak"),
        "nothing": world.rca("good", namespace, "NeverHeardOf"),
    }
    events = {name: json.loads(message[1])["incident_id"] for name, message in messages.items()}
    await world.send(messages.values())
    await world.execution(events["good"], "done", seconds=120)
    # The answers are given one after the other: on a busy machine a command takes its time.
    for name, words in (("asked", ["approve", "--yes"]), ("denied", ["deny", "--yes", "--reason", "not today"])):
        waiting = await world.execution(events[name], "waiting_approval", seconds=120)
        (row,) = await world.query("MATCH (a:Approval {execution_id: $id}) RETURN a.id AS id", id=waiting["id"])
        answer = await world.rb("approvals", words[0], row["id"], *words[1:], "--by", "ann")
        assert answer.returncode == 0, answer.stderr
        await world.execution(events[name], "done", seconds=120)
    await world.decided(events["nothing"], "no_match")
    await world.execution(events["bad"], "done", seconds=120)
    for words in (["pause", "--reason", "storage"], ["resume"]):
        answer = await world.rb(*words, "--by", "ann")
        assert answer.returncode == 0, answer.stderr
    return events


async def entries(world, tenant):
    rows = await world.query(
        "MATCH (a:AuditEntry {tenant: $tenant}) RETURN properties(a) AS a ORDER BY a.at", tenant=tenant
    )
    found = defaultdict(list)
    for row in rows:
        found[row["a"]["kind"], row["a"]["subject"]].append({**row["a"], "facts": json.loads(row["a"]["facts"])})
    return found


async def test_invariant_11_every_change_of_state_has_its_entry(world, ran):
    """Each node of ours, as it is now, is told of; looked at from outside, property by property."""
    trail, system = await entries(world, world.name), await entries(world, SYSTEM)
    untold = []
    for decision in await world.decisions():
        told = trail["decision.recorded", decision["id"]]
        if not told or told[-1]["facts"]["kind"] != decision["kind"]:
            untold.append(("Decision", decision["id"], decision["kind"]))
    runs = await world.query(
        "MATCH (e:RunbookExecution) WHERE e.target_key STARTS WITH $name + '/' RETURN properties(e) AS n"
    )
    assert {row["n"]["outcome"] for row in runs} == {"success", "aborted", "rollback"}
    for run in (row["n"] for row in runs):
        ended = trail["execution.ended", run["id"]]
        requested = trail["execution.requested", run["id"]]
        if not requested or requested[-1]["facts"]["plan_hash"] != run["plan_hash"]:
            untold.append(("RunbookExecution", run["id"], "requested"))
        if run.get("started_at") and not trail["execution.started", run["id"]]:
            untold.append(("RunbookExecution", run["id"], "started"))
        if run["status"] == "done" and (not ended or ended[-1]["facts"]["outcome"] != run["outcome"]):
            untold.append(("RunbookExecution", run["id"], "ended"))
        untold += await untold_steps(world, trail, run["id"])
        untold += await untold_approvals(world, trail, run["id"])
        if not system["runbook.used", run["runbook_id"]]:
            untold.append(("RunbookVersion", run["runbook_id"], "used"))
    assert any(kind == "step.undone" for kind, _ in trail)
    switches = await world.query("MATCH (p:PauseSwitch {scope: $name + ':'}) RETURN properties(p) AS n")
    assert len(switches) == 2
    for switch in (row["n"] for row in switches):
        told = system["pause.set" if switch["paused"] else "pause.lifted", switch["id"]]
        if not told or (told[0]["actor"], told[0]["reason"]) != (switch["by"], switch["reason"]):
            untold.append(("PauseSwitch", switch["id"], "set"))
    assert untold == []


async def untold_steps(world, trail, execution):
    steps = await world.query("MATCH (s:StepRun {execution_id: $id}) RETURN properties(s) AS n", id=execution)
    untold = []
    for step in (row["n"] for row in steps):
        told = [one for kind in ("step.intended", "step.ended", "step.undone") for one in trail[kind, step["id"]]]
        last = max(told, key=lambda one: one["seq"], default=None)
        if last is None or last["facts"]["digest"] not in {one["facts"]["digest"] for one in told}:
            untold.append(("StepRun", step["id"], step["status"]))
        elif step["digest"] not in {one["facts"]["digest"] for one in told}:
            untold.append(("StepRun", step["id"], "digest"))
    return untold


async def untold_approvals(world, trail, execution):
    asked = await world.query("MATCH (a:Approval {execution_id: $id}) RETURN properties(a) AS n", id=execution)
    untold = []
    for approval in (row["n"] for row in asked):
        if not trail["approval.asked", approval["id"]]:
            untold.append(("Approval", approval["id"], "asked"))
        if approval["status"] in {"approved", "denied"}:
            told = trail["approval.answered", approval["id"]]
            right = told and (told[-1]["actor"], told[-1]["facts"]["status"]) == ("ann", approval["status"])
            if not right:
                untold.append(("Approval", approval["id"], approval["status"]))
    return untold


async def sealed(world):
    """Everything that was written is sealed."""

    async def look():
        answer = await world.rb("audit", "verify", "--tenant", world.name, "--json")
        found = json.loads(answer.stdout)
        return answer if found["sealed"] == found["segments"] else None

    return await until(look, "everything is sealed", 150)


async def test_invariant_11_rb_audit_verify_names_what_was_changed(world, ran):
    """One property in the graph; put back, the trail holds again."""
    before = await sealed(world)
    assert before.returncode == 0, before.stdout
    change = "MATCH (a:AuditEntry {tenant: $name, kind: 'approval.answered'}) WITH a ORDER BY a.at LIMIT 1 "
    (row,) = await world.query(
        change + "WITH a, a.actor AS was SET a.actor = 'bob' RETURN a.segment + ':' + toString(a.seq) AS id, was"
    )
    found = await world.rb("audit", "verify", "--tenant", world.name)
    await world.query(change + "SET a.actor = $was", was=row["was"])
    assert found.returncode == 1
    assert row["id"] in found.stdout
    assert "changed" in found.stdout
    assert (await world.rb("audit", "verify", "--tenant", world.name)).returncode == 0


async def test_the_trail_can_be_exported_for_other_systems(world, ran):
    """The same entries in each format; one audit log for each execution."""
    answers = [
        await world.rb("audit", "export", "--format", form, "--tenant", world.name)
        for form in ("json", "csv", "ocsf", "cef")
    ]
    assert [one.returncode for one in answers] == [0] * 4, [one.stderr for one in answers]
    logs, table, events, lines = (one.stdout for one in answers)
    runs = await world.query("MATCH (e:RunbookExecution {tenant: $name}) RETURN e.id AS id, e.outcome AS outcome")
    assert {log["executionId"]: log["outcome"] for log in json.loads(logs)} == {r["id"]: r["outcome"] for r in runs}
    rows = list(csv.DictReader(io.StringIO(table)))
    count = len(rows)
    assert count == len(events.splitlines()) == len(lines.splitlines()) > 10
    assert {json.loads(line)["metadata"]["uid"] for line in events.splitlines()} == {
        f"{row['segment']}:{row['seq']}" for row in rows
    }


async def test_saved_queries_run_with_parameters(world, ran):
    """What pastes into Neo4j Browser is one command away."""
    answer = await world.rb("audit", "query", "who_approved_what", "--param", "days=1", "--json")
    assert answer.returncode == 0, answer.stderr
    assert "ann" in {row["by"] for row in json.loads(answer.stdout)}
    wrong = await world.rb("audit", "query", "who_aproved_what")
    assert (wrong.returncode, "who_approved_what" in wrong.stderr) == (2, True)


async def test_a_timeline_tells_an_incident_from_signal_to_outcome(world, ran):
    """In the order in which it happened, with who did it; as JSON, and for the post-mortem."""
    answer = await world.rb("timeline", ran["asked"], "--json")
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    kinds = [moment["kind"] for moment in told["moments"]]
    assert [moment["at"] for moment in told["moments"]] == sorted(moment["at"] for moment in told["moments"])
    order = ["signal", "execution", "step", "verification"]
    assert sorted(order, key=kinds.index) == order
    assert max(kinds.index("decision"), kinds.index("approval")) < kinds.index("execution")
    assert kinds[-1] == "execution"
    assert "ann" in {moment["who"] for moment in told["moments"] if moment["kind"] == "approval"}
    assert "success" in told["outcome"]
    assert any(link["name"] == "Neo4j Browser" for link in told["links"])
    page = (await world.rb("timeline", ran["asked"], "--markdown")).stdout
    assert page.startswith("# TestSymptom about Deployment")
    assert page.count("\n|") == len(told["moments"]) + 2
    assert "by ann" in (await world.rb("timeline", ran["asked"])).stdout
