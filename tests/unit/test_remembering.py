"""What is found out of a frozen value is found out once."""

from __future__ import annotations

import pytest

from runbooks.remembering import Remembered


def test_looks_at_each_value_once() -> None:
    """A value is looked at once, an equal one that is another object again."""
    seen: list[list[int]] = []

    def total(value: list[int]) -> int:
        seen.append(value)
        return sum(value)

    known, first, other = Remembered(total), [1, 2], [1, 2]
    assert [known(first), known(first), known(other)] == [3, 3, 3]
    assert len(seen) == 2


def test_values_that_are_gone_are_not_taken_for_others() -> None:
    """Each of many short-lived values gets its own answer, though memory is used again and again."""
    known = Remembered(lambda value: value[0], most=3)
    assert [known([number]) for number in range(1000)] == list(range(1000))


def test_errors_are_raised_again() -> None:
    """What raised once is looked at again."""
    answers = iter([ValueError("not yet"), 7])

    def work(_: object) -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    known, value = Remembered(work), object()
    with pytest.raises(ValueError, match="not yet"):
        known(value)
    assert known(value) == 7
