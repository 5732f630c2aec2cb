"""What stands already: inputs that are read again, repeats of what waits, and what may be asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from executor.model import Outcome, Status
from matcher.correlate import Folded
from matcher.fingerprint import problem_of
from matcher.model import Incident
from services.pipeline.cases import Case, Located, record_of, repeat_of, without_inputs
from services.pipeline.proposals import TEMPORARY_CHECKS
from services.records import DecisionKind, DecisionRecord, DecisionState, OpenIncident, Repeat


def is_counted(folded: Folded, taken: Mapping[tuple[str, int], int]) -> bool:
    """Whether a decision that took these offsets has counted all of these inputs: they are read again after a crash."""
    return bool(folded.highest) and all(offset <= taken.get(place, -1) for place, offset in folded.highest.items())


def refused_for_now(known: OpenIncident) -> bool:
    """Whether the no may have passed by now."""
    return known.kind in {DecisionKind.REFUSAL, DecisionKind.PLAN_FAILED} and known.check in TEMPORARY_CHECKS


def never_begun(known: OpenIncident) -> bool:
    """Whether the permit ran out before any worker claimed the execution."""
    ended = known.kind is DecisionKind.PERMIT and known.execution_status is Status.DONE
    return ended and known.outcome is Outcome.ABORTED and known.started_at is None


def split_counted(
    cases: Sequence[Case], known: Mapping[str, DecisionState]
) -> tuple[list[Case], list[DecisionRecord | Repeat]]:
    """Inputs that are read again, after a crash, belong to the decision that took them, whatever has changed since."""
    unread: list[Case] = []
    counted: list[DecisionRecord | Repeat] = []
    for case in cases:
        state = None if case.waiting else known.get(case.signal.alert_key)
        if state and is_counted(case.folded, state.taken):
            opener = state.event_id in case.folded.event_ids
            counted.append(replace(repeat_of(case, state.id), opener=opener))
        elif state:
            unread.append(replace(case, folded=_uncounted(case.folded, state.taken)))
        else:
            unread.append(case)
    return unread, counted


def split_asked(
    cases: Sequence[Case], known: Mapping[str, DecisionState]
) -> tuple[list[Case], list[DecisionRecord | Repeat]]:
    """A request to run a runbook is answered once: sent again under its id, it is a repeat of that answer."""
    fresh: list[Case] = []
    again: list[DecisionRecord | Repeat] = []
    for case in cases:
        asked_before = case.signal.run is not None and not case.waiting
        state = known.get(case.signal.alert_key) if asked_before else None
        if state:
            again.append(repeat_of(case, state.id))
        else:
            fresh.append(case)
    return fresh, again


def _uncounted(folded: Folded, taken: Mapping[tuple[str, int], int]) -> Folded:
    """Without the inputs that are counted: after a crash a batch can hold read and unread deliveries of one alert."""
    origins = tuple(o for o in folded.origins if o.offset > taken.get((o.topic, o.partition), -1))
    return replace(folded, origins=origins, count=folded.count - len(folded.origins) + len(origins))


def settle_pending(
    pending: Sequence[tuple[Case, DecisionRecord]], known: Mapping[str, DecisionState], window: timedelta
) -> list[DecisionRecord | Repeat]:
    """A fresh delivery of an alert that is waited for, acted on, or had no answer a short while ago, repeats that."""
    written: list[DecisionRecord | Repeat] = []
    for case, record in pending:
        state = None if case.waiting else known.get(case.signal.alert_key)
        written.append(repeat_of(case, state.id) if state and _still_open(state, case, window) else record)
    return written


def _still_open(state: DecisionState, case: Case, window: timedelta) -> bool:
    """Whether a decision takes a further delivery of its alert, whose cause or target cannot be told just now.

    While the incident of the alert is acted on, it is a repeat of that: the fix itself makes pods disappear.
    """
    recent = case.signal.seen_at - state.first_seen <= window
    return state.kind is DecisionKind.WAITING or state.busy or (not state.incident_id and recent)


def as_it_stands(one: Located, known: OpenIncident) -> Incident:
    """A known incident, for a case that adds nothing to it."""
    signal = one.case.signal
    mark = problem_of(signal, one.cause, one.target)
    return Incident(
        known.incident_id,
        mark,
        signal.tenant,
        signal.cluster,
        signal,
        one.cause,
        one.target,
        known.opened_at,
        known.last_seen,
        known.repeat_count,
    )


def joined(one: Located, incident: Incident, number: str, now: datetime) -> list[DecisionRecord | Repeat]:
    """A case that repeats a known incident; the decision that waited for its cause ends there."""
    if not one.case.waiting or one.case.waiting.id == number:
        return [repeat_of(one.case, number)]
    end = record_of(
        one.case,
        DecisionKind.JOINED,
        one.case.waiting.id,
        now,
        check="correlate",
        message=f"belongs to incident {incident.id}",
        numbers={"incident": incident.id, "decision": number},
        causes=one.diagnosis.causes,
    )
    return [without_inputs(end), repeat_of(one.case, number)]
