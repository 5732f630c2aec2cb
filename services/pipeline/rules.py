"""Which of a runbook's approval rules apply to a plan, and what they ask of people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from executor.context import results_of, scope
from executor.errors import PlanError
from executor.model import Plan
from executor.rendering import condition
from matcher.model import Run
from runbooks.conditions import ApprovalRule, Approvals, Reason
from runbooks.model import Runbook
from safety.quorum import Approver, Bypass, Channel, Choice, Escalation, Rule


def applying(approvals: Approvals, plan: Plan) -> tuple[ApprovalRule, ...]:
    """The rules that apply: those whose condition holds, or cannot be read, for a step that will run.

    A condition may use what is known before the first change.
    """
    names = scope(plan.context, results_of(plan, ()))
    skipped = {step.id for step in plan.steps if step.when is False}
    found = []
    for rule in approvals.rules:
        try:
            holds = condition(rule.when, names)
        except PlanError:
            holds = True  # missing data never permits
        if holds and rule.step not in skipped:
            found.append(rule)
    return tuple(found)


def reasons_of(rules: Sequence[ApprovalRule], plan: Plan) -> tuple[str, ...]:
    """Why a human is asked, one line for each rule."""
    steps = {step.id: step.name for step in plan.steps}
    about = (f" about step {steps.get(rule.step, rule.step)!r}" if rule.step else "" for rule in rules)
    return tuple(f"the approval rule {rule.name!r}{text}" for rule, text in zip(rules, about, strict=True))


def asked_of_people(rule: ApprovalRule) -> Rule:
    """The rule as the question keeps it."""
    return Rule(
        name=rule.name,
        step=rule.step,
        approvers=tuple(Approver(each.type, each.value, each.required, each.min_approvals) for each in rule.approvers),
        order=rule.order,
        comment_required=rule.comment_required,
        approve=_choices(rule.approve),
        reject=_choices(rule.reject),
        escalation=tuple(Escalation(each.after.total_seconds(), tuple(each.notify)) for each in rule.escalation),
        channels=tuple(Channel(each.type, each.channel, each.severity, each.template) for each in rule.channels),
    )


def _choices(given: Sequence[Reason]) -> tuple[Choice, ...]:
    return tuple(Choice(each.value, each.label, each.requires_comment) for each in given)


def patience(rules: Sequence[ApprovalRule], longest: timedelta) -> timedelta:
    """How long a question is open: the shortest time that anybody allows."""
    return min([longest, *(rule.timeout for rule in rules if rule.timeout is not None)])


def bypasses(approvals: Approvals) -> tuple[Bypass, ...]:
    """Emergency ways around a question."""
    return tuple(Bypass(each.name, tuple(each.roles), each.audit_level) for each in approvals.bypass)


def barred(runbook: Runbook, run: Run | None) -> tuple[str, ...]:
    """Who may not say yes to their own: who asked for the run, and who wrote the runbook."""
    return tuple(dict.fromkeys(filter(None, (run.by if run else "", runbook.author))))
