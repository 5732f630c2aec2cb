"""A runbook that is asked for by name: by a person, a program or its own schedule.

Nothing has to be found out, so the cause is the request itself, and its confidence is 1. What the runbook says of
places (kinds, namespaces, cluster, tenant) and its ``when`` hold all the same; what it says of alerts (symptom,
labels, severity) has nothing to hold for. The gate makes every one of its checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from matcher.kinds import canonical_kind
from matcher.model import Asked, Candidate, Cause, Diagnosis, Incident, Match, NoMatch, Run, Signal
from runbooks.findings import did_you_mean
from runbooks.model import LoadedRunbook, Runbook
from runbooks.triggers import Schedule

WRITER = "run-request"
"""The writer of causes that are a request."""

REASON = "RunRequested"
"""The reason of a request, as symptom and as cause."""


def asked_for(signal: Signal) -> Diagnosis:
    """The diagnosis of a request: it is its own cause."""
    cause = Cause(
        event_id=signal.event_id,
        reason=signal.reason,
        subject=signal.subject,
        raw_score=1.0,
        writer=WRITER,
        confidence=1.0,
        hops=0,
        event_time=signal.event_time,
    )
    return Diagnosis(signal, (cause,), "message")


def select_named(
    incident: Incident,
    run: Run,
    runbooks: Mapping[str, LoadedRunbook],
    why_not: Callable[[LoadedRunbook], str],
) -> Match | NoMatch:
    """The runbook that a request names, if it may be asked for so.

    Args:
        incident: of the request.
        run: the request.
        runbooks: those in force, by id.
        why_not: the first part of the trigger that does not hold for the incident.
    """
    loaded = runbooks.get(run.runbook)
    if loaded is None:
        return NoMatch(incident, (), f"there is no runbook {run.runbook!r}; {did_you_mean(run.runbook, runbooks)}")
    runbook = loaded.runbook
    no = refusal(runbook, run) or _not_as_scheduled(runbook, incident, run) or why_not(loaded)
    candidate = Candidate(runbook.id, runbook.version, loaded.sha, (), no)
    if no:
        return NoMatch(incident, (candidate,), f"runbook {runbook.id} was asked for and does not run: {no}")
    return Match(incident, loaded, (candidate,), run.parameters)


def refusal(runbook: Runbook, run: Run) -> str:
    """Why a runbook does not take a request, as far as it can be told without looking at the target."""
    if run.version and run.version != runbook.version:
        return f"version {run.version} is not in force, {runbook.version} is"
    if run.source is Asked.SCHEDULE:
        return "" if runbook.trigger.schedule else "its trigger has no schedule (any more)"
    if not runbook.trigger.manual:
        return "its trigger says manual: false"
    return unknown_parameter(runbook, run)


def unknown_parameter(runbook: Runbook, run: Run) -> str:
    """The first parameter that the runbook does not declare; one that declares none takes any."""
    declared = [parameter.name for parameter in runbook.parameters]
    for name in run.parameters if declared else ():
        if name not in declared:
            return f"it has no parameter {name!r}; {did_you_mean(name, declared)}"
    return ""


def same_schedule(schedule: Schedule, run: Run, incident: Incident) -> bool:
    """Whether a request asks for what a schedule asks for: the word ``schedule`` alone opens no door."""
    if dict(schedule.parameters) != dict(run.parameters):
        return False
    target, subject = schedule.target, incident.signal.subject
    if target is None or not run.targeted:
        return target is None and not run.targeted
    wanted = (canonical_kind(target.kind), target.namespace, target.name)
    return wanted == (canonical_kind(subject.kind), subject.namespace, subject.name)


def _not_as_scheduled(runbook: Runbook, incident: Incident, run: Run) -> str:
    if run.source is not Asked.SCHEDULE:
        return ""
    planned = any(same_schedule(schedule, run, incident) for schedule in runbook.trigger.schedule)
    return "" if planned else "none of its schedules has this target and these parameters"
