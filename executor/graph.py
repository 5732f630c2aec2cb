"""The order of steps: what each waits for, told from ``depends_on``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from executor.errors import PlanError
from runbooks.findings import did_you_mean
from runbooks.order import Node, circle, edges


def in_order(steps: Sequence[Node]) -> list[str]:
    """Ids in an order in which they can run: of those that could be next, the one that is listed first.

    Raises:
        PlanError: two steps share an id, one waits for a step that does not exist, or they wait for each other.
    """
    _refuse_twins(steps)
    waiting = dict(edges(steps))
    for step_id, needed in waiting.items():
        for other in needed:
            if other not in waiting:
                raise PlanError(
                    f"step {step_id!r} depends on {other!r}, which does not exist; {did_you_mean(other, waiting)}"
                )
    order: list[str] = []
    done: set[str] = set()
    while waiting:
        ready = next((step_id for step_id, needed in waiting.items() if done.issuperset(needed)), None)
        if ready is None:
            raise PlanError(f"steps wait for each other: {' -> '.join(circle(waiting))}")
        order.append(ready)
        done.add(ready)
        del waiting[ready]
    return order


def ancestors(steps: Sequence[Node]) -> Mapping[str, frozenset[str]]:
    """Every step that has ended for certain when a step starts, by its id; the steps are free of circles."""
    waits, found = edges(steps), dict[str, frozenset[str]]()
    for step_id in in_order(steps):
        needed = waits[step_id]
        found[step_id] = frozenset(needed).union(*(found[other] for other in needed))
    return found


def _refuse_twins(steps: Sequence[Node]) -> None:
    """Stamps name the step, so two steps of one id could be taken for each other after a crash."""
    ids = [step.id for step in steps]
    for step_id in ids:
        if ids.count(step_id) > 1:
            raise PlanError(f"two steps have the id {step_id!r}")
