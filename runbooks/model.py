"""The canonical runbook: what an SRE writes, checked and typed.

Every dialect loads into these models. They are frozen: a runbook never changes after it is loaded, a new
version is a new object. Unknown keys are refused, because a misspelt safety limit must not be ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator

from runbooks.durations import parse_duration
from runbooks.findings import Finding


def _as_tuple(value: object) -> object:
    """Let authors write one value where a list is meant."""
    return value if isinstance(value, list | tuple) or value is None else (value,)


def _as_version(value: object) -> str:
    """Versions are texts; a number is taken as it was written."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected a version such as 1.0")
    return str(value)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {
                    "type": "string",
                    "pattern": r"^ *[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?( *[0-9]+(\.[0-9]+)?(ms|s|m|h|d))* *$",
                },
            ]
        }
    ),
]
"""A length of time: ``30``, ``30s``, ``5m``, ``1h30m``; a bare number is seconds."""

_ONE = {"type": "string", "minLength": 1}
Patterns = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_as_tuple),
    WithJsonSchema({"anyOf": [_ONE, {"type": "array", "items": _ONE}]}),
]
"""One glob or a list of globs, matched without regard to case."""

Version = Annotated[str, BeforeValidator(_as_version), WithJsonSchema({"type": ["string", "number"]})]
"""A version as it was written: ``1.0`` stays ``1.0``."""

Condition = bool | str
"""``true``, ``false`` or an expression over the template names."""


class Model(BaseModel):
    """Base of all runbook models: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunbookType(StrEnum):
    """What a runbook is for."""

    INCIDENT = "incident"
    MAINTENANCE = "maintenance"
    MONITORING = "monitoring"
    RECOVERY = "recovery"


class Trigger(Model):
    """When the runbook applies. Every part that is given must hold; a part that is left out holds for all."""

    root_cause_reason: Patterns = Field(min_length=1, description="Reasons of the root cause, globs allowed")
    symptom_reason: Patterns = Field((), description="Reasons of the symptom; empty means any")
    min_confidence: float = Field(0.8, ge=0, le=1, strict=True, description="Lowest calibrated confidence, 0 to 1")
    affected_resource_kinds: Patterns = Field((), description="Kinds of the cause's subject; empty means any")
    namespaces: Patterns = Field((), description="Namespaces it applies to; empty means any")
    exclude_namespaces: Patterns = Field((), description="Namespaces it never applies to")
    labels: Mapping[str, str] = Field({}, description="Labels that the signal must carry, values are globs")
    severity: Patterns = Field((), description="Severities it applies to; empty means any")
    cluster: Patterns = Field((), description="Clusters it applies to; empty means any")
    tenant: Patterns = Field((), description="Tenants it applies to; empty means any")


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


class Safety(Model):
    """Limits that the gate enforces. What is left out takes the strict value."""

    require_approval: Condition = Field(True, description="A human says yes first, always or when it holds")
    max_executions_per_hour: int = Field(5, ge=0, strict=True, description="Per runbook; 0 means never by itself")
    blast_radius_limit: int = Field(10, ge=0, strict=True, description="Most resources that one execution may affect")
    dry_run_first: bool = Field(True, description="Ask the API server to validate every write before the first")
    cooldown: Duration = Field(timedelta(minutes=10), description="Quiet time for the target after an execution")
    approval_timeout: Duration = Field(timedelta(minutes=30), description="After it the answer is no")


class OnFailure(StrEnum):
    """What follows when a step fails."""

    ABORT = "abort"
    CONTINUE = "continue"
    ROLLBACK = "rollback"


class Step(Model):
    """One action of the runbook."""

    id: str = Field("", description="Short name for references; made from the name when left out")
    name: str = Field(min_length=1, description="What the step does, for people")
    action: str = Field(min_length=1, description="Canonical action name or alias (kubectl_patch, wait, ...)")
    params: Mapping[str, Any] = Field({}, description="Parameters of the action; texts may hold templates")
    output_var: str | None = Field(
        None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Name under which later steps find the output"
    )
    when: Condition = Field(True, description="The step is skipped unless this holds")
    timeout: Duration = Field(timedelta(minutes=2), description="For the step as a whole, retries included")
    on_failure: OnFailure = Field(OnFailure.ROLLBACK, description="What follows when the step fails")
    idempotent: bool | None = Field(None, description="Overrides what the action declares, for webhooks")


class OnNotFixed(StrEnum):
    """What follows when the world says that the fix did not work."""

    ROLLBACK = "rollback"
    KEEP = "keep"


class Verification(Model):
    """How the pipeline proves the fix, after the runbook's own steps."""

    settle: Duration = Field(timedelta(seconds=30), description="How long the target must stay healthy")
    timeout: Duration = Field(timedelta(minutes=5), description="After it, unhealthy means not fixed")
    on_not_fixed: OnNotFixed = Field(OnNotFixed.ROLLBACK, description="What follows when it did not work")


