"""What people have to know to answer a question, as values. Each surface shows them in its own way.

Everything is plain text as it came, with secrets taken out: escaping belongs to the surface.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from executor.actions.diff import MISSING, FieldChange, dotted
from executor.model import Change, ExecutionRecord, PlannedStep
from executor.notify import message_of
from executor.reasons import leaves
from matcher.model import Cause, Subject
from safety.access import Scope
from safety.approvals import Approval
from services.records import DecisionRecord

Redact = Callable[[str], str]

_LONGEST_VALUE = 1_000
_MOST_LINES = 200
"""Of one write; a manifest can have thousands, and nobody reads them in a message."""


@dataclass(frozen=True, slots=True)
class Write:
    """One change that the plan makes.

    Attributes:
        step: its name.
        about: the object, or empty where the change is of none.
        summary: in one line.
        diff: lines that begin with ``-`` for what is there and ``+`` for what will be; empty where nothing is known.
        undo: how it is taken back; empty when it cannot be.
    """

    step: str
    action: str
    about: str
    summary: str
    diff: tuple[str, ...] = ()
    undo: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with what is needed to answer it.

    Attributes:
        chain: from what was seen to the root cause, one line each.
        blast: what the plan may affect, in words; empty when it was not counted.
        steps: names of the plan's steps, in order.
        rollback: how the plan as a whole is taken back.
        message: the runbook's own words, if it has some.
        channel: where the runbook wants to be asked; empty for the usual place.
        scope: what an answer is about, for the question who may give it.
    """

    approval: Approval
    runbook: str
    version: str
    target: str
    chain: tuple[str, ...]
    confidence: float | None
    blast: str
    steps: tuple[str, ...]
    writes: tuple[Write, ...]
    rollback: str
    message: str
    channel: str
    scope: Scope

    @property
    def needs_comment(self) -> bool:
        """Whether a yes needs more than a click: a comment, or one of several ways to say it."""
        return any(rule.comment_required or rule.approve for rule in self.approval.rules)


def question_of(
    approval: Approval, record: ExecutionRecord, decision: DecisionRecord | None, redact: Redact
) -> Question:
    """Put the facts of a question together.

    Args:
        approval: as it stands.
        record: the execution that waits.
        decision: that led to it; None when it is not on record.
        redact: takes secrets out of a text.
    """
    plan = record.plan
    told = record.notification.get("on_approval") or {}
    own = told.get("slack") or {}
    confidence = record.incident.get("confidence")
    return Question(
        approval=approval,
        runbook=plan.runbook_id,
        version=plan.runbook_version,
        target=plan.target_key,
        chain=tuple(redact(line) for line in _chain(record, decision)),
        confidence=confidence if isinstance(confidence, int | float) else None,
        blast=_blast(decision),
        steps=tuple(redact(step.name) for step in plan.steps),
        writes=tuple(_writes(record, redact)),
        rollback=redact(_rollback(record)),
        message=redact(message_of(str(own["message"]), record)) if own.get("message") else "",
        channel=str(own.get("channel") or "") or _channel_of(approval),
        scope=scope_of(record),
    )


def _channel_of(approval: Approval) -> str:
    """The first channel of the chat that a rule names."""
    named = (each.channel for rule in approval.rules for each in rule.channels if each.type == "slack")
    return next(filter(None, named), "")


def scope_of(record: ExecutionRecord) -> Scope:
    """What an execution acts on, for the question of access; unknown parts are None."""
    target = record.incident.get("target")
    target = target if isinstance(target, Mapping) else {}
    return Scope(
        tenant=str(record.incident.get("tenant") or "") or None,
        cluster=str(record.incident.get("cluster") or "") or None,
        namespace=str(target.get("namespace") or "") or None,
        runbook=record.plan.runbook_id,
    )


def _chain(record: ExecutionRecord, decision: DecisionRecord | None) -> Iterator[str]:
    """From the symptom to the cause that is acted on, then other causes that were weighed."""
    if decision is None:
        yield f"{record.incident.get('reason', 'unknown')} (the decision is not on record)"
        return
    signal = decision.signal
    yield f"Seen: {signal.reason} on {_subject(signal.subject)}" + (f": {signal.message}" if signal.message else "")
    chosen = decision.incident.cause if decision.incident else None
    if chosen is not None:
        yield f"Caused by: {_cause(chosen)}"
    for cause in decision.causes:
        if chosen is None or cause.event_id != chosen.event_id:
            yield f"Also weighed: {_cause(cause)}"


def _subject(subject: Subject) -> str:
    place = f"{subject.namespace}/" if subject.namespace else ""
    return f"{subject.kind} {place}{subject.name or subject.uid}" if subject.kind else "an unknown object"


def _cause(cause: Cause) -> str:
    hops = "" if cause.hops is None else f", {cause.hops} {'hop' if cause.hops == 1 else 'hops'} away in the graph"
    return f"{cause.reason} on {_subject(cause.subject)}, confidence {cause.confidence:.2f} by {cause.writer}{hops}"


def _blast(decision: DecisionRecord | None) -> str:
    numbers = decision.numbers if decision else {}
    count = numbers.get("blast_radius")
    if not isinstance(count, int | float):
        return ""
    sources = [
        f"{numbers[name]:g} by the {label}" if isinstance(numbers.get(name), int | float) else ""
        for name, label in (("blast_live", "cluster"), ("blast_graph", "graph"))
    ]
    pods = numbers.get("namespace_pods")
    share = f"; {pods:g} pods are in its namespaces" if isinstance(pods, int | float) else ""
    named = ", ".join(filter(None, sources))
    return f"{count:g} affected" + (f" ({named})" if named else "") + share


def _writes(record: ExecutionRecord, redact: Redact) -> Iterator[Write]:
    for step in leaves(record.plan.steps):
        for change in step.changes:
            yield _write(step, change, redact)


def _write(step: PlannedStep, change: Change, redact: Redact) -> Write:
    return Write(
        step=redact(step.name),
        action=step.action,
        about=str(change.ref) if change.ref else "",
        summary=redact(change.summary),
        diff=tuple(redact(line) for line in _diff(change)),
        undo="" if change.irreversible else redact(change.undo),
    )


def _diff(change: Change) -> Iterator[str]:
    """Before and after of each field, as the dry run found it."""
    fields = (change.before or {}).get("fields") or ()
    for number, field in enumerate(fields):
        if number * 2 >= _MOST_LINES:
            yield f"  ... and {len(fields) - number} more fields"
            return
        one = FieldChange.from_json(field)
        if one.before is not MISSING:
            yield f"- {dotted(one.path)}: {_value(one.before)}"
        if one.after is not MISSING:
            yield f"+ {dotted(one.path)}: {_value(one.after)}"


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _rollback(record: ExecutionRecord) -> str:
    plan = record.plan
    lasting = [change.summary for step in leaves(plan.steps) for change in step.changes if change.irreversible]
    cannot = f". Cannot be undone: {'; '.join(lasting)}" if lasting else ""
    if plan.rollback:
        return f"the runbook's own steps: {', '.join(step.name for step in plan.rollback)}{cannot}"
    if not any(step.changes for step in leaves(plan.steps)):
        return "nothing is known to change"
    return f"each change is undone by its inverse, last first{cannot}"
