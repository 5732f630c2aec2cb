"""A case: one alert on its way to a decision, and the records that it can end in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from matcher.correlate import Folded
from matcher.fingerprint import decision_id, identity
from matcher.model import Cause, Diagnosis, Incident, NoMatch, Signal, Target
from runbooks.model import LoadedRunbook
from services.records import DecisionKind, DecisionRecord, Repeat, RunbookUse


@dataclass(frozen=True, slots=True)
class Case:
    """One alert on its way to a decision.

    Attributes:
        waiting: the recorded decision that is taken up again by the sweeper; None for a fresh input.
    """

    folded: Folded
    waiting: DecisionRecord | None = None

    @property
    def signal(self) -> Signal:
        """The first delivery."""
        return self.folded.signal

    @property
    def first_seen(self) -> datetime:
        """When the first delivery reached us."""
        return self.waiting.first_seen if self.waiting else self.signal.seen_at

    @property
    def looks(self) -> int:
        """How often the graph was asked before."""
        return self.waiting.attempt if self.waiting else 0


@dataclass(frozen=True, slots=True)
class Located:
    """A case whose cause and target are known."""

    case: Case
    diagnosis: Diagnosis
    target: Target

    @property
    def cause(self) -> Cause:
        """The most credible cause."""
        return self.diagnosis.causes[0]


def again(record: DecisionRecord) -> Case:
    """A recorded decision as a case. Its inputs are counted already, so that it brings none of its own.

    The causes that it was recorded with come along: those of a message are nowhere else.
    """
    folded = Folded(
        signal=record.signal,
        last=record.signal,
        causes=record.causes or None,
        count=0,
        event_ids=(),
        origins=(),
        highest={},
    )
    return Case(folded, record)


def answered(folded: Folded, waiting: DecisionRecord) -> Case:
    """An RCA result as the answer that a decision waits for: its causes, and the alert's own signal."""
    return Case(replace(folded, signal=waiting.signal, last=waiting.signal), waiting)


def pending_id(case: Case) -> str:
    """The decision of an alert that has no incident yet; further deliveries find it by the alert."""
    if case.waiting:
        return case.waiting.id
    # A request to run a runbook keeps its decision, whenever it is read.
    since = None if case.signal.run else case.signal.seen_at
    return decision_id(case.signal.tenant, identity(case.signal), since)


def record_of(case: Case, kind: DecisionKind, number: str, now: datetime, **facts: Any) -> DecisionRecord:
    """A decision about a case, with what every decision says."""
    folded = case.folded
    return DecisionRecord(
        id=number,
        kind=kind,
        signal=folded.signal,
        decided_at=now,
        first_seen=case.first_seen,
        last_seen=folded.last.seen_at,
        origins=folded.origins,
        count=folded.count,
        highest=folded.highest,
        event_ids=folded.event_ids,
        alert_keys=(folded.signal.alert_key,) if folded.event_ids else (),
        received_at=case.waiting.received_at if case.waiting else folded.signal.seen_at,
        **facts,
    )


def without_inputs(record: DecisionRecord) -> DecisionRecord:
    """The decision as an answer that brings no inputs: they are counted elsewhere, or already."""
    return replace(record, origins=(), count=0, highest={}, event_ids=(), alert_keys=())


def repeat_of(case: Case, number: str) -> Repeat:
    """Further inputs of a decision that stands."""
    folded = case.folded
    return Repeat(
        decision_id=number,
        tenant=folded.signal.tenant,
        last_seen=folded.last.seen_at,
        origins=folded.origins,
        count=folded.count,
        highest=folded.highest,
        event_ids=folded.event_ids,
        alert_keys=(folded.signal.alert_key,),
    )


def incident_facts(located: Located, incident: Incident) -> Mapping[str, Any]:
    """What a decision about an incident says beside its answer."""
    return {"incident": incident, "causes": located.diagnosis.causes}


def runbook_use(loaded: LoadedRunbook) -> RunbookUse:
    """The version that was chosen, with its text, so that history stays readable after the file has changed."""
    return RunbookUse(loaded.runbook.id, loaded.runbook.version, loaded.sha, loaded.text)


def no_match_record(located: Located, answer: NoMatch, number: str, now: datetime) -> DecisionRecord:
    """No runbook answers; every one that was looked at keeps its reason."""
    return record_of(
        located.case,
        DecisionKind.NO_MATCH,
        number,
        now,
        check="select",
        message=answer.reason,
        candidates=answer.candidates,
        **incident_facts(located, answer.incident),
    )