class SlackMessage(Model):
    """A message to one Slack channel."""

    channel: str = Field(min_length=1, description="Channel name or id")
    message: str = Field(min_length=1, description="The text; may hold templates")


class Channels(Model):
    """Where one notification goes."""

    slack: SlackMessage | None = Field(None, description="A message to Slack")


class Notification(Model):
    """Who hears of what."""

    on_start: Channels | None = Field(None, description="When the first step starts")
    on_approval: Channels | None = Field(None, description="When a human is asked")
    on_success: Channels | None = Field(None, description="When the fix is verified")
    on_failure: Channels | None = Field(None, description="When it failed")
    on_rollback: Channels | None = Field(None, description="When changes are taken back")
    on_inconclusive: Channels | None = Field(None, description="When nobody can say whether it worked")


class Runbook(Model):
    """A runbook as its author wrote it."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="Unique among all runbooks")
    name: str = Field("", description="One line for people")
    version: Version = Field("1.0", description="Read as text: 1.0 stays 1.0")
    author: str = Field("", description="Who answers for it")
    type: RunbookType = Field(RunbookType.INCIDENT, description="What it is for")
    description: str = Field("", description="What it does and why")
    tags: tuple[str, ...] = Field((), description="For finding it")
    trigger: Trigger = Field(description="When it applies")
    parameters: tuple[Parameter, ...] = Field((), description="Values that it takes from outside")
    safety: Safety = Field(Safety(), description="Limits that the gate enforces")
    steps: tuple[Step, ...] = Field(min_length=1, description="What it does, in order")
    verification: Verification = Field(Verification(), description="How the fix is proven")
    notification: Notification = Field(Notification(), description="Who hears of it")
    rollback: tuple[Step, ...] = Field(
        (), description="Steps that take the changes back; left out, each change is undone by its automatic inverse"
    )

    @field_validator("steps", "rollback")
    @classmethod
    def _with_ids(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Give an id to each step that has none: its name as a word, numbered when it is taken."""
        taken = {step.id for step in steps if step.id}
        named: list[Step] = []
        for index, step in enumerate(steps):
            if not step.id:
                slug = re.sub(r"[^a-z0-9]+", "_", step.name.lower()).strip("_") or "step"
                word = f"step_{slug}" if slug[0].isdigit() else slug
                new = word if word not in taken else f"{word}_{index + 1}"
                taken.add(new)
                named.append(step.model_copy(update={"id": new}))
            else:
                named.append(step)
        return tuple(named)


class LoadedRunbook(BaseModel):
    """A runbook with where it came from.

    Attributes:
        runbook: the model.
        sha: SHA-256 of the file's bytes, hex. The version that an execution is pinned to.
        path: the file, or None when it came from elsewhere.
        lines: position (line, column; from 1) of each key by its path, such as ``("steps", 0, "action")``.
        findings: warnings; what is an error does not load.
    """

    model_config = ConfigDict(frozen=True)

    runbook: Runbook
    sha: str
    path: Path | None = None
    lines: Mapping[tuple[str | int, ...], tuple[int, int]] = {}
    findings: tuple[Finding, ...] = ()
