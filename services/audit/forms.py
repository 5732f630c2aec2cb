"""One entry, or one execution, in the words of others. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any

import orjson

from executor.model import Outcome, StepRun
from executor.phases import ROLLBACK, UNDO
from safety.approvals import Approval, ApprovalStatus
from safety.trail import EntryKind
from services.records import ExecutionStory

OCSF_VERSION = "1.3.0"
_PRODUCT, _VENDOR = "Rootmend", "Rootmend"
_CREATE, _UPDATE, _DELETE = 1, 3, 4
_ACTIVITIES = {
    EntryKind.DECISION_RECORDED: _CREATE,
    EntryKind.EXECUTION_REQUESTED: _CREATE,
    EntryKind.APPROVAL_ASKED: _CREATE,
    EntryKind.STEP_INTENDED: _CREATE,
    EntryKind.SEGMENT_BEGUN: _CREATE,
    EntryKind.SCHEDULE_ARMED: _CREATE,
    EntryKind.RUNBOOK_USED: _CREATE,
    EntryKind.PAUSED: _CREATE,
    EntryKind.TOKEN_CREATED: _CREATE,
    EntryKind.TOKEN_REVOKED: _DELETE,
    EntryKind.TRAIL_PRUNED: _DELETE,
    EntryKind.EXECUTIONS_PRUNED: _DELETE,
    EntryKind.RESUMED: _DELETE,
}
_NAMES = {_CREATE: "Create", _UPDATE: "Update", _DELETE: "Delete"}
_INFORMATIONAL, _LOW, _MEDIUM, _HIGH = 1, 2, 3, 4
_SEVERITIES = {
    EntryKind.DENIED: _MEDIUM,
    EntryKind.PAUSED: _MEDIUM,
    EntryKind.RUNBOOK_ROLLED_BACK: _MEDIUM,
    EntryKind.POLICY_CHANGED: _LOW,
    EntryKind.TOKEN_CREATED: _LOW,
    EntryKind.TOKEN_REVOKED: _LOW,
    EntryKind.AUTONOMY_CHANGED: _LOW,
    EntryKind.STEP_ENDED: _LOW,
    EntryKind.STEP_UNDONE: _MEDIUM,
    EntryKind.TRAIL_PRUNED: _HIGH,
    EntryKind.EXECUTIONS_PRUNED: _HIGH,
    EntryKind.GRAPH_RESTORED: _HIGH,
    EntryKind.EXECUTION_ADOPTION_ASKED: _MEDIUM,
    EntryKind.OVERRIDE: _HIGH,
}
_SEVERITY_NAMES = {_INFORMATIONAL: "Informational", _LOW: "Low", _MEDIUM: "Medium", _HIGH: "High"}
_CEF_SEVERITIES = {_INFORMATIONAL: 2, _LOW: 3, _MEDIUM: 5, _HIGH: 8}
_FAILED = {"failed", "unknown", "denied", "expired", "failure", "aborted", "partial"}


def ocsf(row: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as an event of OCSF: Authentication for logins, API Activity for everything else.

    Args:
        row: the entry's properties.
    """
    kind = EntryKind(row["kind"])
    facts = orjson.loads(row["facts"])
    failed = kind is EntryKind.DENIED or str(facts.get("status") or facts.get("outcome") or "") in _FAILED
    severity = _SEVERITIES.get(kind, _INFORMATIONAL)
    user = {"name": row["actor"], "uid": row["actor"]}
    shared = {
        "time": round(datetime.fromisoformat(row["at"]).timestamp() * 1000),
        "severity_id": severity,
        "severity": _SEVERITY_NAMES[severity],
        "status_id": 2 if failed else 1,
        "status": "Failure" if failed else "Success",
        "message": row["reason"] or kind.value,
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": _PRODUCT, "vendor_name": _VENDOR, "version": version("rootmend")},
            "uid": f"{row['segment']}:{row['seq']}",
            "sequence": row["seq"],
            "tenant_uid": row["tenant"],
            "correlation_uid": row["incident_id"] or row["execution_id"] or row["subject"],
            "log_name": "audit",
        },
        "unmapped": {"facts": facts, "hash": row["hash"], "prev": row["prev"], "segment": row["segment"]},
    }
    if kind is EntryKind.LOGIN:
        logon = {"category_uid": 3, "category_name": "Identity & Access Management", "class_uid": 3002}
        named = {"class_name": "Authentication", "activity_id": 1, "activity_name": "Logon", "type_uid": 300201}
        return {
            **shared,
            **logon,
            **named,
            "type_name": "Authentication: Logon",
            "user": user,
            "service": {"name": "rb"},
        }
    activity = _ACTIVITIES.get(kind, _UPDATE)
    return {
        **shared,
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": 6003,
        "class_name": "API Activity",
        "activity_id": activity,
        "activity_name": _NAMES[activity],
        "type_uid": 600300 + activity,
        "type_name": f"API Activity: {_NAMES[activity]}",
        "actor": {"user": user, "app_name": _PRODUCT},
        "api": {"operation": kind.value, "service": {"name": _PRODUCT}},
        "src_endpoint": {"svc_name": _PRODUCT, "name": str(facts.get("source") or facts.get("holder") or _PRODUCT)},
        "resources": [{"uid": row["subject"], "type": kind.value.partition(".")[0]}],
    }


