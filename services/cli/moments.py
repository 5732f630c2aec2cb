"""One ordered story of an incident, from its signal to its outcome. Pure: records and entries in, moments out."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from safety.approvals import Approval
from safety.trail import PIPELINE, EntryKind
from services.cli import story as words
from services.records import ExecutionStory, Story

_TOLD_BY_THE_RECORDS = frozenset(
    {
        *(EntryKind.DECISION_RECORDED, EntryKind.DECISION_CLOSED, EntryKind.EXECUTION_REQUESTED),
        *(EntryKind.EXECUTION_STARTED, EntryKind.EXECUTION_ENDED, EntryKind.STEP_INTENDED, EntryKind.STEP_ENDED),
        *(EntryKind.STEP_UNDONE, EntryKind.APPROVAL_ASKED),
    }
)
"""Kinds of entries whose story the records tell with more detail."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened.

    Attributes:
        kind: what it is about: signal, decision, approval, execution, step, verification, audit.
        who: who did it; the pipeline when nobody did.
        entry: the audit entry that tells of it, where there is one of its own.
    """

    at: datetime
    kind: str
    text: str
    who: str = PIPELINE
    entry: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """Where to look further."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The story of one incident."""

    incident: str
    title: str
    outcome: str
    moments: tuple[Moment, ...]
    links: tuple[Link, ...] = ()


def timeline(
    stories: Sequence[Story], entries: Iterable[Mapping[str, Any]] = (), links: Sequence[Link] = ()
) -> Timeline:
    """The decisions of one incident, what followed from them, and what the audit trail adds, in order.

    Args:
        stories: at least one decision.
        entries: properties of the incident's audit entries.
        links: where to look further.
    """
    first = stories[0].decision
    moments = [moment for one in stories for moment in _decision(one)]
    moments += _entries(entries, {one.decision.decided_at for one in stories})
    # Of the same moment, the order in which it must have happened stays: sorting is stable.
    ordered = tuple(sorted(moments, key=lambda moment: moment.at))
    runs = [run for one in stories for run in one.executions]
    outcome = words.ending_text(runs[-1].record) if runs else next(words.answer_lines(stories[-1].decision))
    return Timeline(
        incident=first.incident.id if first.incident else first.id,
        title=f"{first.signal.reason} about {words.subject_text(first.signal.subject)}",
        outcome=outcome,
        moments=ordered,
        links=tuple(links),
    )


def _decision(one: Story) -> Iterator[Moment]:
    decision = one.decision
    about = words.subject_text(decision.signal.subject)
    yield Moment(decision.first_seen, "signal", f"{decision.signal.reason} ({decision.signal.severity}) about {about}")
    if decision.incident:
        cause = decision.incident.cause
        yield Moment(decision.decided_at, "decision", f"root cause: {words.cause_text(cause)}")
    for line in words.answer_lines(decision):
        yield Moment(decision.decided_at, "decision", line, decision.signal.run.by if decision.signal.run else PIPELINE)
    if one.repeat_count > 1:
        yield Moment(one.last_seen, "signal", f"{one.repeat_count} inputs so far")
    for run in one.executions:
        yield from _execution(run)
    if one.closed_at:
        yield Moment(one.closed_at, "signal", "the alert was resolved")


def _execution(run: ExecutionStory) -> Iterator[Moment]:
    record = run.record
    for approval in run.approvals:
        yield from _approval(approval)
    if record.started_at:
        plan = f"{record.plan.runbook_id} {record.plan.runbook_version} on {record.plan.target_key}"
        yield Moment(record.started_at, "execution", f"execution {record.id} began: {plan}", run.holder or PIPELINE)
    for step in record.steps:
        yield Moment(step.finished_at or step.started_at, "step", words.run_text(step))
    for seen in run.evidence:
        yield Moment(seen.at, "verification", words.evidence_text(seen))
    if record.finished_at:
        error = f": {record.error}" if record.error else ""
        yield Moment(record.finished_at, "execution", f"execution {record.id} {words.ending_text(record)}{error}")


def _approval(approval: Approval) -> Iterator[Moment]:
    why = "; ".join(approval.reasons) or "no reason given"
    yield Moment(approval.requested_at, "approval", f"people are asked: {why}")
    for yes in approval.yeses:
        yield Moment(yes.at, "approval", f"yes{f': {yes.comment}' if yes.comment else ''}", yes.by)
    if approval.answered_at:
        reason = f": {approval.answer_reason}" if approval.answer_reason else ""
        yield Moment(
            approval.answered_at, "approval", f"{approval.status.value}{reason}", approval.answered_by or PIPELINE
        )


def _entries(entries: Iterable[Mapping[str, Any]], decided: Container[datetime]) -> Iterator[Moment]:
    """What only the audit trail knows: also what was decided before the answer that stands."""
    for entry in entries:
        if entry["kind"] == EntryKind.DECISION_RECORDED:
            at = datetime.fromisoformat(entry["at"]).astimezone(UTC)
            if at not in decided:
                said = json.loads(entry["facts"]).get("kind", "")
                text = f"{said}: {entry['reason']}" if entry["reason"] else said
                yield Moment(at, "decision", text, entry["actor"], f"{entry['segment']}:{entry['seq']}")
            continue
        if entry["kind"] in _TOLD_BY_THE_RECORDS or entry["kind"] == EntryKind.APPROVAL_ANSWERED:
            continue
        at = datetime.fromisoformat(entry["at"]).astimezone(UTC)
        facts = ", ".join(f"{name} {value}" for name, value in sorted(json.loads(entry["facts"]).items()) if value)
        reason = f": {entry['reason']}" if entry["reason"] else ""
        name = f"{entry['segment']}:{entry['seq']}"
        text = f"{entry['kind']}{reason}{f' ({facts})' if facts else ''}"
        yield Moment(at, "audit", text, entry["actor"], name)


def links_of(incident: str, browser_url: str, places: Iterable[Mapping[str, str]]) -> tuple[Link, ...]:
    """Links to the graph and to where people were asked.

    Args:
        incident: id of the incident.
        browser_url: of Neo4j Browser; empty for none.
        places: surface, channel and message of each question.
    """
    found = []
    if browser_url:
        text = f"MATCH path = (d:Decision {{incident_id: '{incident}'}})-[*0..2]-() RETURN path LIMIT 200"
        found.append(Link("Neo4j Browser", f"{browser_url.rstrip('/')}/?cmd=edit&arg={quote(text)}"))
    for place in places:
        if place["surface"] == "slack" and place["channel"] and place["message"]:
            number = str(place["message"]).replace(".", "")
            found.append(Link("Slack", f"https://slack.com/archives/{quote(place['channel'])}/p{quote(number)}"))
    return tuple(found)


def markdown(told: Timeline) -> str:
    """The timeline for a post-mortem."""
    lines = [f"# {_plain(told.title)}", "", f"Incident `{_code(told.incident)}`. Outcome: {_plain(told.outcome)}.", ""]
    if told.links:
        lines += [*(f"- [{_plain(link.name)}]({link.url})" for link in told.links), ""]
    lines += ["| time (UTC) | what | who | story |", "|---|---|---|---|"]
    lines += [
        f"| {one.at:%Y-%m-%d %H:%M:%S} | {one.kind} | {_plain(one.who)} | {_plain(one.text)} |" for one in told.moments
    ]
    return "\n".join(lines) + "\n"


_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>#|!~"})


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: it comes from alerts and people."""
    return "".join(c if c.isprintable() else " " for c in text).translate(_MARKS)


def _code(text: str) -> str:
    return "".join(c for c in text if c.isprintable() and c != "`")
