"""What ``for_each`` runs for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executor.errors import PlanError
from executor.model import PlannedStep

MOST_ITEMS = 1_000


def items_of(value: Any) -> list[Any]:
    """The items.

    Raises:
        PlanError: it is no list, or a longer one than anybody should act on.
    """
    if not isinstance(value, list | tuple):
        kind = "a mapping" if isinstance(value, Mapping) else f"a {type(value).__name__}"
        raise PlanError(f"for_each needs a list, and this is {kind}: {value!r:.80}")
    if len(value) > MOST_ITEMS:
        raise PlanError(f"for_each takes at most {MOST_ITEMS} items, and these are {len(value)}")
    return list(value)


def leaf_of(step: PlannedStep, index: int) -> PlannedStep:
    """The step of one item; a human is asked once, for all of them."""
    items = step.items or ()
    alone: dict[str, Any] = {"items": None, "for_each": None, "each": (), "require_approval": False}
    return step.model_copy(update={**alone, "item": index, "item_value": items[index], "item_count": len(items)})


def with_items(step: PlannedStep, items: list[Any]) -> PlannedStep:
    """A step whose items were found in its turn; each is rendered when it runs."""
    fixed = step.model_copy(update={"items": tuple(items), "for_each": None})
    late = step.deferred or ("item",)
    each = tuple(leaf_of(fixed, index).model_copy(update={"deferred": late}) for index in range(len(items)))
    return fixed.model_copy(update={"each": each})
