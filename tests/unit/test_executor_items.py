"""Steps that repeat for each item, the values that steps give and keep, and what others see of them."""

from __future__ import annotations

import asyncio

import pytest
from fakes.engine import LOOK, bench, flaky, play, record, run, statuses, write

from executor.errors import PlanError
from executor.items import MOST_ITEMS
from executor.model import Outcome

THREE = ["a", "b", "c"]


def each(items, **more):
    return {
        "id": "all",
        "name": "Set all",
        "action": "set",
        "for_each": items,
        "params": {"name": "{{ item }}", "value": "{{ each.index }}"},
        **more,
    }


async def test_a_step_runs_once_for_each_item():
    """The plan shows every change in advance, and each item has a run of its own."""
    made = bench()
    ended = await run(made, {"steps": [write(), each(THREE)]})
    assert ended.outcome is Outcome.SUCCESS
    assert made.tiny.effects == ["set memory=512Mi", "set a=0", "set b=1", "set c=2"]
    planned = ended.plan.steps[1]
    assert [leaf.changes[0].summary for leaf in planned.each] == ["a: None -> 0", "b: None -> 1", "c: None -> 2"]
    assert "Value/shop/b" in ended.plan.touched
    assert [one.id for one in ended.steps if one.item is not None] == [f"x1/step/1/{n}" for n in range(3)]
    whole = next(one for one in ended.steps if one.id == "x1/step/1")
    assert [one["value"] for one in whole.output] == [0, 1, 2]


async def test_items_that_only_a_step_can_tell_are_fixed_with_the_first_intent():
    """They are in the journal before anything is done to the first of them, and a human saw that they are unknown."""
    made = bench()
    made.tiny.values["list"] = THREE
    found = {"id": "found", "name": "Find", "action": "look", "params": {"name": "list"}}
    planned = await record(made, {"steps": [write(), found, each("{{ steps.found.output }}")]})
    assert "step 'Set all' cannot be shown in advance" in planned.plan.approval_reasons
    ended = await made.start(planned, "a1")
    assert ended.outcome is Outcome.SUCCESS
    whole = next(one for one in ended.steps if one.id == "x1/step/2")
    assert whole.items == ("a", "b", "c")
    first = made.journal.written.index(("intend", "x1/step/2"))
    assert first < made.journal.written.index(("intend", "x1/step/2/0"))


async def test_items_stay_what_they_were_after_a_crash():
    """The world changed meanwhile; the execution goes on with the right item."""

    def listed(made):
        made.tiny.values["list"] = THREE

    found = {"id": "found", "name": "Find", "action": "look", "params": {"name": "list"}}
    runbook = {"steps": [write(), found, each("{{ steps.found.output }}")]}
    _, _, crashes = await play(runbook, on_new=listed)
    at = crashes.reached.index("after effect set b=1") + 1
    made, ended, _ = await play(runbook, crashes_at=[at], on_new=listed)
    assert ended.outcome is Outcome.SUCCESS
    assert made.tiny.effects == ["set memory=512Mi", "set a=0", "set b=1", "set c=2"]


async def test_a_failed_item_stops_the_rest_and_all_are_undone():
    """Last first; what was not begun is not touched."""
    made = bench()
    step = each(THREE, params={"name": "{{ item }}", "value": 1, "fail": "{{ 'permanent' if item == 'b' else '' }}"})
    ended = await run(made, {"steps": [write(), step]})
    assert ended.outcome is Outcome.ROLLBACK
    assert "item 1: it did not work" in ended.error
    assert made.tiny.effects == ["set memory=512Mi", "set a=1", "undo a=None", "undo memory=256Mi"]


async def test_with_continue_the_other_items_are_done():
    """The step as a whole has failed, and says for which items."""
    made = bench()
    params = {"name": "{{ item }}", "value": 1, "fail": "{{ 'permanent' if item == 'b' else '' }}"}
    ended = await run(made, {"steps": [write(), each(THREE, params=params, on_failure="continue")]})
    assert ended.outcome is Outcome.PARTIAL
    assert statuses(ended) == {
        "memory": "succeeded",
        "all": "failed",
        "all/0": "succeeded",
        "all/1": "failed",
        "all/2": "succeeded",
    }


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (3, 3), (10, 5)])
async def test_so_many_items_run_at_once_as_the_step_allows(limit, most):
    """Never more, and the limit of the runbook for its steps does not count items."""
    made = bench()
    now = peak = 0

    async def performing():
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        for _ in range(30):
            await asyncio.sleep(0)
        now -= 1

    made.tiny.performing = performing
    step = each(["a", "b", "c", "d", "e"], max_parallel=limit)
    ended = await run(made, {"max_parallel": 1, "steps": [write(), step]})
    assert ended.outcome is Outcome.SUCCESS
    assert peak == most


async def test_a_condition_may_be_about_the_item():
    """The others are skipped, one by one."""
    ended = await run(bench(), {"steps": [write(), each(THREE, when="item != 'b'")]})
    assert statuses(ended)["all/1"] == "skipped"
    assert statuses(ended)["all"] == "succeeded"


