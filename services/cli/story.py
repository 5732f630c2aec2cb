"""Tells decisions and executions in plain words. Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from executor.model import Evidence, ExecutionRecord, Plan, PlannedStep, StepRun, Trigger
    from matcher.model import Cause, Subject
    from safety.approvals import Approval
    from services.records import DecisionRecord, ExecutionStory, Story

_HEALTH = {True: "healthy", False: "not healthy", None: "unknown"}
_ANSWERS = {
    "permit": "permitted",
    "refusal": "refused",
    "approval": "a human has to say yes first",
    "no_match": "nothing was done: no runbook answers this",
    "waiting": "waiting for a root cause",
    "joined": "taken as a further input of an incident that is known",
    "no_cause": "nothing was done: no root cause appeared in time",
    "no_target": "nothing was done: what to act on could not be found",
    "plan_failed": "nothing was done: no plan could be made",
    "resolved": "nothing was done: it was over before a cause appeared",
}
_NO_REFUSALS = {
    "skipped": "nothing was done: the runbook has nothing to do here",
    "dry_run": "nothing was done: nothing else was asked for",
}
"""Checks that end an incident without saying no to anything."""


def story_text(story: Story) -> str:
    """A decision with everything that led to it and followed from it."""
    return _joined(_story(story))


def execution_text(story: ExecutionStory) -> str:
    """One execution: plan, steps, evidence, end."""
    return _joined(_execution(story))


def story_json(value: Any) -> Any:
    """Any of the records as JSON values."""
    from pydantic import TypeAdapter  # noqa: PLC0415 - keeps rb --help quick

    return TypeAdapter(type(value)).dump_python(value, mode="json")


def _joined(lines: Iterable[str]) -> str:
    # Texts come from alerts and logs: control characters must not reach a terminal.
    return "\n".join("".join(c if c.isprintable() else " " for c in line) for line in lines)


def at(moment: datetime | None) -> str:
    """A point in time for people."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "?"


def span(start: datetime | None, end: datetime | None) -> str:
    """A length of time for people; empty when either end is missing."""
    if start is None or end is None:
        return ""
    seconds = (end - start).total_seconds()
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest}s" if minutes else f"{seconds:.1f}s"


def _story(story: Story) -> Iterator[str]:
    decision = story.decision
    yield from _signal(story)
    yield from _section("Root cause", _causes(decision))
    yield from _section("Target", _target(decision))
    yield from _section("Runbooks looked at", _candidates(decision))
    yield from _section("Policies", _policies(decision))
    yield from _section("Decision", answer_lines(decision))
    yield from _section("Would have changed", decision.suggested)
    for told in story.executions:
        yield ""
        yield from _execution(told)
    if story.closed_at:
        yield f"The alert was resolved {at(story.closed_at)}."
    if decision.incident:
        yield f"Ids: incident {decision.incident.id}, decision {decision.id}"
    else:
        yield f"Ids: decision {decision.id} (no incident)"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    body = list(lines)
    if body:
        yield title
        yield from (f"  {line}" for line in body)


def _signal(story: Story) -> Iterator[str]:
    signal = story.decision.signal
    yield f"{signal.reason} ({signal.severity}) about {subject_text(signal.subject)}, cluster {signal.cluster}"
    more = f"; {story.repeat_count} inputs until {at(story.last_seen)}" if story.repeat_count > 1 else ""
    yield f"  first seen {at(story.decision.first_seen)}, event {signal.event_id}, tenant {signal.tenant}{more}"
    if signal.message:
        yield f"  {signal.message}"


def subject_text(subject: Subject) -> str:
    """An object for people."""
    place = f"{subject.namespace}/" if subject.namespace else ""
    return f"{subject.kind} {place}{subject.name or subject.uid}" if subject.kind else "an unknown object"


def _causes(decision: DecisionRecord) -> Iterator[str]:
    incident = decision.incident
    chosen = incident.cause if incident else None
    others = [c for c in decision.causes if chosen is None or c.event_id != chosen.event_id]
    for cause in [*([chosen] if chosen else []), *others]:
        yield cause_text(cause) + (" <- acted on" if cause is chosen and others else "")


def cause_text(cause: Cause) -> str:
    """A root cause with its confidence."""
    hops = "" if cause.hops is None else f", {cause.hops} {'hop' if cause.hops == 1 else 'hops'} away"
    score = f"confidence {cause.confidence:.2f} (raw {cause.raw_score:.2f} by {cause.writer}{hops})"
    return f"{cause.reason} about {subject_text(cause.subject)}, {score}"


