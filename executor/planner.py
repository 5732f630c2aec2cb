"""From a match to a plan: everything that will be done, rendered and bound by a hash, before anybody is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from executor.actions.base import Action, ActionTable, Planned, Redact, TargetFacts, World
from executor.book import masked
from executor.context import StepResult, facts_of, scope, template_context
from executor.criteria import Checker
from executor.errors import Permanent, PlanError, RemediationError
from executor.model import Access, Plan, PlannedStep, StepStatus
from executor.parameters import resolve_parameters
from executor.planhash import plan_hash
from executor.preconditions import settled
from executor.rendering import (
    checked,
    condition,
    names_of_condition,
    names_of_params,
    rendered,
    shown,
    undoable,
    writes,
)
from matcher.model import Match
from runbooks.durations import parse_duration
from runbooks.findings import did_you_mean
from runbooks.model import OnFailure, Runbook, Step

CANNOT_SHOW = "cannot be shown in advance"
_FIXED = (Access.WRITE, Access.NOTIFY)
"""What is worked out while planning, wherever it stands; reads after a write are meant to see the change."""


@dataclass(slots=True)
class Draft:
    """A plan in the making.

    Attributes:
        results: what the steps that ran while planning gave.
        pending: names that only a later run will know, as ``names_used`` writes them.
        wrote: whether a write was planned already; reads after it see another world and run later.
    """

    context: Mapping[str, Any]
    facts: TargetFacts
    results: list[StepResult] = field(default_factory=list)
    pending: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)
    wrote: bool = False

    def names(self) -> dict[str, Any]:
        """Every name that templates can use now."""
        return scope(self.context, self.results)

    def waits_for(self, used: Iterable[str]) -> tuple[str, ...]:
        """Those of the names that only a later run will know."""
        return tuple(sorted(self.pending.intersection(used)))


class Planner:
    """Makes plans.

    Args:
        actions: by name and alias.
        world: for the reads that planning does.
        parameters: configured values, by runbook id and name.
        redact: takes secrets out of what reads gave before it is kept in the plan.
    """

    def __init__(
        self,
        actions: ActionTable,
        world: World,
        parameters: Mapping[str, Any],
        redact: Redact = lambda text: text,
    ) -> None:
        self._actions = actions
        self._world = world
        self._parameters = parameters
        self._redact = redact
        self._checker = Checker(actions, world)

    async def plan(self, match: Match, execution_id: str) -> Plan:
        """Plan the runbook of a match.

        Reads and calculations before the first write run now; nothing is changed.

        Args:
            match: the incident with its runbook.
            execution_id: known to templates as ``execution.id``.

        Raises:
            Unmet: a precondition does not hold.
            PlanError: a step cannot be planned; the text names the step, what is wrong and the nearest name.
            Temporary: the cluster did not answer; planning again may work.
        """
        runbook = match.runbook.runbook
        params = resolve_parameters(runbook, self._parameters.get(runbook.id) or {})
        context = template_context(match, params, execution_id)
        draft = Draft(context, facts_of(context))
        terms, doubts = await settled(runbook, self._checker, context, draft.facts, self._redact)
        steps = [await self._step(index, step, draft) for index, step in enumerate(runbook.steps)]
        _refuse_twins(steps)
        asked = _runbook_reasons(runbook, draft)
        rollback = [await self._rollback_step(index, step, draft) for index, step in enumerate(runbook.rollback.steps)]
        made = Plan(
            runbook_id=runbook.id,
            runbook_version=runbook.version,
            runbook_sha=match.runbook.sha,
            target_key=match.incident.target.key,
            steps=tuple(steps),
            rollback=tuple(rollback),
            context=context,
            namespaces=_namespaces(draft.facts, [*steps, *rollback]),
            touched=_touched(draft.facts, [*steps, *rollback]),
            approval_reasons=tuple(dict.fromkeys([*asked, *doubts, *draft.reasons])),
            dry_run_first=runbook.safety.dry_run_first,
            terms=terms,
        )
        return made.model_copy(update={"hash": plan_hash(made)})

    async def _step(self, index: int, step: Step, draft: Draft) -> PlannedStep:
        where = f"step {step.name!r}"
        planned = self._bare(index, step, where)
        try:
            planned, ready = self._render(planned, step, draft)
            if ready and (planned.access in _FIXED or not draft.wrote):
                planned = await self._ask(planned, draft)
        except Permanent as error:
            raise PlanError(f"{where}: {error}{_no_controller(error, draft.facts)}") from error
        draft.reasons += _change_reasons(where, planned)
        draft.wrote = draft.wrote or planned.access is Access.WRITE
        if planned.planned:
            draft.results.append(StepResult(planned.id, StepStatus.SUCCEEDED, planned.result, planned.output_var))
            planned = planned.model_copy(update={"result": masked(planned.result, self._redact)})
        elif planned.when is not False:
            draft.pending.add(f"steps.{planned.id}")
            draft.pending.update({planned.output_var} if planned.output_var else ())
        return planned

    def _bare(self, index: int, step: Step, where: str) -> PlannedStep:
        action = self._action(step.action, where)
        access = action.access_of(step.params)
        # A message that cannot be sent is no reason to undo a fix, unless the author says so.
        lenient = access is Access.NOTIFY and "on_failure" not in step.model_fields_set
        return PlannedStep(
            index=index,
            id=step.id,
            name=step.name,
            action=action.name,
            params=step.params,
            access=access,
            idempotent=action.repeatable(step.params) if step.idempotent is None else step.idempotent,
            when=step.when,
            timeout_seconds=_patience(step),
            on_failure=OnFailure.CONTINUE if lenient else step.on_failure,
            output_var=step.output_var,
        )

    def _action(self, name: str, where: str) -> Action[Any]:
        action = self._actions.get(name)
        if action is None:
            raise PlanError(f"{where}: there is no action {name!r}; {did_you_mean(name, self._actions)}")
        return action

    def _render(self, planned: PlannedStep, step: Step, draft: Draft) -> tuple[PlannedStep, bool]:
        """Render what can be rendered now; the second value says whether the action can be asked."""
        names = draft.names()
        when_waits = draft.waits_for(names_of_condition(step.when))
        when = step.when if when_waits else condition(step.when, names)
        planned = planned.model_copy(update={"when": when})
        if when is False:
            return planned, False
        if waits_for := draft.waits_for(names_of_params(step.params)):
            return planned.model_copy(update={"deferred": waits_for}), False
        planned = planned.model_copy(update={"params": rendered(step.params, names)})
        checked(self._actions[planned.action], planned.params)
        return planned, planned.access in _FIXED or not when_waits

    async def _ask(self, planned: PlannedStep, draft: Draft) -> PlannedStep:
        """Let the action say what it will change, or, for a read, what it finds."""
        action = self._actions[planned.action]
        params = checked(action, planned.params)
        try:
            given = await action.plan(params, draft.facts, self._world)
        except RemediationError:
            raise
        except Exception as error:
            # One action that stumbles over one object must not stop the stream of decisions.
            raise PlanError(f"unexpected {type(error).__name__} while planning: {error}") from error
        draft.reasons += given.approval_reasons
        return _with_result(shown(planned, given), given)

    async def _rollback_step(self, index: int, step: Step, draft: Draft) -> PlannedStep:
        """Render a rollback step with the values from before the change.

        Its changes are worked out again when it runs, from what is there then; those of now are for people and for
        the gate's limits. A rollback step that reads sees the world after the change, so it is not run now.
        """
        where = f"rollback step {step.name!r}"
        bare = self._bare(index, step, where)
        try:
            planned, ready = self._render(bare, step, draft)
        except PlanError as error:
            raise PlanError(f"{where}: {error}") from error
        if ready and planned.access is Access.WRITE:
            try:
                planned = await self._ask(planned, draft)
            except Permanent as error:
                # What it undoes may not exist yet; then it can only be planned when it runs.
                draft.reasons.append(f"{where} {CANNOT_SHOW}: {error}")
                return planned
        draft.reasons += _change_reasons(where, planned)
        return planned


_SPARE_SECONDS = 15.0
"""For what an action does beside waiting."""


def _patience(step: Step) -> float:
    """Seconds for the step as a whole: a wait that says how long it waits is not cut by the step's default."""
    default = step.timeout.total_seconds()
    if "timeout" in step.model_fields_set or "timeout" not in step.params:
        return default
    try:
        return max(default, parse_duration(step.params["timeout"]).total_seconds() + _SPARE_SECONDS)
    except ValueError:
        return default  # a template, or a mistake that the action's own check will name


