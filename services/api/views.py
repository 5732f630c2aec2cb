"""What the REST API takes and gives, as models. The OpenAPI document is made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from executor.model import Evidence, StepRun
from runbooks.model import LoadedRunbook
from services.intake.run_request import RunTarget
from services.records import ExecutionStory, Story


class View(BaseModel):
    """Base: what is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Execute(View):
    """What is asked for. A field that is not known is refused: it may be a misspelt `dry_run`."""

    target: RunTarget | None = Field(None, description="What the runbook acts on; left out, it acts on no workload")
    parameters: Mapping[str, Any] = Field({}, max_length=100, description="By name; no secrets: they are recorded")
    version: str = Field("", max_length=64, description="Only this version; another one in force is a conflict")
    reason: str = Field("", max_length=2000, description="Why, for the record")
    requested_by: str = Field("api", min_length=1, max_length=256, description="Who asks, for the record")
    dry_run: bool = Field(False, strict=True, description="Only decide what would be done")


class Accepted(View):
    """Kafka has the request."""

    request_id: str
    status: str = "accepted"
    href: str = Field(description="Where its decision will be")


class ParameterView(View):
    """A value that a runbook takes."""

    name: str
    type: str
    required: bool
    default: Any = None
    description: str = ""


class RunbookView(View):
    """A runbook in force."""

    id: str
    name: str
    version: str
    type: str
    description: str
    tags: Sequence[str]
    manual: bool = Field(description="Whether it can be asked for by name")
    schedules: Sequence[str] = Field(description="Its cron expressions with their time zones")
    parameters: Sequence[ParameterView]


class Runbooks(View):
    """All runbooks in force."""

    runbooks: Sequence[RunbookView]


class StepView(View):
    """One run of one step. What it gave out is not told here."""

    id: str
    name: str
    action: str
    phase: str
    status: str
    item: int | None
    attempt: int
    started_at: datetime
    finished_at: datetime | None
    error: str


class EvidenceView(View):
    """What a look at the target found."""

    at: datetime
    healthy: bool | None
    detail: str


class ExecutionView(View):
    """One execution as it stands."""

    id: str
    runbook: str
    version: str
    target: str
    status: str
    outcome: str | None
    verdict: str | None
    requested_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    error: str
    steps: Sequence[StepView]
    evidence: Sequence[EvidenceView]


class DecisionView(View):
    """What was decided about a request."""

    id: str
    kind: str = Field(description="permit, approval, refusal, no_match, no_target, plan_failed, waiting")
    check: str
    message: str
    decided_at: datetime


class RequestView(View):
    """A request with its decision, and its execution if there is one."""

    request_id: str
    runbook: str
    requested_by: str
    decision: DecisionView
    execution: ExecutionView | None
    approval: str | None = Field(None, description="Id of the approval that it waits for")


class Problem(View):
    """Why a call failed (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


def runbook_view(loaded: LoadedRunbook) -> RunbookView:
    """A runbook for callers."""
    runbook = loaded.runbook
    return RunbookView(
        id=runbook.id,
        name=runbook.name,
        version=runbook.version,
        type=runbook.type.value,
        description=runbook.description,
        tags=runbook.tags,
        manual=runbook.trigger.manual,
        schedules=tuple(f"{each.cron} {each.timezone}" for each in runbook.trigger.schedule),
        parameters=tuple(
            ParameterView(
                name=each.name,
                type=each.type,
                required=each.required,
                default=each.default,
                description=each.description,
            )
            for each in runbook.parameters
        ),
    )


def execution_view(story: ExecutionStory) -> ExecutionView:
    """An execution for callers."""
    record = story.record
    return ExecutionView(
        id=record.id,
        runbook=record.plan.runbook_id,
        version=record.plan.runbook_version,
        target=record.plan.target_key,
        status=record.status.value,
        outcome=record.outcome.value if record.outcome else None,
        verdict=record.verdict.value if record.verdict else None,
        requested_at=record.requested_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        error=record.error,
        steps=tuple(_step(run) for run in record.steps),
        evidence=tuple(_evidence(each) for each in story.evidence),
    )


def request_view(story: Story) -> RequestView | None:
    """A request for callers; None when the story is not about one."""
    decision, run = story.decision, story.decision.signal.run
    if run is None:
        return None
    last = story.executions[-1] if story.executions else None
    pending = [one.id for one in last.approvals if one.status.value == "pending"] if last else []
    return RequestView(
        request_id=decision.signal.event_id,
        runbook=run.runbook,
        requested_by=run.by,
        decision=DecisionView(
            id=decision.id,
            kind=decision.kind.value,
            check=decision.check,
            message=decision.message,
            decided_at=decision.decided_at,
        ),
        execution=execution_view(last) if last else None,
        approval=pending[-1] if pending else None,
    )


def _step(run: StepRun) -> StepView:
    return StepView(
        id=run.step_id,
        name=run.name,
        action=run.action,
        phase=run.phase,
        status=run.status.value,
        item=run.item,
        attempt=run.attempt,
        started_at=run.started_at,
        finished_at=run.finished_at,
        error=run.error,
    )


def _evidence(each: Evidence) -> EvidenceView:
    return EvidenceView(at=each.at, healthy=each.healthy, detail=each.detail)