def _target(decision: DecisionRecord) -> Iterator[str]:
    if decision.incident:
        target = decision.incident.target
        place = f"{target.namespace}/" if target.namespace else ""
        inside = f", container {target.container}" if target.container else ""
        yield f"{target.kind} {place}{target.name}{inside} (found by {target.resolved_by})"


def _candidates(decision: DecisionRecord) -> Iterator[str]:
    for candidate in decision.candidates:
        why = candidate.lost_because
        yield f"{candidate.runbook_id} {candidate.version}: {f'not taken, {why}' if why else 'taken'}"


def _policies(decision: DecisionRecord) -> Iterator[str]:
    """Every policy that applied, with the version that did."""
    for use in decision.policies:
        yield f"{use.id} (version {use.version}): {', '.join(use.decided) or 'decided nothing'}"


def answer_lines(decision: DecisionRecord) -> Iterator[str]:
    """What was decided, and why."""
    check = f" by the check '{decision.check}'" if decision.check else ""
    attempt = f", attempt {decision.attempt}" if decision.attempt > 1 else ""
    said = _NO_REFUSALS.get(decision.check) if decision.kind == "refusal" else None
    said = said or _ANSWERS[decision.kind]
    yield f"{said}{check} ({at(decision.decided_at)}{attempt})"
    if decision.message:
        yield decision.message
    yield from (f"{name}: {_number(value)}" for name, value in decision.numbers.items())
    if decision.next_check_at:
        yield f"looks again {at(decision.next_check_at)}, gives up {at(decision.deadline)}"


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _execution(story: ExecutionStory) -> Iterator[str]:
    record = story.record
    yield f"Execution {record.id}: {ending_text(record)}"
    yield f"  runbook {record.plan.runbook_id} {record.plan.runbook_version} on {record.plan.target_key}"
    yield from (f"  {line}" for line in _times(story))
    for approval in story.approvals:
        yield from (f"  {line}" for line in _approval(approval))
    yield from (f"  {line}" for line in terms(record.plan))
    yield "  plan"
    for number, step in zip(count(1), record.plan.steps, strict=False):
        yield from (f"    {line}" for line in _step(number, step))
    if record.steps:
        yield "  what happened"
        yield from (f"    {run_text(run)}" for run in record.steps)
    if story.evidence:
        yield "  verification"
        yield from (f"    {e.at:%H:%M:%S} {evidence_text(e)}" for e in story.evidence)
    yield from (f"  {line}" for line in _kpis(story))
    if record.error:
        yield f"  error: {record.error}"


def terms(plan: Plan) -> Iterator[str]:
    """What holds around the steps of a plan, with what was found while planning."""
    kept = plan.terms
    for what, checks in (("precondition", kept.preconditions), ("assumption", kept.assumptions)):
        for check in checks:
            said = check.description or "only stated"
            found = f"{_HELD[check.holds]}, {check.detail}" if check.detail else said
            yield f"{what} {check.name}: {found}"
    for check in kept.criteria:
        yield f"success criterion {check.name}: {check.check if check.check is not None else check.action}"
    yield from (f"rolled back when {_trigger(trigger)}" for trigger in kept.triggers)


_HELD = {True: "holds", False: "does not hold", None: "cannot be read"}


def _trigger(trigger: Trigger) -> str:
    parts = [f"step {trigger.step_failed} fails"] if trigger.step_failed else []
    parts += ["it did not help"] if trigger.not_fixed else []
    lasting = f" for {trigger.window_seconds:g} s" if trigger.window_seconds else ""
    parts += [f"{trigger.condition}{lasting}"] if trigger.condition else []
    parts += [f"{trigger.health_checks} health checks in a row fail"] if trigger.health_checks else []
    return " or ".join(parts) + (f", by {trigger.run}" if trigger.run else "")


def evidence_text(evidence: Evidence) -> str:
    """One look of the verification."""
    return f"{_HEALTH[evidence.healthy]}: {evidence.detail}"


def _kpis(story: ExecutionStory) -> Iterator[str]:
    """Promises and what came of them."""
    from executor.kpis import success_rate  # noqa: PLC0415 - keeps rb --help quick

    record = story.record
    for kpi in record.kpis:
        yield f"KPI {kpi.name}: {kpi.value:.3g}, promised at most {kpi.limit:g}: {'kept' if kpi.met else 'missed'}"
    verified, ended = story.success or (0, 0)
    if rate := success_rate(record.plan.terms.promises, verified, ended):
        said = f"{rate.value:.3g} ({verified} of {ended} lately)"
        yield f"KPI {rate.name}: {said}, promised at least {rate.limit:g}: {'kept' if rate.met else 'missed'}"


