"""Settings of the storm breaker."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from runbooks.model import Duration
from safety.breaker import DEFAULT_SHARE, DEFAULT_UPPER, DEFAULT_WINDOWS, BreakerSettings, Counted, limits_of
from safety.scopes import Axis
from services.settings_base import Group

Way = Literal["slack", "teams", "pagerduty", "mail"]


class StormLimits(Group):
    """More than so many stop automation there; 0 does not count."""

    reason: int = Field(ge=0, description="With one cause reason in one cluster")
    runbook: int = Field(ge=0, description="Of one runbook, in every cluster of its tenant")
    namespace: int = Field(ge=0, description="In one namespace")
    cluster: int = Field(ge=0, description="In one cluster")


def _limits(counted: Counted) -> StormLimits:
    return StormLimits(**{axis.value: DEFAULT_UPPER[axis, counted] for axis in Axis})


class Breaker(Group):
    """The storm breaker: when causes or failures pile up, automation stops there and a human is called."""

    enabled: bool = Field(True, description="Count, stop and call; off: nothing is stopped by a storm")
    causes: StormLimits = Field(_limits(Counted.CAUSES), description="Most targets with one and the same cause")
    failures: StormLimits = Field(
        _limits(Counted.FAILURES), description="Most executions that failed or were rolled back"
    )
    not_fixed: StormLimits = Field(_limits(Counted.NOT_FIXED), description="Most executions that did not fix it")
    causes_window: Duration = Field(
        timedelta(seconds=DEFAULT_WINDOWS[Counted.CAUSES]), description="A target counts for so long after its alert"
    )
    outcomes_window: Duration = Field(
        timedelta(seconds=DEFAULT_WINDOWS[Counted.FAILURES]),
        description="An execution counts for so long after its end",
    )
    lower: float = Field(
        DEFAULT_SHARE, gt=0, le=1, description="Calm is a count below this share of its limit, from 0 to 1"
    )
    quiet: Duration = Field(timedelta(minutes=2), description="Calm for so long, and automation goes on by itself")
    tell: tuple[Way, ...] = Field(
        ("slack", "teams", "pagerduty", "mail"),
        description="Who is called, as far as they are set up: once when a storm begins, once when it is over",
    )
    channel: str = Field("", description="Slack channel of these messages; empty: slack.channel")

    @field_validator("causes_window", "outcomes_window", "quiet")
    @classmethod
    def _longer_than_zero(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            raise ValueError("must be longer than zero")
        return value

    @model_validator(mode="after")
    def _somebody_is_called(self) -> Self:
        if self.enabled and not self.tell:
            raise ValueError("breaker.tell names nobody: a storm that stops automation calls a human")
        return self

    def values(self) -> BreakerSettings:
        """As the breaker takes them."""
        outcomes = self.outcomes_window.total_seconds()
        windows = {
            Counted.CAUSES: self.causes_window.total_seconds(),
            Counted.FAILURES: outcomes,
            Counted.NOT_FIXED: outcomes,
        }
        uppers = {(axis, counted): getattr(getattr(self, counted), axis) for counted in Counted for axis in Axis}
        return BreakerSettings(limits_of(uppers, self.lower, windows), self.quiet.total_seconds())
