"""The audit trail as values: entries, how each is bound to the one before it, and the port that takes them.

A trail is append-only and belongs to one tenant. Each writer has segments of its own, so that nobody waits for anybody:
an entry names its segment, its number in it and the hash of the entry before it. What is hashed is the entry in one
canonical spelling (JSON, keys sorted, no spaces, UTF-8), so that a trail can be checked by a program that knows nothing
of this one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

SYSTEM = "_system"
"""The trail of what concerns the whole installation and no single tenant: the pause switch, versions of runbooks."""
PIPELINE = "rootmend"
"""The actor of what nobody asked for in person."""
GENESIS = "0" * 64
"""Stands where the first entry of a segment would name the one before it."""
_LONGEST = 2000
_DEEPEST = 8


class EntryKind(StrEnum):
    """What an entry tells. The words before the dot say what it is about."""

    SEGMENT_BEGUN = "segment.begun"
    DECISION_RECORDED = "decision.recorded"
    DECISION_CLOSED = "decision.closed"
    EXECUTION_REQUESTED = "execution.requested"
    EXECUTION_STARTED = "execution.started"
    EXECUTION_ADOPTED = "execution.adopted"
    EXECUTION_ADOPTION_ASKED = "execution.adoption_asked"
    EXECUTIONS_PRUNED = "executions.pruned"
    GRAPH_RESTORED = "graph.restored"
    GATE_REBUILT = "gate.rebuilt"
    EXECUTION_ADVANCED = "execution.advanced"
    EXECUTION_ENDED = "execution.ended"
    STEP_INTENDED = "step.intended"
    STEP_ENDED = "step.ended"
    STEP_UNDONE = "step.undone"
    APPROVAL_ASKED = "approval.asked"
    APPROVAL_ANSWERED = "approval.answered"
    APPROVAL_EXPIRED = "approval.expired"
    APPROVAL_OVERTAKEN = "approval.overtaken"
    APPROVAL_TOLD = "approval.told"
    APPROVAL_DELEGATED = "approval.delegated"
    APPROVAL_DELEGATION_ENDED = "approval.delegation_ended"
    OVERRIDE = "override.used"
    PAUSED = "pause.set"
    RESUMED = "pause.lifted"
    STORM_OPENED = "storm.opened"
    STORM_CLOSED = "storm.closed"
    LOGIN = "access.login"
    DENIED = "access.denied"
    TOKEN_CREATED = "token.created"  # noqa: S105 - a kind of entry
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - a kind of entry
    POLICY_CHANGED = "policy.changed"
    RUNBOOK_USED = "runbook.used"
    RUNBOOK_CHANGED = "runbook.changed"
    RUNBOOK_ROLLED_BACK = "runbook.rolled_back"
    RUNBOOK_ROLLBACK_LIFTED = "runbook.rollback_lifted"
    RUNBOOK_SETTLED = "runbook.settled"
    AUTONOMY_CHANGED = "autonomy.changed"
    SCHEDULE_ARMED = "schedule.armed"
    SCHEDULE_FIRED = "schedule.fired"
    TRAIL_PRUNED = "trail.pruned"


CRITICAL = frozenset(
    {
        EntryKind.OVERRIDE,
        EntryKind.DENIED,
        EntryKind.PAUSED,
        EntryKind.RESUMED,
        EntryKind.TOKEN_CREATED,
        EntryKind.TOKEN_REVOKED,
        EntryKind.POLICY_CHANGED,
        EntryKind.RUNBOOK_ROLLED_BACK,
        EntryKind.RUNBOOK_ROLLBACK_LIFTED,
    }
)
"""What somebody would like to be forgotten: it is sealed at once, not at the next interval."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        kind: what.
        subject: the id of what it is about: a decision, an execution, a step, an approval, a token.
        actor: who did it: a person, or ``PIPELINE``.
        reason: why, in words; cut at 2,000 characters.
        facts: further values: text, numbers, true or false, lists and mappings of these. Never a secret.
        incident_id: the incident that it belongs to, or empty.
        execution_id: the execution that it belongs to, or empty.
        at: when; None for the moment in which it is written.
    """

    kind: EntryKind
    subject: str
    actor: str = PIPELINE
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    incident_id: str = ""
    execution_id: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sealed:
    """An entry in its place. The fields are what is stored; ``facts`` is canonical JSON and ``at`` RFC 3339 in UTC.

    Attributes:
        segment: the writer's own chain.
        seq: its number there, from 0.
        prev: the hash of the entry before it; ``GENESIS`` for the first.
        hash: SHA-256 over ``prev`` and the canonical entry, in hexadecimal digits.
    """

    tenant: str
    segment: str
    seq: int
    at: str
    kind: str
    actor: str
    reason: str
    subject: str
    incident_id: str
    execution_id: str
    facts: str
    prev: str
    hash: str

    @property
    def id(self) -> str:
        """Identity of the entry: segment and number."""
        return entry_id(self.segment, self.seq)


@dataclass(frozen=True, slots=True)
class Head:
    """How far a segment goes: the number and hash of its last entry."""

    tenant: str
    segment: str
    seq: int
    hash: str


class AuditTrail(Protocol):
    """Where entries go that are about no write of the graph's own, such as a login."""

    async def append(self, tenant: str, entries: Sequence[Entry]) -> None:
        """Make the entries durable, in this order; returns only when they are.

        Args:
            tenant: whose trail; ``SYSTEM`` for what concerns the whole installation.
            entries: none is a call that does nothing.

        Raises:
            Unavailable: the store does not answer; the entries may or may not be there, and a later call writes them
                again under another number.
        """
        ...