async def test_no_items_is_nothing_to_do():
    """That is no failure."""
    ended = await run(bench(), {"steps": [write(), each([])]})
    assert (ended.outcome, statuses(ended)["all"]) == (Outcome.SUCCESS, "succeeded")


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ("{{ incident.labels }}", "for_each needs a list, and this is a mapping"),
        ("{{ incident.reason }}", "for_each needs a list, and this is a str"),
        ([*range(MOST_ITEMS + 1)], f"at most {MOST_ITEMS} items, and these are {MOST_ITEMS + 1}"),
    ],
)
async def test_what_is_no_list_of_a_sane_length_is_refused(items, words):
    """Before anything runs."""
    with pytest.raises(PlanError, match=words):
        await record(bench(), {"steps": [each(items)]})


async def test_each_item_is_retried_by_itself():
    """With its own attempts, in its own run."""
    made = bench()
    step = {
        "id": "all",
        "name": "Try all",
        "action": "flaky",
        "for_each": ["a", "b"],
        "params": {"name": "{{ item }}", "errors": ["failed"]},
        "retry": {"attempts": 2, "errors": ["failed"]},
    }
    ended = await run(made, {"steps": [write(), step]})
    assert ended.outcome is Outcome.SUCCESS
    assert {one.item: one.attempt for one in ended.steps if one.item is not None} == {0: 2, 1: 2}


async def test_named_parts_of_an_output_are_found_by_later_steps():
    """JSONPath into what a step gave; of a step that repeats, a list."""
    made = bench()
    first = flaky("first", value=7, outputs={"value": "$.value"})
    many = each(THREE, outputs={"value": "$.value"})
    last = write("sum", "{{ steps.first.outputs.value + steps.all.outputs.value[2] }}")
    ended = await run(made, {"steps": [write(), first, many, last]})
    assert ended.outcome is Outcome.SUCCESS
    assert made.tiny.values["sum"] == 9


async def test_a_part_that_is_not_there_fails_the_step():
    """Missing data must not become an empty text."""
    ended = await run(bench(), {"steps": [write(), flaky("b", outputs={"id": "$.data.id"})]})
    assert "there is nothing at $.data.id" in ended.error
    assert ended.outcome is Outcome.ROLLBACK


async def test_a_wrong_path_is_refused_while_planning():
    """With the text that cannot be read."""
    with pytest.raises(PlanError, match="is no JSONPath"):
        await record(bench(), {"steps": [flaky("b", outputs={"id": "$.["})]})


async def test_saved_values_are_those_from_before_the_change():
    """Pitfall: the rollback runs when the value is another one already, and still puts back what was there."""
    made = bench()
    step = write(save_state={"old": "{{ current }}"}, value="300Mi")
    back = write("memory", "{{ state.old }}", title="back")
    ended = await run(made, {"steps": [LOOK, step, write("b", 1)], "rollback": [back]})
    assert ended.outcome is Outcome.ROLLBACK
    assert made.tiny.values["memory"] == "256Mi"
    saved = next(one for one in ended.steps if one.step_id == "memory")
    assert saved.state == {"old": "256Mi"}


async def test_values_that_are_known_only_later_are_saved_with_the_intent():
    """Durable before the step acts, so that whoever rolls back after a crash has them."""
    made = bench()
    again = {"id": "again", "name": "Again", "action": "look", "params": {"name": "memory"}}
    step = write("b", 1, save_state={"seen": "{{ steps.again.output }}"})
    bad = write("c", 1, fail="permanent")
    back = write("seen", "{{ state.seen }}", title="back")
    ended = await run(made, {"steps": [write(value="300Mi"), again, step, bad], "rollback": [back]})
    assert ended.outcome is Outcome.ROLLBACK
    assert made.tiny.values["seen"] == "300Mi"
    intended = made.journal.written.index(("intend", "x1/step/2"))
    assert intended < made.journal.written.index(("outcome", "x1/step/2"))


async def test_invariant_12_a_secret_is_never_kept_as_a_value():
    """Masked it would be the wrong value at the worst moment, so the step fails before it acts."""
    made = bench()
    made.tiny.values["token"] = "hunter2"
    again = {"id": "again", "name": "Again", "action": "look", "params": {"name": "token"}}
    step = write("b", 1, save_state={"seen": "x{{ 'hunt' }}er2"})
    ended = await run(made, {"steps": [write(), again, step]})
    assert "save_state holds a secret, which is never stored" in ended.error
    assert "set b=1" not in made.tiny.effects


async def test_the_time_since_the_start_is_known_to_steps():
    """For messages, and for conditions such as an upper limit."""
    made = bench()
    wait = {"name": "Wait", "action": "settle"}
    last = write("took", "{{ execution.duration }}")
    ended = await run(made, {"steps": [write(), wait, wait | {"name": "More"}, last]})
    assert ended.outcome is Outcome.SUCCESS
    assert made.tiny.values["took"] == 2


async def test_another_runbook_than_the_callers_cannot_see_its_items():
    """What is called knows the incident and its own parameters, nothing else."""
    child = {"id": "child", "steps": [write("x", "{{ current }}")]}
    call = {"id": "call", "name": "Call", "action": "run_runbook", "params": {"runbook": "child"}}
    with pytest.raises(PlanError, match="current is unknown"):
        await record(bench(), {"steps": [LOOK, call]}, child)