def cef(row: Mapping[str, Any]) -> str:
    """An entry as a line of ArcSight's Common Event Format, version 0.

    Args:
        row: the entry's properties.
    """
    kind = EntryKind(row["kind"])
    severity = _CEF_SEVERITIES[_SEVERITIES.get(kind, _INFORMATIONAL)]
    name = kind.value.replace(".", " ").replace("_", " ")
    head = [_VENDOR, _PRODUCT, version("rootmend"), kind.value, name]
    extension = {
        "rt": round(datetime.fromisoformat(row["at"]).timestamp() * 1000),
        "externalId": f"{row['segment']}:{row['seq']}",
        "suser": row["actor"],
        "act": kind.value,
        "reason": row["reason"],
        "cs1Label": "tenant",
        "cs1": row["tenant"],
        "cs2Label": "subject",
        "cs2": row["subject"],
        "cs3Label": "incident",
        "cs3": row["incident_id"],
        "cs4Label": "execution",
        "cs4": row["execution_id"],
        "cs5Label": "facts",
        "cs5": row["facts"],
        "cs6Label": "hash",
        "cs6": row["hash"],
    }
    told = " ".join(f"{key}={_value(value)}" for key, value in extension.items() if value != "")
    return f"CEF:0|{'|'.join(_field(part) for part in head)}|{severity}|{told}"


def _field(text: str) -> str:
    """A field of the header: the bar separates, and there is no second line."""
    text = " ".join(text.replace("\\", "\\\\").replace("|", "\\|").splitlines())
    return "".join(char if char.isprintable() else " " for char in text)


def _value(value: object) -> str:
    """A value of the extension: the equals sign separates."""
    text = str(value).replace("\\", "\\\\").replace("=", "\\=")
    text = text.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\r")
    # Collectors split at other separators too, and terminals obey what is in a log.
    return "".join(char if char.isprintable() else " " for char in text)


def execution_log(story: ExecutionStory) -> dict[str, Any]:
    """An execution in the schema of audit logs of runbooks, version 1.0."""
    record = story.record
    incident = record.incident
    undone = [step for step in record.steps if _takes_back(step)]
    return {
        "version": "1.0",
        "executionId": record.id,
        "runbookName": record.plan.runbook_id,
        "runbookVersion": record.plan.runbook_version,
        "trigger": {
            "type": str(incident.get("trigger_type") or "alert"),
            "source": str(incident.get("cluster") or ""),
            "alertId": str(incident.get("event_id") or ""),
            "triggeredBy": str(incident.get("asked_by") or "rootmend"),
        },
        "parameters": dict(record.plan.context.get("params") or {}),
        "steps": [_step_log(step, story) for step in record.steps],
        "approvals": [_approval_log(approval) for approval in story.approvals],
        "outcome": record.outcome.value if record.outcome else None,
        "rollback": {
            "triggered": bool(undone) or record.outcome is Outcome.ROLLBACK,
            "reason": (record.error or record.rollback_with) if undone else "",
            "success": record.outcome is Outcome.ROLLBACK,
        },
    }


def _takes_back(step: StepRun) -> bool:
    return step.phase == ROLLBACK or step.phase.partition(".")[0] == UNDO


def _step_log(step: StepRun, story: ExecutionStory) -> dict[str, Any]:
    planned = {one.id: one for one in story.record.plan.steps}.get(step.step_id)
    took = (step.finished_at - step.started_at).total_seconds() if step.finished_at else None
    return {
        "stepName": step.name,
        "status": step.status.value,
        "startTime": step.started_at.isoformat(),
        "endTime": step.finished_at.isoformat() if step.finished_at else None,
        "duration": took,
        "input": dict(planned.params) if planned else {},
        "output": step.output if isinstance(step.output, Mapping) else {"value": step.output},
        "error": step.error,
    }


def _approval_log(approval: Approval) -> dict[str, Any]:
    waits = approval.status is ApprovalStatus.PENDING
    return {
        "requestedAt": approval.requested_at.isoformat(),
        "approver": approval.answered_by,
        "decision": approval.status.value,
        "comment": approval.answer_reason,
        "respondedAt": approval.answered_at.isoformat() if approval.answered_at and not waits else None,
    }
