"""Templates cannot escape their sandbox, take for ever, or make huge texts; values of alerts are never templates."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fakes.hostile import cases, params

from executor.actions.promql import escaped
from executor.errors import PlanError
from executor.rendering import condition, rendered
from runbooks.filters import MAX_TEXT
from runbooks.findings import RunbookError
from runbooks.loader import load_text
from runbooks.templates import (
    TemplateError,
    evaluate,
    references_in,
    render,
    render_message,
    resolve_references,
)

ROOT = Path(__file__).parents[2]
CONTEXT = {"params": {"a": "b"}, "long": "x" * 30_000, "incident": {"labels": {}}}
LEAKS = re.compile(r"<class|<built-in|<function|<module|<bound|object at 0x|root:x:|uid=\d")


async def _secret(_name):
    return "canary-value"


@pytest.mark.parametrize("case", params("templates", must="refused"))
def test_a_hostile_template_is_refused_wherever_it_is_rendered(case):
    """As a parameter, inside a text, as a condition and as an expectation."""
    text = case["template"]
    for work in (lambda: render(text, CONTEXT), lambda: render({"p": ["x " + text]}, CONTEXT)):
        with pytest.raises(TemplateError):
            work()
    with pytest.raises(PlanError):
        rendered({"p": text}, CONTEXT, {"p": escaped})
    with pytest.raises((PlanError, TemplateError)):
        condition(text, CONTEXT)


@pytest.mark.parametrize("case", params("templates", must="refused"))
def test_a_hostile_message_tells_nothing_and_stays_short(case):
    """Messages are lenient about names that are missing, and about nothing else."""
    try:
        told = render_message(case["template"], CONTEXT)
    except TemplateError:
        return
    assert len(told) <= MAX_TEXT
    assert not LEAKS.search(told)


@pytest.mark.parametrize("case", params("templates", must="refused"))
def test_a_runbook_with_a_hostile_template_does_not_harm_the_check_of_runbooks(case):
    """What is refused only when it is rendered is loaded at most; nothing is run while a file is checked."""
    text = (
        "runbook:\n  id: x\n  trigger: {root_cause_reason: OOMKilled}\n  steps:\n"
        f"    - {{name: a, action: wait, params: {{seconds: 1}}, when: {_quoted(case['template'])}}}\n"
    )
    try:
        loaded = load_text(text)
    except RunbookError as error:
        refused = error
    else:
        refused = None
    if refused is not None:
        assert all(found.line for found in refused.findings)
        return
    with pytest.raises(TemplateError):
        evaluate(loaded.runbook.steps[0].when, CONTEXT)


@pytest.mark.parametrize("case", params("templates", must="harmless"))
async def test_nothing_is_learnt_of_a_secret_by_looking_at_its_reference(case):
    """What is rendered is about the name; no part of the value is in it, also not when references are resolved."""
    made = str(await resolve_references(render("x " + case["template"], CONTEXT), _secret))
    assert "canary" not in made
    assert str(len("canary-value")) not in made


def _quoted(text):
    return "'" + text.replace("'", "''") + "'"


@pytest.mark.parametrize("case", params("templates", must="data"))
async def test_a_value_of_an_alert_is_never_a_template(case):
    """What a label holds comes out as it went in, however often it is rendered, and stands for no secret."""
    value = case["value"]
    context = {"incident": {"labels": {"evil": value}}}
    for template in ("{{ incident.labels.evil }}", "x {{ incident.labels.evil }}", "{{ incident.labels | json }}"):
        made = render(template, context)
        assert "49" not in str(made)
        assert not LEAKS.search(str(made))
        assert references_in(made) == frozenset()
        assert "canary-value" not in str(await resolve_references(made, _secret))
    if not value.startswith("__secret"):
        assert render("{{ incident.labels.evil }}", context) == value
        assert render_message("{{ incident.labels.evil }}", context) == value


@pytest.mark.parametrize("case", params("texts"))
def test_a_label_cannot_add_a_matcher_to_promql(case):
    """Between the quotes of a query a value is a value; a query that is a parameter as a whole stays its author's."""
    value, template = case["text"], 'up{pod="{{ incident.labels.evil }}"}'
    made = rendered({"query": template}, {"incident": {"labels": {"evil": value}}}, {"query": escaped})["query"]
    inside = made.removeprefix('up{pod="').removesuffix('"}')
    assert re.fullmatch(r'(?:[^"\\\n]|\\.)*', inside, re.DOTALL), made
    whole = rendered(
        {"query": "{{ incident.labels.evil }}"}, {"incident": {"labels": {"evil": 'a"b'}}}, {"query": escaped}
    )
    assert whole == {"query": 'a"b'}


def test_nothing_renders_templates_outside_of_the_sandbox():
    """A second environment would not have its rules."""
    allowed = {"filters.py", "sandbox.py", "templates.py", "names.py", "secret_refs.py"}
    found = [
        path
        for room in ("services", "executor", "safety", "matcher", "runbooks", "cypher")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"^\s*(?:from|import) jinja2", path.read_text(), re.MULTILINE)
        and not (path.parent.name == "runbooks" and path.name in allowed)
        and re.search(r"Environment|Template\b|from_string|compile_expression", path.read_text())
    ]
    assert found == []


def test_there_are_at_least_three_hundred_hostile_inputs():
    """By category; a category that was emptied by mistake would pass every test."""
    counts = {name: len(cases(name)) for name in ("templates", "texts", "yaml", "messages", "addresses", "names")}
    assert sum(counts.values()) >= 500, counts
    assert all(count >= 20 for count in counts.values()), counts
