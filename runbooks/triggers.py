"""When a runbook applies: root causes, alerts by name, schedules, people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from runbooks.words import Condition, Duration, Model, Patterns


class TriggerTarget(Model):
    """What an execution without an incident acts on."""

    kind: str = Field(min_length=1, description="Deployment, StatefulSet, DaemonSet, Job, CronJob, Node, ...")
    name: str = Field(min_length=1, description="Its name")
    namespace: str = Field("", description="Its namespace; empty for nodes")


class Schedule(Model):
    """A time at which the runbook runs by itself, behind the same gate as everything else."""

    cron: str = Field(min_length=1, description="Five fields: minute hour day-of-month month day-of-week")
    timezone: str = Field("UTC", description="IANA name, such as Europe/Vienna; daylight saving is followed")
    target: TriggerTarget | None = Field(None, description="What it acts on; left out, the runbook touches no workload")
    parameters: Mapping[str, Any] = Field({}, description="Values for the runbook's parameters")
    catch_up: Duration | None = Field(
        None, description="A time that was missed is made up for when it is no older than this; left out, it is skipped"
    )


class Trigger(Model):
    """When the runbook applies. Every part that is given must hold; a part that is left out holds for all."""

    root_cause_reason: Patterns = Field((), description="Reasons of the root cause, globs allowed")
    alert: Patterns = Field((), description="Names of alerts that are their own cause: none is looked for")
    symptom_reason: Patterns = Field((), description="Reasons of the symptom; empty means any")
    min_confidence: float = Field(0.8, ge=0, le=1, strict=True, description="Lowest calibrated confidence, 0 to 1")
    affected_resource_kinds: Patterns = Field((), description="Kinds of the cause's subject; empty means any")
    namespaces: Patterns = Field((), description="Namespaces it applies to; empty means any")
    exclude_namespaces: Patterns = Field((), description="Namespaces it never applies to")
    labels: Mapping[str, str] = Field({}, description="Labels that the signal must carry, values are globs")
    severity: Patterns = Field((), description="Severities it applies to; empty means any")
    cluster: Patterns = Field((), description="Clusters it applies to; empty means any")
    tenant: Patterns = Field((), description="Tenants it applies to; empty means any")
    when: Condition = Field(True, description="An expression over the incident that must hold as well")
    schedule: tuple[Schedule, ...] = Field((), description="Times at which it runs by itself")
    manual: bool = Field(True, description="People and programs may ask for it by name")

    @model_validator(mode="after")
    def _answers_something(self) -> Trigger:
        """A runbook that nothing can start is a mistake."""
        if not (self.root_cause_reason or self.alert or self.schedule) and "manual" not in self.model_fields_set:
            raise ValueError("nothing starts it: give root_cause_reason, alert or schedule, or say manual: true")
        return self
