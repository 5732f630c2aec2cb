"""The step engine through `rb serve`, on the real Kafka, Neo4j, Redis and API server."""

from __future__ import annotations

import json

import pytest
from fakes.served import mark, pause, runbook, served, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

MANY = [f"item-{number}" for number in range(60)]
NEVER = {"action": "wait", "params": {"condition": "deployment/not-there available", "timeout": "600ms"}}


def each(items, **more):
    """A step that writes one annotation for each item."""
    return mark("{{ item }}", "{{ execution.id }}", for_each=items, **{"id": "all", "name": "Write all", **more})


def graph():
    """Two branches after the first step, a call, and a last step that waits for all of them."""
    return [
        mark("one", save_state={"app": "{{ target.name }}"}),
        mark("left", depends_on=["one"]),
        mark("right", depends_on=["one"]),
        {
            "id": "call",
            "name": "Call",
            "action": "run_runbook",
            "params": {"runbook": "called", "params": {"say": "hi"}},
        },
        each(["x", "y"], depends_on=["left", "right", "call"]),
        mark("last", "{{ state.app }}"),
    ]


def asking():
    """Attempts in vain, a procedure, a question, and a step that waits for the answer."""
    retry = {"attempts": 2, "backoff": "200ms", "errors": ["failed"]}
    waiting = {"id": "never", "name": "Wait in vain", **NEVER, "retry": retry}
    return [
        mark("one"),
        {**waiting, "on_failure": {"run": "help", "then": "continue"}},
        mark("two", require_approval=True),
    ]


@pytest.fixture(scope="module")
async def world(stack, tmp_path_factory):
    async with served(stack, tmp_path_factory.mktemp("engine")) as one:
        said = mark("said", "{{ params.say }} {{ target.name }}")
        called = runbook("x", said, id="called", parameters=[{"name": "say"}])
        one.runbook("called", {**called, "trigger": {"manual": True}})
        one.runbook("graph", runbook("TestGraph", *graph()))
        one.runbook("many", runbook("TestMany", mark("one"), each(MANY), pause(1), mark("two")))
        one.runbook("asking", runbook("TestAsking", *asking(), procedures={"help": [mark("helped")]}))
        late = {"id": "late", "name": "Late", "action": "wait", "params": {"seconds": 30}}
        one.runbook("late", runbook("TestLate", mark("one"), late, mark("two"), timeout="2s"))
        await one.serve()
        yield one


@pytest.fixture(scope="module")
async def namespace(world):
    return await world.namespace()


async def started(world, app, namespace, reason):
    await world.app(app, namespace)
    message = world.rca(app, namespace, reason)
    await world.send([message])
    event = json.loads(message[1])["incident_id"]
    decision = await world.decided(event)
    assert decision["kind"] == "permit", decision["message"]
    return event


async def runs(world, execution_id):
    rows = await world.query("MATCH (s:StepRun {execution_id: $id}) RETURN properties(s) AS s", id=execution_id)
    return {row["s"]["id"].partition("/")[2]: row["s"] for row in rows}


async def test_a_graph_with_items_and_a_call_runs_and_every_step_is_told(world, namespace):
    """Branches, a called runbook, items, saved values; and each step, with its item, on the topic of executions."""
    event = await started(world, "graph", namespace, "TestGraph")
    done = await world.execution(event, "done")
    assert (done["outcome"], done["verdict"]) == ("success", "verified")
    found = await world.annotations("graph", namespace)
    assert {"one", "left", "right", "said", "x", "y", "last"} <= set(found)
    assert (found["said"], found["last"]) == ("hi graph", "graph")
    known = await runs(world, done["id"])
    assert {"step/0", "step/3", "step/4", "step/5", "step/6/0", "step/6/1", "step/6", "step/7"} <= set(known)
    assert json.loads(known["step/0"]["state"]) == {"app": "graph"}
    began = {known[f"step/{index}"]["started_at"] for index in (1, 2)}
    assert min(began) >= known["step/0"]["finished_at"]

    async def told():
        events = [one for one in await world.read("executions") if one["execution_id"] == done["id"]]
        return events if events and events[-1]["event"] == "finished" else None

    events = await until(told, "the end is told")
    ends = [(one["step"], one["item"]) for one in events if one["event"] == "step_finished" and one["phase"] == "step"]
    assert {("one", None), ("call__said", None), ("all", 0), ("all", 1), ("last", None)} <= set(ends)
    assert {one["result"] for one in events if one["event"] == "step_finished"} == {"succeeded"}


async def test_invariant_3_a_killed_process_leaves_the_items_and_the_next_goes_on_with_the_right_one(world, namespace):
    """Items are journalled one by one: what was done is not begun again, and none is left out."""
    event = await started(world, "many", namespace, "TestMany")

    first = await world.execution(event, "running")

    async def some():
        known = await runs(world, first["id"])
        return [name for name, run in known.items() if name.startswith("step/1/") and run["status"] == "succeeded"]

    before = await until(some, "some items are done", 30)
    await world.processes[-1].kill()
    before = {name: (await runs(world, first["id"]))[name]["finished_at"] for name in before}
    assert len(await some()) < len(MANY), "it was killed too late"
    await world.serve()
    done = await world.execution(event, "done", seconds=90)
    assert (done["outcome"], done["resumed"]) == ("success", True)
    known = await runs(world, first["id"])
    assert {name: known[name]["finished_at"] for name in before} == before
    assert [known[f"step/1/{number}"]["status"] for number in range(len(MANY))] == ["succeeded"] * len(MANY)
    found = await world.annotations("many", namespace)
    assert all(found[name] == first["id"] for name in MANY)


async def test_attempts_a_procedure_and_a_question_to_a_human(world, namespace):
    """Each attempt is kept, the procedure runs, and the step waits until somebody says yes on the command line."""
    event = await started(world, "asking", namespace, "TestAsking")
    execution = await world.execution(event, "running")

    async def asked():
        rows = await world.query(
            "MATCH (a:Approval {execution_id: $id, status: 'pending'}) RETURN properties(a) AS a", id=execution["id"]
        )
        return rows[0]["a"] if rows else None

    question = await until(asked, "a question is asked")
    assert question["step"] == "approval/two"
    assert "two" not in await world.annotations("asking", namespace)
    said = await world.rb("approvals", "approve", question["id"], "--by", "alice", "--reason", "looks right", "--yes")
    assert said.returncode == 0, said.stderr
    done = await world.execution(event, "done")
    assert done["outcome"] == "partial"
    assert {"one", "helped", "two"} <= set(await world.annotations("asking", namespace))
    known = await runs(world, done["id"])
    assert (known["step/1"]["status"], known["step/1"]["attempt"]) == ("failed", 2)
    assert "not reached" in json.loads(known["step/1"]["attempts"])[0]["error"]
    assert known["procedure.1/0"]["status"] == "succeeded"
    assert json.loads(known["approval/2"]["output"])["by"] == "alice"
    explained = await world.rb("explain", done["id"])
    assert "alice" in explained.stdout

    async def told():
        return [one for one in await world.read("approvals") if one["approval_id"] == question["id"]]

    answers = await until(told, "question and answer are told")
    assert answers[0]["step"] == "approval/two"


async def test_the_time_of_the_runbook_is_over_and_it_is_taken_back(world, namespace):
    """A wait that is longer than the runbook may take is cut short."""
    event = await started(world, "late", namespace, "TestLate")
    done = await world.execution(event, "done", seconds=40)
    assert done["outcome"] == "rollback"
    assert "one" not in await world.annotations("late", namespace)
