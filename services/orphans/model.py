"""What can be left behind, as values: the kinds of orphans, and what a person does about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

GRACE_SECONDS = 60.0
"""So much later than its time a running process has looked after anything; what is younger is no orphan yet."""
_BEGUN = frozenset({"running", "verifying", "rolling_back"})
_KNOWN = _BEGUN | {"waiting_approval", "permitted"}


class Kind(StrEnum):
    """Why nobody looks after it."""

    LEASE_LOST = "lease_lost"
    UNCLAIMED = "unclaimed"
    APPROVAL_OVERDUE = "approval_overdue"
    APPROVAL_ABANDONED = "approval_abandoned"
    LOCK_WITHOUT_EXECUTION = "lock_without_execution"
    IMPOSSIBLE = "impossible"
    UNREADABLE = "unreadable"
    NEWER = "newer"


@dataclass(frozen=True, slots=True)
class Orphan:
    """One thing that nobody looks after.

    Attributes:
        id: of the execution, question or decision.
        what: ``execution``, ``approval``, ``decision`` or ``lock``.
        why: what was found, in words.
        do: what to do about it, in words.
        repairable: ``rb executions repair`` mends it without touching production.
    """

    kind: Kind
    id: str
    what: str
    why: str
    do: str
    tenant: str = ""
    target_key: str = ""
    runbook_id: str = ""
    repairable: bool = False

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "kind": self.kind.value,
            "id": self.id,
            "what": self.what,
            "why": self.why,
            "do": self.do,
            "tenant": self.tenant,
            "target": self.target_key,
            "runbook": self.runbook_id,
            "repairable": self.repairable,
        }


def of_execution(row: Mapping[str, Any], grace_seconds: float = GRACE_SECONDS) -> Orphan | None:
    """The orphan that an open execution is; None when it is looked after.

    Args:
        row: of ``orphans_open.cypher``.
        grace_seconds: how long a running process may take to notice.
    """
    if wrong := _contradiction(row):
        return _impossible(row, wrong)
    late = round(grace_seconds * 1000)
    match row["e"]["status"]:
        case "waiting_approval":
            return _waiting(row)
        case "permitted":
            return _permitted(row, late)
        case _:
            return _begun(row, late)


def _contradiction(row: Mapping[str, Any]) -> str:
    """What cannot be true of an execution together; empty when nothing is wrong."""
    run, status = row["e"], row["e"]["status"]
    if status not in _KNOWN:
        return f"its status is {status!r}, which this release does not know"
    if run.get("finished_at") is not None or run.get("outcome"):
        return f"it ended with {run.get('outcome') or 'no outcome'}, and is {status} all the same"
    if not run.get("claim_key") or not run.get("plan_hash"):
        return "its record lacks the target or the hash of its plan"
    if status in _BEGUN and row["claim"] is None:
        return "it has begun, and nobody has ever claimed its target"
    return ""


def _begun(row: Mapping[str, Any], late: int) -> Orphan | None:
    run, claim, now = row["e"], row["claim"], row["now_ms"]
    lease = claim.get("lease_until_ms") or 0
    if claim.get("execution_id") != run["id"] and lease > now:
        return _impossible(row, f"its target is held by execution {claim.get('execution_id')}")
    if lease > now - late:
        return None
    since = f"{(now - lease) // 1000} s ago" if lease else "some time ago"
    done = f"{row['done']} steps were done, {row['intended']} may have been"
    why = f"it is {run['status']}, and the lease of {run.get('holder') or 'its holder'} ran out {since}; {done}"
    do = "is rb serve --role act running for its cluster? rb executions adopt; or abort --rollback or --no-rollback"
    return _made(row, Kind.LEASE_LOST, why, do)


def _waiting(row: Mapping[str, Any]) -> Orphan | None:
    """A question that is open, or an answer that is still to be carried out, looks after it."""
    if any(one["status"] == "pending" or one.get("to_follow") for one in row["approvals"]):
        return None
    return _impossible(row, "it waits for an answer, and no question about it is open", repairable=True)


def _permitted(row: Mapping[str, Any], late: int) -> Orphan | None:
    run, now = row["e"], row["now_ms"]
    expires = run.get("permit_expires_ms")
    if expires is None or run.get("token") is None:
        return _impossible(row, "it is permitted, and its permit has no token or no end")
    if expires <= now - late:
        why = f"nobody claimed it, and its permit ran out {(now - expires) // 1000} s ago"
        do = (
            "is rb serve running for its cluster? rb executions repair ends it; the next repeat of its alert asks again"
        )
        return _made(row, Kind.UNCLAIMED, why, do, repairable=True)
    if (run.get("permitted_ms") or now) <= now - late and expires > now:
        why = f"nobody has claimed it for {(now - run['permitted_ms']) // 1000} s"
        return _made(
            row, Kind.UNCLAIMED, why, "is rb serve --role act running for its cluster? rb executions adopt or abort"
        )
    return None


def _impossible(row: Mapping[str, Any], why: str, *, repairable: bool = False) -> Orphan:
    do = "rb executions repair ends it" if repairable else "rb executions show tells more; rb executions abort ends it"
    return _made(row, Kind.IMPOSSIBLE, why, do, repairable=repairable)


def _made(row: Mapping[str, Any], kind: Kind, why: str, do: str, *, repairable: bool = False) -> Orphan:
    run = row["e"]
    return Orphan(
        kind,
        row["id"],
        "execution",
        why,
        do,
        tenant=run.get("tenant") or "",
        target_key=run.get("target_key") or "",
        runbook_id=run.get("runbook_id") or "",
        repairable=repairable,
    )


def unreadable(what: str, name: str, why: str, about: Mapping[str, Any], *, newer: bool) -> Orphan:
    """A record that this release cannot read."""
    if newer:
        kind, do = Kind.NEWER, "leave it to a process of the newer release: keep one running until it has ended"
    elif what == "execution":
        kind, do = Kind.UNREADABLE, "look at what was done by hand, then rb executions abort ID --no-rollback"
    else:
        kind, do = Kind.UNREADABLE, "correct or delete the node in Neo4j Browser; nothing waits for it meanwhile"
    return Orphan(
        kind,
        name,
        what,
        why,
        do,
        tenant=str(about.get("tenant") or ""),
        target_key=str(about.get("target_key") or ""),
        runbook_id=str(about.get("runbook_id") or ""),
    )


def in_order(found: Sequence[Orphan]) -> list[Orphan]:
    """By kind, then by id. An unreadable execution is not said to be something else as well."""
    bad = {one.id for one in found if one.kind in {Kind.UNREADABLE, Kind.NEWER}}
    kinds = list(Kind)
    left = [one for one in found if one.id not in bad or one.kind in {Kind.UNREADABLE, Kind.NEWER}]
    return sorted(left, key=lambda one: (kinds.index(one.kind), one.id))
