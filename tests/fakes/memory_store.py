"""The durable store in memory: decisions, executions, permits, journal and approvals, with the graph's behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from fakes.memory_approvals import MemoryApprovalStore

from executor.errors import Fenced, NotFound
from executor.model import Evidence, ExecutionRecord, Outcome, Status, StepRun, Verdict
from safety.approvals import Approval, ApprovalError, ApprovalStatus, Verb
from safety.ports import Claim
from safety.quorum import Voter
from services.records import (
    DecisionKind,
    DecisionRecord,
    DecisionState,
    ExecutionStory,
    ExecutionSummary,
    OpenIncident,
    Orphans,
    Repeat,
    Story,
)

_BEGUN = {Status.RUNNING, Status.VERIFYING, Status.ROLLING_BACK}
_SETTLED = {DecisionKind.RESOLVED, DecisionKind.JOINED}
_PREFIX = 6


@dataclass
class _Decision:
    record: DecisionRecord
    last_seen: datetime
    count: int = 0
    high: dict[tuple[str, int], int] = field(default_factory=dict)
    event_ids: dict[str, None] = field(default_factory=dict)
    alert_keys: dict[str, None] = field(default_factory=dict)
    next_check_at: datetime | None = None
    closed_at: datetime | None = None
    executions: list[str] = field(default_factory=list)


@dataclass
class _Execution:
    record: ExecutionRecord
    tenant: str
    incident_id: str
    token: int | None
    expires_at: datetime | None
    permitted_at: datetime
    approval_id: str
    epoch: int | None = None
    holder: str = ""
    evidence: tuple[Evidence, ...] = ()
    actions_taken: tuple[str, ...] = ()


@dataclass
class _TargetClaim:
    execution_id: str = ""
    epoch: int = -1
    holder: str = ""
    lease_until: datetime | None = None


class MemoryStore(MemoryApprovalStore):
    """Implements DecisionLedger, ExecutionStore, PermitLedger, Journal and ApprovalStore.

    Args:
        now: the store's own clock.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__()
        self.now = now
        self.decisions: dict[str, _Decision] = {}
        self.executions: dict[str, _Execution] = {}
        self.claims: dict[str, _TargetClaim] = {}
        self.to_follow: set[str] = set()

    # Decisions

    async def open_incidents(self, fingerprints: Sequence[str]) -> Mapping[str, OpenIncident]:
        found: dict[str, OpenIncident] = {}
        for stored in self.decisions.values():
            incident = stored.record.incident
            if incident is None or incident.fingerprint not in fingerprints:
                continue
            known = found.get(incident.fingerprint)
            if known is None or known.opened_at < incident.opened_at:
                found[incident.fingerprint] = self._open_incident(stored)
        return found

    def _open_incident(self, stored: _Decision) -> OpenIncident:
        incident = stored.record.incident
        assert incident is not None
        ran = self.executions[stored.executions[-1]].record if stored.executions else None
        over = (
            ran is not None
            and ran.finished_at is not None
            and ran.finished_at + timedelta(seconds=ran.cooldown_seconds) < self.now()
        )
        return OpenIncident(
            incident_id=incident.id,
            decision_id=stored.record.id,
            kind=stored.record.kind,
            opened_at=incident.opened_at,
            last_seen=stored.last_seen,
            repeat_count=stored.count,
            attempt=stored.record.attempt,
            execution_id=ran.id if ran else "",
            execution_status=ran.status if ran else None,
            outcome=ran.outcome if ran else None,
            verdict=ran.verdict if ran else None,
            started_at=ran.started_at if ran else None,
            finished_at=ran.finished_at if ran else None,
            closed=stored.closed_at is not None or over,
            check=stored.record.check,
            decided_at=stored.record.decided_at,
            taken=dict(stored.high),
        )

    async def open_alerts(self, alert_keys: Sequence[str]) -> Mapping[str, DecisionState]:
        found: dict[str, DecisionState] = {}
        for stored in sorted(self.decisions.values(), key=lambda d: d.record.first_seen):
            key = stored.record.signal.alert_key
            if key in alert_keys and stored.closed_at is None and stored.record.kind not in _SETTLED:
                found[key] = DecisionState(
                    id=stored.record.id,
                    kind=stored.record.kind,
                    attempt=stored.record.attempt,
                    first_seen=stored.record.first_seen,
                    deadline=stored.record.deadline,
                    next_check_at=stored.next_check_at,
                    incident_id=stored.record.incident.id if stored.record.incident else "",
                    event_id=stored.record.signal.event_id,
                    taken=dict(stored.high),
                    busy=any(self.executions[one].record.status is not Status.DONE for one in stored.executions),
                )
        return found

    async def record(self, batch: Sequence[DecisionRecord | Repeat]) -> None:
        groups: dict[str, list[DecisionRecord | Repeat]] = {}
        for part in batch:
            groups.setdefault(part.id if isinstance(part, DecisionRecord) else part.decision_id, []).append(part)
        for key, group in groups.items():
            decisions = [part for part in group if isinstance(part, DecisionRecord)]
            if decisions:
                self._decide(decisions[-1])
            if key in self.decisions:
                self._count(self.decisions[key], group)

    def _decide(self, decision: DecisionRecord) -> None:
        seen = decision.last_seen or decision.signal.seen_at
        stored = self.decisions.get(decision.id)
        if stored is None:
            stored = self.decisions[decision.id] = _Decision(decision, seen)
            later = True
        else:
            later = _later(decision, stored.record)
        if later:
            stored.record = decision
            stored.next_check_at = decision.next_check_at if decision.kind is DecisionKind.WAITING else None
        if decision.execution:
            self._plan(stored, decision, decision.execution)
        if decision.approval:
            self.approvals.setdefault(decision.approval.id, decision.approval)

    def _plan(self, stored: _Decision, decision: DecisionRecord, record: ExecutionRecord) -> None:
        known = self.executions.get(record.id)
        if known and not (
            known.record.status is Status.WAITING_APPROVAL
            or (known.record.status is Status.PERMITTED and record.status is Status.PERMITTED)
        ):
            return
        self.executions[record.id] = _Execution(
            record=record.model_copy(update={"requested_at": record.requested_at or decision.decided_at}),
            tenant=decision.signal.tenant,
            incident_id=decision.incident.id if decision.incident else str(record.incident.get("id", "")),
            token=decision.permit_token,
            expires_at=decision.permit_expires_at,
            permitted_at=decision.decided_at,
            approval_id=decision.approval.id if decision.approval and decision.permit_token is not None else "",
        )
        if record.id not in stored.executions:
            stored.executions.append(record.id)

    def _count(self, stored: _Decision, parts: Sequence[DecisionRecord | Repeat]) -> None:
        fresh = {
            origin
            for part in parts
            for origin in part.origins
            if origin.offset > stored.high.get((origin.topic, origin.partition), -1)
        }
        named = [((o.topic, o.partition), o.offset) for part in parts for o in part.origins]
        grown = False
        for place, offset in [*named, *(item for part in parts for item in part.highest.items())]:
            if offset > stored.high.get(place, -1):
                stored.high[place] = offset
                grown = True
        unnamed = sum(max(part.count - len(part.origins), 0) for part in parts)
        stored.count += len(fresh) + (unnamed if grown else 0)
        for part in parts:
            seen = part.last_seen or (part.signal.seen_at if isinstance(part, DecisionRecord) else stored.last_seen)
            stored.last_seen = max(stored.last_seen, seen)
            stored.event_ids.update(dict.fromkeys(part.event_ids))
            stored.alert_keys.update(dict.fromkeys(part.alert_keys))

    async def waiting_due(self, now: datetime, limit: int, hold_seconds: float = 30) -> Sequence[DecisionRecord]:
        due = sorted(
            (d for d in self.decisions.values() if d.next_check_at and d.next_check_at <= now),
            key=lambda d: d.next_check_at or now,
        )[:limit]
        taken = [self._told(stored) for stored in due]
        for stored in due:
            stored.next_check_at = now + timedelta(seconds=hold_seconds)
        return taken

    async def waiting_for(self, events: Sequence[tuple[str, str]]) -> Sequence[DecisionRecord]:
        found: dict[tuple[str, str], DecisionRecord] = {}
        for stored in sorted(self.decisions.values(), key=lambda d: (d.record.first_seen, d.record.id)):
            key = (stored.record.signal.tenant, stored.record.signal.event_id)
            if key in events and stored.record.kind is DecisionKind.WAITING:
                found.setdefault(key, self._told(stored))
        return tuple(found.values())

    async def close(self, alert_keys: Sequence[str], at: datetime) -> Sequence[str]:
        closed = []
        for stored in self.decisions.values():
            decision = stored.record
            if decision.signal.alert_key not in alert_keys or stored.closed_at or decision.first_seen > at:
                continue
            if decision.kind in _SETTLED:
                continue
            if decision.kind is DecisionKind.WAITING:
                message = "the alert was resolved before a cause appeared"
                stored.record = replace(decision, kind=DecisionKind.RESOLVED, message=message)
            stored.closed_at, stored.next_check_at = at, None
            closed.append(decision.id)
        return tuple(closed)

    async def find(self, text: str, limit: int = 10) -> Sequence[Story]:
        if len(text) < _PREFIX:
            return ()
        found = sorted(
            (d for d in self.decisions.values() if self._answers(d, text)),
            key=lambda d: d.record.decided_at,
            reverse=True,
        )
        return tuple(
            Story(
                decision=self._told(stored),
                repeat_count=stored.count,
                last_seen=stored.last_seen,
                closed_at=stored.closed_at,
                executions=tuple(self._story(name) for name in stored.executions),
            )
            for stored in found[:limit]
        )

    def _answers(self, stored: _Decision, text: str) -> bool:
        incident = stored.record.incident
        names = [stored.record.id, incident.id if incident else "", stored.record.signal.event_id, *stored.executions]
        return any(name.startswith(text) for name in names) or text in stored.event_ids

    def _told(self, stored: _Decision) -> DecisionRecord:
        return replace(
            stored.record,
            last_seen=stored.last_seen,
            next_check_at=stored.next_check_at,
            event_ids=tuple(stored.event_ids),
            alert_keys=tuple(stored.alert_keys),
            origins=(),
            count=0,
            highest={},
            execution=None,
            approval=None,
            permit_token=None,
            permit_expires_at=None,
        )

    # Executions

    async def load(self, execution_id: str) -> ExecutionRecord | None:
        known = self.executions.get(execution_id)
        return known.record if known else None

    async def tell(self, text: str) -> Sequence[ExecutionStory]:
        if len(text) < _PREFIX:
            return ()
        decided = {
            name
            for stored in self.decisions.values()
            if stored.record.id.startswith(text)
            or (stored.record.incident and stored.record.incident.id.startswith(text))
            for name in stored.executions
        }
        return tuple(self._story(name) for name in self.executions if name.startswith(text) or name in decided)

    def _story(self, execution_id: str) -> ExecutionStory:
        known = self.executions[execution_id]
        claim = self.claims.get(self._key(known))
        held = claim is not None and claim.execution_id == execution_id
        return ExecutionStory(
            record=known.record,
            holder=known.holder,
            epoch=known.epoch,
            permit_expires_at=known.expires_at,
            lease_until=claim.lease_until if held and claim else None,
            evidence=known.evidence,
            actions_taken=known.actions_taken,
            approvals=tuple(a for a in self.approvals.values() if a.execution_id == execution_id),
        )

    async def latest(
        self, *, status: Status | None = None, since: datetime | None = None, limit: int = 50
    ) -> Sequence[ExecutionSummary]:
        chosen = [
            known
            for known in self.executions.values()
            if status in {None, known.record.status}
            and (since is None or (known.record.requested_at is not None and known.record.requested_at >= since))
        ]
        chosen.sort(key=lambda known: known.record.requested_at or self.now(), reverse=True)
        return tuple(_summary(known) for known in chosen[:limit])

    async def success(self, runbook_id: str, tenant: str, since: datetime) -> tuple[int, int]:
        ended = [
            known.record
            for known in self.executions.values()
            if known.record.plan.runbook_id == runbook_id
            and tenant in {"", known.tenant}
            and known.record.status is Status.DONE
            and known.record.started_at is not None
            and known.record.outcome is not Outcome.ABORTED
            and known.record.requested_at is not None
            and known.record.requested_at >= since
        ]
        return sum(record.verdict is Verdict.VERIFIED for record in ended), len(ended)

    async def orphans(self, limit: int = 100, unclaimed_seconds: float = 15, skip: Sequence[str] = ()) -> Orphans:
        now = self.now()
        found: dict[str, list[str]] = {"republish": [], "expired": [], "adopt": []}
        for name, known in self.executions.items():
            if name in skip:
                continue
            if known.record.status is Status.PERMITTED:
                if known.expires_at is None or known.expires_at <= now:
                    found["expired"].append(name)
                elif known.permitted_at + timedelta(seconds=unclaimed_seconds) <= now:
                    found["republish"].append(name)
            elif known.record.status in _BEGUN and not self._leased(self._key(known)):
                found["adopt"].append(name)
        return Orphans(**{what: tuple(ids[:limit]) for what, ids in found.items()})

    async def abort_expired(self, execution_ids: Sequence[str]) -> Sequence[str]:
        ended = []
        for name in sorted(execution_ids):
            known = self.executions.get(name)
            if known is None or known.record.status is not Status.PERMITTED:
                continue
            if known.expires_at is None or known.expires_at <= self.now():
                self._end(known, "the permit ran out before a worker claimed it")
                ended.append(name)
        return tuple(ended)

    def _end(self, known: _Execution, error: str) -> None:
        update = {"status": Status.DONE, "outcome": Outcome.ABORTED, "error": error, "finished_at": self.now()}
        known.record = known.record.model_copy(update=update)

    async def renew(self, holder: str, execution_ids: Sequence[str], lease_seconds: float) -> frozenset[str]:
        lost = set()
        for name in execution_ids:
            known = self.executions.get(name)
            claim = self.claims.get(self._key(known)) if known else None
            if claim and known and (claim.execution_id, claim.holder, claim.epoch) == (name, holder, known.epoch):
                claim.lease_until = self.now() + timedelta(seconds=lease_seconds)
            else:
                lost.add(name)
        return frozenset(lost)

    async def answered(self, limit: int = 100) -> Sequence[Approval]:
        waiting = [self.approvals[name] for name in self.to_follow]
        return tuple(sorted(waiting, key=lambda a: a.answered_at or self.now())[:limit])

    async def followed(self, approval_id: str) -> None:
        self.to_follow.discard(approval_id)

    async def abort_waiting(self, execution_id: str, why: str) -> bool:
        known = self.executions.get(execution_id)
        if known is None or known.record.status is not Status.WAITING_APPROVAL:
            return False
        self._end(known, why)
        return True

    # Permits

    async def claim(self, execution_id: str, plan_hash: str, holder: str, lease_seconds: float) -> Claim | str:
        known = self.executions.get(execution_id)
        if known is None:
            return "no such execution"
        claim = self.claims.setdefault(self._key(known), _TargetClaim())
        if refusal := self._unclaimable(known, claim, plan_hash):
            return refusal
        assert known.token is not None
        claim.epoch = known.token
        self._hold(known, claim, holder, lease_seconds)
        known.record = known.record.model_copy(update={"status": Status.RUNNING, "started_at": self.now()})
        return self._claim(known)

    def _unclaimable(self, known: _Execution, claim: _TargetClaim, plan_hash: str) -> str:
        if known.record.status is not Status.PERMITTED:
            return f"it is {known.record.status} already"
        if known.record.plan.hash != plan_hash:
            return "the permit is for another plan"
        if known.token is None or known.expires_at is None or known.expires_at <= self.now():
            return "the permit ran out"
        if claim.execution_id != known.record.id and self._leased(self._key(known)):
            return f"the target is held by execution {claim.execution_id}"
        return "the target has seen a newer permit" if claim.epoch >= known.token else ""

    async def adopt(self, execution_id: str, holder: str, lease_seconds: float) -> Claim | str:
        known = self.executions.get(execution_id)
        if known is None:
            return "no such execution"
        claim = self.claims.setdefault(self._key(known), _TargetClaim())
        if known.record.status not in _BEGUN:
            return f"it is {known.record.status}"
        if self._leased(self._key(known)):
            own = claim.execution_id == execution_id
            return "its holder is alive" if own else f"the target is held by execution {claim.execution_id}"
        claim.epoch += 1
        self._hold(known, claim, holder, lease_seconds)
        known.record = known.record.model_copy(update={"resumed": True})
        return self._claim(known)

    def _hold(self, known: _Execution, claim: _TargetClaim, holder: str, lease_seconds: float) -> None:
        claim.execution_id, claim.holder = known.record.id, holder
        claim.lease_until = self.now() + timedelta(seconds=lease_seconds)
        known.epoch, known.holder = claim.epoch, holder

    def _claim(self, known: _Execution) -> Claim:
        return Claim(
            execution_id=known.record.id,
            plan_hash=known.record.plan.hash,
            target_key=known.record.plan.target_key,
            epoch=known.epoch or 0,
            expires_at=known.expires_at or self.now(),
            approval_id=known.approval_id,
        )

    def _key(self, known: _Execution) -> str:
        return f"{known.tenant}|{known.record.plan.target_key}"

    def _leased(self, key: str) -> bool:
        claim = self.claims.get(key)
        return claim is not None and claim.lease_until is not None and claim.lease_until > self.now()

    # Journal

    async def intend(self, execution_id: str, epoch: int, step: StepRun) -> None:
        known = self._held(execution_id, epoch)
        others = tuple(run for run in known.record.steps if run.id != step.id)
        runs = tuple(sorted((*others, step), key=lambda run: (run.started_at, run.id)))
        known.record = known.record.model_copy(update={"steps": runs})

    async def outcome(self, execution_id: str, epoch: int, step: StepRun) -> None:
        await self.intend(execution_id, epoch, step)

    async def advance(self, execution_id: str, epoch: int, status: Status, **facts: Any) -> None:
        known = self._held(execution_id, epoch)
        known.record = known.record.model_copy(update={"status": status, **facts})

    async def finish(
        self,
        execution_id: str,
        epoch: int,
        outcome: Outcome,
        verdict: Verdict | None,
        *,
        error: str = "",
        evidence: Sequence[Evidence] = (),
        actions_taken: Sequence[str] = (),
    ) -> None:
        known = self.executions.get(execution_id)
        if known and known.record.status is Status.DONE and known.epoch == epoch:
            return
        known = self._held(execution_id, epoch)
        update = {
            "status": Status.DONE,
            "outcome": outcome,
            "verdict": verdict,
            "error": error,
            "finished_at": self.now(),
        }
        known.record = known.record.model_copy(update=update)
        known.evidence, known.actions_taken = tuple(evidence), tuple(actions_taken)
        claim = self.claims[self._key(known)]
        claim.execution_id, claim.holder, claim.lease_until = "", "", None

    def _held(self, execution_id: str, epoch: int) -> _Execution:
        known = self.executions.get(execution_id)
        if known is None:
            raise NotFound(f"execution {execution_id} is not in the store")
        claim = self.claims.get(self._key(known))
        if claim is None or (claim.execution_id, claim.epoch) != (execution_id, epoch):
            raise Fenced(f"execution {execution_id} is no longer held under epoch {epoch}")
        return known

    # Approvals

    async def answer(
        self,
        approval_id: str,
        verb: Verb,
        *,
        by: str,
        reason: str,
        now: datetime,
        plan_hash: str,
        choice: str = "",
        voter: Voter | None = None,
    ) -> Approval | ApprovalError:
        answered = await super().answer(
            approval_id, verb, by=by, reason=reason, now=now, plan_hash=plan_hash, choice=choice, voter=voter
        )
        if isinstance(answered, ApprovalError) or answered.status is ApprovalStatus.PENDING:
            return answered
        if answered.status is not ApprovalStatus.OVERTAKEN:
            self.to_follow.add(approval_id)
        else:
            self.to_follow.discard(approval_id)
        known = self.executions.get(answered.execution_id)
        if known and known.record.status is Status.WAITING_APPROVAL:
            if answered.status is ApprovalStatus.DENIED:
                self._end(known, f"denied by {answered.answered_by}: {answered.answer_reason}")
            elif answered.status is ApprovalStatus.EXPIRED:
                self._end(known, "nobody answered in time")
        return answered


def _later(new: DecisionRecord, old: DecisionRecord) -> bool:
    """Whether a decision replaces the one that is stored. Attempts at waiting are look-ups, not executions."""
    if old.kind is DecisionKind.WAITING and new.kind is not DecisionKind.WAITING:
        return True
    if new.attempt < old.attempt or (new.kind is DecisionKind.WAITING and old.kind is not DecisionKind.WAITING):
        return False
    return not (old.kind is DecisionKind.PERMIT and new.kind is not DecisionKind.PERMIT and new.attempt == old.attempt)


def _summary(known: _Execution) -> ExecutionSummary:
    record = known.record
    return ExecutionSummary(
        id=record.id,
        incident_id=known.incident_id,
        runbook_id=record.plan.runbook_id,
        runbook_version=record.plan.runbook_version,
        target_key=record.plan.target_key,
        status=record.status,
        outcome=record.outcome,
        verdict=record.verdict,
        requested_at=record.requested_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        holder=known.holder,
        tenant=str(record.incident.get("tenant") or ""),
    )
