"""A plan in the making: what is known so far, what only a later run will know, and who may look at what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from executor.actions.base import TargetFacts, World
from executor.context import SEPARATOR, StepResult, facts_of, scope
from executor.errors import PlanError
from executor.graph import ancestors
from runbooks.model import LoadedRunbook, Runbook, Step
from runbooks.remembering import Remembered

_ancestors = Remembered(ancestors)

LATER = ("execution.started_at", "execution.duration")
"""Names that nobody knows before it runs."""

Runbooks = Callable[[], Mapping[str, LoadedRunbook]]
"""The runbooks in force, by id."""


@dataclass(slots=True)
class Draft:
    """One runbook of a plan in the making.

    Attributes:
        runbook: whose steps these are.
        context: the template names that are known before the first step.
        scope: id of the step that called the runbook; empty for the plan's own.
        chain: ids of the runbooks that call each other down to this one.
        results: what the steps that ran while planning gave.
        kept: values that steps will keep, as far as they are known.
        pending: names that only a later run will know, as ``names_used`` writes them.
        reasons: why a human is asked; one list for the whole plan.
        writers: ids of the steps that write; what comes after them sees another world and is read later.
        late: whether every read has to wait: nobody knows yet whether, or after what, the runbook is called.
        world: what its steps are planned with, where that is not the planner's own.
        before: the ids of all steps that have ended when a step starts, by its id.
    """

    runbook: Runbook
    context: Mapping[str, Any]
    scope: str = ""
    chain: tuple[str, ...] = ()
    results: list[StepResult] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)
    pending: set[str] = field(default_factory=lambda: set(LATER))
    reasons: list[str] = field(default_factory=list)
    writers: set[str] = field(default_factory=set)
    late: bool = False
    world: World | None = None
    before: Mapping[str, frozenset[str]] = field(init=False)
    facts: TargetFacts = field(init=False)

    def __post_init__(self) -> None:
        self.before = _ancestors(self.runbook.steps)
        self.facts = facts_of(self.context)

    def names(self) -> dict[str, Any]:
        """Every name that templates can use now."""
        known = scope(self.context, self.results)
        return {**known, "state": {**known["state"], **self.kept}}

    def full(self, step_id: str) -> str:
        """The id of a step in the whole plan."""
        return f"{self.scope}{SEPARATOR}{step_id}" if self.scope else step_id

    def waits_for(self, used: Iterable[str], more: Iterable[str] = ()) -> tuple[str, ...]:
        """Those of the names that only a later run will know."""
        return tuple(sorted({*self.pending, *more}.intersection(used)))

    def reads_now(self, step_id: str) -> bool:
        """Whether what a read finds while planning is what it would find in its turn."""
        return not self.late and not self.writers.intersection(self.before[step_id])

    def refuse_strangers(self, step: Step, used: Iterable[str]) -> None:
        """Say that a step uses what another one gives without waiting for it: it might be there, or not.

        Raises:
            PlanError: names the step that is missing in ``depends_on``.
        """
        known = self.before[step.id]
        for name in used:
            givers = _givers(self.runbook.steps, name)
            if givers and not known.intersection(givers) and givers != {step.id}:
                giver = min(givers)
                raise PlanError(f"it uses {name}, and does not wait for step {giver!r}: add it to depends_on")


def _givers(steps: Sequence[Step], name: str) -> set[str]:
    """Ids of the steps that give a name."""
    group, _, rest = name.partition(".")
    if group == "steps" and rest:
        return {step.id for step in steps if step.id == rest}
    if group == "state" and rest:
        return {step.id for step in steps if rest in step.save_state}
    return {step.id for step in steps if step.output_var == name}
