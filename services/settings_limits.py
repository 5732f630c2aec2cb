"""Settings of the gate's limits on what is counted, and of what follows an execution."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import Field, field_validator

from runbooks.model import Duration
from safety.axes import LONGEST_MEMORY_SECONDS
from safety.policy import PolicySettings
from services.settings_base import Group

_LIMITS = PolicySettings()
"""Where the defaults are."""


class Rates(Group):
    """Most executions in each window; null for no limit."""

    per_minute: int | None = Field(None, ge=0, description="Most executions in any minute")
    per_hour: int | None = Field(None, ge=0, description="Most executions in any hour")
    per_day: int | None = Field(None, ge=0, description="Most executions in any 24 hours")


class RunbookLimits(Rates):
    """For each runbook, beside its own limits."""

    concurrent: int | None = Field(None, ge=1, description="Most executions at the same time")


class TargetLimits(Rates):
    """For each target, whichever runbooks. At the same time there is never more than one."""

    per_day: int | None = Field(_LIMITS.target_per_day, ge=0, description="Most executions in any 24 hours")


class NamespaceLimits(Rates):
    """For each namespace, by its name."""

    concurrent: int | None = Field(None, ge=1, description="Most executions at the same time")
    blast_in_flight: int | None = Field(
        _LIMITS.namespace_blast_in_flight, ge=0, description="Most resources that all executions in flight affect"
    )


class ClusterLimits(Group):
    """For each cluster; the hour is ``gate.max_executions_per_hour``."""

    per_minute: int | None = Field(_LIMITS.cluster_per_minute, ge=0, description="Most executions in any minute")
    per_day: int | None = Field(_LIMITS.cluster_per_day, ge=0, description="Most executions in any 24 hours")
    concurrent: int | None = Field(_LIMITS.cluster_concurrent, ge=1, description="Most executions at the same time")
    blast_in_flight: int | None = Field(
        _LIMITS.cluster_blast_in_flight, ge=0, description="Most resources that all executions in flight affect"
    )


class TenantLimits(Rates):
    """For each tenant, in all of its clusters."""

    concurrent: int | None = Field(None, ge=1, description="Most executions at the same time")
    blast_in_flight: int | None = Field(None, ge=0, description="Most resources that all executions in flight affect")


class CountLimits(Group):
    """Most executions by what they are counted by; of these and a runbook's own the stricter counts."""

    runbook: RunbookLimits = Field(RunbookLimits(), description="Of each runbook")
    target: TargetLimits = Field(TargetLimits(), description="For each target, whichever runbooks")
    namespace: NamespaceLimits = Field(NamespaceLimits(), description="In each namespace")
    cluster: ClusterLimits = Field(ClusterLimits(), description="In each cluster")
    tenant: TenantLimits = Field(TenantLimits(), description="Of each tenant")


class AskAgain(Group):
    """A human decides when the same target needs help again and again, from whichever runbooks."""

    executions: int | None = Field(
        _LIMITS.ask_again_after, ge=1, description="With so many already, the next one asks; null for never"
    )
    within: Duration = Field(
        timedelta(seconds=_LIMITS.ask_again_seconds), description="Counted for so long; at most 30 days"
    )

    @field_validator("within")
    @classmethod
    def _remembered(cls, value: timedelta) -> timedelta:
        if not timedelta(0) < value <= timedelta(seconds=LONGEST_MEMORY_SECONDS):
            raise ValueError("must be more than 0 and at most 30d")
        return value


def _seconds(outcome: str) -> timedelta:
    return timedelta(seconds=getattr(_LIMITS, f"cooldown_{outcome}_seconds"))


class CooldownAfter(Group):
    """Quiet time of a target by how its last execution ended; the longer of this and the runbook's ``cooldown``."""

    success: Duration = Field(_seconds("success"), description="After a verified fix")
    failure: Duration = Field(_seconds("failure"), description="After steps that failed, some or all")
    rollback: Duration = Field(_seconds("rollback"), description="After changes that were taken back")
    not_fixed: Duration = Field(_seconds("not_fixed"), description="After a fix that did not help")
    inconclusive: Duration = Field(_seconds("inconclusive"), description="After a fix that nobody could prove")


def counted(limits: CountLimits) -> dict[str, Any]:
    """The limits as fields of ``PolicySettings``."""
    return {f"{axis}_{name}": limit for axis, group in limits for name, limit in group}
