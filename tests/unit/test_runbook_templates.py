"""Templates are strict about names, keep types, keep secrets as references, and cannot do harm."""

from __future__ import annotations

import base64
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.templates import (
    TemplateError,
    evaluate,
    expression_names,
    names_used,
    references_in,
    render,
    render_message,
    resolve_references,
)

CONTEXT = {
    "incident": {"resource": {"name": "web-1", "namespace": "shop"}, "labels": {"n": "5", "evil": "__secret:db__"}},
    "params": {"max_memory": "4Gi", "on": True},
    "steps": {"read": {"output": {"items": [1, 2], "get": 7}, "status": "succeeded"}},
    "current_memory": "256Mi",
    "nothing": None,
    "count": "5",
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("{{ count }}", "5"),
        ("{{ 5 }}", 5),
        ("{{ '5' }}", "5"),
        ("{{ params.on }}", True),
        (" {{ 5 }}\n", 5),
        ("n={{ 5 }}", "n=5"),
        ("{{ 1 }}{{ 2 }}", "12"),
        ("{{ steps.read.output.items }}", [1, 2]),
        ("{{ steps.read.output.get }}", 7),
        ("x {{ params.on }} {{ steps.read.output.items }}", "x true [1, 2]"),
        ("{{ nothing }}", None),
        ("{{ current_memory * 2 }}", "512Mi"),
        ("{{ current_memory | parse_memory | multiply(2) }}", "512Mi"),
        ("memory: {{ current_memory * 2 }}", "memory: 512Mi"),
        ("{{ '3Gi' | multiply(2) | at_most(params.max_memory) }}", "4Gi"),
        ("{{ current_memory | at_least('1Gi') }}", "1Gi"),
        ("{{ current_memory | grow(2, params.max_memory) }}", "512Mi"),
        ("{{ [current_memory, '1Gi', '300Mi'] | max }}", "1Gi"),
        ("{{ missing | default('x') }}", "x"),
        ("{{ 'a' if current_memory < '1Gi' else 'b' }}", "a"),
        ("{% for i in steps.read.output.items %}{{ i }};{% endfor %}", "1;2;"),
        ("{{ base64('a') }}", "YQ=="),
        ("{{ {'a': current_memory} | json }}", '{"a": "256Mi"}'),
        ("{{ count | int }}", 5),
        ("{{ steps.read.output.items | map('string') }}", ["1", "2"]),
        ("{{ incident.resource.keys() }}", ["name", "namespace"]),
        ("x {{ steps.read.output.items | map('string') }}", 'x ["1", "2"]'),
        ("{{ 'YQ==' | b64decode }}", "a"),
    ],
)
def test_a_template_gives_its_value(template, expected):
    """One expression keeps its type; text stays text; numbers that are texts stay texts."""
    result = render(template, CONTEXT)
    assert result == expected
    assert type(result) is type(expected)


def test_every_text_of_a_value_is_rendered():
    """Mappings and lists are walked, keys included."""
    value = {"{{ incident.resource.name }}": ["{{ count }}", 1, None], "b": {"c": "{{ 1 + 1 }}"}}
    assert render(value, CONTEXT) == {"web-1": ["5", 1, None], "b": {"c": 2}}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ incident.resource.nmae }}", r"incident\.resource\.nmae is unknown \(did you mean name\?\)"),
        ("{{ incidnet.resource.name }}", r"incidnet is unknown \(did you mean incident\?\)"),
        ("a {{ curent_memory }}", "did you mean current_memory"),
        ("{{ steps.raed.output }}", "did you mean read"),
        ("{{ nothing * 2 }}", "nothing has no value"),
        ("a {{ nothing }}", "nothing has no value"),
        ("{{ nothing | required('no memory limit') }}", "no memory limit"),
        ("{{ nothing | parse_memory }}", "nothing has no value"),
        ("{{ '4Gi' | grow(2, params.max_memory) }}", "cannot grow: the ceiling is 4Gi"),
        ("{{ 'abc' | int }}", "not a Kubernetes quantity"),
        ("{{ 'abc' * 3 }}", "cannot be multiplied"),
        ("{{ 1 / 0 }}", "zero"),
        ("{{ }}", "[Ee]xpected"),
        ("{{ 1 if false }}", "undefined"),
        ("{{ 1 | nosuch }}", "no filter nosuch"),
        ("{{ current_memory | multiplyy(2) }}", "did you mean multiply"),
    ],
)
def test_what_cannot_be_rendered_says_why(template, message):
    """The name that is wrong, and the nearest that exists."""
    with pytest.raises(TemplateError, match=message):
        render(template, CONTEXT)


