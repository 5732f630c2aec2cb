"""Expressions of the other dialects become those of the templates, or an error with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks.dialects.expressions import ExpressionError, attribute, translate
from runbooks.dialects.names import FUNCTIONS
from runbooks.templates import evaluate

CONTEXT = {
    "metrics": {"errorRate": 0.06, "latency": 12},
    "steps": {"a": {"failed": True, "outputs": {"rows": [1, 2, 3]}}},
    "state": {"before": 3},
    "n": 7,
    "text": "it's",
    "labels": {"app.kubernetes.io/name": "web"},
}


def _translate(text):
    return translate(text, attribute, FUNCTIONS)


@pytest.mark.parametrize(
    ("text", "translated", "value"),
    [
        ("metrics.errorRate > 5%", "metrics.errorRate > 0.05", True),
        ("metrics.latency < 12.5%", "metrics.latency < 0.125", False),
        ("n == 7 && !(n > 8)", "n == 7 and not (n > 8)", True),
        ("n < 3 || n >= 7", "n < 3 or n >= 7", True),
        ("not n == 7", "not n == 7", False),
        ("state.before != null", "(state.before | default(none)) is not none", True),
        ("state.other == null", "(state.other | default(none)) is none", True),
        ("len(steps.a.outputs.rows)", "(steps.a.outputs.rows) | length", 3),
        ("len(steps.a.outputs.rows) - 1 == 2", "(steps.a.outputs.rows) | length - 1 == 2", True),
        ("n - 2 * 3", "n - 2 * 3", 1),
        ("-n + 1", "-n + 1", -6),
        ('text == "it\'s"', 'text == "it\'s"', True),
        ("labels['app.kubernetes.io/name'] == 'web'", "labels['app.kubernetes.io/name'] == 'web'", True),
        ("n in [6, 7]", "n in [6, 7]", True),
        ("n not in [6, 7]", "n not in [6, 7]", False),
        ("steps.a.outputs.rows[1]", "steps.a.outputs.rows[1]", 2),
        ("true && steps.a.failed", "true and steps.a.failed", True),
        ("n | float", "n | float", 7.0),
    ],
)
def test_an_expression_means_the_same_in_templates(text, translated, value):
    """Each form of the grammar, with what it evaluates to."""
    assert _translate(text) == translated
    assert evaluate(translated, CONTEXT) == value


@pytest.mark.parametrize(
    ("text", "at", "reason"),
    [
        ("n >", 4, "ends where a value was expected"),
        ("", 1, "ends where a value was expected"),
        ("n == == 3", 6, "stands where a value was expected"),
        ("(n > 3", 7, "')' is missing"),
        ("n > 3)", 6, "does not belong here"),
        ("n ; m", 3, "does not belong here"),
        ("a.", 3, "a name is missing"),
        ("exec('rm')", 1, "there is no function exec"),
        ("len()", 1, "len needs a value"),
        ("n |", 4, "the name of a filter is missing"),
        ("'open", 1, "does not belong here"),
        ("a b", 3, "does not belong here"),
    ],
)
def test_a_wrong_expression_says_what_and_where(text, at, reason):
    """The character from 1, so that it can be found in a long condition."""
    with pytest.raises(ExpressionError) as wrong:
        _translate(text)
    assert wrong.value.at == at
    assert reason in wrong.value.reason


def test_dashes_belong_to_names_after_a_dot_only():
    """`steps.rolling-restart` is one step, `a-b` is a difference, and so is `x.count-1`."""
    assert _translate("steps.rolling-restart.failed") == "steps['rolling-restart'].failed"
    assert _translate("a-b") == "a - b"
    assert _translate("x.count-1") == "x.count - 1"


def test_deep_nesting_is_an_error_and_no_crash():
    """Nobody writes a hundred brackets by hand."""
    with pytest.raises(ExpressionError):
        _translate("(" * 5000 + "1" + ")" * 5000)
    with pytest.raises(ExpressionError):
        _translate("(" * 100 + "1" + ")" * 100)


@given(st.text(max_size=60))
def test_any_text_is_translated_or_refused(text):
    """Whatever somebody writes, there is no other error, and it names a character of the text."""
    places = range(1, len(text) + 2)
    try:
        _translate(text)
    except ExpressionError as error:
        place = error.at
    else:
        place = 1
    assert place in places


def _joined(parts):
    return f"({parts[0]} {parts[1]} {parts[2]})"


_numbers = st.integers(0, 99).map(str)
_sums = st.recursive(_numbers, lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(_joined), max_leaves=8)


@given(_sums, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), _sums)
def test_arithmetic_and_order_are_those_of_the_author(left, relator, right):
    """Brackets, precedence and comparison survive the translation."""
    text = f"{left} {relator} {right}"
    assert evaluate(_translate(text), {}) is eval(text)  # noqa: S307 - numbers and brackets that this test made
