"""Runbooks that call others: one plan, one hash, one journal, one rollback."""

from __future__ import annotations

import pytest
from fakes.engine import LOOK, bench, record, run, statuses, write

from executor.errors import PlanError
from executor.model import Outcome


def call(runbook, title="call", **more):
    params = {"runbook": runbook, **{key: more.pop(key) for key in ("params", "target") if key in more}}
    return {"id": title, "name": f"Call {runbook}", "action": "run_runbook", "params": params, **more}


CHILD = {
    "id": "child",
    "parameters": [{"name": "size", "default": "512Mi"}],
    "steps": [write("memory", "{{ params.size }}", title="raise"), write("c", "{{ steps.raise.output.value }}")],
}


async def test_the_steps_of_a_called_runbook_are_part_of_the_plan():
    """The hash, the blast radius and a human see them like any other step."""
    planned = await record(bench(), {"steps": [call("child"), write("b", 1)]}, CHILD)
    assert [step.id for step in planned.plan.steps] == ["call__", "call__raise", "call__c", "call", "b"]
    assert {"Value/shop/memory", "Value/shop/b"} <= set(planned.plan.touched)
    assert planned.plan.called == {"call": "child 1.0 sha-child"}
    other = await record(bench(), {"steps": [call("child", params={"size": "1Gi"}), write("b", 1)]}, CHILD)
    assert planned.plan.hash != other.plan.hash


async def test_a_called_runbook_runs_with_its_own_names():
    """Its steps find each other by their own ids, and the caller finds the call by its id."""
    made = bench()
    last = write("b", "{{ steps.call.output.steps.raise.output.value }}")
    ended = await run(made, {"steps": [LOOK, call("child"), last]}, CHILD)
    assert ended.outcome is Outcome.SUCCESS
    assert made.tiny.effects == ["set memory=512Mi", "set c=512Mi", "set b=512Mi"]


async def test_parameters_come_from_the_call():
    """Rendered with the caller's names; what is left out takes its default."""
    made = bench()
    child = {**CHILD, "steps": [write("memory", "{{ params.size }}", title="raise")]}
    await run(made, {"steps": [LOOK, call("child", params={"size": "{{ current * 2 }}"})]}, child)
    assert made.tiny.values["memory"] == "512Mi"


async def test_when_the_call_is_skipped_so_are_its_steps():
    """Also when only its turn can tell."""
    made = bench()
    again = {"id": "again", "name": "Again", "action": "look", "params": {"name": "memory"}}
    steps = [write(), again, call("child", when="steps.again.output == '1Gi'"), write("b", 1)]
    child = {**CHILD, "steps": [write("c", 1), write("d", 1)]}
    ended = await run(made, {"steps": steps}, child)
    assert ended.outcome is Outcome.SUCCESS
    assert {statuses(ended)[name] for name in ("call__", "call__c", "call__d", "call")} == {"skipped"}
    assert made.tiny.effects == ["set memory=512Mi", "set b=1"]


async def test_a_failing_call_rolls_everything_back():
    """The caller's changes and the called runbook's, last first."""
    made = bench()
    child = {"id": "child", "steps": [write("c", 1), write("d", 1, fail="permanent")]}
    ended = await run(made, {"steps": [write(), call("child")]}, child)
    assert ended.outcome is Outcome.ROLLBACK
    assert made.tiny.effects == ["set memory=512Mi", "set c=1", "undo c=None", "undo memory=256Mi"]
    assert "step 'Set d': it did not work" in ended.error


async def test_a_caller_may_go_on_without_what_it_called():
    """The rest of the called runbook is skipped, the call has failed, the caller goes on."""
    made = bench()
    child = {"id": "child", "steps": [write("c", 1, fail="permanent"), write("d", 1)]}
    ended = await run(made, {"steps": [call("child", on_failure="continue"), write()]}, child)
    assert ended.outcome is Outcome.PARTIAL
    assert statuses(ended) == {
        "call__": "succeeded",
        "call__c": "failed",
        "call__d": "skipped",
        "call": "failed",
        "memory": "succeeded",
    }


async def test_a_called_runbook_that_is_complete_ends_and_the_caller_goes_on():
    """Complete means that runbook, not the one that called it."""
    made = bench()
    child = {"id": "child", "steps": [write("c", 1, on_success="complete"), write("d", 1)]}
    ended = await run(made, {"steps": [call("child"), write()]}, child)
    assert ended.outcome is Outcome.SUCCESS
    assert statuses(ended)["call__d"] == "skipped"
    assert made.tiny.effects == ["set c=1", "set memory=512Mi"]


