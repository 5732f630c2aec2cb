"""Checks of what stands around the steps: checks, windows, schedules, rollback triggers, approvals, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from runbooks.conditions import ApprovalRule, ChangeWindow
from runbooks.findings import Finding, did_you_mean
from runbooks.lint_actions import check_call
from runbooks.lint_scope import ANY, KNOWN
from runbooks.model import Safety
from runbooks.names import uses
from runbooks.sandbox import TemplateError, has_template
from runbooks.steps import RollbackTrigger
from runbooks.subject import Path, Subject
from runbooks.triggers import Schedule

_COMPARISON = re.compile(r"(?:[<>=!]=|[<>])\s*\S")
_CRON_FIELDS = 5
_SOME_DAY = datetime(2025, 1, 1)  # noqa: DTZ001 - any day will do: only whether there is a next time matters


def check_terms(subject: Subject) -> Iterator[Finding]:
    """Everything around the steps, in the order of the reference."""
    runbook = subject.runbook
    for index, schedule in enumerate(runbook.trigger.schedule):
        yield from _schedule(subject, ("trigger", "schedule", index), schedule)
    yield from _checks(subject)
    for index, precondition in enumerate(runbook.preconditions):
        for number, window in enumerate(precondition.windows):
            yield from _window(subject, ("preconditions", index, "windows", number), window)
    yield from _rates(subject, runbook.safety)
    for index, rule in enumerate(runbook.approvals.rules):
        yield from _rule(subject, ("approvals", "rules", index), rule)
    for index, bypass in enumerate(runbook.approvals.bypass):
        if not bypass.requires_justification:
            path = ("approvals", "bypass", index, "requires_justification")
            yield subject.found("RB426", f"{bypass.name} needs no justification", path)
    for index, trigger in enumerate(runbook.rollback.triggers):
        yield from _trigger(subject, ("rollback", "triggers", index), trigger)


def _schedule(subject: Subject, path: Path, schedule: Schedule) -> Iterator[Finding]:
    zone = schedule.timezone
    yield from _zone(subject, (*path, "timezone"), zone)
    if len(schedule.cron.split()) != _CRON_FIELDS:
        message = f"{schedule.cron!r:.60} has {len(schedule.cron.split())} fields"
        yield subject.found("RB220", message, (*path, "cron"), advice="minute hour day-of-month month day-of-week")
        return
    try:
        next(CronSim(schedule.cron, _SOME_DAY))
    except CronSimError as error:
        yield subject.found("RB220", f"{schedule.cron!r:.60}: {error}".lower(), (*path, "cron"))
    except StopIteration:
        yield subject.found("RB220", f"{schedule.cron!r:.60} is a time that never comes", (*path, "cron"))


def _zone(subject: Subject, path: Path, name: str) -> Iterator[Finding]:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        advice = did_you_mean(name, available_timezones())
        yield subject.found("RB221", f"there is no time zone {name!r:.60}", path, advice=advice)


def _window(subject: Subject, path: Path, window: ChangeWindow) -> Iterator[Finding]:
    yield from _zone(subject, (*path, "timezone"), window.timezone)
    if not window.days:
        yield subject.found("RB222", "the window is open on no day", (*path, "days"))
    if window.start == window.end:
        message = f"the window from {window.start} to {window.end} is never open"
        yield subject.found("RB222", message, path, advice="00:00 to 24:00 is the whole day")


def _checks(subject: Subject) -> Iterator[Finding]:
    """What is looked at: it must say what, and it may only read."""
    runbook = subject.runbook
    for index, precondition in enumerate(runbook.preconditions):
        nothing = precondition.check is None and precondition.action is None and not precondition.windows
        yield from _check(subject, ("preconditions", index), precondition, nothing=nothing)
    for index, assumption in enumerate(runbook.assumptions):
        yield from _check(subject, ("assumptions", index), assumption, nothing=False)
    for index, criterion in enumerate(runbook.verification.success_criteria):
        nothing = criterion.check is None and criterion.action is None
        yield from _check(subject, ("verification", "success_criteria", index), criterion, nothing=nothing)


def _check(subject: Subject, path: Path, check: Any, *, nothing: bool) -> Iterator[Finding]:
    if nothing:
        yield subject.found("RB225", f"{check.name!r} has nothing to look at", path)
    if check.action is None:
        if check.params:
            yield subject.found("RB225", f"{check.name!r} has params, and no action that takes them", (*path, "params"))
        return
    yield from check_call(subject, path, check.action, check.params)
    schema = (subject.actions or {}).get(check.action, {})
    reads = str(check.params.get("method", "")).upper() in {"GET", "HEAD"} or schema.get("x-name") == "sql_query"
    if schema.get("x-access") in {"write", "notify"} and not reads:
        yield subject.found("RB226", f"{check.action} does not only read", (*path, "action"))


def _rates(subject: Subject, safety: Safety) -> Iterator[Finding]:
    """A longer window that allows less makes the shorter one pointless."""
    hour = min(filter(None, (safety.rates.per_hour, safety.max_executions_per_hour)), default=None)
    limits = (("per_minute", safety.rates.per_minute), ("per_hour", hour), ("per_day", safety.rates.per_day))
    given = [(name, limit) for name, limit in limits if limit is not None]
    for (short, some), (long, fewer) in pairwise(given):
        if fewer < some and "rates" in safety.model_fields_set:
            message = f"{short} allows {some}, but {long} only {fewer}"
            yield subject.found("RB424", message, ("safety", "rates", short))


def _rule(subject: Subject, path: Path, rule: ApprovalRule) -> Iterator[Finding]:
    limit = rule.timeout if rule.timeout is not None else subject.runbook.safety.approval_timeout
    for index, escalation in enumerate(rule.escalation):
        if escalation.after >= limit:
            message = f"{rule.name}: the question has expired when {', '.join(escalation.notify)} would hear of it"
            yield subject.found("RB425", message, (*path, "escalation", index, "after"))
    names = [(approver.type, approver.value) for approver in rule.approvers]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield subject.found("RB425", f"{name[0]} {name[1]} is named twice", (*path, "approvers", index))


def _trigger(subject: Subject, path: Path, trigger: RollbackTrigger) -> Iterator[Finding]:
    reasons = ("step_failed", "not_fixed", "condition", "health_check_failed")
    given = [name for name in reasons if getattr(trigger, name) is not None]
    if len(given) != 1:
        message = f"a trigger has one reason, this one has {' and '.join(given) or 'none'}"
        yield subject.found("RB227", message, path, advice=f"one of: {', '.join(reasons)}")
    if trigger.window is not None and trigger.condition is None:
        yield subject.found("RB227", "only a condition is watched for a window", (*path, "window"))
    if isinstance(trigger.condition, str):
        yield from _watched(subject, (*path, "condition"), trigger.condition)


def _watched(subject: Subject, path: Path, text: str) -> Iterator[Finding]:
    """An expression over known names, else a comparison for Prometheus."""
    known: Mapping[str, Any] = {**KNOWN, "metrics": ANY, "params": ANY, "state": ANY, "steps": ANY}
    try:
        roots = {use.path[0] for use in uses(text, expression=True) if not use.called}
    except TemplateError:
        roots = set()
    if (roots and roots <= known.keys()) or _COMPARISON.search(text):
        return
    message = f"{text!r:.80} is neither an expression over known names nor a PromQL comparison"
    advice = next((did_you_mean(root, known) for root in sorted(roots - known.keys()) if not has_template(text)), "")
    yield subject.found("RB228", message, path, advice=advice)
