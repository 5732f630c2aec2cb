"""What must hold before a runbook acts, and what it promises: assumptions, preconditions, windows, criteria, KPIs."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, field_validator

from runbooks.words import Condition, Duration, Model, Words
from runbooks.zones import known_zone


class ChangeWindow(Model):
    """Times of the week in which changes may be made. A window whose end is before its start goes past midnight."""

    start: str = Field("00:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="Local time, HH:MM")
    end: str = Field("24:00", pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$", description="Local time, HH:MM")
    timezone: str = Field("UTC", description="IANA name, such as Europe/Vienna")
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = Field(
        ("mon", "tue", "wed", "thu", "fri", "sat", "sun"), description="Days on which it begins"
    )

    @field_validator("timezone")
    @classmethod
    def _exists(cls, name: str) -> str:
        """Python knows the zone; a misspelt one would keep the window shut for ever."""
        return known_zone(name)


class OnUnmet(StrEnum):
    """What follows when a precondition does not hold."""

    ABORT = "abort"
    REQUEST_APPROVAL = "request_approval"
    SKIP = "skip"
    """The runbook has nothing to do here: that is recorded, and no failure."""


class Precondition(Model):
    """A check before anything is changed. What cannot be read does not hold."""

    name: str = Field(min_length=1, description="For people")
    check: Condition | None = Field(None, description="An expression; with an action, over its output as `output`")
    action: str | None = Field(None, description="An action that only reads; without check it must succeed")
    params: Mapping[str, Any] = Field({}, description="Parameters of the action")
    windows: tuple[ChangeWindow, ...] = Field((), description="Times in which it holds; any of them")
    timeout: Duration | None = Field(None, description="For the action")
    on_failure: OnUnmet = Field(OnUnmet.ABORT, description="What follows when it does not hold")


class Assumption(Model):
    """A fact that the author relies on, listed in the report."""

    name: str = Field(min_length=1, description="For people and reports")
    description: str = Field("", description="What is meant")
    check: Condition | None = Field(None, description="An expression that shows it; left out, it is only stated")
    action: str | None = Field(None, description="An action that only reads and shows it")
    params: Mapping[str, Any] = Field({}, description="Parameters of the action")


class Criterion(Model):
    """Something that must be true of the world for the fix to count."""

    name: str = Field(min_length=1, description="For people")
    check: Condition | None = Field(None, description="An expression; with an action, over its output as `output`")
    action: str | None = Field(None, description="An action that only reads")
    params: Mapping[str, Any] = Field({}, description="Parameters of the action")


class Kpis(Model):
    """What the author promises; measured, reported, and part of `rb test`."""

    max_duration: Duration | None = Field(None, description="Of one execution, from its first step to its end")
    min_success_rate: float | None = Field(
        None, ge=0, le=1, strict=True, description="Share of executions that are verified"
    )
    max_error_rate: float | None = Field(None, ge=0, le=1, strict=True, description="Share of steps or items that fail")


class Approver(Model):
    """Who may say yes."""

    type: Literal["user", "group", "role", "team"] = Field("role", description="What the value names")
    value: str = Field(min_length=1, description="Name of the user, group, role or team")
    required: bool = Field(False, description="Without their yes it is none")
    min_approvals: int = Field(1, ge=1, strict=True, description="So many of them")


class Escalation(Model):
    """Whom to tell when nobody answers."""

    after: Duration = Field(description="Since the question was asked")
    notify: Words = Field(description="Users, groups, roles or teams")


class Reason(Model):
    """An answer that can be chosen."""

    label: str = Field(min_length=1, description="For people")
    value: str = Field(min_length=1, description="For the record")
    style: Literal["primary", "danger", "default"] = Field("default", description="How the button looks")
    requires_comment: bool = Field(False, description="The answer needs a text")


class ApprovalChannel(Model):
    """Where the question is asked."""

    type: Literal["slack", "teams", "pagerduty", "email", "webhook"] = Field(description="The service")
    channel: str = Field("", description="Channel, address or service key name")
    severity: str = Field("", description="For PagerDuty")
    template: str = Field("", description="Name of a message template")


class ApprovalRule(Model):
    """Who has to say yes to what, and how."""

    name: str = Field(min_length=1, description="For people and the record")
    step: str = Field("", description="Id of the step that it is about; empty for the whole plan")
    when: Condition = Field(True, description="The rule applies when this holds")
    approvers: tuple[Approver, ...] = Field((), description="Empty means anybody who may approve")
    order: Literal["sequential", "parallel"] = Field("parallel", description="One after the other, or all at once")
    timeout: Duration | None = Field(None, description="After it the answer is no")
    escalation: tuple[Escalation, ...] = Field((), description="When nobody answers")
    channels: tuple[ApprovalChannel, ...] = Field((), description="Where it is asked")
    approve: tuple[Reason, ...] = Field((), description="Ways to say yes")
    reject: tuple[Reason, ...] = Field((), description="Ways to say no")
    comment_required: bool = Field(False, description="Every answer needs a text")


class Bypass(Model):
    """Who may go ahead without approval in an emergency."""

    name: str = Field("emergency-bypass", min_length=1, description="For the record")
    roles: Words = Field(description="Roles that may use it")
    requires_justification: bool = Field(True, description="A reason has to be given")
    audit_level: Literal["info", "warning", "critical"] = Field("critical", description="How loudly it is recorded")


class Approvals(Model):
    """Rules beside `safety.require_approval`."""

    rules: tuple[ApprovalRule, ...] = Field((), description="Every rule that applies must be satisfied")
    bypass: tuple[Bypass, ...] = Field((), description="Emergency ways around them")
