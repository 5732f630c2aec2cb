"""What holds around the steps: looked at while planning, and again just before the first change."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from executor.actions.base import Redact, TargetFacts
from executor.criteria import Checker
from executor.errors import PlanError, Unmet
from executor.model import Plan, PlannedCheck, Promises, Terms, Trigger
from runbooks.conditions import Assumption, Criterion, Kpis, OnUnmet, Precondition
from runbooks.findings import did_you_mean
from runbooks.model import Runbook
from runbooks.remembering import Remembered
from runbooks.steps import RollbackTrigger

ANY_STEP = "*"
_SECONDS = 10.0


def terms_of(runbook: Runbook) -> Terms:
    """The terms of a runbook, not looked at yet."""
    return Terms(
        preconditions=tuple(_check(each) for each in runbook.preconditions),
        assumptions=tuple(_check(each) for each in runbook.assumptions),
        criteria=tuple(_check(each) for each in runbook.verification.success_criteria),
        triggers=tuple(_trigger(each) for each in runbook.rollback.triggers),
        promises=_promises(runbook.kpis),
    )


def _check(given: Precondition | Assumption | Criterion) -> PlannedCheck:
    facts: dict[str, Any] = {"name": given.name, "check": given.check, "params": given.params}
    if isinstance(given, Precondition):
        seconds = given.timeout.total_seconds() if given.timeout else _SECONDS
        facts |= {"windows": given.windows, "timeout_seconds": seconds, "on_failure": given.on_failure.value}
    if isinstance(given, Assumption):
        facts["description"] = given.description
    return PlannedCheck(action=given.action or "", **facts)


def _trigger(given: RollbackTrigger) -> Trigger:
    watched = given.condition
    return Trigger(
        step_failed=given.step_failed or "",
        not_fixed=bool(given.not_fixed),
        condition="" if watched is None else str(watched).lower() if isinstance(watched, bool) else watched,
        health_checks=given.health_check_failed or 0,
        window_seconds=given.window.total_seconds() if given.window else 0,
        run=given.run or "",
    )


def _promises(kpis: Kpis) -> Promises:
    return Promises(
        max_duration_seconds=kpis.max_duration.total_seconds() if kpis.max_duration is not None else None,
        min_success_rate=kpis.min_success_rate,
        max_error_rate=kpis.max_error_rate,
    )


_terms = Remembered(terms_of)


async def settled(
    runbook: Runbook, checker: Checker, names: Mapping[str, Any], facts: TargetFacts, redact: Redact
) -> tuple[Terms, list[str]]:
    """The terms of a runbook with what was found of them now.

    Args:
        runbook: what its author wrote.
        checker: looks.
        names: what expressions may use: incident, target, params, execution.
        facts: what actions may leave out.
        redact: takes secrets out of what was found.

    Returns:
        The terms, and why a human has to say yes.

    Raises:
        Unmet: a precondition does not hold, and the runbook says that nothing is done then.
        PlanError: one of the terms can never be looked at.
    """
    terms = _terms(runbook)
    for what, checks in (
        ("precondition", terms.preconditions),
        ("assumption", terms.assumptions),
        ("success criterion", terms.criteria),
    ):
        for check in checks:
            checker.refuse_unsuitable(check, what)
    for trigger in terms.triggers:
        _refuse_unknown(trigger, runbook)
    found = await _all(checker, terms.preconditions, names, facts, redact)
    if unmet := next((check for check in found if check.holds is not True and _stops(check)), None):
        raise Unmet(_told("precondition", unmet), skip=unmet.on_failure == OnUnmet.SKIP)
    relied = await _all(checker, [each for each in terms.assumptions if _shows(each)], names, facts, redact)
    seen = {check.name: check for check in relied}
    assumed = tuple(seen.get(each.name, each) for each in terms.assumptions)
    reasons = [_told("precondition", check) for check in found if check.holds is not True]
    reasons += [_told("assumption", check) for check in relied if check.holds is not True]
    return terms.model_copy(update={"preconditions": found, "assumptions": assumed}), reasons


def _refuse_unknown(trigger: Trigger, runbook: Runbook) -> None:
    """A trigger that names nothing would never take anything back, and nobody would know."""
    ids = [step.id for step in runbook.steps]
    if trigger.step_failed and trigger.step_failed not in (ANY_STEP, *ids):
        advice = did_you_mean(trigger.step_failed, ids)
        raise PlanError(f"rollback trigger: there is no step {trigger.step_failed!r}; {advice}")
    if trigger.run and trigger.run not in runbook.procedures:
        advice = did_you_mean(trigger.run, runbook.procedures)
        raise PlanError(f"rollback trigger: there is no procedure {trigger.run!r}; {advice}")
    if not (trigger.step_failed or trigger.not_fixed or trigger.condition or trigger.health_checks):
        raise PlanError(
            "a rollback trigger says nothing: give step_failed, not_fixed, condition or health_check_failed"
        )


async def unmet_now(
    plan: Plan, checker: Checker, names: Mapping[str, Any], facts: TargetFacts, *, approved: bool
) -> str:
    """Why the first change must not be made, though the plan was permitted; empty when it may be.

    Args:
        plan: with its terms.
        checker: looks.
        names: as when planning.
        facts: as when planning.
        approved: a human said yes to this plan, and so to the preconditions that only ask.
    """
    found = await _all(checker, plan.terms.preconditions, names, facts, lambda text: text)
    stops = [check for check in found if check.holds is not True and not (approved and not _stops(check))]
    return f"just before the first change: {_told('precondition', stops[0])}" if stops else ""


def _stops(check: PlannedCheck) -> bool:
    return check.on_failure != OnUnmet.REQUEST_APPROVAL


def _shows(check: PlannedCheck) -> bool:
    return check.check is not None or bool(check.action)


async def _all(
    checker: Checker, checks: Sequence[PlannedCheck], names: Mapping[str, Any], facts: TargetFacts, redact: Redact
) -> tuple[PlannedCheck, ...]:
    if not checks:
        return ()
    found = await asyncio.gather(*(checker.look(check, names, facts) for check in checks))
    return tuple(check.model_copy(update={"detail": redact(check.detail)}) for check in found)


def _told(what: str, check: PlannedCheck) -> str:
    how = "cannot be read, so it does not hold" if check.holds is None else "does not hold"
    return f"{what} {check.name!r} {how}: {check.detail}"