def ending_text(record: ExecutionRecord) -> str:
    """How an execution stands, or ended."""
    parts = [record.status.value.replace("_", " ")]
    parts += [record.outcome.value] if record.outcome else []
    parts += [f"verdict {record.verdict.value.replace('_', ' ')}"] if record.verdict else []
    return ", ".join(parts)


def _times(story: ExecutionStory) -> Iterator[str]:
    record = story.record
    yield f"asked {at(record.requested_at)}"
    if record.started_at:
        again = ", taken over after a crash" if record.resumed else ""
        yield f"began {at(record.started_at)} by {story.holder or '?'}{again}"
    elif story.permit_expires_at:
        yield f"permit good until {at(story.permit_expires_at)}"
    if record.finished_at:
        took = span(record.started_at, record.finished_at)
        yield f"ended {at(record.finished_at)}{f', took {took}' if took else ''}"
    if story.lease_until:
        yield f"held until {at(story.lease_until)} unless renewed"


def _approval(approval: Approval) -> Iterator[str]:
    asked = f"approval {approval.status.value}: {'; '.join(approval.reasons) or 'no reason given'}"
    if approval.answered_by:
        why = f", {approval.answer_reason}" if approval.answer_reason else ""
        yield f"{asked}; by {approval.answered_by} {at(approval.answered_at)}{why}"
    else:
        yield f"{asked}; open until {at(approval.expires_at)}"
    yield from (f"  {line}" for line in demands(approval))


def demands(approval: Approval) -> Iterator[str]:
    """What the rules ask of people, who said yes so far, and who is still needed."""
    for rule in approval.rules:
        who = ", ".join(map(str, rule.approvers)) or "anybody"
        about = f" about step {rule.step}" if rule.step else ""
        order = ", one after the other" if rule.order == "sequential" else ""
        yield f"rule {rule.name}{about}: {who}{order}{', with a comment' if rule.comment_required else ''}"
        for what, choices in (("yes", rule.approve), ("no", rule.reject)):
            if choices:
                yield f"  ways to say {what}: " + ", ".join(f"{one.value} ({one.label})" for one in choices)
    for yes in approval.yeses:
        chosen = f" ({yes.choice})" if yes.choice else ""
        instead = f" for {', '.join(yes.stands_for)}" if yes.stands_for else ""
        why = f": {yes.comment}" if yes.comment else ""
        yield f"yes by {yes.by}{instead} {yes.at:%Y-%m-%d %H:%M:%S} UTC{chosen}{why}"
    if approval.status == "pending":
        yield from (f"still needed: {who}" for who in approval.lacking)
        if approval.wanted:
            yield f"asked now: {', '.join(map(str, approval.wanted))}"
        if approval.barred:
            yield f"may not say yes to their own: {', '.join(approval.barred)}"
        yield from (f"emergency bypass {each}" for each in approval.bypass)
    if approval.choice:
        yield f"the no was given as: {approval.choice}"
    if approval.bypassed:
        yield f"emergency bypass {approval.bypassed} by {approval.answered_by}: nobody else was asked"


def _step(number: int, step: PlannedStep) -> Iterator[str]:
    repeats = f", for each of {len(step.items)} items" if step.items is not None else ", for each item"
    yield f"{number}. {step.name} ({step.action}{repeats if step.repeats else ''})"
    for change in (change for leaf in step.leaves for change in leaf.changes):
        undo = "cannot be undone" if change.irreversible else f"undo: {change.undo}"
        yield f"   {f'{change.ref}: ' if change.ref else ''}{change.summary} [{undo}]"


def run_text(run: StepRun) -> str:
    """One run of one step."""
    took = span(run.started_at, run.finished_at)
    phase = "" if run.phase == "step" else f"{run.phase}: "
    which = "" if run.item is None else f" (item {run.item})"
    tried = f", attempt {run.attempt}" if run.attempt > 1 else ""
    error = f", {run.error}" if run.error else ""
    ended = f"{run.status.value}{f' in {took}' if took else ''}{tried}{error}"
    return f"{run.started_at:%H:%M:%S} {phase}{run.name}{which}: {ended}"
