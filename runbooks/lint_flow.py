"""Checks of how steps follow each other: dependencies, what can never run, retries, times, procedures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from runbooks.durations import format_duration, parse_duration
from runbooks.findings import Finding, did_you_mean
from runbooks.model import OnFailure, OnSuccess, RetryOn, RunOnFailure, Step
from runbooks.order import ancestors, circle, edges
from runbooks.subject import Path, Subject

_AWAITED = frozenset({"condition", "until", "metric"})
_NEVER = frozenset({"false", "{{ false }}", "{{false}}"})


def check_flow(subject: Subject) -> Iterator[Finding]:
    """Each list of steps, then what refers to steps and procedures by name."""
    for path, steps in subject.lists():
        yield from _dependencies(subject, path, steps)
        yield from _unreachable(subject, path, steps)
        for index, step in enumerate(steps):
            yield from _step(subject, (*path, index), step)
    yield from _references(subject)
    yield from _procedures(subject)
    yield from _whole(subject)


def _dependencies(subject: Subject, path: Path, steps: Sequence[Step]) -> Iterator[Finding]:
    known = {step.id for step in steps}
    for index, step in enumerate(steps):
        for number, needed in enumerate(step.depends_on or ()):
            if needed not in known:
                here = (*path, index, "depends_on", number)
                advice = did_you_mean(needed, known - {step.id})
                yield subject.found("RB218", f"{step.id} waits for {needed}, which does not exist", here, advice=advice)
    if len(known) == len(steps) and (ring := circle(edges(steps))):
        index = next(index for index, step in enumerate(steps) if step.id == ring[0])
        yield subject.found("RB213", f"these wait for each other: {' -> '.join(ring)}", (*path, index, "depends_on"))


def _unreachable(subject: Subject, path: Path, steps: Sequence[Step]) -> Iterator[Finding]:
    """Steps that no run of the runbook comes to."""
    waits = edges(steps)
    never: dict[str, str] = {}
    for step in steps:
        if step.when is False or (isinstance(step.when, str) and step.when.strip().lower() in _NEVER):
            never[step.id] = "its condition is always false"
    enders = {step.id for step in steps if _always_ends(step)}
    for index, step in enumerate(steps):
        behind = sorted(enders & ancestors(waits, step.id))
        if behind:
            never.setdefault(step.id, f"{behind[0]} completes the runbook before it, or stops it")
        if step.id in never:
            here = (*path, index, "when") if "when" in step.model_fields_set else (*path, index)
            yield subject.found("RB214", f"the step {step.id} never runs: {never[step.id]}", here)


def _always_ends(step: Step) -> bool:
    """Whether nothing comes after the step: success completes the runbook, and failure stops it."""
    stops = step.on_failure in {OnFailure.ABORT, OnFailure.ROLLBACK}
    return step.on_success is OnSuccess.COMPLETE and stops and step.when is True


def _step(subject: Subject, path: Path, step: Step) -> Iterator[Finding]:
    yield from _retry(subject, path, step)
    if isinstance(step.on_failure, RunOnFailure):
        yield from _procedure(subject, step.on_failure.run, (*path, "on_failure", "run"))
    waits = subject.action_of(step) == "wait" and _AWAITED & step.params.keys()
    if waits and "timeout" not in step.params and not _timed(step):
        message = f"the step {step.id} waits as long as every step may, {format_duration(step.timeout)}"
        yield subject.found("RB422", message, (*path, "params"))
    inner = _waits(step)
    if _timed(step) and inner is not None and inner > step.timeout:
        message = f"{step.id} waits {format_duration(inner)}, but the step ends after {format_duration(step.timeout)}"
        yield subject.found("RB419", message, (*path, "timeout"))
    whole = subject.runbook.timeout
    if path[0] == "steps" and step.timeout > whole:
        message = f"the step {step.id} may take {format_duration(step.timeout)}, all together {format_duration(whole)}"
        yield subject.found("RB419", message, (*path, "timeout"))


def _timed(step: Step) -> bool:
    return "timeout" in step.model_fields_set


def _waits(step: Step) -> timedelta | None:
    """How long the action itself may wait, where it says so plainly."""
    try:
        return parse_duration(step.params["timeout"])
    except (KeyError, ValueError):
        return None


def _retry(subject: Subject, path: Path, step: Step) -> Iterator[Finding]:
    if step.retry is None or step.retry.attempts == 1:
        return
    risky = {RetryOn.TIMEOUT, RetryOn.FAILED} & set(step.retry.errors)
    if risky and _not_repeatable(subject, step):
        words = ", ".join(sorted(risky))
        message = f"{step.action} may have happened already when it is tried again after: {words}"
        yield subject.found("RB417", message, (*path, "retry"))
    if step.retry.max_backoff < step.retry.backoff:
        yield subject.found("RB429", "max_backoff is shorter than backoff", (*path, "retry", "max_backoff"))


def _not_repeatable(subject: Subject, step: Step) -> bool:
    schema = (subject.actions or {}).get(step.action, {})
    reads = str(step.params.get("method", "")).upper() in {"GET", "HEAD"}
    return schema.get("x-idempotent") is False and step.idempotent is not True and not reads


def _references(subject: Subject) -> Iterator[Finding]:
    """Rules and triggers that name steps."""
    known = {step.id for step in subject.runbook.steps}
    for index, rule in enumerate(subject.runbook.approvals.rules):
        if rule.step and rule.step not in known:
            path: Path = ("approvals", "rules", index, "step")
            advice = did_you_mean(rule.step, known)
            yield subject.found("RB216", f"there is no step {rule.step} to approve", path, advice=advice)
    for index, trigger in enumerate(subject.runbook.rollback.triggers):
        path = ("rollback", "triggers", index)
        failed = trigger.step_failed
        if failed is not None and failed != "*" and failed not in known:
            advice = did_you_mean(failed, known)
            yield subject.found(
                "RB216", f"there is no step {failed} that could fail", (*path, "step_failed"), advice=advice
            )
        if trigger.run is not None:
            yield from _procedure(subject, trigger.run, (*path, "run"))


def _procedure(subject: Subject, name: str, path: Path) -> Iterator[Finding]:
    known = subject.runbook.procedures
    if name not in known:
        advice = did_you_mean(name, known) or "add it under procedures"
        yield subject.found("RB215", f"there is no procedure {name}", path, advice=advice)


def _procedures(subject: Subject) -> Iterator[Finding]:
    used = {trigger.run for trigger in subject.runbook.rollback.triggers}
    used |= {step.on_failure.run for _, step in subject.steps() if isinstance(step.on_failure, RunOnFailure)}
    for name, steps in subject.runbook.procedures.items():
        if not steps:
            yield subject.found("RB110", f"the procedure {name} has no steps", ("procedures", name))
        if name not in used:
            yield subject.found("RB217", f"nothing runs the procedure {name}", ("procedures", name))
    for name, steps in subject.runbook.procedures.items():
        for index, step in enumerate(steps):
            if isinstance(step.on_failure, RunOnFailure) and step.on_failure.run == name:
                path = ("procedures", name, index, "on_failure")
                yield subject.found("RB213", f"the procedure {name} runs itself when {step.id} fails", path)


def _whole(subject: Subject) -> Iterator[Finding]:
    if not subject.runbook.timeout:
        yield subject.found("RB404", "the runbook has no time", ("timeout",))
    promised = subject.runbook.kpis.max_duration
    if promised is not None and not promised:
        yield subject.found("RB404", "max_duration leaves no time", ("kpis", "max_duration"))