def _with_result(step: PlannedStep, given: Planned) -> PlannedStep:
    """A read is done once planning gave its result; what gave none (a wait) runs in its turn."""
    done = step.access in (Access.READ, Access.NONE) and given.result is not None
    return step.model_copy(update={"planned": done, "result": given.result})


def _refuse_twins(steps: list[PlannedStep]) -> None:
    """Stamps name the step, so two steps of one id could be taken for each other after a crash."""
    ids = [step.id for step in steps]
    for step_id in ids:
        if ids.count(step_id) > 1:
            raise PlanError(f"two steps have the id {step_id!r}")


def _no_controller(error: Exception, facts: TargetFacts) -> str:
    if facts.target.kind == "Pod" and "controller" in str(error):
        return f" (the pod {facts.target.name} has no controller: it would not come back)"
    return ""


def _runbook_reasons(runbook: Runbook, draft: Draft) -> list[str]:
    asked = runbook.safety.require_approval
    if isinstance(asked, bool):
        return ["the runbook asks for approval"] if asked else []
    try:
        needed = condition(asked, draft.names())
    except PlanError as error:
        return [f"the runbook's approval rule is no help: {error}"]
    return [f"the runbook asks for approval when {asked}"] if needed else []


def _change_reasons(where: str, step: PlannedStep) -> list[str]:
    """Why this step needs a human: nobody can see in advance what it does, or it cannot be taken back."""
    if not writes(step):
        return []
    if step.deferred or not step.changes:
        return [f"{where} {CANNOT_SHOW}"]
    return [f"{where} cannot be undone: {change.summary}" for change in step.changes if not undoable(change)]


def _namespaces(facts: TargetFacts, steps: list[PlannedStep]) -> tuple[str, ...]:
    made = [step for step in steps if writes(step)]
    named = {change.ref.namespace for step in made for change in step.changes if change.ref is not None}
    hidden = any(step.deferred or not step.changes for step in made)
    return tuple(sorted(named | ({facts.namespace} if hidden else set())))


def _touched(facts: TargetFacts, steps: list[PlannedStep]) -> tuple[str, ...]:
    """What the blast radius counts; a write whose object is not known counts as the target."""
    made = [step for step in steps if writes(step)]
    named = [str(change.ref or facts.target) for step in made for change in step.changes]
    hidden = [str(facts.target) for step in made if not step.changes]
    return tuple(sorted({*named, *hidden}))
