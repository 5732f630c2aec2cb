"""Executions, their steps and approvals as properties of nodes, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import TypeAdapter

from executor.model import Attempt, Evidence, ExecutionRecord, Kpi, Outcome, Plan, Status, StepRun, Verdict
from safety.approvals import Approval, ApprovalStatus
from safety.quorum import Bypass, Rule, Yes
from services.graph.formats import FORMAT, reading
from services.graph.values import dump, from_millis, instant, millis, moment, pack, unpack
from services.masking import masker
from services.records import DecisionRecord, ExecutionStory, ExecutionSummary
from services.sealing import NEEDS_KEY, WITHHELD, Unkept, key_id_of, sealer

Properties = dict[str, Any]
SEALED = "_sealed"
"""Ends the name of the property with the envelope of another."""

_ATTEMPTS: TypeAdapter[tuple[Attempt, ...]] = TypeAdapter(tuple[Attempt, ...])
_EVIDENCE: TypeAdapter[tuple[Evidence, ...]] = TypeAdapter(tuple[Evidence, ...])
_KPIS: TypeAdapter[tuple[Kpi, ...]] = TypeAdapter(tuple[Kpi, ...])
_RULES: TypeAdapter[tuple[Rule, ...]] = TypeAdapter(tuple[Rule, ...])
_BYPASSES: TypeAdapter[tuple[Bypass, ...]] = TypeAdapter(tuple[Bypass, ...])
_YESES: TypeAdapter[tuple[Yes, ...]] = TypeAdapter(tuple[Yes, ...])
_LATER = {
    *("plan", "steps", "status", "verdict", "outcome", "error", "started_at", "verify_from", "finished_at"),
    *("rollback_with", "kpis"),
}
"""Fields of the record that have a property of their own, because they change or are asked for."""


def claim_key(tenant: str, target_key: str) -> str:
    """The identity of a target's claim; tenants never share one."""
    return f"{tenant}|{target_key}"


def execution_row(decision: DecisionRecord, record: ExecutionRecord) -> Properties:
    """The execution of a decision, as a row of ``executions_upsert``."""
    return {
        "id": record.id,
        "decision_id": decision.id,
        "status": record.status.value,
        "runbook_id": record.plan.runbook_id,
        "runbook_sha": record.plan.runbook_sha,
        "facts": {
            **_plan_facts(record),
            "format": FORMAT,
            "tenant": decision.signal.tenant,
            "claim_key": claim_key(decision.signal.tenant, record.plan.target_key),
            "incident_id": decision.incident.id if decision.incident else str(record.incident.get("id", "")),
            "decision_id": decision.id,
            "rca_confidence": decision.incident.cause.confidence if decision.incident else None,
            "attempt": decision.attempt,
            "requested_at": record.requested_at or decision.decided_at,
            **_permit_facts(decision),
        },
    }


def _plan_facts(record: ExecutionRecord) -> Properties:
    plan = record.plan
    return {
        "runbook_id": plan.runbook_id,
        "runbook_version": plan.runbook_version,
        "runbook_sha": plan.runbook_sha,
        "target_key": plan.target_key,
        "plan_hash": plan.hash,
        "cooldown_seconds": record.cooldown_seconds,
        "namespaces": list(plan.namespaces),
        "blast": record.blast,
        "remember_ms": round(record.remember_seconds * 1000),
        **_kept("plan", plan.model_dump_json(), record.id),
        "record": masker.json(dump(record.model_dump(mode="json", exclude=_LATER))),
    }


def _kept(name: str, text: str | None, about: str, *, stored: bool = False) -> Properties:
    """A text that must come back as it was: where it holds secrets it is shown masked, and kept encrypted beside."""
    shown, envelope = (None, None) if text is None else sealer.kept(text, f"{name} of {about}", stored=stored)
    if envelope == WITHHELD:
        return {name: shown, f"{name}{SEALED}": WITHHELD, "sealed_with": None}
    # Written even when there is none: an envelope of an earlier text must not stay beside this one.
    return {name: shown, f"{name}{SEALED}": envelope, "sealed_with": key_id_of(envelope) if envelope else None}


def _whole(name: str, row: Mapping[str, Any], *, shown: bool) -> str:
    """The text as it was; what is shown to people stays masked."""
    text: str = row[name]
    if shown:
        return text
    return sealer.whole(text, row.get(f"{name}{SEALED}"), f"{name} of {row.get('id', '')}")


def _permit_facts(decision: DecisionRecord) -> Properties:
    if decision.permit_token is None:
        return {}
    expires = millis(decision.permit_expires_at)
    return {
        "token": decision.permit_token,
        "permit_expires_ms": expires,
        "permit_expires_at": decision.permit_expires_at,
        "permitted_ms": millis(decision.decided_at),
        "approval_id": decision.approval.id if decision.approval else None,
    }