def entry_id(segment: str, seq: int) -> str:
    """The identity of an entry."""
    return f"{segment}:{seq}"


def canonical(value: Any) -> str:
    """A value in its one spelling: JSON with sorted keys and without spaces.

    Raises:
        ValueError: not a number, or infinite: JSON knows neither.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(prev: str, entry: Mapping[str, Any]) -> str:
    """SHA-256 over the hash before and an entry's own fields (all but ``prev`` and ``hash``)."""
    return hashlib.sha256(f"{prev}\n{canonical(entry)}".encode()).hexdigest()


def spelled(at: datetime) -> str:
    """A moment as entries spell it: UTC, microseconds, always of one length, so that texts sort as times do."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seal(entry: Entry, after: Head, now: datetime) -> Sealed:
    """Put an entry into its place.

    Args:
        entry: what happened.
        after: the head of the segment; of an empty one the number is -1 and the hash ``GENESIS``.
        now: when it is written, for entries that do not say.
    """
    told: dict[str, Any] = {
        "tenant": after.tenant,
        "segment": after.segment,
        "seq": after.seq + 1,
        "at": spelled(entry.at or now),
        "kind": EntryKind(entry.kind).value,
        "actor": _text(entry.actor) or PIPELINE,
        "reason": _text(entry.reason),
        "subject": _text(entry.subject),
        "incident_id": _text(entry.incident_id),
        "execution_id": _text(entry.execution_id),
        "facts": canonical(_plain(entry.facts)),
    }
    return Sealed(**told, prev=after.hash, hash=digest(after.hash, told))


def recomputed(entry: Sealed) -> str:
    """What the hash of an entry must be, from what it says."""
    told = {name: getattr(entry, name) for name in HASHED}
    return digest(entry.prev, told)


FIELDS = tuple(Sealed.__dataclass_fields__)
"""Everything that is stored of an entry."""
HASHED = tuple(name for name in FIELDS if name not in {"prev", "hash"})


def _text(text: object) -> str:
    """Text that every store takes: no lone surrogates, and no longer than needed."""
    clean = str(text).encode("utf-8", "replace").decode()
    return clean if len(clean) <= _LONGEST else clean[: _LONGEST - 1] + "…"


def _plain(value: Any, depth: int = 0) -> Any:
    """A fact as JSON knows it; what JSON cannot say exactly becomes text."""
    if value is None or isinstance(value, bool) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, datetime):
        return spelled(value)
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {_text(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        return [_plain(item, depth + 1) for item in value]
    return _text(value)
