"""Whether a runbook makes something larger each time that it runs. A ceiling ends growth; it is growth all the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from runbooks.model import Step
from runbooks.names import analyse
from runbooks.remembering import Remembered
from runbooks.sandbox import TemplateError
from runbooks.subject import texts

_GROWS = frozenset({"multiply", "add", "grow"})


def grows(steps: tuple[Step, ...], writes: Callable[[Step], bool]) -> bool:
    """Whether one of the steps writes a value that was calculated from what is there.

    Args:
        steps: in their order.
        writes: whether a step changes the world.
    """
    larger: set[str] = set()
    for step in steps:
        found = any(_larger(text, larger) for text in _texts(step.params))
        if writes(step) and (found or asks_for_more(step.params)):
            return True
        if found:
            larger.update({step.output_var} if step.output_var else ())
            larger.add(f"steps.{step.id}")
    return False


def _larger(text: str, larger: set[str]) -> bool:
    calculates, used = _calculation(text)
    return (calculates and bool(used)) or not larger.isdisjoint(used)


@lru_cache(maxsize=1024)
def _calculation(text: str) -> tuple[bool, frozenset[str]]:
    """Whether a template makes something larger, and the names that it uses."""
    try:
        analysis = analyse(text)
    except TemplateError:
        return False, frozenset()  # it cannot be planned either
    calculates = analysis.arithmetic or bool(analysis.filters & _GROWS)
    used = {use.path[0] for use in analysis.uses} | {".".join(use.path[:2]) for use in analysis.uses}
    return calculates, frozenset(used)


def _texts_in(params: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(found.text for found in texts(params, ()))


_texts = Remembered(_texts_in)


def asks_for_more(params: Mapping[str, Any]) -> bool:
    """Whether the action itself is told to add or multiply; a factor that is a template may be anything."""
    return _above(params.get("multiply"), 1) or _above(params.get("add"), 0)


def _above(value: Any, limit: float) -> bool:
    if isinstance(value, Mapping):
        return any(_above(each, limit) for each in value.values())
    if isinstance(value, str):
        return True
    return isinstance(value, int | float) and value > limit
