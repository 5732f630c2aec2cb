"""Planning one step: what can be rendered and read now, what it will change, and what has to wait for its turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executor.actions.base import Action, ActionTable, Params, Planned, Redact, World
from executor.actions.engine import ManualApproval
from executor.book import masked
from executor.context import item_names, parts, planned_result, planned_state
from executor.draft import Draft
from executor.errors import Permanent, PlanError, RemediationError
from executor.items import items_of, leaf_of
from executor.jsonpath import check_path
from executor.model import Access, PlannedStep, RetryPolicy
from executor.reasons import CANNOT_SHOW, change_reasons, no_controller
from executor.rendering import checked, condition, names_of_condition, names_of_params, rendered, shown
from runbooks.durations import parse_duration
from runbooks.findings import did_you_mean
from runbooks.model import OnFailure, Retry, RunOnFailure, Step
from runbooks.remembering import Remembered

_FIXED = (Access.WRITE, Access.NOTIFY)
"""What is worked out while planning, wherever it stands; reads after a write are meant to see the change."""
_ITEM = ("item", "each")
_SPARE_SECONDS = 15.0
"""For what an action does beside waiting."""


class StepPlanner:
    """Plans single steps.

    Args:
        actions: by name and alias.
        world: for the reads that planning does.
        redact: takes secrets out of what reads gave before it is kept in the plan.
    """

    def __init__(self, actions: ActionTable, world: World, redact: Redact) -> None:
        self._actions = actions
        self._world = world
        self._redact = redact

    async def forward(self, step: Step, draft: Draft, depends_on: tuple[str, ...] | None) -> PlannedStep:
        """Plan a step of the runbook; what it leaves for others is noted in the draft.

        Raises:
            PlanError: names the step, what is wrong and the nearest name.
        """
        where = f"step {step.name!r}"
        bare = self.bare(step, draft, where).model_copy(update={"depends_on": depends_on})
        try:
            draft.refuse_strangers(step, _names_used(step))
            planned = await self._planned(bare, step, draft)
        except Permanent as error:
            raise PlanError(f"{where}: {error}{no_controller(error, draft.facts)}") from error
        draft.reasons += change_reasons(where, planned)
        if planned.access is Access.WRITE:
            draft.writers.add(step.id)
        return self._noted(planned, step, draft)

    def _noted(self, planned: PlannedStep, step: Step, draft: Draft) -> PlannedStep:
        """Say to later steps what this one gave, or will give."""
        draft.kept |= {name: value for name, value in planned_state(planned).items() if _kept(planned, name)}
        draft.pending.update(f"state.{name}" for name in step.save_state if not _kept(planned, name))
        if planned.planned:
            draft.results.append(planned_result(planned, step.id))
            result = masked(planned.result, self._redact)
            each = tuple(_masked(leaf, self._redact) for leaf in planned.each)
            return planned.model_copy(update={"result": result, "each": each})
        if planned.when is not False:
            draft.pending.add(f"steps.{step.id}")
            draft.pending.update({step.output_var} if step.output_var else ())
        return planned

    async def backward(self, index: int, step: Step, draft: Draft, where: str) -> PlannedStep:
        """Plan a step of the rollback or of a procedure, with the values from before the change.

        Its changes are worked out again when it runs, from what is there then; those of now are for people and for
        the gate's limits. One that reads sees the world after the change, so it is not run now.
        """
        bare = self.bare(step, draft, where).model_copy(update={"index": index, "depends_on": step.depends_on})
        try:
            planned, params = self._render(bare, step, draft)
        except PlanError as error:
            raise PlanError(f"{where}: {error}") from error
        if params is not None and planned.access is Access.WRITE:
            try:
                planned = await self._ask(planned, params, draft)
            except Permanent as error:
                # What it changes may not exist yet; then it can only be planned when it runs.
                draft.reasons.append(f"{where} {CANNOT_SHOW}: {error}")
                return planned
        draft.reasons += change_reasons(where, planned)
        return planned

    def bare(self, step: Step, draft: Draft, where: str) -> PlannedStep:
        """The step with nothing rendered yet."""
        action = self.action(step.action, where)
        access = action.access_of(step.params)
        # A message that cannot be sent is no reason to undo a fix, unless the author says so.
        lenient = access is Access.NOTIFY and "on_failure" not in step.model_fields_set
        follows, runs = _consequence(step, draft)
        for path in step.outputs.values():
            if isinstance(path, str):  # anything else is the value itself
                check_path(path)
        return PlannedStep(
            index=0,
            id=draft.full(step.id),
            name=step.name,
            action=action.name,
            params=step.params,
            access=access,
            idempotent=action.repeatable(step.params) if step.idempotent is None else step.idempotent,
            when=step.when,
            timeout_seconds=_patience(step),
            on_failure=OnFailure.CONTINUE if lenient else follows,
            run_on_failure=runs,
            on_success=step.on_success,
            output_var=step.output_var,
            outputs=step.outputs,
            save_state=step.save_state,
            for_each=step.for_each,
            max_parallel=step.max_parallel,
            retry=_policy(step.retry),
            require_approval=True if isinstance(action, ManualApproval) else step.require_approval,
            approval_seconds=_answer_time(step) if isinstance(action, ManualApproval) else None,
            scope=draft.scope,
        )

    def action(self, name: str, where: str) -> Action[Any]:
        """The action of a name or alias."""
        action = self._actions.get(name)
        if action is None:
            raise PlanError(f"{where}: there is no action {name!r}; {did_you_mean(name, self._actions)}")
        return action

    async def _planned(self, bare: PlannedStep, step: Step, draft: Draft) -> PlannedStep:
        bare = bare.model_copy(update={"require_approval": _asks(bare, draft)})
        if step.for_each is None:
            return await self._one(bare, step, draft)
        if waits := draft.waits_for(names_of_params({"for_each": step.for_each})):
            return bare.model_copy(update={"deferred": waits})
        found = items_of(rendered({"for_each": step.for_each}, draft.names())["for_each"])
        bare = bare.model_copy(update={"items": tuple(found), "for_each": None})
        each = [await self._one(leaf_of(bare, index), step, draft) for index in range(len(found))]
        done = bool(each) and all(leaf.planned for leaf in each)
        never = bool(each) and all(leaf.when is False for leaf in each)
        update = {"each": tuple(each), "planned": done, "result": [leaf.result for leaf in each] if done else None}
        return bare.model_copy(update={**update, "when": not never, "save_state": {}})

    async def _one(self, planned: PlannedStep, step: Step, draft: Draft) -> PlannedStep:
        planned, params = self._render(planned, step, draft)
        now = draft.reads_now(step.id) and planned.require_approval is False
        if params is None or not (planned.access in _FIXED or now):
            return planned
        asked = await self._ask(planned, params, draft)
        if asked.planned:
            parts(asked.outputs, asked.result)  # what is missing is told now
        return asked

    def _render(self, planned: PlannedStep, step: Step, draft: Draft) -> tuple[PlannedStep, Params | None]:
        """Render what can be rendered now; the second value is what to ask the action, None when it cannot be asked."""
        names = {**draft.names(), **item_names(planned)}
        later = _ITEM if planned.for_each is not None else ()
        when_waits = draft.waits_for(names_of_condition(step.when), later)
        when = step.when if when_waits else condition(step.when, names)
        planned = _with_state(planned.model_copy(update={"when": when}), draft, names, later)
        if when is False:
            return planned, None
        if waits_for := draft.waits_for(_names_of_params(step.params), later):
            return planned.model_copy(update={"deferred": waits_for}), None
        action = self._actions[planned.action]
        planned = planned.model_copy(update={"params": rendered(step.params, names, action.quoting)})
        params = checked(action, planned.params)
        return planned, params if planned.access in _FIXED or not when_waits else None

    async def _ask(self, planned: PlannedStep, params: Params, draft: Draft) -> PlannedStep:
        """Let the action say what it will change, or, for a read, what it finds."""
        try:
            given = await self._actions[planned.action].plan(params, draft.facts, draft.world or self._world)
        except RemediationError:
            raise
        except Exception as error:
            # One action that stumbles over one object must not stop the stream of decisions.
            raise PlanError(f"unexpected {type(error).__name__} while planning: {error}") from error
        draft.reasons += given.approval_reasons
        return _with_result(shown(planned, given), given)


def _used(step: Step) -> set[str]:
    used = set(names_of_condition(step.when)) | names_of_params(step.params) | names_of_params(step.save_state)
    return used | names_of_condition(step.require_approval) | names_of_params({"for_each": step.for_each})


_names_used = Remembered(_used)
_names_of_params = Remembered(names_of_params)


def _consequence(step: Step, draft: Draft) -> tuple[OnFailure, str]:
    """What follows a failure, and the full name of the procedure that runs before it."""
    follows = step.on_failure
    if not isinstance(follows, RunOnFailure):
        return follows, ""
    procedures = draft.runbook.procedures
    if follows.run not in procedures:
        raise PlanError(
            f"step {step.name!r}: there is no procedure {follows.run!r}; {did_you_mean(follows.run, procedures)}"
        )
    return follows.then, draft.full(follows.run)


def _policy(retry: Retry | None) -> RetryPolicy | None:
    if retry is None:
        return None
    return RetryPolicy(
        attempts=retry.attempts,
        backoff_seconds=retry.backoff.total_seconds(),
        factor=retry.factor,
        max_backoff_seconds=retry.max_backoff.total_seconds(),
        jitter=retry.jitter,
        on=retry.errors,
    )


def _asks(planned: PlannedStep, draft: Draft) -> bool | str:
    """Whether a human is asked before the step; a condition that only its turn can tell stays as it is."""
    asks = planned.require_approval
    if isinstance(asks, bool):
        return asks
    used = names_of_condition(asks)
    waits = draft.waits_for(used, _ITEM if planned.for_each is not None else ())
    return asks if waits else condition(asks, draft.names())


def _with_state(planned: PlannedStep, draft: Draft, names: Mapping[str, Any], later: tuple[str, ...]) -> PlannedStep:
    """The step with the values that it keeps, as far as they are known before it acts."""
    known: dict[str, Any] = {}
    waiting: dict[str, Any] = {}
    for name, template in planned.save_state.items():
        if planned.when is not True or draft.waits_for(names_of_params({name: template}), later):
            waiting[name] = template
        else:
            known |= rendered({name: template}, names)
    return planned.model_copy(update={"state": known, "save_state": waiting})


def _kept(planned: PlannedStep, name: str) -> bool:
    return planned.when is True and bool(planned.leaves) and all(name in leaf.state for leaf in planned.leaves)


def _patience(step: Step) -> float:
    """Seconds for the step as a whole: a wait that says how long it waits is not cut by the step's default."""
    default = step.timeout.total_seconds()
    said = step.params.get("timeout", step.params.get("seconds"))
    if "timeout" in step.model_fields_set or said is None:
        return default
    try:
        return max(default, parse_duration(said).total_seconds() + _SPARE_SECONDS)
    except ValueError:
        return default  # a template, or a mistake that the action's own check will name


def _answer_time(step: Step) -> float | None:
    """How long a step that only asks waits for its answer; None for as long as the runbook says."""
    try:
        return parse_duration(step.params["timeout"]).total_seconds() if "timeout" in step.params else None
    except ValueError:
        return None


def _with_result(step: PlannedStep, given: Planned) -> PlannedStep:
    """A read is done once planning gave its result; what gave none (a wait) runs in its turn."""
    done = step.access in (Access.READ, Access.NONE) and given.result is not None
    return step.model_copy(update={"planned": done, "result": given.result})


def _masked(step: PlannedStep, redact: Redact) -> PlannedStep:
    return step.model_copy(update={"result": masked(step.result, redact)})
