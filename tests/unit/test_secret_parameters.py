"""Parameters that are secrets: the settings say so, alerts and callers cannot."""

from __future__ import annotations

from fakes.actions import match_for
from fakes.engine import bench, loaded, write

from executor.context import StepResult, scope, template_context
from executor.parameters import secret_names
from executor.planner import Planner
from runbooks.templates import evaluate, render

NAMED = "{{ secrets.registry }}"
REFERENCE = "__secret:registry__"


def context(params, secret):
    return template_context(match_for({"steps": [write()]}), params, "x1", secret)


def test_only_one_whole_expression_names_a_secret():
    """Anything else is the text that it is."""
    given = {"a": NAMED, "b": "{{secrets.db-main}}", "c": f"Bearer {NAMED}", "d": "{{ secrets }}", "e": 5, "f": "plain"}
    assert secret_names(given, {}) == {"a": "registry", "b": "db-main"}


def test_values_from_outside_win_and_name_no_secret():
    """An alert that says ``{{ secrets.NAME }}`` is taken at its word, letter by letter."""
    assert secret_names({"a": NAMED}, {"a": NAMED}) == {}
    known = context({"a": NAMED, "b": REFERENCE}, {})
    assert render("{{ a }} {{ params.b }}", known) == f"{NAMED} __ secret:registry__"


def test_templates_find_the_reference_under_both_names():
    """Filters wait with it, as for every secret."""
    known = context({"a": NAMED, "b": "plain"}, {"a": "registry"})
    assert render("{{ params.a }} {{ a }} {{ params.b }}", known) == f"{REFERENCE} {REFERENCE} plain"
    assert render("{{ base64(a) }}", known) == "__secret:registry|base64__"
    assert evaluate("params.a == params.b", known) is False


def test_a_variable_of_the_same_name_hides_the_bare_name_and_nothing_can_pose_as_the_list():
    """What a step gave is never read as a secret, whatever its text; no parameter is called like the list itself."""
    known = scope(context({"a": NAMED}, {"a": "registry"}), [StepResult("s", "succeeded", REFERENCE, output_var="a")])
    assert render("{{ a }} {{ params.a }}", known) == f"__ secret:registry__ {REFERENCE}"
    posing = context({"params.secret": {"a": "registry"}, "a": "x"}, {})
    assert render("{{ a }}", posing) == "x"


def settings_of(*names):
    return {name: {"token": NAMED} for name in names}


async def test_plans_hold_the_reference_only():
    """Of the runbook itself, and of one that it calls."""
    made = bench()
    child = {"id": "child", "steps": [write("c", "{{ params.token }}")]}
    planner = Planner(made.actions, made.world, settings_of("rb", "child"), runbooks=lambda: {"child": loaded(child)})
    calls = {"id": "call", "name": "Call", "action": "run_runbook", "params": {"runbook": "child"}}
    plan = await planner.plan(match_for({"steps": [write("b", "{{ token | base64 }}"), calls]}), "x1")
    values = {step.id: step.params.get("value") for step in plan.steps}
    assert (values["b"], values["call__c"]) == ("__secret:registry|base64__", REFERENCE)


async def test_what_a_caller_gives_is_no_secret_of_the_called():
    """The call's own value counts, as it stands."""
    made = bench()
    child = {"id": "child", "steps": [write("c", "{{ params.token }}")]}
    planner = Planner(made.actions, made.world, settings_of("child"), runbooks=lambda: {"child": loaded(child)})
    given = {"runbook": "child", "params": {"token": "mine"}}
    calls = {"id": "call", "name": "Call", "action": "run_runbook", "params": given}
    plan = await planner.plan(match_for({"steps": [calls]}), "x1")
    assert {step.id: step.params.get("value") for step in plan.steps}["call__c"] == "mine"