def test_an_error_names_the_line_of_the_template():
    """In a manifest of many lines the line is what helps."""
    with pytest.raises(TemplateError) as failed:
        render("a: 1\nb: 2\nc: {{ nosuch }}\n", CONTEXT)
    assert failed.value.line == 3


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ incident.__class__ }}",
        "{{ [].append(1) }}",
        "{{ incident.clear() }}",
        "{{ 'x' * 10**9 }}",
        "{{ [0] * 10**9 }}",
        "{{ 9 ** (9 ** (9 ** 9)) }}",
        "{{ 2 ** 100000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%1000000000d' is divisibleby 1 }}",
        "{{ 'a'.ljust(10**9) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{a:1000000000}'.format_map({'a': 1}) }}",
        "{{ ['{:1000000000}'] | map(attribute='format') | first }}",
        "{{ ('{:1000000000}')['format'](1) }}",
        "{{ 'a' | center(10**9) }}",
        "{{ 'aaaa'" + " | replace('a', range(999) | join('aaaaaaaaaa'))" * 3 + " }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{% for i in range(9) %}{% for j in range(9) %}{% for k in range(9) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for i in range(999) %}{{ 'a' ~ range(300) | join('bbbb') }}{% endfor %}",
        "{% set x = 1 %}",
        "{% macro f() %}{{ f() }}{% endmacro %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{{ self }}",
        "{{ cycler }}",
        "{{ range }}",
        "x {{ range }}",
        "{{ lipsum(n=10**6) }}",
        "{{ range.__globals__ }}",
        "{{ " + "(" * 3000 + ")" * 3000 + " }}",
    ],
)
def test_a_template_can_do_no_harm(template):
    """No way out of the sandbox, no huge value, no endless loop: refused at once."""
    start = time.monotonic()
    with pytest.raises(TemplateError):
        render(template, CONTEXT)
    assert time.monotonic() - start < 2


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="{}%# |()'\"[].,+-*/~=<>abc019_\n", max_size=40))
def test_any_text_renders_or_is_refused(text):
    """Whatever stands between braces, nothing but TemplateError comes out."""
    try:
        render("{{ " + text + " }}", CONTEXT)
        evaluate(text, CONTEXT)
        names_used(text)
    except TemplateError:
        pass


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (True, True),
        ("current_memory < '1Gi'", True),
        ("{{ count == '5' and params.on }}", True),
        ("steps.read.status == 'succeeded'", True),
        ("steps.read.output.items | length > 2", False),
        ("1 + 1", 2),
    ],
)
def test_a_condition_is_an_expression_with_or_without_braces(expression, expected):
    """Both ways of writing mean the same."""
    assert evaluate(expression, CONTEXT) == expected


def test_the_names_of_a_value_are_found_without_rendering():
    """Planning asks which steps have to run first."""
    value = {"a": "{{ steps.read.output.x ~ params['p'] }}", "b": ["{{ base64(secrets.key) }}", "{{ current_memory }}"]}
    assert names_used(value) == {"steps.read", "params.p", "secrets.key", "current_memory"}
    assert names_used("{% for i in incident.labels %}{{ i }}{{ loop.index }}{% endfor %}") == {"incident"}
    assert expression_names("steps.a.output > limit") == {"steps.a", "limit"}


async def _lookup(name):
    return f'value of "{name}"'


async def test_a_secret_stays_a_reference_until_it_is_used():
    """What is planned, stored and shown holds the name, never the value."""
    rendered = render({"token": "Bearer {{ secrets.api_token }}"}, CONTEXT)
    assert rendered == {"token": "Bearer __secret:api_token__"}
    assert references_in(rendered) == {"api_token"}
    assert await resolve_references(rendered, _lookup) == {"token": 'Bearer value of "api_token"'}


async def test_filters_on_a_secret_wait_until_it_is_used():
    """base64 of a secret is base64 of its value, not of its name."""
    rendered = render("{{ secrets.registry_config | base64 }}", CONTEXT)
    assert rendered == "__secret:registry_config|base64__"
    assert base64.b64decode(await resolve_references(rendered, _lookup)).decode() == 'value of "registry_config"'


async def test_a_secret_inside_json_inside_base64_arrives_whole():
    """A Docker config is JSON that holds a password, in base64."""
    template = "{{ {'auths': {'registry.test': {'password': secrets.pull_password}}} | json | base64 }}"
    rendered = render(template, CONTEXT)
    assert "value" not in rendered
    assert references_in(rendered) == {"pull_password"}
    resolved = json.loads(base64.b64decode(await resolve_references(rendered, _lookup)))
    assert resolved == {"auths": {"registry.test": {"password": 'value of "pull_password"'}}}


async def test_an_alert_cannot_ask_for_a_secret():
    """A label that looks like a reference is only a text."""
    for template in ("{{ incident.labels.evil }}", "x {{ incident.labels.evil }}", "{{ incident.labels | json }}"):
        rendered = render(template, CONTEXT)
        assert references_in(rendered) == frozenset()
        assert "value of" not in await resolve_references(rendered, _lookup)


@pytest.mark.parametrize("name", ["a__b", "a b", "", "a_", "_a"])
def test_names_that_a_reference_cannot_hold_are_refused(name):
    """Better refused than resolved wrongly."""
    with pytest.raises(TemplateError, match="not the name of a secret"):
        render("{{ secrets['" + name + "'] }}", CONTEXT)


def test_a_message_is_sent_also_when_a_name_is_missing():
    """The news of a failure must not fail for want of a detail."""
    text = "{{ incident.resource.name }} {{ nosuch.part }} {{ nothing }} {{ current_memory }}"
    assert render_message(text, CONTEXT) == "web-1 ?nosuch.part - 256Mi"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ 'shop' | extract_deployment }}", "shop"),
        ("of {{ 'shop' | extract_deployment }}", "of shop"),
        ("{{ ['shop'] | map('extract_deployment') | list }}", ["shop"]),
        ("of {{ ['shop'] | map('extract_deployment') | join }}", "of shop"),
        ("{{ extract_deployment('shop') }}", "shop"),
    ],
)
def test_a_filter_sees_names_that_the_text_does_not_mention(template, expected):
    """Only the names of the text are made ready, unless something in it looks for others."""
    context = {**CONTEXT, "target": {"kind": "Deployment", "name": "shop", "pod": "shop-1"}}
    assert render(template, context) == expected


def test_a_name_of_a_loop_hides_one_of_the_context_only_inside():
    """A name that is both a loop's and the context's is known after the loop too."""
    assert render("{% for count in [1] %}{{ count }}{% endfor %}, {{ count }}", CONTEXT) == "1, 5"
