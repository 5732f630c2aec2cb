"""What is told of each change of the graph: records in, entries out. Facts are short; the records have the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from executor.model import Outcome, StepRun, StepStatus, Verdict
from executor.phases import ROLLBACK, UNDO
from safety.approvals import Approval, ApprovalStatus
from safety.trail import PIPELINE, SYSTEM, Entry, EntryKind
from services.records import DecisionRecord

_ANSWERS = {
    ApprovalStatus.EXPIRED: EntryKind.APPROVAL_EXPIRED,
    ApprovalStatus.OVERTAKEN: EntryKind.APPROVAL_OVERTAKEN,
}


def of_decision(decision: DecisionRecord) -> Iterable[Entry]:
    """A decision, with the execution and the question that it led to."""
    incident = decision.incident.id if decision.incident else ""
    run = decision.signal.run
    actor = run.by if run else PIPELINE
    execution = decision.execution
    yield Entry(
        EntryKind.DECISION_RECORDED,
        decision.id,
        actor,
        decision.message or decision.check,
        {
            "kind": decision.kind.value,
            "check": decision.check,
            "attempt": decision.attempt,
            "cluster": decision.signal.cluster,
            "signal": decision.signal.reason,
            "event_id": decision.signal.event_id,
            "cause": decision.incident.cause.reason if decision.incident else "",
            "confidence": decision.incident.cause.confidence if decision.incident else None,
            "target": decision.incident.target.key if decision.incident else "",
            "runbook": decision.runbook.id if decision.runbook else "",
            "runbook_version": decision.runbook.version if decision.runbook else "",
            "runbook_sha": decision.runbook.sha if decision.runbook else "",
        },
        incident_id=incident,
        execution_id=execution.id if execution else "",
        at=decision.decided_at,
    )
    if execution:
        yield Entry(
            EntryKind.EXECUTION_REQUESTED,
            execution.id,
            actor,
            decision.message,
            {
                "status": execution.status.value,
                "decision": decision.id,
                "runbook": execution.plan.runbook_id,
                "runbook_version": execution.plan.runbook_version,
                "runbook_sha": execution.plan.runbook_sha,
                "target": execution.plan.target_key,
                "plan_hash": execution.plan.hash,
                "token": decision.permit_token,
            },
            incident_id=incident or str(execution.incident.get("id", "")),
            execution_id=execution.id,
        )
    if decision.approval:
        yield of_question(decision.approval)


def of_question(approval: Approval) -> Entry:
    """A question to a human."""
    return Entry(
        EntryKind.APPROVAL_ASKED,
        approval.id,
        PIPELINE,
        "; ".join(approval.reasons),
        {"plan_hash": approval.plan_hash, "expires_at": approval.expires_at, "step": approval.step},
        incident_id=approval.incident_id,
        execution_id=approval.execution_id,
    )


def of_answer(approval: Approval) -> Entry:
    """An answer to it, also one that is not enough yet, and its end without one."""
    facts: dict[str, Any] = {
        "status": approval.status.value,
        "plan_hash": approval.plan_hash,
        "choice": approval.choice,
    }
    if approval.bypassed:
        facts["bypassed"] = approval.bypassed
    if approval.yeses and approval.yeses[-1].stands_for:
        facts["stands_for"] = list(approval.yeses[-1].stands_for)
    by, reason = approval.answered_by, approval.answer_reason
    if approval.status is ApprovalStatus.PENDING and approval.yeses:
        last = approval.yeses[-1]
        by, reason, facts["choice"] = last.by, last.comment, last.choice
        facts["lacking"] = list(approval.lacking)
    return Entry(
        _ANSWERS.get(approval.status, EntryKind.APPROVAL_ANSWERED),
        approval.id,
        by or PIPELINE,
        reason,
        facts,
        incident_id=approval.incident_id,
        execution_id=approval.execution_id,
    )


def of_bypass(approval: Approval) -> Entry:
    """An emergency: a plan goes on without the people whom its rules ask. Said beside the answer, to be seen."""
    level = next((each.level for each in approval.bypass if each.name == approval.bypassed), "critical")
    return Entry(
        EntryKind.OVERRIDE,
        approval.id,
        approval.answered_by,
        approval.answer_reason,
        {
            "level": level,
            "bypass": approval.bypassed,
            "plan_hash": approval.plan_hash,
            "without": list(approval.lacking) or list(approval.reasons),
        },
        incident_id=approval.incident_id,
        execution_id=approval.execution_id,
    )


def of_step(execution_id: str, incident_id: str, epoch: int, step: StepRun, digest: str) -> Entry:
    """An intent, an outcome, or what was taken back.

    Args:
        execution_id: whose step it is.
        incident_id: of that execution.
        epoch: of the holder.
        step: as it is written.
        digest: of its record, so that a later change of that is seen.
    """
    undone = step.phase == ROLLBACK or step.phase.partition(".")[0] == UNDO
    intended = step.status is StepStatus.INTENDED
    kind = EntryKind.STEP_INTENDED if intended else EntryKind.STEP_UNDONE if undone else EntryKind.STEP_ENDED
    return Entry(
        kind,
        step.id,
        PIPELINE,
        step.error,
        {
            "name": step.name,
            "action": step.action,
            "phase": step.phase,
            "status": step.status.value,
            "attempt": step.attempt,
            "epoch": epoch,
            "digest": digest,
        },
        incident_id=incident_id,
        execution_id=execution_id,
        at=step.started_at if intended else step.finished_at,
    )


def of_end(
    execution_id: str, incident_id: str, outcome: Outcome, why: str, *, actor: str = PIPELINE, **facts: Any
) -> Entry:
    """The end of an execution.

    Args:
        execution_id: which.
        incident_id: that it belongs to.
        outcome: how it ended.
        why: in words; empty when all went well.
        actor: who ended it.
        facts: further values.
    """
    told = {"outcome": outcome.value, **facts}
    return Entry(
        EntryKind.EXECUTION_ENDED, execution_id, actor, why, told, incident_id=incident_id, execution_id=execution_id
    )


def finish_facts(epoch: int, verdict: Verdict | None, actions_taken: Sequence[str]) -> dict[str, Any]:
    """What the holder of an execution tells of its end."""
    return {"verdict": verdict.value if verdict else None, "epoch": epoch, "actions_taken": list(actions_taken)}


def by_tenant(decisions: Iterable[DecisionRecord], used: Mapping[tuple[str, str], str]) -> dict[str, list[Entry]]:
    """What a batch of decisions leads to.

    Args:
        decisions: as they are written.
        used: the version by (runbook, sha) of those that this process uses for the first time.
    """
    told: dict[str, list[Entry]] = {}
    for decision in decisions:
        told.setdefault(decision.signal.tenant, []).extend(of_decision(decision))
    for (runbook, sha), version in used.items():
        facts = {"version": version, "sha": sha}
        told.setdefault(SYSTEM, []).append(Entry(EntryKind.RUNBOOK_USED, runbook, facts=facts))
    return told
