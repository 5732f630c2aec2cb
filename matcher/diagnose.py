"""Which cause is most credible, from what the message says and what the graph says.

A signal is never taken for its own cause, not even when its reason sounds like one (an ``OOMKilled`` event without an
edge): KGroot never links two events of the same pod, so that would happen often, and a symptom is not evidence of a
cause. Who wants it for some reasons lists them as ``self_evident``; the score is then that of the writer
``self-evident``, calibrated like any other. An alert that a runbook or a mapping names (``matcher.alerts``) is its own
cause as well, beside those that were found, with a confidence that the operator sets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from matcher.calibration import BUILT_IN, Tables, calibrate
from matcher.model import Cause, Diagnosis, Received, Signal
from matcher.reasons import same_reason

SELF_EVIDENT = "self-evident"
"""The writer of causes that are the signal itself; see the module."""

_FAR = datetime.max.replace(tzinfo=UTC)
_MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class SelfEvident:
    """Reasons that need no cause beside themselves. Empty unless somebody decides otherwise.

    Attributes:
        reasons: names of reasons; their families count as well.
        score: raw score of such a cause, 0 to 1.
    """

    reasons: Collection[str] = ()
    score: float = 0.8


NOTHING_SELF_EVIDENT = SelfEvident()

ALERT = "alert"
"""The writer of causes that are an alert which a runbook or a mapping names: the alert stands for its own cause."""


def diagnose(
    received: Received,
    graph_causes: Iterable[Cause] | None,
    tables: Tables = BUILT_IN,
    self_evident: SelfEvident = NOTHING_SELF_EVIDENT,
    alert_confidence: float | None = None,
) -> Diagnosis | None:
    """The signal's causes, most credible first, or None when there is none.

    Args:
        received: the signal, with the causes that its message named.
        graph_causes: raw causes that the graph has for it.
        tables: calibration by writer.
        self_evident: reasons that are their own cause.
        alert_confidence: a runbook or mapping names this alert, so that it is its own cause, trusted no more than this;
            None when nobody does.

    Of two accounts of one event the higher confidence counts. Order: confidence, then fewer hops, then the earlier
    event, then the event id: the same inputs always give the same first cause.
    """
    signal = received.signal
    told = _usable(received.causes or (), signal, tables)
    found = _usable(graph_causes or (), signal, tables)
    merged: dict[str, Cause] = {}
    for cause in (*told, *found):
        known = merged.get(cause.event_id)
        merged[cause.event_id] = cause if known is None else _stronger(known, cause)
    if alert_confidence is not None and signal.subject.name:
        trusted = min(calibrate(alert_confidence, ALERT, tables), alert_confidence)
        merged[signal.event_id] = _as_cause(signal, ALERT, alert_confidence, trusted)
    if not merged:
        return _own(signal, tables, self_evident)
    rca_from = "both" if told and found else "graph" if found else "message"
    return Diagnosis(signal, tuple(sorted(merged.values(), key=credibility)), rca_from)


def credibility(cause: Cause) -> tuple[float, int, datetime, str]:
    """Sort key: the most credible cause comes first."""
    hops = _MANY if cause.hops is None else cause.hops
    return (-cause.confidence, hops, cause.event_time or _FAR, cause.event_id)


def by_event(causes: Mapping[str, tuple[Cause, ...]], event_ids: Iterable[str]) -> tuple[Cause, ...]:
    """What the graph said of several deliveries of one alert, together."""
    return tuple(cause for event_id in event_ids for cause in causes.get(event_id, ()))


def _usable(causes: Iterable[Cause], signal: Signal, tables: Tables) -> tuple[Cause, ...]:
    """Calibrated; without the signal itself, which a cycle in the graph can bring back."""
    return tuple(
        replace(cause, confidence=calibrate(cause.raw_score, cause.writer, tables))
        for cause in causes
        if cause.event_id and cause.event_id != signal.event_id and cause.reason
    )


def _stronger(one: Cause, other: Cause) -> Cause:
    """The more credible of two accounts, with what only the other knows."""
    best, rest = sorted((one, other), key=credibility)
    return replace(
        best,
        subject=best.subject if best.subject.name else rest.subject,
        hops=best.hops if best.hops is not None else rest.hops,
        event_time=best.event_time or rest.event_time,
    )


def _own(signal: Signal, tables: Tables, self_evident: SelfEvident) -> Diagnosis | None:
    if not signal.subject.name or not any(same_reason(signal.reason, reason) for reason in self_evident.reasons):
        return None
    confidence = calibrate(self_evident.score, SELF_EVIDENT, tables)
    return Diagnosis(signal, (_as_cause(signal, SELF_EVIDENT, self_evident.score, confidence),), "message")


def _as_cause(signal: Signal, writer: str, score: float, confidence: float) -> Cause:
    """The signal as the cause of itself."""
    return Cause(
        event_id=signal.event_id,
        reason=signal.reason,
        subject=signal.subject,
        raw_score=score,
        writer=writer,
        confidence=confidence,
        hops=0,
        event_time=signal.event_time,
    )
