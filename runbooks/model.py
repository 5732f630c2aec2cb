"""The canonical runbook: what an SRE writes, checked and typed.

Every dialect loads into these models. They are frozen: a runbook never changes after it is loaded, a new
version is a new object. Unknown keys are refused, because a misspelt safety limit must not be ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from runbooks.conditions import Approvals, Assumption, Criterion, Kpis, Precondition
from runbooks.findings import Finding
from runbooks.rollout import Canary, Rollout
from runbooks.steps import OnFailure, OnSuccess, Retry, RetryOn, Rollback, RollbackTrigger, RunOnFailure, Step, with_ids
from runbooks.triggers import Schedule, Trigger, TriggerTarget
from runbooks.words import Condition, Duration, Model, Patterns, Version, Words

__all__ = [
    "Approvals",
    "Assumption",
    "Canary",
    "Channels",
    "Condition",
    "Criterion",
    "Duration",
    "Kpis",
    "LoadedRunbook",
    "Model",
    "Notification",
    "OnFailure",
    "OnNotFixed",
    "OnSuccess",
    "Parameter",
    "Patterns",
    "Precondition",
    "Retry",
    "RetryOn",
    "Rollback",
    "RollbackTrigger",
    "Rollout",
    "RunOnFailure",
    "Runbook",
    "RunbookType",
    "Safety",
    "Schedule",
    "SlackMessage",
    "Step",
    "Trigger",
    "TriggerTarget",
    "Verification",
    "Version",
]


class RunbookType(StrEnum):
    """What a runbook is for."""

    INCIDENT = "incident"
    MAINTENANCE = "maintenance"
    MONITORING = "monitoring"
    RECOVERY = "recovery"


class Parameter(Model):
    """A value that the runbook takes from outside."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Used in templates as params.NAME")
    type: Literal["string", "integer", "number", "boolean", "quantity", "duration", "list", "object"] = Field(
        "string", description="What its value must be"
    )
    required: bool = Field(False, description="Without a value nothing is planned")
    default: Any = Field(None, description="Taken when nobody sets it")
    pattern: str | None = Field(None, description="Regular expression that the whole value must match")
    description: str = Field("", description="For those who set it")


class Rates(Model):
    """Most executions in windows of several lengths; what is left out is not limited beyond the other windows."""

    per_minute: int | None = Field(None, ge=0, strict=True, description="In any 60 seconds")
    per_hour: int | None = Field(None, ge=0, strict=True, description="In any hour; beside max_executions_per_hour")
    per_day: int | None = Field(None, ge=0, strict=True, description="In any 24 hours")


class Repeated(Model):
    """When the same target needs the same runbook again so soon, a human decides."""

    executions: int = Field(1, ge=1, strict=True, description="So many earlier executions for the target")
    within: Duration = Field(timedelta(days=1), description="Since then")


class CooldownAfter(Model):
    """Quiet time by how an execution ended; what is left out follows ``cooldown`` and the settings."""

    success: Duration | None = Field(None, description="After a verified fix")
    failure: Duration | None = Field(None, description="After steps that failed, some or all")
    rollback: Duration | None = Field(None, description="After changes that were taken back")
    not_fixed: Duration | None = Field(None, description="After a fix that did not help")
    inconclusive: Duration | None = Field(None, description="After a fix that nobody could prove")

    @property
    def seconds(self) -> Mapping[str, float]:
        """Those that are given, in seconds."""
        return {name: value.total_seconds() for name, value in self if value is not None}


class Safety(Model):
    """Limits that the gate enforces. What is left out takes the strict value."""

    require_approval: Condition = Field(True, description="A human says yes first, always or when it holds")
    max_executions_per_hour: int = Field(5, ge=0, strict=True, description="Per runbook; 0 means never by itself")
    rates: Rates = Field(Rates(), description="Limits for further windows, per runbook")
    max_concurrent: int | None = Field(
        None, ge=1, strict=True, description="Most executions of this runbook at the same time"
    )
    ask_again: Repeated | None = Field(
        None, description="A repeated execution for one target asks a human; runbooks that grow something always do"
    )
    blast_radius_limit: int = Field(10, ge=0, strict=True, description="Most resources that one execution may affect")
    blast_radius_percent: float | None = Field(
        None,
        gt=0,
        le=100,
        strict=True,
        description="Most of the namespace's pods that it may affect, beside the absolute limit",
    )
    protected_namespaces: Patterns = Field((), description="Never touched, beside those of the settings")
    protected_labels: Mapping[str, str] = Field({}, description="Objects with one of these labels are never touched")
    dry_run_first: bool = Field(True, description="Ask the API server to validate every write before the first")
    cooldown: Duration = Field(timedelta(minutes=10), description="Quiet time for the target after an execution")
    cooldown_after: CooldownAfter = Field(
        CooldownAfter(), description="Another quiet time after an execution that ended in a certain way"
    )
    approval_timeout: Duration = Field(timedelta(minutes=30), description="After it the answer is no")


class OnNotFixed(StrEnum):
    """What follows when the world does not say that the fix worked."""

    ROLLBACK = "rollback"
    KEEP = "keep"


class Verification(Model):
    """How the pipeline proves the fix, after the runbook's own steps."""

    settle: Duration = Field(timedelta(seconds=30), description="How long the target must stay healthy")
    timeout: Duration = Field(timedelta(minutes=5), description="After it, unhealthy means not fixed")
    observe: Duration = Field(
        timedelta(0), description="After it has settled, how long rollback triggers and criteria are watched on"
    )
    success_criteria: tuple[Criterion, ...] = Field(
        (), description="What must be true beside the health of the target; each needs positive evidence"
    )
    on_not_fixed: OnNotFixed = Field(OnNotFixed.ROLLBACK, description="What follows when it did not work")
    on_inconclusive: OnNotFixed = Field(OnNotFixed.KEEP, description="What follows when nobody can say")


