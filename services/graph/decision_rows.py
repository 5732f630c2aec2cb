"""Decisions as properties of a node, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from executor.model import Outcome, Status, Verdict
from matcher.model import Candidate, Cause, Incident, Origin, Signal
from safety.policies import PolicyUse
from services.graph.formats import FORMAT, reading
from services.graph.values import dump, instant, moment, pack, unpack
from services.masking import masker
from services.records import DecisionKind, DecisionRecord, DecisionState, OpenIncident, Repeat, RunbookUse

KEEP_IDS = 50
"""How many event ids and alert keys a decision names; beyond it inputs are only counted."""
_MESSAGE = 4000
_SETTLED = {DecisionKind.RESOLVED, DecisionKind.JOINED}
"""Kinds with which a decision is over: the alert's next delivery does not meet it."""

_SIGNAL = TypeAdapter(Signal)
_INCIDENT: TypeAdapter[Incident | None] = TypeAdapter(Incident | None)
_CAUSES: TypeAdapter[tuple[Cause, ...]] = TypeAdapter(tuple[Cause, ...])
_CANDIDATES: TypeAdapter[tuple[Candidate, ...]] = TypeAdapter(tuple[Candidate, ...])
_POLICIES: TypeAdapter[tuple[PolicyUse, ...]] = TypeAdapter(tuple[PolicyUse, ...])
_NUMBERS: TypeAdapter[Mapping[str, float | str]] = TypeAdapter(Mapping[str, float | str])

Properties = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Inputs:
    """All inputs that one write adds to a decision, each named once."""

    origins: frozenset[Origin]
    unnamed: int
    highest: Mapping[tuple[str, int], int]
    event_ids: tuple[str, ...]
    alert_keys: tuple[str, ...]
    last_seen: datetime

    @classmethod
    def of(cls, parts: Sequence[DecisionRecord | Repeat]) -> Inputs:
        """Everything that these records of one decision bring."""
        highest: dict[tuple[str, int], int] = {}
        for part in parts:
            named = (((o.topic, o.partition), o.offset) for o in part.origins)
            for place, offset in (*part.highest.items(), *named):
                highest[place] = max(offset, highest.get(place, offset))
        return cls(
            origins=frozenset(origin for part in parts for origin in part.origins),
            unnamed=sum(max(part.count - len(part.origins), 0) for part in parts),
            highest=highest,
            event_ids=_first(event for part in parts for event in part.event_ids),
            alert_keys=_first(key for part in parts for key in part.alert_keys),
            last_seen=max(_last_seen(part) for part in parts),
        )

    def row(self, decision_id: str) -> Properties:
        """As parameters of the queries that count."""
        return {
            "id": decision_id,
            "last_seen": self.last_seen,
            "offsets": [{"partition": f"{o.topic}/{o.partition}", "offset": o.offset} for o in self.origins],
            "high": [{"partition": f"{t}/{p}", "offset": offset} for (t, p), offset in self.highest.items()],
            "unnamed": self.unnamed,
            "event_ids": list(self.event_ids),
            "alert_keys": list(self.alert_keys),
            "keep": KEEP_IDS,
        }


def _first(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))[:KEEP_IDS]


def _last_seen(part: DecisionRecord | Repeat) -> datetime:
    return (part.last_seen or part.signal.seen_at) if isinstance(part, DecisionRecord) else part.last_seen


def upsert_row(decision: DecisionRecord, inputs: Inputs) -> Properties:
    """A decision with the inputs it brings, as a row of ``decisions_upsert``."""
    return {
        **inputs.row(decision.id),
        "kind": decision.kind.value,
        "attempt": decision.attempt,
        "open_alert_key": None if decision.kind in _SETTLED else decision.signal.alert_key,
        "facts": _facts(decision),
    }


def _facts(decision: DecisionRecord) -> Properties:
    signal = decision.signal
    waiting = decision.kind is DecisionKind.WAITING
    runbook = decision.runbook
    return {
        "format": FORMAT,
        "tenant": signal.tenant,
        "cluster": signal.cluster,
        "event_id": signal.event_id,
        "reason": signal.reason,
        "severity": signal.severity,
        "decided_at": decision.decided_at,
        "first_seen": decision.first_seen,
        "received_at": decision.received_at,
        "next_check_at": decision.next_check_at if waiting else None,
        "deadline": decision.deadline,
        "check": decision.check,
        "message": masker.text(decision.message),
        "numbers": dump(dict(decision.numbers)),
        "signal": masker.json(pack(_SIGNAL, replace(signal, message=signal.message[:_MESSAGE]))),
        "causes": masker.json(pack(_CAUSES, decision.causes)),
        "candidates": masker.json(pack(_CANDIDATES, decision.candidates)),
        "runbook_id": runbook.id if runbook else None,
        "runbook_version": runbook.version if runbook else None,
        "runbook_sha": runbook.sha if runbook else None,
        "policies": pack(_POLICIES, decision.policies) if decision.policies else None,
        "suggested": list(decision.suggested) or None,
        **_incident_facts(decision.incident),
    }


