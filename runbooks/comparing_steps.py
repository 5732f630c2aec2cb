"""What changed in a list of steps, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from runbooks.durations import format_duration
from runbooks.steps import OnFailure, Step

Told = tuple[bool | None, str, str]
"""Whether it is riskier (None: cannot be said), the place below the list, and the words."""

_LONGEST = 80
_QUIET = frozenset(
    {"id", "name", "description", "action", "params", "timeout", "on_failure", "require_approval", "when"}
)


def step_changes(old: Sequence[Step], new: Sequence[Step]) -> Iterator[Told]:
    """The differences between two lists of steps; a step is known by its id."""
    before = {step.id: step for step in old}
    after = {step.id: step for step in new}
    for step in (step for step in old if step.id not in after):
        yield None, f".{step.id}", f"no longer does {step.name!r} ({step.action})"
    for step in (step for step in new if step.id not in before):
        yield True, f".{step.id}", f"also does {step.name!r} ({step.action})"
    for step_id in before.keys() & after.keys():
        yield from _step(before[step_id], after[step_id])
    yield from _moved([s.id for s in old if s.id in after], [s.id for s in new if s.id in before])


def _moved(before: Sequence[str], after: Sequence[str]) -> Iterator[Told]:
    if list(before) == list(after):
        return
    kept = {
        before[block.a + offset]
        for block in SequenceMatcher(a=before, b=after, autojunk=False).get_matching_blocks()
        for offset in range(block.size)
    }
    for step_id in (one for one in after if one not in kept):
        yield None, f".{step_id}", f"does {step_id} at another place in the order"


def _step(old: Step, new: Step) -> Iterator[Told]:
    here = f".{old.id}"
    if old.action != new.action:
        yield True, here, f"{old.id}: does {new.action} instead of {old.action}"
    for place, before, after in _differences(old.params, new.params):
        yield None, f"{here}.params{place}", f"{old.id}: {place.lstrip('.') or 'params'} is {after} instead of {before}"
    if old.when != new.when:
        yield new.when is True or None, f"{here}.when", f"{old.id}: happens when {new.when} instead of {old.when}"
    if old.require_approval != new.require_approval:
        loose = new.require_approval is False
        text = "no longer asks a human before it" if loose else f"asks a human before it ({new.require_approval})"
        yield loose or (None if old.require_approval else False), f"{here}.require_approval", f"{old.id}: {text}"
    if old.on_failure != new.on_failure:
        goes_on = new.on_failure is OnFailure.CONTINUE
        text = f"when it fails: {_failing(new)} instead of {_failing(old)}"
        yield goes_on or None, f"{here}.on_failure", f"{old.id}: {text}"
    if old.timeout != new.timeout:
        text = f"may take {format_duration(new.timeout)} instead of {format_duration(old.timeout)}"
        yield new.timeout > old.timeout, f"{here}.timeout", f"{old.id}: {text}"
    for name in type(old).model_fields:
        if name not in _QUIET and getattr(old, name) != getattr(new, name):
            text = f"{name} is {_cut(getattr(new, name))} instead of {_cut(getattr(old, name))}"
            yield None, f"{here}.{name}", f"{old.id}: {text}"


def _failing(step: Step) -> str:
    given = step.on_failure
    return str(given) if isinstance(given, OnFailure) else f"{given.run}, then {given.then}"


def _differences(old: Any, new: Any, place: str = "") -> Iterator[tuple[str, str, str]]:
    """The innermost values that differ, with where they stand."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key), new.get(key), f"{place}.{key}")
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, after, f"{place}[{index}]")
    elif old != new:
        yield place, _cut(old), _cut(new)


def _cut(value: Any) -> str:
    if value is None:
        return "not given"
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