def record_of(row: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], *, shown: bool = False) -> ExecutionRecord:
    """An execution from its node's properties and those of its steps.

    Args:
        row: properties of the node.
        steps: properties of the nodes of its steps.
        shown: it is only looked at: what is encrypted stays masked.

    Raises:
        Unreadable: a value is missing or is not what it should be.
        TooNew: a newer release wrote it.
        SealError: a text is encrypted and cannot be read.
    """
    with reading("execution", row):
        return _record_of(row, steps, shown=shown)


def _record_of(row: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], *, shown: bool) -> ExecutionRecord:
    # What an earlier release kept inside the record has a property of its own now, which counts.
    base = {name: value for name, value in orjson.loads(row["record"]).items() if name not in _LATER}
    base["requested_at"] = moment(row.get("requested_at"))
    base["resumed"] = bool(row.get("resumed") or base.get("resumed"))
    own = {
        "plan": Plan.model_validate_json(_whole("plan", row, shown=shown), extra="ignore"),
        "steps": tuple(step_of(step, shown=shown) for step in steps),
        "status": Status(row["status"]),
        "verdict": Verdict(row["verdict"]) if row.get("verdict") else None,
        "outcome": Outcome(row["outcome"]) if row.get("outcome") else None,
        "error": row.get("error") or "",
        "started_at": moment(row.get("started_at")),
        "verify_from": moment(row.get("verify_from")),
        "rollback_with": row.get("rollback_with") or "",
        "kpis": unpack(_KPIS, row.get("kpis"), ()),
        "finished_at": moment(row.get("finished_at")),
    }
    return ExecutionRecord.model_validate({**base, **own}, extra="ignore")


def refuse_unkept(step: StepRun) -> None:
    """Ask, before a step does anything, whether what it saved may be stored.

    Raises:
        Unkept: it holds a secret, and there is no key.
    """
    if step.before is not None and not sealer.keepable(dump(dict(step.before))):
        raise Unkept(f"what was there before holds a secret, which is never stored in clear text: {NEEDS_KEY}")


def step_row(execution_id: str, step: StepRun, *, intended: bool = False) -> Properties:
    """One run of one step as properties. What was there before and what came out are JSON.

    Args:
        execution_id: whose it is.
        step: the run.
        intended: its intent is written already, and what it saved with it.
    """
    row = {
        "id": step.id,
        "execution_id": execution_id,
        "phase": step.phase,
        "index": step.index,
        "step_id": step.step_id,
        "name": step.name,
        "action": step.action,
        "status": step.status.value,
        **_kept("before", None if step.before is None else dump(dict(step.before)), step.id, stored=intended),
        "output": None if step.output is None else dump(step.output),
        "error": step.error,
        "started_at": step.started_at,
        "finished_at": step.finished_at,
        "item": step.item,
        "attempt": step.attempt,
        "attempts": _ATTEMPTS.dump_json(step.attempts).decode() if step.attempts else None,
        "items": None if step.items is None else dump(list(step.items)),
        "outputs": dump(dict(step.outputs)) if step.outputs else None,
        "state": dump(dict(step.state)) if step.state else None,
    }
    return {**row, "digest": _digest(row)}


_DIGESTED = ("id", "phase", "index", "step_id", "action", "status", "before", "output", "error")
_SELDOM = ("items", "outputs", "state")
"""Digested where they are there, so that the digests of records without them stay as they are."""


def _digest(row: Mapping[str, Any]) -> str:
    """SHA-256 over what a step found and did, so that a later change of its record is seen."""
    told = [row.get(key) or "" for key in _DIGESTED] + [[key, row[key]] for key in _SELDOM if row.get(key)]
    return hashlib.sha256(orjson.dumps(told)).hexdigest()


def altered(row: Mapping[str, Any]) -> bool:
    """Whether a step's properties are no longer what the journal wrote; older records have no digest to tell."""
    return bool(row.get("digest")) and row["digest"] != _digest(row)


def step_of(row: Mapping[str, Any], *, shown: bool = False) -> StepRun:
    """One run of one step from its node's properties; see ``record_of``."""
    return StepRun(
        id=row["id"],
        phase=row["phase"],
        index=row["index"],
        step_id=row["step_id"],
        name=row["name"],
        action=row["action"],
        status=row["status"],
        before=orjson.loads(_whole("before", row, shown=shown)) if row.get("before") else None,
        output=orjson.loads(row["output"]) if row.get("output") else None,
        error=row.get("error") or "",
        started_at=instant(row["started_at"]),
        finished_at=moment(row.get("finished_at")),
        item=row.get("item"),
        attempt=row.get("attempt") or 1,
        attempts=unpack(_ATTEMPTS, row.get("attempts"), ()),
        items=orjson.loads(row["items"]) if row.get("items") else None,
        outputs=orjson.loads(row["outputs"]) if row.get("outputs") else {},
        state=orjson.loads(row["state"]) if row.get("state") else {},
    )