def _incident_facts(incident: Incident | None) -> Properties:
    if incident is None:
        return {}
    return {
        "incident_id": incident.id,
        "fingerprint": incident.fingerprint,
        "opened_at": incident.opened_at,
        "target_key": incident.target.key,
        "cause_reason": incident.cause.reason,
        "cause_event_id": incident.cause.event_id,
        "confidence": incident.cause.confidence,
        "incident": masker.json(pack(_INCIDENT, incident)),
    }


def decision_of(row: Mapping[str, Any]) -> DecisionRecord:
    """A decision from its node's properties; what followed from it is told elsewhere.

    Raises:
        Unreadable: a value is missing or is not what it should be.
        TooNew: a newer release wrote it.
    """
    with reading("decision", row):
        return _decision_of(row)


def _decision_of(row: Mapping[str, Any]) -> DecisionRecord:
    return DecisionRecord(
        id=row["id"],
        kind=DecisionKind(row["kind"]),
        signal=_SIGNAL.validate_json(row["signal"]),
        decided_at=instant(row["decided_at"]),
        first_seen=instant(row["first_seen"]),
        last_seen=moment(row.get("last_seen")),
        incident=unpack(_INCIDENT, row.get("incident"), None),
        causes=unpack(_CAUSES, row.get("causes"), ()),
        candidates=unpack(_CANDIDATES, row.get("candidates"), ()),
        runbook=_runbook_of(row),
        check=row.get("check") or "",
        message=row.get("message") or "",
        numbers=unpack(_NUMBERS, row.get("numbers"), {}),
        next_check_at=moment(row.get("next_check_at")),
        attempt=row["attempt"],
        deadline=moment(row.get("deadline")),
        event_ids=tuple(row.get("event_ids") or ()),
        alert_keys=tuple(row.get("alert_keys") or ()),
        received_at=moment(row.get("received_at")),
        policies=unpack(_POLICIES, row.get("policies"), ()),
        suggested=tuple(row.get("suggested") or ()),
    )


def _runbook_of(row: Mapping[str, Any]) -> RunbookUse | None:
    if not row.get("runbook_id"):
        return None
    return RunbookUse(row["runbook_id"], row.get("runbook_version") or "", row.get("runbook_sha") or "")


def state_of(row: Mapping[str, Any]) -> DecisionState:
    """Where a decision stands."""
    return DecisionState(
        id=row["id"],
        kind=DecisionKind(row["kind"]),
        attempt=row["attempt"],
        first_seen=instant(row["first_seen"]),
        deadline=moment(row.get("deadline")),
        next_check_at=moment(row.get("next_check_at")),
        incident_id=row.get("incident_id") or "",
        closed=row.get("closed_at") is not None,
        event_id=row.get("event_id") or "",
        taken=_taken(row),
        busy=bool(row.get("busy")),
    )


def _taken(row: Mapping[str, Any]) -> dict[tuple[str, int], int]:
    """The highest offset of each partition, from texts such as ``alerts/0=41``."""
    found = {}
    for text in row.get("offsets") or ():
        place, _, offset = text.rpartition("=")
        topic, _, partition = place.rpartition("/")
        found[topic, int(partition)] = int(offset)
    return found


def open_incident_of(decision: Mapping[str, Any], execution: Mapping[str, Any] | None) -> OpenIncident:
    """The newest incident of a fingerprint, with its latest execution."""
    ran = execution or {}
    return OpenIncident(
        incident_id=decision["incident_id"],
        decision_id=decision["id"],
        kind=DecisionKind(decision["kind"]),
        opened_at=instant(decision["opened_at"]),
        last_seen=instant(decision["last_seen"]),
        repeat_count=decision["repeat_count"],
        attempt=decision["attempt"],
        execution_id=ran.get("id") or "",
        execution_status=Status(ran["status"]) if ran.get("status") else None,
        outcome=Outcome(ran["outcome"]) if ran.get("outcome") else None,
        verdict=Verdict(ran["verdict"]) if ran.get("verdict") else None,
        started_at=moment(ran.get("started_at")),
        finished_at=moment(ran.get("finished_at")),
        closed=decision.get("closed_at") is not None or bool(ran.get("over")),
        check=decision.get("check") or "",
        decided_at=moment(decision.get("decided_at")),
        taken=_taken(decision),
    )