async def test_each_runbook_is_taken_back_in_its_own_way():
    """The called one by its own rollback, with its own saved values; the caller by the inverse of its changes."""
    made = bench()
    child = {
        "id": "child",
        "steps": [LOOK, write("memory", "300Mi", title="raise", save_state={"old": "{{ current }}"})],
        "rollback": [write("memory", "{{ state.old }}", title="back"), write("note", "child is back")],
    }
    ended = await run(made, {"steps": [write("a", 1), call("child"), write("b", 1, fail="permanent")]}, child)
    assert ended.outcome is Outcome.ROLLBACK
    assert made.tiny.effects == [
        *("set a=1", "set memory=300Mi"),
        *("set memory=256Mi", "set note=child is back", "undo a=None"),
    ]


async def test_calls_that_go_in_a_circle_are_refused_with_their_chain():
    """Before anything runs, whatever the conditions say."""
    first = {"id": "first", "steps": [call("second")]}
    second = {"id": "second", "steps": [call("first")]}
    with pytest.raises(PlanError, match="in a circle: rb -> first -> second -> first"):
        await record(bench(), {"steps": [call("first")]}, first, second)


@pytest.mark.parametrize(("depth", "fine"), [(3, True), (2, False), (0, False)])
async def test_calls_have_a_limit_of_depth(depth, fine):
    """The setting is named, and the chain."""
    chain = [
        {"id": "one", "steps": [call("two")]},
        {"id": "two", "steps": [call("three")]},
        {"id": "three", "steps": [write()]},
    ]
    if fine:
        planned = await record(bench(), {"steps": [call("one")]}, *chain, max_depth=depth)
        assert "call__call__call__memory" in [step.id for step in planned.plan.steps]
        return
    with pytest.raises(PlanError, match=rf"deeper than {depth} \(execution.max_depth\): rb -> one"):
        await record(bench(), {"steps": [call("one")]}, *chain, max_depth=depth)


async def test_a_call_can_name_another_target():
    """What the called runbook does to its target, it does to that one."""
    made = bench()
    made.cluster.put(
        {"kind": "StatefulSet", "metadata": {"name": "db", "namespace": "data", "uid": "s1"}, "spec": {"template": {}}}
    )
    child = {"id": "child", "steps": [write("note", "{{ target.kind }} {{ target.name }} {{ target.namespace }}")]}
    target = {"kind": "statefulset", "name": "db", "namespace": "data"}
    await run(made, {"steps": [write(), call("child", target=target)]}, child)
    assert made.tiny.values["note"] == "StatefulSet db data"


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([call("chidl")], "step 'Call chidl': there is no runbook 'chidl'; did you mean child?"),
        ([call("child", target={"kind": "Deployment", "name": "gone"})], "there is no Deployment 'gone' in shop"),
        ([call("child", for_each=["a"])], "for_each cannot repeat run_runbook"),
        ([call("child", retry={"attempts": 2})], "retry cannot repeat run_runbook"),
        (
            [write(), {**LOOK, "name": "Later"}, call("child", params={"size": "{{ current }}"})],
            "known before it starts",
        ),
        ([call("child", params={"parm": 1}, target={"nam": "x"})], "target.kind"),
    ],
)
async def test_calls_that_cannot_be_made_are_refused(steps, words):
    """The text says what is wrong and what was probably meant."""
    with pytest.raises(PlanError) as raised:
        await record(bench(), {"steps": steps}, CHILD)
    assert words in str(raised.value)


async def test_what_the_called_runbook_asks_of_a_human_counts():
    """Its author wanted a yes, and calling it is no way around that."""
    child = {**CHILD, "safety": {"require_approval": True}}
    planned = await record(bench(), {"steps": [call("child")]}, child)
    assert "the runbook asks for approval" in planned.plan.approval_reasons


async def test_a_called_runbook_that_has_nothing_to_do_is_skipped():
    """Its precondition says so; the caller goes on."""
    made = bench()
    needs = {"name": "only at night", "check": "incident.reason == 'Night'", "on_failure": "skip"}
    ended = await run(made, {"steps": [call("child"), write("memory", "512Mi")]}, {**CHILD, "preconditions": [needs]})
    assert ended.outcome is Outcome.SUCCESS
    assert statuses(ended) == {"call": "skipped", "memory": "succeeded"}


async def test_the_time_limit_of_a_call_holds_for_all_its_steps():
    """The caller's timeout on the step, else the called runbook's own."""
    made = bench()
    waits = [{"id": f"w{n}", "name": f"Wait {n}", "action": "settle"} for n in range(4)]
    child = {"id": "child", "steps": waits, "timeout": "2s"}
    ended = await run(made, {"steps": [write(), call("child", on_failure="continue")]}, child)
    found = statuses(ended)
    assert [found[f"call__w{n}"] for n in range(4)] == ["succeeded", "succeeded", "failed", "skipped"]
    assert found["call"] == "failed"
