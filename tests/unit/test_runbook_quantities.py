"""Quantities keep their unit, compare across units, and stay exact."""

from __future__ import annotations

import json
import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks.quantities import Quantity, as_quantity, parse_cpu, parse_memory, plain, read_quantity, wrap_quantities

SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-2"]
QUANTITIES = st.builds(
    lambda whole, part, suffix: Quantity(f"{whole}{part}{suffix}"),
    st.integers(0, 10**6),
    st.sampled_from(["", ".5", ".25", ".125"]),
    st.sampled_from(SUFFIXES),
)


@pytest.mark.parametrize(
    ("text", "factor", "expected"),
    [
        ("256Mi", 2, "512Mi"),
        ("512Mi", 2, "1Gi"),
        ("1.5Gi", 2, "3Gi"),
        ("256Mi", 1.5, "384Mi"),
        ("500m", 3, "1500m"),
        ("500m", 2, "1"),
        ("0.1", 3, "300m"),
        ("1e3", 2, "2e3"),
        ("128974848", 2, "257949696"),
        ("1Gi", 0, "0"),
        ("1Mi", 1.1, "1153434"),
    ],
)
def test_a_quantity_times_a_number_keeps_its_unit(text, factor, expected):
    """256Mi times 2 is 512Mi, in the unit that needs no fraction."""
    assert str(Quantity(text) * factor) == expected
    assert str(factor * Quantity(text)) == expected


@pytest.mark.parametrize(
    "text", ["", "Mi", "1 Mi", "1mi", "1KiB", "abc", "1e99", "--1", "1..2", "0x10", "1" * 60, "\u0661Mi"]
)
def test_what_is_no_quantity_is_refused(text):
    """Kubernetes would refuse it too."""
    with pytest.raises(ValueError, match="quantity"):
        Quantity(text)
    assert read_quantity(text) is None


@pytest.mark.parametrize("value", [None, True, [], {}, object()])
def test_what_is_neither_number_nor_text_is_refused(value):
    """A missing limit is not zero."""
    with pytest.raises(TypeError, match="expected a quantity"):
        as_quantity(value)


@given(QUANTITIES)
def test_reading_the_text_again_gives_the_same_amount(quantity):
    """A quantity that goes through YAML or JSON is the same afterwards."""
    assert Quantity(str(quantity)).amount == quantity.amount
    assert json.loads(json.dumps(quantity)) == str(quantity)
    assert pickle.loads(pickle.dumps(quantity)) == quantity  # noqa: S301  # our own bytes


@given(QUANTITIES, st.integers(0, 1000))
def test_the_canonical_text_means_the_amount_rounded_up(quantity, factor):
    """Arithmetic loses nothing but fractions of a byte or of a nano-unit, and those are rounded up."""
    result = quantity * factor
    exact = quantity.amount * factor
    assert exact <= result.amount < exact + (1 if quantity.family == "binary" else Fraction(1, 10**9))
    assert Quantity(str(result)).amount == result.amount


@given(QUANTITIES, QUANTITIES)
def test_order_is_the_order_of_amounts(left, right):
    """1Gi is more than 1000Mi and less than 1100Mi, whatever the letters say."""
    assert (left < right) == (left.amount < right.amount)
    assert (left >= right) == (left.amount >= right.amount)
    assert max(left, right).amount == max(left.amount, right.amount)


@given(QUANTITIES, QUANTITIES)
def test_sums_do_not_depend_on_the_order(left, right):
    """Adding is adding amounts, in the left one's unit."""
    binary = "binary" in (left.family, right.family)
    assert abs((left + right).amount - (right + left).amount) <= (1 if binary else 0)


def test_equal_amounts_in_different_units_are_equal():
    """1024Mi is 1Gi; bare numbers are compared as they are written."""
    assert Quantity("1024Mi") == "1Gi"
    assert Quantity("1Gi") == 2**30
    assert Quantity("5") != Quantity("05")
    assert Quantity("1Gi") != "one"


def test_a_ratio_of_two_amounts_is_a_number():
    """A quantity through a number is a quantity, through a quantity it is a number."""
    assert Quantity("1Gi") / Quantity("256Mi") == 4
    assert str(Quantity("1Gi") / 4) == "256Mi"
    with pytest.raises(ZeroDivisionError):
        Quantity("1Gi") / 0


def test_two_units_cannot_be_multiplied():
    """Square megabytes mean nothing."""
    with pytest.raises(TypeError, match="both have a unit"):
        Quantity("1Mi") * Quantity("1Mi")


def test_bare_bytes_become_memory_with_a_unit():
    """A limit that the cluster wrote as plain bytes is readable after it is doubled."""
    assert str(parse_memory("268435456") * 2) == "512Mi"
    assert str(parse_memory(268435456)) == "256Mi"


def test_memory_is_no_cpu():
    """A memory limit in the place of a CPU limit is a mistake."""
    with pytest.raises(ValueError, match="memory"):
        parse_cpu("1Gi")
    assert str(parse_cpu("250m") * 2) == "500m"


def test_values_from_outside_calculate_and_come_back_as_plain_text():
    """Wrapping changes what operators do, and nothing else."""
    value = {"limits": {"memory": "256Mi", "note": "web-1"}, "list": ["1", 2, None, True]}
    wrapped = wrap_quantities(value)
    assert wrapped == value
    assert str(wrapped["limits"]["memory"] * 2) == "512Mi"
    assert type(plain(wrapped)["limits"]["memory"]) is str


def test_text_beside_a_quantity_is_joined():
    """A name that happens to look like a quantity stays usable in names."""
    assert Quantity("5m") + "-pod" == "5m-pod"
