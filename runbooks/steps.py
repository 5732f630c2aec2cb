"""What a runbook does: steps, in order or as a graph, with what follows when one fails."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from runbooks.words import Condition, Duration, Identifier, Model


class OnFailure(StrEnum):
    """What follows when a step fails."""

    ABORT = "abort"
    CONTINUE = "continue"
    ROLLBACK = "rollback"
    APPROVE = "approve"
    """A human is asked whether to go on; no answer in time means roll back."""


class RunOnFailure(Model):
    """Other steps first, then one of the plain consequences."""

    run: Identifier = Field(description="Name of one of the runbook's procedures")
    then: OnFailure = Field(OnFailure.ROLLBACK, description="What follows after them")


def _form(value: object) -> str:
    return "mapping" if isinstance(value, Mapping | RunOnFailure) else "word"


Failing = Annotated[
    Annotated[OnFailure, Tag("word")] | Annotated[RunOnFailure, Tag("mapping")],
    Discriminator(_form),
]
"""What follows when a step fails: a word, or other steps and a word."""


class OnSuccess(StrEnum):
    """What follows when a step succeeds."""

    CONTINUE = "continue"
    COMPLETE = "complete"
    """Nothing more needs to be done: the steps that are left are skipped, and the fix is verified."""


class RetryOn(StrEnum):
    """Which errors are worth another attempt."""

    TEMPORARY = "temporary"
    """The other side did not answer, was busy or said to come back later."""
    TIMEOUT = "timeout"
    """The attempt took too long."""
    CONFLICT = "conflict"
    """Somebody else changed the object at the same time."""
    FAILED = "failed"
    """The step's own condition did not hold, or the answer was not the expected one."""


class Retry(Model):
    """Further attempts of a step. A write is repeated only when the target says that it did not happen."""

    attempts: int = Field(3, ge=1, le=20, strict=True, description="All attempts together")
    backoff: Duration = Field(timedelta(seconds=1), description="Pause before the second attempt")
    factor: float = Field(2.0, ge=1, le=10, strict=True, description="Each further pause is so many times longer")
    max_backoff: Duration = Field(timedelta(seconds=30), description="The longest pause")
    jitter: float = Field(0.1, ge=0, le=1, strict=True, description="Share of each pause that is random")
    errors: tuple[RetryOn, ...] = Field((RetryOn.TEMPORARY,), description="Errors that are worth it")


class Step(Model):
    """One action of the runbook."""

    id: str = Field("", description="Short name for references; made from the name when left out")
    name: str = Field(min_length=1, description="What the step does, for people")
    description: str = Field("", description="Why it is done")
    action: str = Field(min_length=1, description="Canonical action name or alias (kubectl_patch, wait, ...)")
    params: Mapping[str, Any] = Field({}, description="Parameters of the action; texts may hold templates")
    depends_on: tuple[str, ...] | None = Field(
        None, description="Ids of steps that must have ended before; left out, the step before it; [] for none"
    )
    when: Condition = Field(True, description="The step is skipped unless this holds")
    for_each: str | tuple[Any, ...] | None = Field(
        None, description="A list, or an expression that gives one: the step runs once for each, found as `item`"
    )
    max_parallel: int = Field(1, ge=1, le=100, strict=True, description="How many of for_each run at once")
    retry: Retry | None = Field(None, description="Further attempts; left out, none beside those of the transport")
    output_var: Identifier | None = Field(None, description="Name under which later steps find the output")
    outputs: Mapping[str, Any] = Field(
        {}, description="Parts of the output by name: JSONPath texts ($.data.id); found as steps.ID.outputs.NAME"
    )
    save_state: Mapping[str, Any] = Field(
        {}, description="Values kept before the step acts, found as state.NAME, in the rollback too"
    )
    require_approval: Condition = Field(False, description="A human says yes before this step, always or when it holds")
    timeout: Duration = Field(timedelta(minutes=2), description="For the step as a whole, retries included")
    on_failure: Failing = Field(OnFailure.ROLLBACK, description="What follows when the step fails")
    on_success: OnSuccess = Field(OnSuccess.CONTINUE, description="What follows when the step succeeds")
    idempotent: bool | None = Field(None, description="Overrides what the action declares, for webhooks")


def with_ids(steps: tuple[Step, ...]) -> tuple[Step, ...]:
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


class RollbackTrigger(Model):
    """A reason to take the changes back. Exactly one of the first four is given."""

    step_failed: str | None = Field(None, description="Id of a step; `*` for any")
    not_fixed: bool | None = Field(None, description="The verification says that it did not help")
    condition: Condition | None = Field(None, description="An expression or PromQL comparison watched while verifying")
    health_check_failed: int | None = Field(
        None, ge=1, strict=True, description="So many looks at the target in a row found it unhealthy"
    )
    window: Duration | None = Field(None, description="The condition must hold for so long")
    run: Identifier | None = Field(None, description="The procedure that takes back; left out, `steps` or the inverse")


class Rollback(Model):
    """How changes are taken back."""

    steps: tuple[Step, ...] = Field(
        (), description="Steps that take back; left out, each change is undone by its automatic inverse"
    )
    triggers: tuple[RollbackTrigger, ...] = Field(
        (), description="When; a failed step and a fix that did not help lead to it anyway, unless they say otherwise"
    )