def approval_row(approval: Approval) -> Properties:
    """An approval as properties."""
    return {
        "id": approval.id,
        "format": FORMAT,
        "execution_id": approval.execution_id,
        "incident_id": approval.incident_id,
        "plan_hash": approval.plan_hash,
        "requested_at": approval.requested_at,
        "expires_at": approval.expires_at,
        "reasons": masker.data(approval.reasons),
        "status": approval.status.value,
        "answered_by": approval.answered_by,
        "answer_reason": masker.text(approval.answer_reason),
        "answered_at": approval.answered_at,
        "rules": pack(_RULES, approval.rules),
        "yeses": pack(_YESES, approval.yeses),
        "choice": approval.choice,
        "bypass": [str(each) for each in approval.bypass],
        "bypasses": pack(_BYPASSES, approval.bypass),
        "barred": list(approval.barred),
        "bypassed": approval.bypassed or None,
        "step": approval.step or None,
    }


def approval_of(row: Mapping[str, Any]) -> Approval:
    """An approval from its node's properties.

    Raises:
        Unreadable: a value is missing or is not what it should be.
        TooNew: a newer release wrote it.
    """
    with reading("approval", row):
        return _approval_of(row)


def _approval_of(row: Mapping[str, Any]) -> Approval:
    return Approval(
        id=row["id"],
        execution_id=row["execution_id"],
        incident_id=row["incident_id"],
        plan_hash=row["plan_hash"],
        requested_at=instant(row["requested_at"]),
        expires_at=instant(row["expires_at"]),
        reasons=tuple(row.get("reasons") or ()),
        status=ApprovalStatus(row["status"]),
        answered_by=row.get("answered_by") or "",
        answer_reason=row.get("answer_reason") or "",
        answered_at=moment(row.get("answered_at")),
        rules=unpack(_RULES, row.get("rules"), ()),
        yeses=unpack(_YESES, row.get("yeses"), ()),
        choice=row.get("choice") or "",
        bypass=unpack(_BYPASSES, row.get("bypasses"), ()),
        barred=tuple(row.get("barred") or ()),
        bypassed=row.get("bypassed") or "",
        step=row.get("step") or "",
    )


def story_of(
    row: Mapping[str, Any],
    steps: Sequence[Mapping[str, Any]],
    claim: Mapping[str, Any] | None,
    approvals: Sequence[Mapping[str, Any]],
) -> ExecutionStory:
    """An execution as people are told of it."""
    return ExecutionStory(
        record=record_of(row, steps, shown=True),
        holder=row.get("holder") or "",
        epoch=row.get("epoch"),
        permit_expires_at=from_millis(row.get("permit_expires_ms")),
        lease_until=from_millis((claim or {}).get("lease_until_ms")),
        evidence=unpack(_EVIDENCE, row.get("evidence"), ()),
        actions_taken=tuple(row.get("actions_taken") or ()),
        approvals=tuple(approval_of(approval) for approval in approvals),
    )


def finish_facts(
    outcome: Outcome, verdict: Verdict | None, error: str, evidence: Sequence[Evidence], actions_taken: Sequence[str]
) -> Properties:
    """What ending an execution sets."""
    return {
        "status": Status.DONE.value,
        "outcome": outcome.value,
        "verdict": verdict.value if verdict else None,
        "error": error,
        "evidence": _EVIDENCE.dump_json(tuple(evidence)).decode(),
        "actions_taken": list(actions_taken),
    }


def summary_of(row: Mapping[str, Any]) -> ExecutionSummary:
    """One line of the list."""
    return ExecutionSummary(
        id=row["id"],
        incident_id=row.get("incident_id") or "",
        runbook_id=row["runbook_id"],
        runbook_version=row["runbook_version"],
        target_key=row["target_key"],
        status=Status(row["status"]),
        outcome=Outcome(row["outcome"]) if row.get("outcome") else None,
        verdict=Verdict(row["verdict"]) if row.get("verdict") else None,
        requested_at=moment(row.get("requested_at")),
        started_at=moment(row.get("started_at")),
        finished_at=moment(row.get("finished_at")),
        holder=row.get("holder") or "",
        tenant=row.get("tenant") or "",
    )


def named_of(row: Mapping[str, Any]) -> ExecutionSummary:
    """One line about an execution of which little may be readable: what does not make sense is left out."""
    known = {
        "status": row.get("status") if row.get("status") in set(Status) else Status.RUNNING.value,
        "outcome": row.get("outcome") if row.get("outcome") in set(Outcome) else None,
        "verdict": row.get("verdict") if row.get("verdict") in set(Verdict) else None,
        "runbook_id": row.get("runbook_id") or "",
        "runbook_version": row.get("runbook_version") or "",
        "target_key": row.get("target_key") or "",
        "format": FORMAT,
    }
    return summary_of({**row, **known})