class SlackMessage(Model):
    """A message to one Slack channel."""

    channel: str = Field(min_length=1, description="Channel name or id")
    message: str = Field(min_length=1, description="The text; may hold templates")


class TeamsMessage(Model):
    """A message to a Microsoft Teams webhook of the settings."""

    channel: str = Field("default", min_length=1, description="Name of a webhook in the settings")
    message: str = Field(min_length=1, description="The text; may hold templates")


class PagerDutyEvent(Model):
    """An event for PagerDuty; one incident of ours is one alert there."""

    severity: Literal["critical", "error", "warning", "info"] = Field("error", description="As PagerDuty knows it")
    message: str = Field(min_length=1, description="The summary; may hold templates")


class EmailMessage(Model):
    """A mail."""

    to: Words = Field(description="Addresses")
    subject: str = Field("", description="Left out, the runbook and its outcome; may hold templates")
    message: str = Field(min_length=1, description="The text; may hold templates")


class WebhookCall(Model):
    """A POST of JSON with the facts of the execution."""

    url: str = Field(min_length=1, description="http or https; may hold secrets as templates")
    message: str = Field("", description="Goes along as `text`; may hold templates")


class Channels(Model):
    """Where one notification goes: to each that is named."""

    slack: SlackMessage | None = Field(None, description="A message to Slack")
    teams: TeamsMessage | None = Field(None, description="A message to Microsoft Teams")
    pagerduty: PagerDutyEvent | None = Field(None, description="An event for PagerDuty")
    email: EmailMessage | None = Field(None, description="A mail")
    webhook: WebhookCall | None = Field(None, description="A call of a URL")


class Notification(Model):
    """Who hears of what."""

    on_start: Channels | None = Field(None, description="When the first step starts")
    on_approval: Channels | None = Field(None, description="When a human is asked")
    on_success: Channels | None = Field(None, description="When the fix is verified")
    on_failure: Channels | None = Field(None, description="When it failed")
    on_rollback: Channels | None = Field(None, description="When changes are taken back")
    on_inconclusive: Channels | None = Field(None, description="When nobody can say whether it worked")


def _as_rollback(value: object) -> object:
    """A list is the steps alone."""
    return {"steps": value} if isinstance(value, list | tuple) else value


Taking = Annotated[Rollback, BeforeValidator(_as_rollback)]
"""How changes are taken back; a list of steps is enough."""


class Runbook(Model):
    """A runbook as its author wrote it."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="Unique among all runbooks")
    name: str = Field("", description="One line for people")
    version: Version = Field("1.0", description="Read as text: 1.0 stays 1.0")
    author: str = Field("", description="Who answers for it")
    type: RunbookType = Field(RunbookType.INCIDENT, description="What it is for")
    description: str = Field("", description="What it does and why")
    legal_basis: str = Field("", description="The rule or contract that allows it, for the record")
    updated: str = Field("", description="When it was changed last, as its author wrote it")
    tags: tuple[str, ...] = Field((), description="For finding it")
    trigger: Trigger = Field(description="When it applies")
    rollout: Rollout | None = Field(None, description="How a new version proves itself; none: it is in force at once")
    parameters: tuple[Parameter, ...] = Field((), description="Values that it takes from outside")
    assumptions: tuple[Assumption, ...] = Field((), description="Facts that the author relies on")
    preconditions: tuple[Precondition, ...] = Field((), description="Checks before anything is changed")
    safety: Safety = Field(Safety(), description="Limits that the gate enforces")
    service_account: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
        description="NAMESPACE/NAME of the account that its steps act as; the settings must allow it",
    )
    approvals: Approvals = Field(Approvals(), description="Who has to say yes to what")
    steps: tuple[Step, ...] = Field(min_length=1, description="What it does")
    procedures: Mapping[str, tuple[Step, ...]] = Field(
        {}, description="Named lists of steps, for on_failure and for rollback triggers"
    )
    timeout: Duration = Field(timedelta(hours=1), description="For all steps together; after it, it is rolled back")
    max_parallel: int = Field(4, ge=1, le=100, strict=True, description="Most steps that run at the same time")
    verification: Verification = Field(Verification(), description="How the fix is proven")
    kpis: Kpis = Field(Kpis(), description="What it promises")
    notification: Notification = Field(Notification(), description="Who hears of it")
    rollback: Taking = Field(Rollback(), description="How its changes are taken back")

    @field_validator("steps")
    @classmethod
    def _with_ids(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        return with_ids(steps)

    @field_validator("rollback")
    @classmethod
    def _with_rollback_ids(cls, rollback: Rollback) -> Rollback:
        return rollback.model_copy(update={"steps": with_ids(rollback.steps)})

    @field_validator("procedures")
    @classmethod
    def _with_procedure_ids(cls, procedures: Mapping[str, tuple[Step, ...]]) -> Mapping[str, tuple[Step, ...]]:
        return {name: with_ids(steps) for name, steps in procedures.items()}


class LoadedRunbook(BaseModel):
    """A runbook with where it came from.

    Attributes:
        runbook: the model.
        sha: SHA-256 of the file's bytes, hex. The version that an execution is pinned to.
        path: the file, or None when it came from elsewhere.
        lines: position (line, column; from 1) of each key by its path, such as ``("steps", 0, "action")``.
        findings: warnings; what is an error does not load.
        text: as it was read, so that the version can be kept whatever becomes of the file.
    """

    model_config = ConfigDict(frozen=True)

    runbook: Runbook
    sha: str
    path: Path | None = None
    lines: Mapping[tuple[str | int, ...], tuple[int, int]] = {}
    findings: tuple[Finding, ...] = ()
    text: str = ""
