"""Which inputs belong together: deliveries of one alert in a batch, and signals of one problem over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from matcher.fingerprint import identity, incident_id, problem_of, run_incident_id
from matcher.model import Cause, Incident, Origin, Received, Signal, SignalStatus, Target

KEPT = 100
"""How many event ids and origins of one alert are named; beyond it they are only counted."""

_RCA = "rca_result"


class OpenIncident(Protocol):
    """What the ledger knows of an incident with the same fingerprint."""

    @property
    def incident_id(self) -> str:
        """Its id."""
        ...

    @property
    def opened_at(self) -> datetime:
        """When it opened."""
        ...

    @property
    def last_seen(self) -> datetime:
        """When the latest input of it arrived."""
        ...

    @property
    def repeat_count(self) -> int:
        """How many inputs it has."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it is over: resolved, or its execution ended and its cooldown passed."""
        ...


@dataclass(frozen=True, slots=True)
class Folded:
    """Deliveries of one alert in one batch, as one.

    Attributes:
        signal: the first delivery. A batch that is read again has the same first, so the same ids follow.
        last: the latest delivery; the graph may know a cause for it that it did not know for the first.
        causes: what the messages named, together; None when none named any.
        count: how many inputs these are.
        event_ids: their event ids, without repetition, at most ``KEPT``.
        origins: where they came from, at most ``KEPT``.
        highest: the highest offset by topic and partition: an input is counted once, however often it is read.
        notes: what intake had to put right.
    """

    signal: Signal
    last: Signal
    causes: tuple[Cause, ...] | None
    count: int
    event_ids: tuple[str, ...]
    origins: tuple[Origin, ...]
    highest: Mapping[tuple[str, int], int]
    notes: tuple[str, ...] = ()

    @property
    def received(self) -> Received:
        """As one input, for ``diagnose``."""
        return Received(self.signal, self.causes, self.notes)


@dataclass(slots=True)
class _Group:
    """A ``Folded`` in the making."""

    members: list[Received] = field(default_factory=list)

    def freeze(self) -> Folded:
        events = [m for m in self.members if m.signal.shape != _RCA] or self.members
        named = [m.causes for m in self.members if m.causes is not None]
        highest: dict[tuple[str, int], int] = {}
        for member in self.members:
            origin = member.signal.origin
            place = (origin.topic, origin.partition)
            highest[place] = max(origin.offset, highest.get(place, origin.offset))
        return Folded(
            signal=events[0].signal,
            last=events[-1].signal,
            causes=tuple(dict.fromkeys(cause for causes in named for cause in causes)) if named else None,
            count=len(self.members),
            event_ids=tuple(dict.fromkeys(m.signal.event_id for m in self.members))[:KEPT],
            origins=tuple(m.signal.origin for m in self.members[:KEPT]),
            highest=highest,
            notes=tuple(dict.fromkeys(note for m in self.members for note in m.notes))[:KEPT],
        )


def fold(received: Sequence[Received]) -> tuple[Folded, ...]:
    """Make one of the deliveries of each alert, in the order of their first.

    Firing, resolved and firing again stay three: a change of status begins anew, so that the order of what happened
    is kept. An RCA result joins the signal that it explains, when that is in the same batch.
    """
    groups: list[_Group] = []
    current: dict[str, tuple[SignalStatus, _Group]] = {}
    explained = _explained(received)
    for item in received:
        key = explained.get((item.signal.tenant, item.signal.event_id)) or identity(item.signal)
        status, group = current.get(key, (None, None))
        if group is None or status != item.signal.status:
            group = _Group()
            groups.append(group)
            current[key] = (item.signal.status, group)
        group.members.append(item)
    return tuple(group.freeze() for group in groups)


def _explained(received: Sequence[Received]) -> Mapping[tuple[str, str], str]:
    """The identity of each event that an RCA result of this batch speaks of."""
    asked = {(r.signal.tenant, r.signal.event_id) for r in received if r.signal.shape == _RCA}
    return {
        (r.signal.tenant, r.signal.event_id): identity(r.signal)
        for r in received
        if r.signal.shape != _RCA and (r.signal.tenant, r.signal.event_id) in asked
    }


@dataclass(frozen=True, slots=True)
class Joined:
    """The signal is a repeat of an open incident."""

    incident: Incident


@dataclass(frozen=True, slots=True)
class Opened:
    """The signal opens an incident. ``why``: nothing open, too long ago, too old."""

    incident: Incident
    why: str


def join_or_open(  # noqa: PLR0917 - the words of one decision, in the order in which they come about
    signal: Signal,
    cause: Cause,
    target: Target,
    open_incident: OpenIncident | None,
    window: timedelta,
    max_age: timedelta,
    *,
    count: int = 1,
    busy: bool = False,
) -> Joined | Opened:
    """Decide whether a signal is a repeat or opens an incident.

    Args:
        signal: what arrived.
        cause: its most credible cause.
        target: what a runbook would act on.
        open_incident: the latest incident with this fingerprint.
        window: the longest silence after which a signal still belongs to it.
        max_age: an incident that is older takes no repeats: an alert that never stops is looked at anew.
        count: how many inputs the signal stands for.
        busy: an execution of the incident has not ended. Then the signal is a repeat whatever the times say: alerts
            keep firing for a while after the fix.
    """
    seen = signal.seen_at
    # A request to run a runbook is one incident for ever, however often and late it is sent again.
    asked = signal.run is not None
    why = "" if asked and open_incident else _why_new(seen, open_incident, window, max_age, busy=busy)
    problem = problem_of(signal, cause, target)
    if why or open_incident is None:
        number = run_incident_id(signal.tenant, problem) if asked else incident_id(signal.tenant, problem, seen)
        return Opened(
            Incident(
                number, problem, signal.tenant, signal.cluster, signal, cause, target, seen, seen, repeat_count=count
            ),
            why,
        )
    return Joined(
        Incident(
            id=open_incident.incident_id,
            fingerprint=problem,
            tenant=signal.tenant,
            cluster=signal.cluster,
            signal=signal,
            cause=cause,
            target=target,
            opened_at=open_incident.opened_at,
            last_seen=max(seen, open_incident.last_seen),
            repeat_count=open_incident.repeat_count + count,
        )
    )


def _why_new(seen: datetime, known: OpenIncident | None, window: timedelta, max_age: timedelta, *, busy: bool) -> str:
    if known is None:
        return "no incident of this problem is open"
    if busy:
        return ""
    if known.closed:
        return "the last incident of this problem is closed"
    silence = seen - known.last_seen
    if silence > window:
        return f"the last input of this problem came {silence.total_seconds():.0f} s before"
    age = seen - known.opened_at
    if age > max_age:
        return f"the open incident is {age.total_seconds():.0f} s old"
    return ""
