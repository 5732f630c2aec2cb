"""Which runbooks make something larger each time that they run."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks.growth import grows
from runbooks.steps import Step


def steps(*given_):
    return tuple(Step(id=f"s{number}", name="x", **step) for number, step in enumerate(given_))


def growing(*given_):
    return grows(steps(*given_), lambda step: step.action == "write")


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ([{"action": "write", "params": {"memory": "512Mi"}}], False),
        ([{"action": "write", "params": {"memory": "{{ current }}"}}], False),
        ([{"action": "write", "params": {"memory": "{{ current * 2 }}"}}], True),
        ([{"action": "write", "params": {"memory": "{{ current | grow(2, '2Gi') }}"}}], True),
        ([{"action": "write", "params": {"memory": "{{ [current * 2, params.max] | first }}"}}], True),
        ([{"action": "write", "params": {"list": "{{ current + [1] }}"}}], False),
        ([{"action": "read", "params": {"memory": "{{ current * 2 }}"}}], False),
        ([{"action": "write", "params": {"multiply": {"memory": 2}}}], True),
        ([{"action": "write", "params": {"multiply": 0.5}}], False),
        ([{"action": "write", "params": {"multiply": "{{ params.factor }}"}}], True),
        ([{"action": "write", "params": {"add": 1, "max": 5}}], True),
        ([{"action": "write", "params": {"add": -1}}], False),
        (
            [
                {"action": "calculate", "params": {"expression": "{{ now * 2 }}"}, "output_var": "more"},
                {"action": "write", "params": {"memory": "{{ more }}"}},
            ],
            True,
        ),
        (
            [
                {"action": "calculate", "params": {"expression": "{{ now * 2 }}"}},
                {"action": "calculate", "params": {"expression": "{{ steps.s0.output }}"}, "output_var": "same"},
                {"action": "write", "params": {"memory": "{{ same }}"}},
            ],
            True,
        ),
        (
            [
                {"action": "calculate", "params": {"expression": "{{ now * 2 }}"}, "output_var": "more"},
                {"action": "write", "params": {"memory": "{{ other }}"}},
            ],
            False,
        ),
    ],
)
def test_growth_is_a_write_of_what_was_calculated_from_what_is_there(given_, expected):
    """Directly, through variables, or by an action that adds and multiplies; a ceiling does not make it less."""
    assert growing(*given_) is expected


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6))
def test_growth_is_followed_through_any_chain_of_variables(names):
    """However often a value is passed on, the write at the end still grows."""
    chain = [{"action": "calculate", "params": {"expression": "{{ now + 1 }}"}, "output_var": names[0]}]
    for source, name in pairwise(names):
        chain.append({"action": "calculate", "params": {"expression": f"{{{{ {source} }}}}"}, "output_var": name})
    chain.append({"action": "write", "params": {"value": f"{{{{ {names[-1]} }}}}"}})
    assert growing(*chain)
