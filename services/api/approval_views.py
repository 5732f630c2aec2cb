"""What the REST API takes and gives about approvals, as models."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field

from executor.model import ExecutionRecord
from executor.reasons import leaves
from safety.approvals import Approval
from services.api.views import Problem, View


class AnswerBody(View):
    """An answer. It is given to a plan: the hash is that of the question as it was shown."""

    answer: Literal["approve", "deny", "bypass"]
    plan_hash: str = Field(min_length=1, max_length=128, description="Of the question that is answered")
    reason: str = Field("", max_length=2000, description="Goes on record; needed for deny and bypass")
    choice: str = Field("", max_length=150, description="One of the answers that the rules offer; of a bypass its name")


class YesView(View):
    """One person's yes."""

    by: str
    at: datetime
    reason: str
    choice: str
    stands_for: Sequence[str] = Field(description="People who had handed their answer over")


class ChangeView(View):
    """One change that the plan makes."""

    step: str
    action: str
    about: str
    summary: str
    undo: str = Field(description="Empty when it cannot be undone")


class ApprovalView(View):
    """A question as it stands."""

    id: str
    status: str
    execution_id: str
    incident_id: str
    plan_hash: str
    step: str = Field(description="What it is about; empty for the whole plan")
    runbook: str
    version: str
    target: str
    reasons: Sequence[str]
    changes: Sequence[ChangeView]
    requested_at: datetime
    expires_at: datetime
    wanted: Sequence[str] = Field(description="Whose turn it is; empty for anybody who may answer")
    lacking: Sequence[str] = Field(description="Who still has to say yes, by rule")
    yeses: Sequence[YesView]
    choices: Sequence[str] = Field(description="Ways to say yes and no that the rules offer")
    comment_required: bool
    bypass: Sequence[str] = Field(description="Emergency ways around it")
    bypassed: str
    answered_by: str
    answered_at: datetime | None
    answer_reason: str


class ApprovalList(View):
    """Questions, oldest first."""

    approvals: Sequence[ApprovalView]


class Conflict(Problem):
    """The answer does not fit what stands: somebody was first, it expired, or the plan is another one."""

    problem: str
    approval_status: str
    answered_by: str = Field(description="Who decided; empty while nobody has")
    answered_at: datetime | None


def approval_view(approval: Approval, record: ExecutionRecord | None) -> ApprovalView:
    """A question for callers."""
    plan = record.plan if record else None
    rules = approval.rules
    return ApprovalView(
        id=approval.id,
        status=approval.status.value,
        execution_id=approval.execution_id,
        incident_id=approval.incident_id,
        plan_hash=approval.plan_hash,
        step=approval.step,
        runbook=plan.runbook_id if plan else "",
        version=plan.runbook_version if plan else "",
        target=plan.target_key if plan else "",
        reasons=approval.reasons,
        changes=tuple(_changes(record)) if record else (),
        requested_at=approval.requested_at,
        expires_at=approval.expires_at,
        wanted=tuple(map(str, approval.wanted)) if approval.status == "pending" else (),
        lacking=approval.lacking if approval.status == "pending" else (),
        yeses=tuple(
            YesView(by=yes.by, at=yes.at, reason=yes.comment, choice=yes.choice, stands_for=yes.stands_for)
            for yes in approval.yeses
        ),
        choices=tuple(dict.fromkeys(one.value for rule in rules for one in (*rule.approve, *rule.reject))),
        comment_required=any(rule.comment_required for rule in rules),
        bypass=tuple(each.name for each in approval.bypass),
        bypassed=approval.bypassed,
        answered_by=approval.answered_by,
        answered_at=approval.answered_at,
        answer_reason=approval.answer_reason,
    )


def _changes(record: ExecutionRecord) -> list[ChangeView]:
    return [
        ChangeView(
            step=step.name,
            action=step.action,
            about=str(change.ref) if change.ref else "",
            summary=change.summary,
            undo="" if change.irreversible else change.undo,
        )
        for step in leaves(record.plan.steps)
        for change in step.changes
    ]
