"""Planning: everything rendered, bound by a hash, and nothing changed."""

from __future__ import annotations

import pytest
from fakes.actions import Bench, match_for
from hypothesis import given
from hypothesis import strategies as st

from executor.drafting import _patience
from executor.errors import PlanError
from executor.model import Plan
from executor.planhash import plan_hash
from executor.planner import Planner
from runbooks.model import Step

SAFE = {"require_approval": False}
SET = {"name": "Set", "action": "set", "params": {"name": "memory", "value": "512Mi"}}
LOOK = {"name": "Look", "action": "look", "params": {"name": "memory"}, "output_var": "current"}


async def plan(bench, runbook, parameters=None, **target) -> Plan:
    match = match_for({"safety": SAFE, **runbook}, **target)
    return await Planner(bench.actions, bench.world, parameters or {}).plan(match, "x1")


async def test_reads_before_the_first_write_run_while_planning_and_feed_later_steps():
    """A value that is read now is rendered into the write, with its unit."""
    bench = Bench()
    write = {"name": "Set", "action": "set", "params": {"name": "memory", "value": "{{ current * 2 }}"}}
    made = await plan(bench, {"steps": [LOOK, write]})
    assert made.steps[0].planned
    assert made.steps[0].result == "256Mi"
    assert made.steps[1].params["value"] == "512Mi"
    assert made.steps[1].changes[0].summary == "memory: 256Mi -> 512Mi"
    assert bench.tiny.effects == []


async def test_a_read_after_a_write_runs_in_its_turn():
    """What is read after a change is meant to see the change."""
    bench = Bench()
    made = await plan(bench, {"steps": [SET, LOOK]})
    assert not made.steps[1].planned
    assert bench.actions["look"].looks == 0


async def test_a_wait_before_the_first_write_is_not_waited_for_while_planning():
    """An action that gives no result while planning runs later."""
    bench = Bench()
    made = await plan(bench, {"steps": [{"name": "Wait", "action": "settle"}, SET]})
    assert not made.steps[0].planned
    assert bench.actions["settle"].waits == 0


async def test_a_write_that_needs_a_later_output_is_deferred_and_needs_a_human():
    """Nobody can approve what nobody can see; so it is said, and the template is kept."""
    late = {"name": "Late", "action": "set", "params": {"name": "copy", "value": "{{ seen }}"}}
    after = {**LOOK, "name": "Again", "output_var": "seen"}
    made = await plan(Bench(), {"steps": [SET, after, late]})
    assert made.steps[2].deferred == ("seen",)
    assert made.steps[2].params["value"] == "{{ seen }}"
    assert "step 'Late' cannot be shown in advance" in made.approval_reasons
    assert "shop" in made.namespaces


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"name": "Typo", "action": "sett"}, ["step 'Typo'", "did you mean set?"]),
        ({**SET, "params": {"name": "memory", "valu": 1, "value": 2}}, ["step 'Set'", "valu", "did you mean value?"]),
        ({**SET, "params": {"name": "memory"}}, ["step 'Set'", "value: Field required"]),
        ({**SET, "params": {"name": "memory", "value": "{{ curent }}"}}, ["step 'Set'", "curent is unknown"]),
        ({**SET, "params": {"name": "memory", "value": "{{ 1 +"}}, ["step 'Set'"]),
        ({**SET, "when": "incident.reasn == 'x'"}, ["step 'Set'", "reasn", "did you mean reason?"]),
        ({**SET, "when": "incident.reason"}, ["step 'Set'", "neither true nor false"]),
        ({**SET, "params": {"name": "memory", "value": 1, "fail": "plan"}}, ["step 'Set'", "unsuitable"]),
    ],
)
async def test_what_cannot_be_planned_names_the_step_and_the_nearest_name(step, words):
    """An author reads where it is and what was probably meant."""
    with pytest.raises(PlanError) as raised:
        await plan(Bench(), {"steps": [step]})
    for word in words:
        assert word in str(raised.value)


async def test_a_broken_action_is_a_plan_error_and_does_not_stop_the_stream():
    """A bug in one action ends one planning."""
    bench = Bench()
    bench.tiny.values = None  # type: ignore[assignment]
    with pytest.raises(PlanError, match="unexpected AttributeError"):
        await plan(bench, {"steps": [SET]})


async def test_a_condition_that_is_false_now_leaves_the_step_out():
    """A skipped step has no changes, and is neither counted nor approved."""
    made = await plan(Bench(), {"steps": [{**SET, "when": "incident.reason == 'Other'"}, LOOK]})
    assert made.steps[0].when is False
    assert made.steps[0].changes == ()
    assert made.touched == ()


async def test_a_write_touches_at_least_the_target():
    """The blast radius of a plan with writes is never empty."""
    made = await plan(Bench(), {"steps": [{"name": "Call", "action": "fire", "params": {"what": "x"}}]})
    assert made.touched == ("Deployment/shop/app",)


async def test_rollback_steps_are_rendered_with_the_values_from_before():
    """What rollback puts back is what was read before the change (pitfall 7)."""
    back = {"name": "Back", "action": "set", "params": {"name": "memory", "value": "{{ current }}"}}
    made = await plan(Bench(), {"steps": [LOOK, SET], "rollback": [back]})
    assert made.rollback[0].params["value"] == "256Mi"


