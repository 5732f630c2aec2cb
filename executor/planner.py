"""From a match to a plan: everything that will be done, rendered and bound by a hash, before anybody is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from executor.accounts import acting_as, own_account
from executor.actions.base import ActionTable, Redact, TargetFacts, World
from executor.actions.engine import ManualApproval, RunRunbook, RunRunbookParams
from executor.chaining import Called, Caller, entering, leaving, refuse_unsuitable
from executor.context import facts_of, template_context
from executor.criteria import Checker
from executor.draft import Draft, Runbooks
from executor.drafting import StepPlanner
from executor.errors import Permanent, PlanError, RemediationError, Unmet
from executor.graph import in_order
from executor.model import Access, Account, Plan, PlannedStep, Terms
from executor.parameters import resolve_parameters, secret_names
from executor.planhash import plan_hash
from executor.preconditions import settled
from executor.reasons import namespaces, runbook_reasons, touched
from executor.rendering import checked
from matcher.model import Match
from runbooks.model import Runbook, RunOnFailure, Step
from runbooks.remembering import Remembered

MAX_DEPTH = 3
"""How many calls deep runbooks may call each other, unless the settings say otherwise."""
_TAKES_BACK = "rollback step"
_order = Remembered(in_order)


class Planner:
    """Makes plans.

    Args:
        actions: by name and alias.
        world: for the reads that planning does.
        parameters: configured values, by runbook id and name.
        redact: takes secrets out of what reads gave before it is kept in the plan.
        runbooks: those that steps can call.
        max_depth: how many calls deep runbooks may call each other.
        accounts: whose rights the steps of a runbook have; None for the pipeline's own.
    """

    def __init__(
        self,
        actions: ActionTable,
        world: World,
        parameters: Mapping[str, Any],
        redact: Redact = lambda text: text,
        *,
        runbooks: Runbooks = dict,
        max_depth: int = MAX_DEPTH,
        accounts: Callable[[Runbook], Account | None] = own_account,
    ) -> None:
        self._world = world
        self._accounts = accounts
        self._actions = actions
        self._parameters = parameters
        self._redact = redact
        self._checker = Checker(actions, world)
        self._planner = StepPlanner(actions, world, redact)
        self._caller = Caller(runbooks, parameters, world, max_depth)

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
        configured = self._parameters.get(runbook.id) or {}
        params = resolve_parameters(runbook, {**configured, **match.parameters})
        context = template_context(match, params, execution_id, secret_names(configured, match.parameters))
        account = self._accounts(runbook)
        world = acting_as(self._world, account)
        draft, called = Draft(runbook, context, chain=(runbook.id,), world=world), Called(account=account)
        terms, doubts = await settled(runbook, self._checker, context, draft.facts, self._redact)
        steps = _numbered(await self._sequence(draft, called))
        reasons = [reason for one in called.drafts for reason in runbook_reasons(one.runbook, one.names())]
        rollback, procedures = await self._backward(called)
        everything = [*steps, *rollback, *(step for listed in procedures.values() for step in listed)]

        def facts(scope: str) -> TargetFacts:
            return facts_of(called.scopes.get(scope) or context)

        made = Plan(
            runbook_id=runbook.id,
            runbook_version=runbook.version,
            runbook_sha=match.runbook.sha,
            target_key=match.incident.target.key,
            steps=tuple(steps),
            rollback=tuple(rollback),
            context=context,
            namespaces=namespaces(facts, everything),
            touched=touched(facts, everything),
            approval_reasons=tuple(dict.fromkeys(filter(None, [match.suggested, *reasons, *doubts, *draft.reasons]))),
            dry_run_first=any(one.runbook.safety.dry_run_first for one in called.drafts),
            procedures=procedures,
            scopes=called.scopes,
            called=called.versions,
            account=account,
            **_limits(runbook, terms),
        )
        return made.model_copy(update={"hash": plan_hash(made)})

    async def _sequence(self, draft: Draft, called: Called) -> list[PlannedStep]:
        """The steps of one runbook, with those of the runbooks that it calls, as they are listed."""
        called.drafts.append(draft)
        steps = {step.id: step for step in draft.runbook.steps}
        planned = {step_id: await self._step(steps[step_id], draft, called) for step_id in _order(draft.runbook.steps)}
        return [one for step_id in steps for one in planned[step_id]]

    async def _step(self, step: Step, draft: Draft, called: Called) -> list[PlannedStep]:
        action = self._planner.action(step.action, f"step {step.name!r}")
        if isinstance(action, RunRunbook):
            return await self._call(step, draft, called)
        return [await self._planner.forward(step, draft, _waits_for(step, draft))]

    async def _call(self, step: Step, draft: Draft, called: Called) -> list[PlannedStep]:
        """The steps of the runbook that a step calls, between one that enters and one that leaves."""
        where = f"step {step.name!r}"
        try:
            refuse_unsuitable(step, draft)
            bare = await self._planner.forward(step, draft, _waits_for(step, draft))
            if bare.when is False:
                return [bare]
            params = checked(self._actions[bare.action], bare.params)
            if not isinstance(params, RunRunbookParams):
                raise PlanError(f"{bare.action} is not what calls a runbook")
            inner, version = await self._caller.draft(step, bare, params, draft)
            self._refuse_other_account(inner.runbook, called)
            inside = await self._inside(inner, called)
        except Unmet as error:
            return [_without(await self._skipped(step, draft, error))]
        except RemediationError as error:
            if isinstance(error, Permanent) and not str(error).startswith(where):
                raise PlanError(f"{where}: {error}") from error
            raise
        called.scopes[bare.id], called.versions[bare.id] = inner.context, version
        if inner.writers:
            draft.writers.add(step.id)
        first = entering(bare, step, inner.runbook.timeout.total_seconds())
        return [first, *inside, leaving(bare, (first, *inside))]

    def _refuse_other_account(self, inner: Runbook, called: Called) -> None:
        """All steps act as the account of the runbook that calls: one that names another is not run with its rights."""
        if inner.service_account and self._accounts(inner) != called.account:
            acts = called.account.user if called.account else "the pipeline's own account"
            named = f"{inner.id} names the service account {inner.service_account}"
            raise PlanError(f"{named}, and the runbook that calls it acts as {acts}")

    async def _inside(self, inner: Draft, called: Called) -> list[PlannedStep]:
        """The steps of a called runbook, once its preconditions hold."""
        _, doubts = await settled(inner.runbook, self._checker, inner.context, inner.facts, self._redact)
        inner.reasons += doubts
        return await self._sequence(inner, called)

    async def _skipped(self, step: Step, draft: Draft, error: Unmet) -> PlannedStep:
        """The step that would have called a runbook that has nothing to do here; another unmet condition stops all."""
        if not error.skip:
            raise error
        return self._planner.bare(step, draft, f"step {step.name!r}")

    async def _backward(self, called: Called) -> tuple[list[PlannedStep], dict[str, tuple[PlannedStep, ...]]]:
        """The rollback and the procedures of every runbook of the plan."""
        rollback: list[PlannedStep] = []
        procedures: dict[str, tuple[PlannedStep, ...]] = {}
        for draft in called.drafts:
            draft.pending.add("rollback")  # why it is taken back is known only then
            steps = draft.runbook.rollback.steps
            made = await self._listed(steps, draft, _TAKES_BACK, len(rollback))
            rollback += made
            for name, listed in draft.runbook.procedures.items():
                procedures[draft.full(name)] = tuple(await self._listed(listed, draft, f"procedure {name!r}, step"))
        return rollback, procedures

    async def _listed(self, steps: Sequence[Step], draft: Draft, what: str, first: int = 0) -> list[PlannedStep]:
        in_order(steps)  # circles and unknown names are told now
        made = []
        for index, step in enumerate(steps, first):
            where = f"{what} {step.name!r}"
            if isinstance(step.on_failure, RunOnFailure):
                raise PlanError(
                    f"{where}: a procedure runs when one of the runbook's own steps fails, and for no other"
                )
            action = self._planner.action(step.action, where)
            if what == _TAKES_BACK and (isinstance(action, ManualApproval) or step.require_approval is not False):
                raise PlanError(f"{where}: a rollback asks nobody, it must never be held up")
            if isinstance(action, RunRunbook):
                raise PlanError(f"{where}: run_runbook is for the steps of a runbook, and for no procedure or rollback")
            made.append(await self._planner.backward(index, step, draft, where))
        return made


def _waits_for(step: Step, draft: Draft) -> tuple[str, ...] | None:
    """Full ids of what a step depends on; in a called runbook, the entering step stands in front of all."""
    if step.depends_on is None:
        return None
    if not step.depends_on and draft.scope:
        return (draft.full(""),)
    return tuple(draft.full(other) for other in step.depends_on)


def _numbered(steps: Sequence[PlannedStep]) -> list[PlannedStep]:
    """The steps with their places; those of items carry the place of their step."""
    in_order(steps)  # of the plan as a whole: two steps may not share an id
    return [
        step.model_copy(
            update={"index": index, "each": tuple(leaf.model_copy(update={"index": index}) for leaf in step.each)}
        )
        for index, step in enumerate(steps)
    ]


def _without(bare: PlannedStep) -> PlannedStep:
    return bare.model_copy(update={"when": False, "access": Access.NONE})


def _limits(runbook: Runbook, terms: Terms) -> dict[str, Any]:
    return {
        "terms": terms,
        "timeout_seconds": runbook.timeout.total_seconds(),
        "max_parallel": runbook.max_parallel,
        "approval_seconds": runbook.safety.approval_timeout.total_seconds(),
    }