async def test_a_rollback_step_that_cannot_be_shown_needs_a_human():
    """Rollback is never blocked later, so what it may do is asked for now."""
    back = {"name": "Back", "action": "set", "params": {"name": "memory", "value": 1, "fail": "plan"}}
    made = await plan(Bench(), {"steps": [SET], "rollback": [back]})
    assert any("rollback step 'Back' cannot be shown in advance" in reason for reason in made.approval_reasons)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (True, ["the runbook asks for approval"]),
        (False, []),
        ("current == '256Mi'", ["the runbook asks for approval when current == '256Mi'"]),
        ("current == '1Gi'", []),
        ("no_such_name > 3", ["the runbook's approval rule is no help"]),
        ("current", ["the runbook's approval rule is no help"]),
    ],
)
async def test_invariant_6_an_approval_rule_that_cannot_be_read_asks_a_human(asked, expected):
    """Missing data never permits."""
    made = await plan(Bench(), {"safety": {"require_approval": asked}, "steps": [LOOK, SET]})
    assert len(made.approval_reasons) == len(expected)
    assert all(reason.startswith(words) for reason, words in zip(made.approval_reasons, expected, strict=True))


async def test_invariant_9_a_change_without_an_inverse_needs_a_human():
    """Irreversible, or silent about how it is undone: both are asked for."""
    hard = {**SET, "params": {"name": "memory", "value": 1, "irreversible": True}}
    made = await plan(Bench(), {"steps": [hard]})
    assert made.approval_reasons == ("step 'Set' cannot be undone: memory: 256Mi -> 1",)


async def test_invariant_12_secrets_stay_references_in_the_plan():
    """A plan holds the name of a secret, never its value."""
    step = {**SET, "params": {"name": "token", "value": "{{ secrets.api_token }}"}}
    made = await plan(Bench(), {"steps": [step]})
    assert made.steps[0].params["value"] == "__secret:api_token__"


async def test_invariant_12_what_a_read_gave_is_kept_without_secrets():
    """The write still gets the real value; the plan's copy of the read does not."""
    bench = Bench()
    bench.tiny.values["memory"] = "hunter2"
    planner = Planner(bench.actions, bench.world, {}, redact=lambda text: text.replace("hunter2", "***"))
    made = await planner.plan(match_for({"safety": SAFE, "steps": [LOOK]}), "x1")
    assert made.steps[0].result == "***"


async def test_two_steps_of_one_id_are_refused():
    """A stamp names the step, so the name must be unique."""
    with pytest.raises(PlanError, match="two steps have the id 'one'"):
        await plan(Bench(), {"steps": [{**SET, "id": "one"}, {**SET, "id": "one"}]})


async def test_parameters_come_from_settings_then_defaults_and_are_checked():
    """A configured value wins, a default fills in, a wrong type is refused by name."""
    declared = {
        "parameters": [{"name": "ceiling", "type": "quantity", "default": "1Gi"}, {"name": "n", "type": "integer"}]
    }
    step = {**SET, "params": {"name": "memory", "value": "{{ params.ceiling }}"}}
    assert (await plan(Bench(), {**declared, "steps": [step]})).steps[0].params["value"] == "1Gi"
    made = await plan(Bench(), {**declared, "steps": [step]}, {"rb": {"ceiling": "2Gi", "n": "3"}})
    assert made.steps[0].params["value"] == "2Gi"
    assert made.context["params"]["n"] == 3
    with pytest.raises(PlanError, match="parameter ceiling of runbook rb is not of type quantity"):
        await plan(Bench(), {**declared, "steps": [step]}, {"rb": {"ceiling": "lots"}})
    required = {"parameters": [{"name": "who", "required": True}], "steps": [step]}
    with pytest.raises(PlanError, match="needs the parameter who"):
        await plan(Bench(), required)


async def test_a_pod_without_a_controller_is_refused_with_the_reason():
    """Nothing would bring such a pod back (pitfall 3)."""
    step = {**SET, "params": {"name": "{{ incident.resource.controller }}", "value": 1}}
    with pytest.raises(PlanError, match="has no controller"):
        await plan(Bench(), {"steps": [step]}, kind="Pod", name="app-0")


async def test_the_hash_survives_json_and_forgets_what_is_volatile():
    """The same meaning has the same hash, wherever the plan was kept."""
    made = await plan(Bench(), {"steps": [LOOK, SET]})
    again = Plan.model_validate_json(made.model_dump_json())
    assert plan_hash(again) == made.hash
    other = await plan(Bench(), {"steps": [LOOK, SET]})
    assert other.hash == made.hash


@given(value=st.one_of(st.integers(), st.text(max_size=20), st.booleans()))
async def test_another_change_has_another_hash(value):
    """Whoever approved one change did not approve another."""
    step = {**SET, "params": {"name": "memory", "value": value}}
    first = await plan(Bench(), {"steps": [SET]})
    if "{" in str(value):
        return
    second = await plan(Bench(), {"steps": [step]})
    assert (first.hash == second.hash) == (value == "512Mi")


def test_a_wait_is_not_cut_short_by_the_default_timeout_of_its_step():
    """The guide waits 300 s in a step that says nothing of its own timeout, which would be two minutes."""
    waits = Step(id="w", name="Wait", action="wait", params={"condition": "rollout complete", "timeout": 300})
    assert _patience(waits) > 300
    assert _patience(waits.model_copy(update={"params": {"timeout": "{{ params.t }}"}})) == 120
    said = Step(id="w", name="Wait", action="wait", params={"timeout": 300}, timeout="60s")
    assert _patience(said) == 60
